"""Who touched what led to a candidate may be barred from judging it, as the plan says (L6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.errors import InputError
from workbench.policy.duties import ACTS, DUTIES, Touch, conflicts, refuse
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase

RAN = Touch("Emil Engineer", "built", "ran 30_adapt/20261121T000000Z-0123456789ab")
WROTE = Touch("Emil Engineer", "edited_policy", "policy.yaml in commit abc1234, 2026-11-20")
CLASSIFIED = Touch("Dora Data", "classified", "ledger entry 7, 2026-11-20, classification")
TOUCHES = [RAN, WROTE, CLASSIFIED]


@pytest.fixture(params=["low", "moderate", "high", "critical"])
def plan(request, usecase):
    return control_plan(UseCase.parse(usecase | {"severity": request.param}))


def test_the_matrix_is_the_plans_and_speaks_of_known_acts_only(plan):
    """Every tier bars who built from approving, and who wrote the criteria from waiving them."""
    assert set(plan.conflicts) == set(DUTIES)
    assert {act for acts in plan.conflicts.values() for act in acts} <= set(ACTS)
    assert RAN in conflicts(TOUCHES, "Emil Engineer", "approve", plan)
    assert WROTE in conflicts(TOUCHES, "Emil Engineer", "waive", plan)


def test_a_touch_outside_the_matrix_and_another_persons_touch_bar_nobody(plan):
    """Who classified the data may approve; so may who did nothing."""
    for name in ("Dora Data", "Vera Validator"):
        assert conflicts(TOUCHES, name, "approve", plan) == []
        refuse(TOUCHES, name, "approve", plan)


def test_at_a_low_tier_who_wrote_the_criteria_may_still_approve(usecase):
    """A small team is not deadlocked; at a high tier the same touch bars."""
    low, high = (control_plan(UseCase.parse(usecase | {"severity": s})) for s in ("low", "high"))
    assert conflicts([WROTE], "Emil Engineer", "approve", low) == []
    assert conflicts([WROTE], "Emil Engineer", "approve", high) == [WROTE]


def test_a_refusal_says_where_the_person_touched(plan):
    with pytest.raises(InputError, match="Emil Engineer may not waive") as refused:
        refuse(TOUCHES, "Emil Engineer", "waive", plan)
    assert "policy.yaml in commit abc1234, 2026-11-20" in refused.value.where
    assert plan.tier in refused.value.expected


def test_a_duty_or_act_that_nobody_knows_is_refused(plan):
    """One misspelt would bar nobody, and nobody would notice."""
    with pytest.raises(InputError, match="no such duty"):
        conflicts(TOUCHES, "Emil Engineer", "aprove", plan)
    misspelt = replace(plan, conflicts=plan.conflicts | {"approve": ("build",)})
    with pytest.raises(InputError, match="no such act"):
        conflicts(TOUCHES, "Emil Engineer", "approve", misspelt)
