"""A candidate is frozen over verdicts that all passed, or refused with the reasons."""

from __future__ import annotations

import json

import pytest

from workbench.methods import candidate
from workbench.policy.criteria import Policy

GATE = {
    "id": "right", "stage": "40_functional", "table": "cases.parquet", "figure": "accuracy",
    "at_least": 0.5, "bound": "value", "blocking": True, "harm": "harm", "why": "why",
}  # fmt: skip
POLICY = {"version": 1, "criteria": [GATE, {**GATE, "id": "even", "blocking": False}]}


def verdict(name: str = "right", outcome: str = "passed", **more) -> dict:
    return {
        "criterion": name, "stage": "40_functional", "verdict": outcome, "figure": None,
        "threshold": "at least 0.5", "reason": "as found", "harm": "harm", "blocking": True, **more,
    }  # fmt: skip


@pytest.fixture
def stage(staged):
    """The deciding stage, and what stages before it sealed."""
    inputs = {
        "criteria": POLICY,
        "functional_verdicts": [verdict()],
        "functional_figures": {"n": 3},
    }
    return staged("50_candidate", inputs)


@pytest.mark.parametrize(
    "outcome", ["failed", "insufficient_evidence", "not_evaluated", "PASSED", ""]
)
def test_only_passed_is_a_pass(outcome):
    """Any other word of a blocking gate refuses the candidate and is named as the reason."""
    decision = candidate.judged([verdict(), verdict("odd", outcome)], "c")
    assert not decision["frozen"] and decision["not_passed"] == ["odd"]
    assert f"odd: {outcome} (as found)" in decision["text"]


def test_a_gate_that_does_not_block_refuses_nothing():
    """It is shown beside the others and stops nobody."""
    assert candidate.judged([verdict(), verdict("even", "failed", blocking=False)], "c")["frozen"]


def test_without_a_blocking_gate_nothing_is_frozen():
    """A policy that asks nothing lets nothing through."""
    for verdicts in ([], [verdict("even", blocking=False)]):
        assert not candidate.judged(verdicts, "c")["frozen"]
        assert not candidate.with_one_gate_missing(verdicts, name="c")["frozen"]


def test_a_blocking_gate_without_a_verdict_is_not_a_pass():
    """What no stage spoke about was not evaluated; gates that don't block may be absent."""
    missing = candidate.absent(Policy.parse(POLICY, "policy"), [])
    assert [(one["criterion"], one["verdict"]) for one in missing] == [("right", "not_evaluated")]
    assert not candidate.judged(missing, "c")["frozen"]
    assert candidate.absent(Policy.parse(POLICY, "policy"), [verdict()]) == []


def test_the_negative_control_refuses_what_was_frozen():
    """One gate without its evidence turns the decision; the verdicts themselves stay."""
    verdicts = [verdict(), verdict("other")]
    assert candidate.judged(verdicts, "c")["frozen"]
    assert not candidate.with_one_gate_missing(verdicts, name="c")["frozen"]
    assert [one["verdict"] for one in verdicts] == ["passed", "passed"]


def test_the_notebook_says_what_shall_be_frozen_and_freezes_nothing(stage):
    """The decision is its only output; the engine judges again, and writes the bundle."""
    verdicts = candidate.verdicts(stage)
    decision = candidate.decide(stage, verdicts, name="router")
    assert set(candidate.bundle(stage, decision).index) == set(stage.facts["inputs"])
    assert [path.name for path in stage.outputs.rglob("*")] == ["decision.json"]
    said = json.loads((stage.outputs / "decision.json").read_text())
    assert (said["name"], said["frozen"]) == ("router", True)


def test_a_refused_candidate_shows_no_bundle(stage):
    """There is nothing that somebody could take for one; the refusal itself is recorded."""
    decision = candidate.decide(stage, [verdict(outcome="failed")], name="router")
    assert candidate.bundle(stage, decision).empty
    assert json.loads((stage.outputs / "decision.json").read_text())["frozen"] is False


def test_the_table_says_which_gates_block(stage):
    """Symbol and word for the verdict, yes or no for whether a release stands with it."""
    shown = candidate.table([verdict(), verdict("even", "failed", blocking=False)])
    assert shown["blocks"].tolist() == ["yes", "no"]
    assert shown["verdict"].tolist() == ["✓ passed", "✗ failed"]
