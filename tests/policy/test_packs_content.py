"""What the packs' scenario libraries and the two packs of tier high promise."""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path

import pytest
import yaml

from workbench.methods.evaluate.perturbations import perturb
from workbench.policy import gates, scenarios
from workbench.policy.classes import problems
from workbench.policy.criteria import Policy
from workbench.policy.scenarios import Library
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase

PACKS = Path(__file__).parents[2] / "templates" / "usecases"
LEAST = {"card-support": 120, "intent-routing": 40, "patient-messages": 40, "traffic-scenes": 40}
HIGH = {"patient-messages": ["emergency_now"], "traffic-scenes": ["stop", "hand_over"]}
NEAR = 0.5  # Jaccard similarity of shingles of four characters


def read(pack: str, file: str) -> dict:
    return yaml.safe_load((PACKS / pack / file).read_text(encoding="utf-8"))


def usecase(pack: str) -> UseCase:
    return UseCase.parse(read(pack, "usecase.yaml"), where=pack)


def policy(pack: str) -> Policy:
    return Policy.parse(read(pack, "policy.yaml"), where=pack)


def rows(pack: str) -> list[dict]:
    text = (PACKS / pack / "data" / "messages.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@cache
def libraries(pack: str) -> list[Library]:
    folder = PACKS / pack / usecase(pack).scenarios
    return scenarios.parse({path.name: path.read_bytes() for path in folder.glob("*.yaml")})


def every(pack: str) -> list:
    return [one for library in libraries(pack) for one in library.scenarios]


def shingles(text: str) -> set[str]:
    plain = " ".join(text.lower().split())
    return {plain[at : at + 4] for at in range(max(1, len(plain) - 3))}


def similar(a: set[str], b: set[str]) -> float:
    """Jaccard similarity, 0 where the lengths alone rule out that they are near."""
    if min(len(a), len(b)) < NEAR * max(len(a), len(b)):
        return 0.0
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def nearest(text: str, others: list[set[str]]) -> float:
    mine = shingles(text)
    return max(similar(mine, other) for other in others)


@pytest.mark.parametrize("pack", LEAST)
def test_a_pack_has_as_many_scenarios_as_it_says(pack):
    """120 for finance, 40 for each other; an id stands there once, over all libraries."""
    ids = [one.id for one in every(pack)]
    assert len(set(ids)) == len(ids) >= LEAST[pack]


@pytest.mark.parametrize("pack", LEAST)
def test_every_hazard_names_a_rule_and_no_library_claims_a_review(pack):
    """Nobody has checked the sources yet: `reviewed_by` is empty and the README says unverified."""
    assert all(hazard.source for one in libraries(pack) for hazard in one.hazards.values())
    assert {one.reviewed_by for one in libraries(pack)} == {""}
    assert "unverified" in (PACKS / pack / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("pack", LEAST)
def test_every_hazard_and_every_condition_is_met(pack):
    """No hazard stands there without a scenario or under one condition alone; no condition idle."""
    for library in libraries(pack):
        met = {(one.hazard, one.condition) for one in library.scenarios}
        for hazard in library.hazards:
            assert len({there for named, there in met if named == hazard}) >= 2, hazard
        assert {there for _, there in met} == set(library.conditions), library.library


@pytest.mark.parametrize("pack", LEAST)
def test_checks_ask_for_what_the_model_can_answer(pack):
    """A value or a field that a check or a relation names is one of the form's, or a label."""
    case = usecase(pack)
    known = {field.name: set(field.values) for field in case.form.fields} if case.form else {}
    known |= {"label": set(case.labels or {row[case.data.label] for row in rows(pack)})}
    for one in every(pack):
        asked = [check for relation in one.relations for check in relation.checks] + one.checks
        for check in asked:
            named = check.arguments
            fields = named.get("fields", [named["field"]] if "field" in named else [])
            assert set(fields) <= set(known), one.id
            if "field" in named:
                assert set(named["values"]) <= known[named["field"]], one.id


@pytest.mark.parametrize("pack", LEAST)
def test_every_variant_changes_its_text(pack):
    """A variant that equals its original would count the original twice."""
    for one in every(pack):
        for name in one.variants:
            assert perturb(name, one.text, key=one.id, seed=0) != one.text


def _known(pack: str) -> list[set[str]]:
    files = (PACKS / pack / "cases").glob("*.yaml")
    cases = [case["text"] for file in files for case in yaml.safe_load(file.read_text())["cases"]]
    return [shingles(text) for text in cases + [row["text"] for row in rows(pack)]]


@pytest.mark.parametrize("pack", LEAST)
def test_no_scenario_is_nearly_a_row_or_a_case(pack):
    """What a model learned from or is examined on already shows nothing new as a scenario."""
    known = _known(pack)
    near = {one.id: nearest(one.text, known) for one in every(pack) if len(one.text) > 8}
    assert {name: how for name, how in near.items() if how >= NEAR} == {}


def test_a_row_in_other_words_would_be_found():
    """The test above can fail: a row with a word changed is nearly that row."""
    text = next(row["text"] for row in rows("card-support") if len(row["text"]) > 80)
    assert nearest(text.replace("my", "our") + " Thanks!", _known("card-support")) >= NEAR


@pytest.mark.parametrize("pack", LEAST)
def test_scenarios_are_not_one_sentence_filled_in(pack):
    """No two are alike, those of the same incident included."""
    pairs = itertools.combinations([shingles(one.text) for one in every(pack)], 2)
    assert max(similar(a, b) for a, b in pairs) < NEAR


def test_incidents_of_the_fictional_bank_are_regressions_that_block():
    """Each incident became a scenario, and blocks whatever its library says."""
    known = scenarios.cases(libraries("card-support")).values()
    incidents = [case for case in known if case.scenario.origin == "incident"]
    assert len({case.scenario.id for case in incidents}) >= 5
    assert {case.facts["severity"] for case in incidents} == {"blocking"}


@pytest.mark.parametrize(("pack", "rules"), [("patient-messages", {"E3", "P2", "W2"}),
                                             ("traffic-scenes", {"V1", "W2"})])  # fmt: skip
def test_the_tier_of_the_two_packs_is_high_by_these_rules(pack, rules):
    """And critical as soon as nobody stands between the answer and its effect (W5)."""
    case = usecase(pack)
    plan = control_plan(case)
    high = {rule.number for rule in plan.rules if rule.tier == "high"}
    assert (plan.tier, high) == ("high", rules)
    assert control_plan(case.model_copy(update={"autonomy": "automatic"})).tier == "critical"


@pytest.mark.parametrize("pack", HIGH)
def test_the_two_packs_are_classified_within_their_plan(pack):
    """Columns, classes and the gates of the criteria fit; health data are health data."""
    case = usecase(pack)
    found = set(rows(pack)[0])
    assert problems(found, case.data.columns) == [] and case.data.classified_by
    assert case.data.classes <= set(control_plan(case).allowed_data_classes)
    assert gates.preflight(policy(pack), control_plan(case).cases_per_rule) == []
    assert ("health" in case.data.classes) == (case.domain == "health")


@pytest.mark.parametrize("pack", HIGH)
def test_the_rows_are_distinct_and_no_group_stands_in_two_sets(pack):
    """About 420 authored texts, none nearly another, each group in one set."""
    data, all_rows = usecase(pack).data, rows(pack)
    assert len(all_rows) >= 420
    pairs = itertools.combinations([shingles(row[data.text]) for row in all_rows], 2)
    assert max(similar(a, b) for a, b in pairs) < NEAR
    sets = {(row[data.group], row[data.split]) for row in all_rows}
    assert len(sets) == len({group for group, _ in sets})
    assert set(usecase(pack).labels) == {row[data.label] for row in all_rows}


def _answers(pack: str, say) -> list[dict]:
    """Rows of 40's table over the locked rows, with the label that `say` makes of the true one."""
    data = usecase(pack).data
    locked = [row for row in rows(pack) if row[data.split] == "locked"]
    facts = {"model": "candidate", "set": "locked", "task": "label"}
    return [
        facts | {"case_id": f"c{n}", "expected": row[data.label], "predicted": say(row[data.label])}
        for n, row in enumerate(locked)
    ]


def _verdicts(pack: str, say) -> dict[str, str]:
    """Of the criteria over 40's table that are about one model."""
    asked = [one for one in policy(pack).criteria if one.figure in ("recall", "accuracy")]
    answers = _answers(pack, say)
    return {one.id: str(gates.evaluate(one, answers).verdict) for one in asked}


def _missing(danger: str, times: int):
    """A model that is right, but for so many of the rows that are `danger`."""
    left = itertools.count()
    return lambda label: "other" if label == danger and next(left) < times else label


@pytest.mark.parametrize("pack", HIGH)
def test_a_good_model_can_pass_and_a_careless_one_can_not(pack):
    """The locked rows bear every criterion; three misses in the dangerous class are refused."""
    assert set(_verdicts(pack, lambda label: label).values()) == {"passed"}
    for danger in HIGH[pack]:
        assert "failed" in _verdicts(pack, _missing(danger, 3)).values(), danger


@pytest.mark.parametrize("pack", HIGH)
def test_one_answer_for_everything_is_refused(pack):
    """Calling all of it dangerous, or none of it, passes some criterion and fails another."""
    for label in usecase(pack).labels:
        assert "failed" in _verdicts(pack, lambda _, same=label: same).values(), label
