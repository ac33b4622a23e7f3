"""The operations stage on the real gateway: load and faults, with a tiny worker in the model's place."""

from __future__ import annotations

import json
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from workbench.errors import RunError
from workbench.methods.operate import faults, operational, trial
from workbench.methods.operate.load import Reply
from workbench.policy.operations import Operations
from workbench.record import manifest

STAGES = Path(__file__).parents[3] / "templates" / "stages"
TINY = [sys.executable, str(Path(__file__).parents[2] / "tiny_worker.py")]
SIGNAL = {"id": "errors", "watch": "error", "at_most": 0.1, "harm": "h", "why": "w"}
OPERATIONS = {
    "version": 1, "load": {"requests_per_s": 50, "seconds": 1}, "monitor": {"signals": [SIGNAL]},
    "serving": {"timeout_s": 1, "threads": 1, "max_chars": 200, "requests_per_minute": 100_000},
    "fallback": {"answer": {"label": "human"}},
}  # fmt: skip
FACTS = {"kind": "classifier", "text": "message", "label": "intent", "labels": ["cards", "fees"]}
KNOWS = {"card": "cards", "fee": "fees"}
DEV = pd.DataFrame({"message": [f"no {n} about my {word}" for n, word in enumerate([*KNOWS] * 3)]})
COUNTS = {"stage": "45_operations", "figure": "marked", "at_most": 0, "bound": "value",
          "blocking": True, "harm": "h", "why": "w"}  # fmt: skip
CRITERIA = {"version": 1, "criteria": [
    COUNTS | {"id": "no_wrong", "table": "requests.parquet", "arguments": {"column": "wrong"},
              "min_n": 60},
    COUNTS | {"id": "all_logged", "table": "requests.parquet", "min_n": 60,
              "arguments": {"column": "logged", "value": 0}},
    COUNTS | {"id": "held", "table": "faults.parquet", "min_n": 8,
              "arguments": {"column": "held", "value": 0}},
    COUNTS | {"id": "recovers", "table": "faults.parquet", "figure": "highest", "at_most": 20,
              "arguments": {"column": "recovery_s"}, "min_n": 8},
    COUNTS | {"id": "in_time", "table": "requests.parquet", "figure": "latency_quantile",
              "where": {"phase": "steady"}, "arguments": {"q": 0.99}, "at_most": 1000, "min_n": 50},
]}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> tuple[Path, Path]:
    """An adapter that knows two words, and the base that it says it belongs to."""
    folder = tmp_path_factory.mktemp("parts")
    for name, file, said in (
        ("adapter", "weights.json", {"knows": KNOWS}), ("base", "base.json", {}),
    ):  # fmt: skip
        (folder / name).mkdir()
        (folder / name / file).write_text(json.dumps(said))
    return folder / "adapter", folder / "base"


@pytest.fixture
def stage(staged, parts, monkeypatch):
    """The stage's folder; whatever serves in it has `worker` in the model's place."""

    def prepare(worker=TINY, facts=(), **more):
        monkeypatch.setattr(operational, "running", partial(trial.running, worker=worker))
        given = {"adapter": parts[0], "base": parts[1], "facts": FACTS, "dev": DEV,
                 "criteria": CRITERIA, "operations": OPERATIONS}  # fmt: skip
        return staged("45_operations", given | more, **dict(facts))

    return prepare


def cells(notebook: Path) -> list[str]:
    found = json.loads(notebook.read_text("utf-8"))["cells"]
    return ["".join(one["source"]) for one in found if one["cell_type"] == "code"]


@pytest.fixture(scope="module")
def shown():
    """What the notebook's own cells made of one trial, asked for once."""
    return {}


@pytest.fixture
def executed(stage, shown, monkeypatch):
    made = stage()
    if "left" not in shown:
        before = {one.pid for one in psutil.Process().children(recursive=True)}
        monkeypatch.chdir(made.folder)
        for text in cells(STAGES / "45_operations.ipynb"):
            exec(text, shown)
        after = {one.pid for one in psutil.Process().children(recursive=True)}
        shown["left"] = after - before
    return shown


