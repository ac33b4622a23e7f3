"""Every layer that the plan asks for is judged by a gate that can refuse."""

from __future__ import annotations

import pytest

from workbench.policy import layers

STAGES = {"40_functional": "functional", "44_reproducibility": "reproducibility"}


def verdict(stage, blocking=True, outcome="passed"):
    return {"criterion": "c", "stage": stage, "blocking": blocking, "verdict": outcome}


def test_a_layer_counts_when_a_gate_of_it_blocks():
    """Whatever its verdict: that is another gate's question."""
    found = [verdict("40_functional", outcome="failed"), verdict("44_reproducibility")]
    assert layers.shown(STAGES, found) == {"functional", "reproducibility"}


@pytest.mark.parametrize("found", [[], [verdict("44_reproducibility", blocking=False)]])
def test_a_layer_that_can_refuse_nothing_is_no_layer(found):
    """No verdict at all, or only reported ones."""
    shown = layers.shown(STAGES, [verdict("40_functional"), *found])
    result = layers.judge(list(STAGES.values()), shown, "50_candidate", True)
    assert result.verdict == "not_evaluated" and result.failing == ("reproducibility",)
    assert "reproducibility" in result.reason and result.blocking


def test_all_that_were_asked_for_pass():
    """More than asked is no fault."""
    assert layers.judge(["functional"], {"functional", "suites"}, "50", True).verdict == "passed"


def test_a_stage_of_no_layer_shows_none():
    """A gate of the dataset is no validation of the model."""
    assert layers.shown(STAGES, [verdict("20_dataset")]) == set()
