"""Our results as Inspect logs: read back with Inspect's own reader."""

from __future__ import annotations

import math

import pandas as pd
import pytest

pytest.importorskip("inspect_ai", reason="extra `suites` not installed")

from inspect_ai.log import read_eval_log  # noqa: E402

from workbench.methods.evaluate.suites import export  # noqa: E402

RULE = {
    "id": "to_person", "text": "A person takes over.", "scorer": "escalation",
    "cases": "cases/to_person.yaml", "where": {"model": "candidate"}, "at_least": 0.5,
    "bound": "value", "min_n": 1, "blocking": True, "harm": "h", "why": "w",
    "probes": {"must_pass": [{"person": "yes"}], "must_fail": [{"person": "no"}]},
}  # fmt: skip
CASES = pd.DataFrame(
    [("r1", "base", "queue", "card", "fees"), ("r2", "base", "queue", "card", "card"),
     ("r1", "candidate", "queue", "card", "card"), ("r2", "candidate", "queue", "card", None)],
    columns=["case_id", "model", "task", "expected", "predicted"],
)  # fmt: skip
REPLIES = pd.DataFrame(
    [(f"p{n}", model, "to_person", "I am Ada", "card", person, "R1", "Hello.")
     for model, said in (("base", ["no", "yes"]), ("candidate", ["yes", "yes"]))
     for n, person in enumerate(said)],
    columns=["case_id", "model", "rule", "text", "queue", "person", "reason", "reply"],
)  # fmt: skip


@pytest.fixture
def stage(staged):
    inputs = {"cases": CASES, "replies": REPLIES, "criteria": {"version": 1, "rules": [RULE]}}
    return staged("48_suites", inputs)


def test_every_task_and_rule_is_a_log_of_each_model(stage):
    """With Inspect's own accuracy, which leaves out what could not be scored."""
    found = export.write(stage).set_index("log")["accuracy"]
    assert found.to_dict() == {
        "workbench/40_queue_base.eval": 0.5, "workbench/40_queue_candidate.eval": 1.0,
        "workbench/41_to_person_base.eval": 0.5, "workbench/41_to_person_candidate.eval": 1.0,
    }  # fmt: skip


def test_a_log_reads_back_whole(stage):
    """Question, answer, score and reason of each case, as the viewer shows them."""
    export.write(stage)
    log = read_eval_log(str(stage.outputs / "workbench/41_to_person_base.eval"))
    assert log.status == "success" and log.eval.model == "workbench/base"
    first, second = log.samples
    assert (first.input, first.target) == ("I am Ada", "A person takes over.")
    assert "person: no" in first.output.completion
    assert [one.scores["workbench"].value for one in (first, second)] == ["I", "C"]
    assert first.scores["workbench"].explanation


def test_what_was_not_answered_stays_unscored(stage):
    """Neither right nor wrong, also in the log."""
    export.write(stage)
    log = read_eval_log(str(stage.outputs / "workbench/40_queue_candidate.eval"))
    values = {one.id: one.scores["workbench"].value for one in log.samples}
    assert values["r1"] == "C" and math.isnan(values["r2"])
    assert log.results.scores[0].unscored_samples == 1


def test_without_sealed_results_there_is_no_log(staged):
    """A use case without rules, or run up to here only, exports what there is."""
    stage = staged("48_suites", {"criteria": {"version": 1}})
    assert export.write(stage).empty