def test_the_candidate_holds_under_load_and_through_eight_faults(executed):
    """By the notebook's own cells, on the real gateway: all gates passed, each fault held and
    followed by the answer of before."""
    claims = json.loads((executed["stage"].outputs / "claims.json").read_bytes())
    assert {one["criterion"]: one["verdict"] for one in claims} == dict.fromkeys(
        ("no_wrong", "all_logged", "held", "recovers", "in_time"), "passed"
    )
    seen = pd.read_parquet(executed["stage"].outputs / "faults.parquet").set_index("fault")
    assert list(seen.index) == [one.name for one in faults.FAULTS] and len(seen) == 8
    assert seen["held"].all() and seen["recovery_s"].between(0, 20).all()


def test_fail_closed_is_observed_and_not_only_declared(executed):
    """The fallback while no model answers or may; nothing at all while nothing can be logged;
    and what is no request never reaches the model."""
    requests = executed["requests"]
    first = {name: group.iloc[0] for name, group in requests.groupby("phase", sort=False)}
    for fault, outcome, reason, status in (
        ("worker hangs", "fallback", "timeout", 200), ("worker killed", "fallback", "worker", 200),
        ("lease withdrawn", "fallback", "no lease", 200), ("full log disk", "refused", "log", 503),
        ("corrupt request", "refused", "", 400), ("oversized request", "refused", "", 413),
        ("slow clients", "answered", "", 200),
    ):  # fmt: skip
        row = first[fault]
        assert (row["outcome"], row["reason"], row["status"]) == (outcome, reason, status), fault


def test_the_load_is_as_stated_and_its_latency_told_with_n(executed):
    """50 requests in a second, evenly spaced; every figure is also recorded."""
    steady = executed["requests"].query("phase == 'steady'")
    assert steady["at_s"].diff().dropna().round(6).unique().tolist() == [0.02]
    assert executed["latency"]["n"].tolist() == [50] * 3
    recorded = json.loads((executed["stage"].outputs / "figures.json").read_bytes())
    assert {"p50", "p95", "p99", "worker_mib_before", "worker_mib_after"} <= recorded.keys()
    assert (executed["stage"].outputs / "latency.png").exists()


def test_no_process_is_left_and_no_text_either(executed):
    """Gateway and worker have ended, and no output holds a word of a message."""
    assert not executed["left"]
    for path in executed["stage"].outputs.iterdir():
        assert b"about my" not in path.read_bytes(), path.name


def test_what_was_sealed_is_recomputed_without_a_server(stage, executed, tmp_path, monkeypatch):
    """The same tables and figures, and nothing is started."""
    sealed = executed["stage"].outputs
    again = stage(facts={"sealed": str(sealed)})
    again.outputs = tmp_path / "again"
    monkeypatch.setattr(operational, "running", None)
    requests = operational.measure(again, seconds=0, timeout_s=0.0, texts=6)
    assert operational.latencies(again, requests).equals(executed["latency"])
    assert (again.outputs / "faults.parquet").read_bytes() == (
        sealed / "faults.parquet"
    ).read_bytes()


CHANGES = """
import runpy, sys
sys.argv = sys.argv[1:]
tiny = runpy.run_path(sys.argv[0])
said, asked = tiny["answer"], []
def answer(given):
    asked.append(given)
    found = said(given)
    other = {"cards": "fees", "fees": "cards"}[found["answer"]["label"]]
    return found if len(asked) <= 20 else found | {"answer": {"label": other}}
tiny["reply"].__globals__["answer"] = answer
tiny["Server"](sys.argv[1], tiny["Handler"]).serve_forever()
"""


