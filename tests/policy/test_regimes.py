"""Regime packs are data that is held to its own form, and claim only what there is (I3)."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.policy import duties, envelope, governance, isolation, layers, regimes, release
from workbench.policy.documents import Document
from workbench.policy.regimes import NAMES, OURS, REGIMES, Control, Regime, Rule, When, named
from workbench.policy.tiers import TIERS, ControlPlan, control_plan
from workbench.policy.usecase import UseCase

ROOT = Path(__file__).parents[2]
CONTROLS = [(name, c) for name, regime in REGIMES.items() for c in regime.controls]
READINGS = [
    (name, r) for name, regime in REGIMES.items() for r in (*regime.rules, *regime.controls)
]
RULE = {
    "number": "Z1",
    "clause": "c",
    "text": "t",
    "tier": "high",
    "when": {"kind": ["generative"]},
}
CONTROL = {"id": "1", "clause": "c", "asks": "a", "shows": "s", "not_covered": "n",
           "evidence": ["gate:layers"]}  # fmt: skip
SOURCE = "\n".join(p.read_text("utf-8") for p in (ROOT / "workbench").rglob("*.py"))
STAGES = {path.stem for path in (ROOT / "templates/stages").glob("*.ipynb")} | {"55_release"}
DECLARED = {
    name
    for path in (ROOT / "templates/stages").glob("*.ipynb")
    for name in json.loads(path.read_text("utf-8"))["metadata"]["workbench"].get("commits", {})
}
GATES = {*governance.GATES, *release.GATES, envelope.GATE, isolation.GATE, layers.GATE, "candidate"}
KNOWN = {
    "gate": GATES.__contains__,
    "layer": layers.ALL.__contains__,
    "stage": STAGES.__contains__,
    "ledger": lambda kind: kind in DECLARED or f'"{kind}"' in SOURCE,
    "bundle": lambda path: f'"{path}"' in SOURCE or f'"{path.split("/")[-1]}"' in SOURCE,
    "plan": {field.name for field in fields(ControlPlan)}.__contains__,
}


def exists(source: str) -> bool:
    kind, _, name = source.partition(":")
    return KNOWN[kind](name)


@pytest.mark.parametrize(("name", "control"), CONTROLS, ids=lambda one: getattr(one, "id", one))
def test_each_control_refers_to_evidence_that_there_is(name, control):
    """Gates, layers, stages, ledger entries, files and fields; a claim on nothing would never hold."""
    assert [source for source in control.evidence if not exists(source)] == []


@pytest.mark.parametrize("kind", KNOWN)
def test_evidence_that_there_is_not_is_noticed(kind):
    """The check itself can fail."""
    assert not exists(f"{kind}:nobody_made_this")


def test_every_pack_is_loaded_and_every_file_is_a_pack():
    """A file that nobody reads would be a regime that nobody is held to."""
    files = {path.stem for path in Path(regimes.__file__).parent.glob("*.yaml")} - {"tiers"}
    assert files == set(NAMES)


def test_nothing_is_verified_until_a_named_person_has_compared_it_with_the_text():
    """All readings here are ours alone; the day one is verified, who and when stand beside it."""
    assert not any(reading.verified for _, reading in READINGS)
    with pytest.raises(InputError, match="who and when"):
        Control.parse(CONTROL | {"verified": True})
    with pytest.raises(InputError, match="who and when"):
        Control.parse(CONTROL | {"checked_by": "A. Counsel", "checked_on": "2026-01-01"})
    checked = {"verified": True, "checked_by": "A. Counsel", "checked_on": "2026-01-01"}
    assert Control.parse(CONTROL | checked).verified


def test_each_reading_cites_its_clause_and_quotes_nobody():
    """Our own words: no quotation marks of any kind, and no more than three lines."""
    for _, one in READINGS:
        said = f"{one.text} " if isinstance(one, Rule) else f"{one.asks} {one.shows}"
        assert one.clause and not re.search(r"[\"“”„«»]", said), one
        assert len(said) < 300, one


def test_each_control_says_what_it_does_not_cover():
    """And each pack of somebody else's text names parts that nothing here answers."""
    assert all(control.not_covered for _, control in CONTROLS)
    assert all(REGIMES[name].not_mapped for name in NAMES if name != OURS)


def test_numbers_and_ids_are_distinct():
    """A refusal cites one rule, a claim one control."""
    numbers = [rule.number for rule in regimes.RULES]
    ids = [(name, control.id) for name, control in CONTROLS]
    assert len(set(numbers)) == len(numbers) and len(set(ids)) == len(ids)


