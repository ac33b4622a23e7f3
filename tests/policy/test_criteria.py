"""Criteria state harm, reason and a threshold that can't be read leniently (V8)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.criteria import Criterion, Policy, PolicyRule


@pytest.mark.parametrize("field", ["harm", "why", "blocking", "bound"])
def test_a_criterion_states_harm_reason_weight_and_bound(criterion, field):
    """A threshold without harm, reason, weight or bound is refused."""
    del criterion[field]
    with pytest.raises(InputError, match=field):
        Criterion.parse(criterion)


def test_an_empty_harm_is_none(criterion):
    """A harm of no words is refused like a missing one."""
    with pytest.raises(InputError, match="harm"):
        Criterion.parse(criterion | {"harm": ""})


def test_exactly_one_direction(criterion):
    """Neither or both of at_least and at_most is refused."""
    with pytest.raises(InputError) as caught:
        Criterion.parse(criterion | {"at_most": 0.9})
    assert "exactly one of at_least and at_most" in str(caught.value)
    del criterion["at_least"]
    with pytest.raises(InputError):
        Criterion.parse(criterion)


def test_the_lenient_end_of_the_interval_is_refused(criterion):
    """`at_least` may not look at the upper bound, nor `at_most` at the lower one."""
    with pytest.raises(InputError, match="fit"):
        Criterion.parse(criterion | {"bound": "upper"})
    flipped = {k: v for k, v in criterion.items() if k != "at_least"} | {"at_most": 0.1}
    with pytest.raises(InputError, match="fit"):
        Criterion.parse(flipped)
    assert Criterion.parse(flipped | {"bound": "upper"}).asked == "upper bound at most 0.1"


@pytest.mark.parametrize("threshold", [True, "0.8", float("nan"), float("inf")])
def test_a_threshold_is_a_number(criterion, threshold):
    """YAML's `yes`, a quoted number and not-a-number are no thresholds."""
    with pytest.raises(InputError, match="at_least"):
        Criterion.parse(criterion | {"at_least": threshold})


def test_an_unquoted_yes_in_where_is_refused(criterion):
    """`yes` without quotes is a truth value in YAML; it would match no row."""
    with pytest.raises(InputError, match="where"):
        Criterion.parse(criterion | {"where": {"person": True}})


@pytest.mark.parametrize("side", ["must_pass", "must_fail"])
def test_a_rule_brings_probes_of_both_kinds(rule, side):
    """A rule without a row that must pass, or must fail, is refused."""
    rule["probes"][side] = []
    with pytest.raises(InputError, match=side):
        PolicyRule.parse(rule)


def test_a_probe_torn_by_a_comma_is_refused(rule):
    """An unquoted comma in a YAML flow mapping makes a key without value; it is seen."""
    rule["probes"]["must_pass"] = [{"reply": "I'm sorry", "I can't help.": None}]
    with pytest.raises(InputError, match="must_pass"):
        PolicyRule.parse(rule)


def test_ids_are_distinct_over_rules_and_criteria(rule, criterion):
    """Two gates of one name would hide each other."""
    with pytest.raises(InputError) as caught:
        Policy.parse({"version": 1, "criteria": [criterion | {"id": "to_person"}], "rules": [rule]})
    assert "used twice: to_person" in str(caught.value)


def test_a_policy_survives_json(rule, criterion):
    """The sealed policy, read again, is the policy."""
    policy = Policy.parse({"version": 2, "criteria": [criterion], "rules": [rule]})
    assert Policy.parse(policy.model_dump(mode="json")) == policy
    assert policy.required == ["accuracy", "to_person"]
    assert [gate.id for gate in policy.of("41_policy")] == ["to_person"]