def test_an_answer_that_changes_under_load_is_wrong_and_its_gate_fails(stage, monkeypatch):
    """From the 21st request on the worker says something else: the table counts each, the log
    holds them all, and the gate on wrong answers alone is failed."""
    found = stage([sys.executable, "-c", CHANGES, TINY[1]])
    monkeypatch.setattr(operational, "FAULTS", ())
    requests = operational.measure(found, seconds=0, timeout_s=0.0, texts=6)
    assert requests["wrong"].sum() == 6 + 50 - 20 and requests["logged"].all()


def test_an_answer_without_its_line_is_unlogged():
    """So is one of which the log says something else; without an answer there is nothing to log."""
    body = {"outcome": "answered", "answer": {"label": "cards"}, "decision": "000000:1"}
    given = Reply("a", 0.0, 1.0, 200, body)
    line = {"outcome": "answered", "status": 200, "answer": {"label": "cards"}}
    for log, logged in (
        ({"000000:1": line}, 1), ({"000000:2": line}, 0), ({}, 0),
        ({"000000:1": line | {"answer": {"label": "fees"}}}, 0),
        ({"000000:1": line | {"outcome": "fallback"}}, 0),
    ):  # fmt: skip
        assert operational.row("steady", given, False, log)["logged"] == logged
    refused = Reply("a", 0.0, 1.0, 503, {"outcome": "refused", "answer": None})
    assert operational.row("steady", refused, False, {})["logged"] == 1


@pytest.mark.parametrize(
    "outcome, answer, wrong",
    [
        ("answered", {"label": "cards"}, False),
        ("answered", {"label": "fees"}, True),
        ("answered", {}, True),
        ("escalated", {"label": "fees"}, True),
        ("fallback", {"label": "human"}, False),
        ("fallback", {"label": "cards"}, True),
        ("refused", None, False),
        ("refused", {"label": "cards"}, True),
    ],
)
def test_only_the_answer_of_before_or_the_declared_fallback_is_right(outcome, answer, wrong):
    """A fallback that nobody declared is an answer that nobody validated."""
    known = {"a": Reply("a", 0.0, 1.0, 200, {"outcome": "answered", "answer": {"label": "cards"}})}
    reply = Reply("a", 0.0, 1.0, 200, {"outcome": outcome, "answer": answer})
    told = Operations.parse(OPERATIONS)
    assert faults.wrong(told.fallback.answer, reply, known) == wrong


def test_a_fault_that_is_not_borne_is_not_held_and_one_without_end_has_no_recovery(
    stage, monkeypatch
):
    """Of a fault of which a refusal is expected, and the model answers; and of one after which
    nothing answers as before: the time of recovery is none, so that no gate passes over it."""
    expects = faults.Fault("nothing", "no answer", lambda one: one.status == 503)
    lasts = faults.Fault("for ever", "no answer", lambda one: True, for_ever)
    monkeypatch.setattr(faults, "RECOVERED_S", 0.5)
    monkeypatch.setattr(operational, "FAULTS", (expects, lasts))
    found = stage()
    operational.measure(found, seconds=0, timeout_s=0.0, texts=6)
    seen = pd.read_parquet(found.outputs / "faults.parquet")
    assert seen["held"].tolist() == [0, 0]
    assert seen["recovery_s"].notna().tolist() == [True, False]


def for_ever(running):
    running.grant(False)
    time.sleep(faults.LEASE_READ_S)
    return nullcontext()


def test_a_gateway_that_can_not_start_ends_the_trial_with_its_own_words(stage, monkeypatch):
    """At once, and not when patience ends."""
    monkeypatch.setattr(trial, "GATEWAY", "no_such_module")
    began, found = time.monotonic(), stage()
    with pytest.raises(RunError, match="did not become ready") as caught:
        operational.measure(found, seconds=0, timeout_s=0.0, texts=6)
    assert "No module named no_such_module" in str(caught.value)
    assert time.monotonic() - began < trial.START_S / 10


