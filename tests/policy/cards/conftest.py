"""Facts of a small candidate, with a source for each; its figures are made up."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from workbench.policy.cards.facts import CardFacts, Signature, Source
from workbench.policy.usecase import UseCase

STAGES = ("10_intake", "15_base", "20_dataset", "30_adapt", "40_functional", "49_validation")
PLACES = {
    "usecase": "10_intake", "plan": "10_intake", "criteria": "10_intake", "base": "15_base",
    "data": "20_dataset", "figures:20_dataset": "20_dataset", "locked": "20_dataset",
    "adaptation": "30_adapt", "parameters": "30_adapt", "environment": "40_functional",
    "verdicts:40_functional": "40_functional", "validation": "49_validation",
}  # fmt: skip


def _gate(criterion: str = "queue_accuracy", verdict: str = "passed", **changed: Any) -> dict:
    figure = {"name": "accuracy", "value": 0.875, "low": 0.826, "high": 0.913, "n": 200,
              "unit": "share", "method": "Wilson", "unscored": 0}  # fmt: skip
    return {
        "criterion": criterion, "stage": "40_functional", "verdict": verdict, "blocking": True,
        "threshold": "lower bound at least 0.8", "reason": "accuracy: lower 0.83 of 0.8",
        "harm": "Customers wait with the wrong team.", "figure": figure,
    } | changed  # fmt: skip


@pytest.fixture
def gate():
    """A gate's result, as `GateResult.as_dict` writes it."""
    return _gate


@pytest.fixture
def accepted() -> dict[str, Any]:
    """What stands beside a failed gate whose risk somebody accepted."""
    return {"by": "Ruth Adeyemi", "residual": "More calls", "control": "Agents confirm each",
            "owner": "Desk", "expires": "2027-02-01", "entry": 41}  # fmt: skip


@pytest.fixture
def hostile() -> str:
    """A text that wants to be HTML, a link, a cell, a style and a turned line."""
    return "\"'><img src=x onerror=alert(1)><script>x</script> </style> [a](javascript:b) | $body \u202e {0}"


@pytest.fixture
def signed() -> tuple[Signature, ...]:
    """A person who approved and a demonstration's identity who answers for the use."""
    until = "2027-05-20T00:00:00+00:00"
    return (
        Signature("Vera Lindqvist", "model_validator", "2026-11-21T21:40:12.120000Z", "approved",
                  until, False),
        Signature("Ines Okafor (DEMO)", "use_case_owner", "2026-11-21T21:44:57+00:00",
                  "responsible", until, True),
    )  # fmt: skip


@pytest.fixture
def facts(usecase) -> CardFacts:
    """A candidate whose only gate passed, on the way to a first release."""
    digests = {stage: f"{number:x}" * 64 for number, stage in enumerate(STAGES, 1)}
    sources = {
        name: Source(digests[stage], f"{stage}/20261121T100000Z-{digests[stage][:12]}",
                     f"outputs/{name.partition(':')[0]}.json", digests[stage][::-1])
        for name, stage in PLACES.items()
    }  # fmt: skip
    declared = copy.deepcopy(usecase)
    declared["data"]["sources"] = [
        {"id": "desk", "issuer": "Desk", "licence": "MIT", "language": ["en"]}
    ]
    return CardFacts(
        usecase=UseCase.parse(declared),
        plan={"tier": "moderate", "rules": [{"number": "W1", "clause": "workbench"}],
              "allowed_data_classes": ["public"], "approver_roles": ["model_validator", "risk_manager"],
              "evidence_expiry_days": 180, "replay_certificate": False},
        criteria={"criteria": [{"id": "queue_accuracy", "why": "One in five today.",
                                "harm": "Customers wait."}], "rules": []},
        base={"name": "some", "source": "pypi:some-model", "revision": "1", "licence": "Apache-2.0",
              "architecture": "BertModel", "weights": "e" * 64},
        verdicts=[_gate()],
        figures={"40_functional": {"look": {"value": 1}, "look_budget": {"value": 3}},
                 "20_dataset": {"rows_train": {"value": 800}}},
        validation={"not_shown": ["How it behaves under load.", "Rows from other seasons."]},
        adaptation={"method": "lora", "parameters": {"method": "lora", "rank": 16, "seed": 7}},
        data={"manifest": [{"step": 1, "use": "deduplicate", "version": "1", "why": "said twice",
                            "rows_in": 1003, "rows_out": 1000, "changed": 0, "created": 0}],
              "rows": {"train": 800, "dev": 100, "locked": 100}, "snapshot": {"sha256": "c" * 64}},
        environment={"declared": {"isolation": "namespace", "compute": {"architecture": "x86_64"}},
                     "observed": {"python": "3.11.7", "libraries": {"torch": "2.13.0"},
                                  "lock": {"sha256": "d" * 64}}, "container": None},
        sources=sources,
        records=[{"stage": stage, "ref": f"{stage}/20261121T100000Z-{digest[:12]}",
                  "digest": digest, "finished": "2026-11-21T10:00:00+00:00"}
                 for stage, digest in digests.items()],
        identity={"name": "candidate", "number": 1, "parent": None},
    )  # fmt: skip
