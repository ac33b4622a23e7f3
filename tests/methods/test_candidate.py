"""A candidate is frozen over verdicts that all passed, or refused with the reasons."""

from __future__ import annotations

import hashlib
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
def stage(staged, tmp_path):
    """The deciding stage of a classifier: an adapter folder, and what stages before it sealed."""
    adapter = tmp_path / "adapter"
    (adapter / "deep").mkdir(parents=True)
    (adapter / "adapter.safetensors").write_bytes(b"weights")
    (adapter / "deep/config.json").write_bytes(b"{}")
    for path in adapter.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    base = {
        "name": "some",
        "licence": "MIT",
        "source": "pypi:some",
        "revision": "1",
        "weights": "0" * 64,
    }
    usecase = {
        "kind": "classifier",
        "title": "A router",
        "decision": "d",
        "affected": ["c"],
        "harm": "h",
    }
    inputs = {
        "adapter": adapter, "base": base, "usecase": usecase, "plan": {"tier": "low"},
        "criteria": POLICY, "functional_verdicts": [verdict()], "functional_figures": {"n": 3},
    }  # fmt: skip
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


def test_the_bundle_is_whole_and_its_manifest_covers_every_file(stage):
    """Adapter, criteria, figures and card, each by its digest; the manifest itself apart."""
    verdicts = candidate.verdicts(stage)
    decision = candidate.decide(stage, verdicts, name="router")
    listed = candidate.freeze(stage, decision, verdicts)
    bundle = stage.outputs / "bundle"
    manifest = json.loads((bundle / "manifest.json").read_text())
    there = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert {one["file"] for one in manifest["files"]} == there - {"manifest.json"}
    assert "adapter/deep/config.json" in there and set(listed.index) < there
    for one in manifest["files"]:
        assert hashlib.sha256((bundle / one["file"]).read_bytes()).hexdigest() == one["sha256"]
    assert set(manifest["made_from"]) == set(stage.facts["inputs"])
    evaluation = json.loads((bundle / "evaluation.json").read_text())
    assert evaluation["verdicts"] == verdicts and evaluation["functional_figures"] == {"n": 3}


def test_a_refused_candidate_leaves_no_bundle(stage):
    """There is nothing that somebody could take for one; the decision itself is recorded."""
    verdicts = [verdict(outcome="failed")]
    decision = candidate.decide(stage, verdicts, name="router")
    assert candidate.freeze(stage, decision, verdicts).empty
    assert not (stage.outputs / "bundle").exists()
    assert json.loads((stage.outputs / "decision.json").read_text())["frozen"] is False


def test_the_card_says_what_was_not_shown(stage):
    """Harm, base with digest, every gate with its verdict, and the limits."""
    verdicts = [verdict(), verdict("even", "failed", blocking=False)]
    card = candidate.card(stage, candidate.judged(verdicts, "router"), verdicts)
    assert "license: MIT" in card and "pipeline_tag: text-classification" in card
    assert "| even | failed |" in card and "## What was not shown" in card
    assert "Nobody has approved" in card


def test_the_table_says_which_gates_block(stage):
    """Symbol and word for the verdict, yes or no for whether a release stands with it."""
    shown = candidate.table([verdict(), verdict("even", "failed", blocking=False)])
    assert shown["blocks"].tolist() == ["yes", "no"]
    assert shown["verdict"].tolist() == ["✓ passed", "✗ failed"]