def test_article_12_is_not_said_to_ask_for_tamper_evidence():
    """It asks for logging; that the ledger shows tampering is ours, and claimed as ours."""
    control = next(c for c in REGIMES["eu_ai_act"].controls if c.id == "12(1)")
    assert "does not ask for tamper evidence" in control.asks
    assert "in use" in control.not_covered


@pytest.mark.parametrize(
    "change",
    [
        {"tier": None},
        {"barred": True},
        {"when": {}},
        {"when": {"kind": ["classifer"]}},
        {"when": {"colour": ["red"]}},
        {"number": "no number"},
        {"tier": "awful"},
    ],
    ids=str,
)
def test_a_rule_that_says_nothing_or_two_things_is_refused(change):
    """No effect, two effects, no fact, a fact or value outside the vocabulary."""
    Rule.parse(RULE)
    with pytest.raises(InputError):
        Rule.parse(RULE | change)


@pytest.mark.parametrize(
    "change", [{"evidence": []}, {"evidence": ["layers"]}, {"evidence": ["sign:x"]}, {"asks": ""}]
)
def test_a_control_without_evidence_of_a_known_kind_is_refused(change):
    """It would claim and show nothing."""
    with pytest.raises(InputError):
        Control.parse(CONTROL | change)


def test_all_facts_of_a_rule_must_hold_and_each_may_be_one_of_several(usecase):
    """And over different facts, or over the values of one."""
    case = UseCase.parse(usecase | {"severity": "high"})
    assert When(kind=("classifier",), severity=("high", "critical")).holds(case)
    assert not When(kind=("generative",), severity=("high", "critical")).holds(case)
    assert not When(critical_gmp=(True,)).holds(case)
    assert When(data_class=("public", "health")).holds(case)
    assert not When(data_class=("health",)).holds(case)
    assert When().holds(case)


def test_a_use_case_that_names_an_unknown_regime_is_refused(usecase):
    """A misspelt regime would be one that nobody reports against."""
    with pytest.raises(InputError, match="no such regime") as refused:
        control_plan(UseCase.parse(usecase | {"regimes": ["eu_ai_act", "eu_aiact"]}))
    assert "eu_aiact" in str(refused.value) and "nist_ai_rmf" in str(refused.value)
    assert list(named(["gdpr", "gdpr"])) == [OURS, "gdpr"]


def test_the_conflict_matrix_speaks_of_duties_and_acts_that_there_are(usecase):
    """One misspelt would bar nobody."""
    for severity in TIERS:
        plan = control_plan(UseCase.parse(usecase | {"severity": severity}))
        assert set(plan.conflicts) == set(duties.DUTIES)
        assert {act for acts in plan.conflicts.values() for act in acts} <= set(duties.ACTS)


def test_duties_are_kept_apart_more_as_the_tier_rises_and_never_not_at_all(usecase):
    """Who built it approves at no tier; who wrote a control waives it at none."""
    plans = [control_plan(UseCase.parse(usecase | {"severity": tier})) for tier in TIERS]
    for lower, higher in zip(plans, plans[1:], strict=False):
        for duty, acts in lower.conflicts.items():
            assert set(acts) <= set(higher.conflicts[duty])
        assert higher.acceptance_days < lower.acceptance_days
    assert all("built" in plan.conflicts["approve"] for plan in plans)
    assert all("edited_policy" in plan.conflicts["waive"] for plan in plans)
    assert all("answered_finding" in plan.conflicts["close_finding"] for plan in plans)
    assert [plan.acceptable for plan in plans] == ["criteria", "marked", "marked", "none"]
    assert all(plan.acceptance_days < plan.evidence_expiry_days for plan in plans)


def test_a_validator_who_approved_the_templates_may_approve_the_release(usecase):
    """Both are the same role's: a team would need two of it otherwise."""
    for tier in TIERS:
        plan = control_plan(UseCase.parse(usecase | {"severity": tier}))
        assert "approved_templates" not in plan.conflicts["approve"]


def test_every_field_of_a_pack_is_described():
    """Who writes a pack of their own reads these."""

    def parts(model: type[Document]):
        yield model
        for one in model.__subclasses__():
            yield from parts(one)

    for model in (Regime, When, *parts(regimes.Reading)):
        assert all(field.description for field in model.model_fields.values()), model