def test_a_model_that_can_not_answer_is_no_trial(stage):
    """Its fallbacks would hold every fault; the error says none of the text."""
    found = stage(dev=DEV.assign(message="break about my card"))
    with pytest.raises(RunError, match="though nothing is broken") as caught:
        operational.measure(found, seconds=0, timeout_s=0.0, texts=6)
    assert "fallback (worker)" in str(caught.value) and "about my" not in str(caught.value)


@pytest.mark.parametrize(
    "reason, done", [("abstained", True), ("guard x", True), ("timeout", False), ("worker", False)]
)
def test_silence_by_rule_is_an_answer_of_the_model_and_must_stay_the_same(reason, done):
    """A fallback for want of a model proves nothing; one by a rule is told from it, and where the
    model answered before it is wrong."""
    fallback = {"outcome": "fallback", "answer": {"label": "human"}, "reason": reason}
    reply = Reply("a", 0.0, 1.0, 200, fallback)
    answered = {"outcome": "answered", "answer": {"label": "cards"}, "reason": ""}
    assert faults.computed(reply) == done
    assert (
        faults.wrong({"label": "human"}, reply, {"a": Reply("a", 0.0, 1.0, 200, answered)}) == done
    )
    assert not faults.wrong({"label": "human"}, reply, {"a": reply})


def test_the_provisional_bundle_is_one_that_a_server_checks(stage, tmp_path):
    """Every byte is in its manifest; temperatures and thresholds are the candidate's, one that was
    not found is left out."""
    warm = [{"task": "label", "model": model, "temperature": t} for model, t in
            (("base", 9.0), ("candidate", 2.0))]  # fmt: skip
    silent = {"label": {"threshold": 0.4}, "rule": {"threshold": None}}
    given = stage(temperature=warm, threshold=silent, functional={"dtype": {"value": "bfloat16"}})
    folder = trial.lay_out(given, Operations.parse(OPERATIONS), tmp_path / "bundle")
    assert not manifest.check(folder)
    said = json.loads((folder / "inference/settings.json").read_bytes())
    assert (said["temperatures"], said["thresholds"]) == ({"label": 2.0}, {"label": 0.4})
    assert said["dtype"] == "bfloat16"
    (folder / "adapter/weights.json").write_text("{}")
    assert manifest.check(folder)


def test_shorter_is_only_what_was_asked_for(stage):
    """Seconds and time-out of the parameters come over the stated ones; 0 leaves them."""
    found = stage()
    assert operational.stated(found, 0, 0.0) == Operations.parse(OPERATIONS)
    short = operational.stated(found, 3, 0.5)
    assert (short.load.seconds, short.serving.timeout_s) == (3, 0.5)
    assert (
        short.load.requests_per_s == 50
        and short.fallback == operational.stated(found, 0, 0).fallback
    )


@pytest.mark.slow
def test_the_real_worker_comes_back_with_the_same_answers(
    staged, served_router, rows, tiny_encoder, monkeypatch
):
    """A tiny model with real weights: killed while it owes answers, and as before afterwards."""
    monkeypatch.setattr(operational, "FAULTS", faults.FAULTS[4:5])
    facts = FACTS | {"labels": sorted(rows["label"].unique())}
    dev = rows.rename(columns={"text": "message", "label": "intent"})
    operations = OPERATIONS | {"serving": {"timeout_s": 20, "threads": 1}}
    given = {"adapter": served_router.folder / "adapter", "base": tiny_encoder, "facts": facts,
             "dev": dev, "criteria": CRITERIA, "operations": operations}  # fmt: skip
    requests = operational.measure(staged("45", given), seconds=0, timeout_s=0.0, texts=6)
    assert not requests["wrong"].any() and requests["logged"].all()
    assert (requests["outcome"] == "answered").sum() >= 6 + 50
    assert requests["outcome"].iloc[-1] == "answered"
