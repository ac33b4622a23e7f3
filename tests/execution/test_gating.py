"""Verdicts outside the kernel: whose criteria count, and when nothing may be decided."""

from __future__ import annotations

import json

import pytest

from workbench.errors import InputError
from workbench.execution import gating
from workbench.execution.stages import Stage
from workbench.policy.criteria import Policy
from workbench.policy.gates import GateVerdict
from workbench.policy.governance import GATES

HALF = {"id": "accuracy", "stage": "40_functional", "table": "cases.parquet", "figure": "accuracy",
        "at_least": 0.5, "bound": "value", "blocking": True, "harm": "h", "why": "w"}  # fmt: skip
POLICY = Policy.parse({"version": 1, "criteria": [HALF]})
PASSED = {"criterion": "accuracy", "verdict": "passed", "blocking": True}
GOVERNED = [{"criterion": name, "verdict": "passed", "blocking": True} for name in GATES]


def test_a_candidate_is_frozen_only_when_every_blocking_gate_passed():
    """And only when the notebook froze one."""
    assert gating.decided("50_c", POLICY, [PASSED, *GOVERNED], True).verdict == GateVerdict.PASSED
    refused = gating.decided("50_c", POLICY, [PASSED, *GOVERNED], False)
    assert refused.verdict == GateVerdict.FAILED and "freeze no candidate" in refused.reason


@pytest.mark.parametrize("verdict", ["failed", "insufficient_evidence", "not_evaluated"])
def test_anything_but_passed_refuses_and_is_named(verdict):
    """Also where the notebook froze one all the same."""
    found = gating.decided("50_c", POLICY, [PASSED | {"verdict": verdict}], True)
    assert found.verdict != GateVerdict.PASSED
    assert f"accuracy: {verdict}" in found.reason and "although" in found.reason


@pytest.mark.parametrize(
    ("policy", "verdicts", "late", "says"),
    [
        (POLICY, [], None, "accuracy: no verdict"),
        (POLICY, [PASSED | {"blocking": False}], None, "accuracy: no verdict"),
        (Policy.parse({"version": 1}), [], None, "no gate blocks"),
        (None, [], None, "no gate blocks"),
        (Policy.parse({"version": 1}), GOVERNED, None, "no gate blocks"),
        *[
            (
                POLICY,
                [PASSED, *GOVERNED[:i], *GOVERNED[i + 1 :]],
                None,
                f"{list(GATES)[i]}: no verdict",
            )
            for i in range(len(GATES))
        ],
        (POLICY, [PASSED], "criteria came late", "criteria came late"),
    ],
)
def test_without_every_blocking_gate_nothing_is_decided(policy, verdicts, late, says):
    """An absent verdict, no gate at all, no criteria, late criteria: not evaluated, never passed."""
    found = gating.decided("50_c", policy, verdicts, True, late)
    assert found.verdict == GateVerdict.NOT_EVALUATED and says in found.reason


def test_only_a_stage_that_commits_criteria_brings_its_own(tmp_path):
    """Else any stage could be judged by thresholds of its own making."""
    (tmp_path / "criteria.json").write_text(POLICY.model_dump_json(by_alias=True))
    intake = Stage(None, {"stage": "10_intake", "commits": {"criteria": "criteria.json"}})
    assert gating.frozen_policy(intake, {}, tmp_path) == POLICY
    assert gating.frozen_policy(Stage(None, {"stage": "42_own"}), {}, tmp_path) is None
    (tmp_path / "criteria.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        gating.frozen_policy(intake, {}, tmp_path)


@pytest.mark.parametrize("text", ["{", "3", '["x"]', "\x00", '[{"criterion": "other"}]'])
def test_claims_that_make_no_sense_are_a_contradiction(tmp_path, text):
    """A notebook that leaves rubbish as its claims is not taken for one that claims nothing."""
    (tmp_path / "claims.json").write_text(text)
    assert gating.contradictions(tmp_path, [])


def test_a_table_that_can_t_be_read_is_not_evaluated_and_names_no_host_path(tmp_path):
    """The reason is sealed; where this host keeps its scratch is nobody's business."""
    (tmp_path / "cases.parquet").write_text("x")
    stage = Stage(None, {"stage": "40_functional"})
    result = gating.judge(stage, POLICY, {}, tmp_path, {})[0]
    assert result.verdict == GateVerdict.NOT_EVALUATED
    assert "not a Parquet table" in result.reason and str(tmp_path) not in result.reason


def test_criteria_that_came_after_the_training_judge_nothing(done):
    """A training that did not read the criteria can precede them: its gates are not evaluated,
    the candidate is refused, and the reason is in the record."""
    done.stage("30_adapt", inputs={"train": "20_dataset/train.parquet"})
    assert done.cli("run", "--until", "30_adapt").code == 0
    done.criteria(at_least=0.4)
    told = done.cli("run")
    assert told.code == 3 and "accuracy: not_evaluated" in told.err
    verdict = done.record("40_functional").statement.predicate.workbench_verdicts[0]
    assert verdict["verdict"] == "not_evaluated" and "after the training began" in verdict["reason"]
    assert not (done.record("50_candidate").path / "outputs" / "bundle").exists()


def test_verdicts_under_other_criteria_count_as_none(done):
    """A stage that brings laxer criteria of its own can't carry a candidate: the deciding stage
    takes only verdicts given under the criteria that it was given itself."""
    lax = "(out / 'criteria.json').write_text(given['criteria'].read_text().replace('0.5', '0.0'))"
    setup = "import json, pathlib\nfacts = json.loads(pathlib.Path('stage.json').read_text())\n"
    given = "given = {n: pathlib.Path(f['path']) for n, f in facts['inputs'].items()}\n"
    out = "out = pathlib.Path('outputs')\n"
    done.stage("11_lax", inputs={"criteria": "10_intake/criteria.json"},
               commits={"criteria": "criteria.json"}, cells=[setup + given + out + lax])  # fmt: skip
    done.stage("40_functional", inputs={
        "adapter": "30_adapt/adapter", "locked": "20_dataset/locked.parquet!",
        "criteria": "11_lax/criteria.json"})  # fmt: skip
    told = done.cli("run")
    assert told.code == 3 and "accuracy: no verdict" in told.err


def test_the_deciding_stage_names_every_gate_that_stops_it(done):
    """Exit 3 with the gates; a bundle that the notebook froze all the same is taken away."""
    done.criteria(at_least=1.1)
    told = done.cli("run", "-p", "50_candidate.insist=yes")
    assert told.code == 3 and "accuracy: failed" in told.err and "although" in told.err
    record = done.record("50_candidate")
    assert not [s.name for s in record.statement.subject if "bundle" in s.name]
    assert json.loads(record.file("outputs/verdicts.json").read_text())[0]["verdict"] == "failed"
    assert len(done.ledger("candidate")) == 1  # the finished run's, from before
