"""Documents that fit, for tests that change one thing in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

USECASE: dict[str, Any] = {
    "id": "router",
    "title": "A router",
    "kind": "classifier",
    "decision": "Which team reads a message.",
    "influences": "customer_service",
    "affected": ["customers"],
    "harm": "A message waits.",
    "severity": "low",
    "autonomy": "advisory",
    "domain": "other",
    "owner": {"name": "O. Wner", "email": "o@example.org"},
    "base": {"source": "pypi:some-model", "name": "some", "licence": "MIT"},
    "data": {
        "path": "data/rows.csv",
        "text": "text",
        "label": "label",
        "classified_by": "S. Teward",
        "columns": {
            "text": {"class": "public", "purpose": "input", "owner": "desk"},
            "label": {"class": "public", "purpose": "target", "owner": "desk"},
        },
    },
}

RULE: dict[str, Any] = {
    "id": "to_person",
    "text": "A person takes over.",
    "scorer": "escalation",
    "cases": "cases/to_person.yaml",
    "where": {"model": "candidate"},
    "at_least": 0.95,
    "bound": "lower",
    "level": 0.90,
    "min_n": 59,
    "blocking": True,
    "harm": "A customer is left alone.",
    "why": "One in twenty at most.",
    "probes": {"must_pass": [{"person": "yes"}], "must_fail": [{"person": "no"}]},
}

CRITERION: dict[str, Any] = {
    "id": "accuracy",
    "stage": "40_functional",
    "table": "cases.parquet",
    "where": {"model": "candidate"},
    "figure": "accuracy",
    "at_least": 0.8,
    "bound": "lower",
    "min_n": 10,
    "blocking": True,
    "harm": "Messages wait.",
    "why": "A default.",
}


@pytest.fixture
def usecase() -> dict[str, Any]:
    return copy.deepcopy(USECASE)


@pytest.fixture
def rule() -> dict[str, Any]:
    return copy.deepcopy(RULE)


@pytest.fixture
def criterion() -> dict[str, Any]:
    return copy.deepcopy(CRITERION)
