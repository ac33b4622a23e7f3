"""The tier follows from numbered rules, and the plan from the tier (I2)."""

from __future__ import annotations

import json

import pytest

from workbench.errors import InputError
from workbench.policy.tiers import RULES, TIERS, control_plan
from workbench.policy.usecase import UseCase

PERSONAL = {
    "class": "personal",
    "purpose": "input",
    "owner": "desk",
    "legal_basis": "contract",
    "retention_days": 30,
}


FORM = {"system": "Route it.", "fields": [{"name": "queue", "values": ["a", "b"]}]}


def plan(usecase, **changes):
    form = {"form": FORM} if changes.get("kind") == "generative" else {}
    return control_plan(UseCase.parse(usecase | changes | form))


def fired(usecase, **changes):
    return {rule.number for rule in plan(usecase, **changes).rules}


def with_class(usecase, name):
    columns = {"text": PERSONAL | {"class": name}}
    return {"data": usecase["data"] | {"columns": columns}}


def test_a_harmless_use_is_low(usecase):
    """No rule applies: the lowest tier, its plan, its 29 cases for one in ten."""
    low = plan(usecase)
    assert (low.tier, low.rules, low.cases_per_rule) == ("low", (), 29)
    assert not low.replay_certificate


@pytest.mark.parametrize(
    ("number", "tier", "changes", "not_with"),
    [
        ("E1", "high", {"influences": "creditworthiness"}, {"influences": "other"}),
        ("E2", "high", {"influences": "life_or_health_insurance_pricing"}, {"influences": "other"}),
        ("E3", "high", {"influences": "emergency_triage"}, {"influences": "other"}),
        ("E4", "moderate", {"kind": "generative"}, {"kind": "classifier"}),
        ("S1", "moderate", {"domain": "finance", "severity": "moderate"}, {"kind": "generative"}),
        ("S2", "moderate", {"domain": "finance", "kind": "generative"}, {"kind": "classifier"}),
        ("F1", "high", {"influences": "medical_device_function"}, {"influences": "other"}),
        ("V1", "high", {"influences": "vehicle_safety_function"}, {"influences": "other"}),
        ("G1", "critical", {"critical_gmp": True}, {"critical_gmp": False}),
        ("W1", "moderate", {"severity": "moderate"}, {"severity": "low"}),
        ("W2", "high", {"severity": "high"}, {"severity": "low"}),
        ("W3", "critical", {"severity": "critical"}, {"severity": "low"}),
        ("W4", "high", {"severity": "moderate", "autonomy": "automatic"}, {"autonomy": "advisory"}),
        ("W5", "critical", {"severity": "high", "autonomy": "automatic"}, {"autonomy": "advisory"}),
        ("W6", "moderate", {"influences": "unstated"}, {"influences": "other"}),
    ],
)
def test_each_rule_applies_to_its_facts_and_only_then(usecase, number, tier, changes, not_with):
    """The rule fires on its facts, lifts the tier, and stays silent when one fact is otherwise."""
    assert number in fired(usecase, **changes)
    assert plan(usecase, **changes).tier == tier
    assert number not in fired(usecase, **(changes | not_with))


@pytest.mark.parametrize(
    ("name", "number", "tier"), [("personal", "P1", "moderate"), ("health", "P2", "high")]
)
def test_data_lifts_the_tier(usecase, name, number, tier):
    """Personal data asks for moderate at least, health data for high; public for neither."""
    changes = with_class(usecase, name)
    assert number in fired(usecase, **changes)
    assert plan(usecase, **changes).tier == tier
    assert name in plan(usecase, **changes).allowed_data_classes
    assert name not in plan(usecase).allowed_data_classes


def test_a_generative_model_in_a_critical_gmp_decision_is_barred(usecase):
    """Refused with the rule's number and clause; a classifier there is critical, not barred."""
    with pytest.raises(InputError, match="barred by rule B1") as caught:
        plan(usecase, critical_gmp=True, kind="generative")
    assert "Annex 22" in str(caught.value)
    assert plan(usecase, critical_gmp=True).tier == "critical"


def test_leaving_out_the_regime_does_not_lower_the_tier(usecase):
    """Tiers follow from facts: an empty list of regimes changes nothing."""
    assert plan(usecase, influences="creditworthiness", regimes=[]).tier == "high"


def test_sr_26_2_lifts_no_generative_model(usecase):
    """Generative AI is outside SR 26-2: the rule that says so does not itself set a tier."""
    rule = next(rule for rule in RULES if rule.number == "S2")
    assert rule.tier == "low"


def test_controls_never_weaken_as_the_tier_rises(usecase):
    """More cases, approvers, classes and isolation; evidence expires sooner."""
    plans = [plan(usecase, severity=severity) for severity in TIERS]
    assert [p.tier for p in plans] == list(TIERS)
    for lower, higher in zip(plans, plans[1:], strict=False):
        assert higher.cases_per_rule > lower.cases_per_rule
        assert higher.quorum > lower.quorum
        assert higher.evidence_expiry_days < lower.evidence_expiry_days
        assert set(higher.allowed_data_classes) >= set(lower.allowed_data_classes)
        assert set(higher.layers) >= set(lower.layers)
    assert [p.cases_per_rule for p in plans] == [29, 59, 149, 299]
    assert [p.replay_certificate for p in plans] == [False, False, True, True]
    assert [p.isolation for p in plans] == ["none", "namespace", "container", "container"]


def test_only_a_generative_model_has_the_policy_layer(usecase):
    """A classifier has no replies to judge."""
    assert "policy" in plan(usecase, kind="generative").layers
    assert "policy" not in plan(usecase).layers


def test_rules_are_numbered_cited_and_unverified():
    """Numbers are distinct; each rule has clause and text; none is verified until a person has."""
    assert len({rule.number for rule in RULES}) == len(RULES)
    assert all(rule.clause and rule.text for rule in RULES)
    assert not any(rule.verified for rule in RULES)


def test_a_plan_is_plain_json_with_its_rules(usecase):
    """The plan can be sealed: numbers, clauses and `verified` of its rules included."""
    facts = plan(usecase, severity="high").as_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["rules"][0]["number"] == "W2"
    assert facts["rules"][0]["verified"] is False
