"""49: all layers on one page, and what is missing is named."""

from __future__ import annotations

import json

import pytest

from workbench.evidence import figures
from workbench.methods import validation

GATE = {
    "id": "right", "stage": "40_functional", "table": "cases.parquet", "figure": "accuracy",
    "at_least": 0.5, "bound": "value", "blocking": True, "harm": "harm", "why": "why",
}  # fmt: skip
POLICY = {"version": 1, "criteria": [GATE, {**GATE, "id": "calm", "stage": "43_calibration"}]}
SHARE = {"value": 0.9, "low": 0.85, "high": 0.94, "n": 100, "unit": "share", "method": "Wilson"}


def verdict(name="right", outcome="passed", stage="40_functional", **more):
    return {
        "criterion": name, "stage": stage, "verdict": outcome, "figure": SHARE, "blocking": True,
        "threshold": "lower bound at least 0.5", "reason": "as found", "harm": "harm",
        "failing": [], **more,
    }  # fmt: skip


@pytest.fixture
def stage(staged):
    made = staged("49_validation", {
        "plan": {"layers": ["functional", "calibration", "operational"]}, "criteria": POLICY,
        "functional_verdicts": [verdict(outcome="failed", failing=[f"c{n}" for n in range(7)])],
        "data_verdicts": [verdict("no_leaks", stage="20_dataset")],
    })  # fmt: skip
    made.facts["causes"] = [{"gate": "right", "case": "c1", "cause": "data", "by": "Ada",
                             "why": "two labels"}]  # fmt: skip
    return made


def test_a_gate_without_a_stage_is_not_evaluated(stage):
    """The layer that never ran is there by the gates that it owes."""
    found = {one["criterion"]: one["verdict"] for one in validation.verdicts(stage)}
    assert found == {"no_leaks": "passed", "right": "failed", "calm": "not_evaluated"}


def test_a_layer_that_nobody_looked_at_says_so(stage):
    """Asked for or not, it has its row."""
    table = validation.by_layer(stage, validation.verdicts(stage))
    assert table.loc["operational", "asked for"] == "yes"
    assert table.loc["operational", ""] == "nobody looked"
    assert table.loc["functional", "✗ failed"] == 1 and table.loc["policy", "asked for"] == "no"


def test_a_failure_has_an_expert_s_cause_or_waits_for_one(stage):
    """Named person and reason; the rest is counted, not hidden."""
    table = validation.open_failures(stage, validation.verdicts(stage)).iloc[:, 0]
    assert table["right", "c1"] == "data (Ada): two labels"
    assert table["right", "c0"] == "nobody yet" and ("right", "and 2 more") in table.index


def test_the_conclusion_names_what_is_not_passed_and_not_shown(stage):
    """As words and as a file."""
    said = validation.conclude(stage, validation.verdicts(stage))
    assert not said["complete"] and said["not_passed"] == ["right", "calm"]
    assert any("operational" in line for line in said["not_shown"])
    assert "✗ Not passed: right, calm" in validation.in_words(said)
    assert json.loads((stage.outputs / "validation.json").read_text()) == said


def test_without_a_gate_that_blocks_nothing_is_complete(stage):
    """A page of reports is no pass."""
    assert not validation.conclude(stage, [verdict(blocking=False)])["complete"]


def test_the_negative_control_misses_a_layer_by_name(stage):
    """And breaks where no gate would be missed."""
    found = validation.verdicts(stage)
    assert "right" in validation.without_a_layer(stage, found)
    with pytest.raises(AssertionError, match="nobody would notice"):
        validation.without_a_layer(stage, [*found, verdict("right", stage="x")])


def test_the_figure_takes_gates_over_shares_only(stage):
    """Counts have no place on that scale."""
    counted = verdict("count", figure={"value": 3.0, "unit": "rows", "low": None, "n": 3})
    other = verdict("standing", threshold="recall of what must be masked (0.9)")
    table = validation.margins([verdict(), counted, other])
    assert table["name"].tolist() == ["right"] and table["asked"].tolist() == [0.5]
    assert figures.margins(table) and figures.margins(table.head(0))
