"""The starter packs' configuration holds what the packs promise."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from dateutil import parser
from stdnum import iban, luhn

from workbench.policy import gates, scorers
from workbench.policy.classes import problems
from workbench.policy.criteria import Policy
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase

PACKS = Path(__file__).parents[2] / "templates" / "usecases"
NAMES = ["card-support", "intent-routing", "patient-messages", "traffic-scenes"]
MESSAGES = "data/messages.jsonl"
CONSTANT = {
    "always true": lambda row, **_: scorers.Verdict("pass", "constant"),
    "always false": lambda row, **_: scorers.Verdict("fail", "constant"),
}


def read(name: str, file: str):
    return yaml.safe_load((PACKS / name / file).read_text(encoding="utf-8"))


def lines(name: str, file: str) -> list[dict]:
    return [json.loads(line) for line in (PACKS / name / file).read_text("utf-8").splitlines()]


def policy(name: str) -> Policy:
    return Policy.parse(read(name, "policy.yaml"), where=name)


def usecase(name: str) -> UseCase:
    return UseCase.parse(read(name, "usecase.yaml"), where=name)


RULES = [(name, rule.id) for name in NAMES for rule in policy(name).rules]


def rule_of(name: str, rule_id: str):
    return next(rule for rule in policy(name).rules if rule.id == rule_id)


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_can_be_evaluated_under_its_own_plan(name):
    """Every scorer and figure is known, every scorer sound, every rule as large as planned."""
    plan = control_plan(usecase(name))
    assert gates.preflight(policy(name), plan.cases_per_rule) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_pack_is_fully_classified_within_its_plan(name):
    """All declared columns are complete, allowed by the tier, and confirmed by somebody."""
    case = usecase(name)
    columns = case.data.columns
    assert problems(columns, columns) == []
    assert case.data.classes <= set(control_plan(case).allowed_data_classes)
    assert case.data.classified_by
    assert {case.data.text, case.data.label, case.data.group} <= set(columns)


def test_form_labels_and_policy_name_the_same_values():
    """What the model may fill in is what the format rule allows, and each reason has a text."""
    case, rules = usecase("card-support"), policy("card-support")
    allowed = rule_of("card-support", "reply_format").arguments
    fields = {field.name: field.values for field in case.form.fields}
    assert set(fields["queue"]) == set(case.labels) == set(allowed["queues"])
    assert set(fields["rule"]) == set(rules.reasons) == set(allowed["reasons"])
    supported = rule_of("card-support", "supported_reason").arguments["allowed"]
    assert set(supported) == set(case.labels)


def _perfect(rule):
    """Rows that keep the rule, enough of them."""
    model = rule.probes.must_pass[0]
    facts = {"model": "candidate", "rule": rule.id}
    return [model | facts | {"case_id": f"c{i}"} for i in range(rule.min_n)]


@pytest.mark.parametrize(("name", "rule_id"), RULES)
def test_a_rule_passes_when_all_keep_it(name, rule_id):
    """Each rule can be met: all its cases kept, it passes."""
    rule = rule_of(name, rule_id)
    assert gates.rule_gate(rule, _perfect(rule)).verdict == "passed"


@pytest.mark.parametrize("mutant", CONSTANT)
@pytest.mark.parametrize(("name", "rule_id"), RULES)
def test_always_true_or_false_makes_the_gate_not_evaluated(monkeypatch, name, rule_id, mutant):
    """Every registered scorer replaced by a constant: each rule is not_evaluated (V2)."""
    for scorer in list(scorers.SCORERS):
        monkeypatch.setitem(scorers.SCORERS, scorer, CONSTANT[mutant])
    rule = rule_of(name, rule_id)
    assert gates.rule_gate(rule, _perfect(rule)).verdict == "not_evaluated"


def _library(rule):
    path = PACKS / "card-support" / rule.cases
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "rule_id", ["fraud_to_person", "vulnerable_to_person", "refuse_unsafe", "no_over_refusal"]
)
def test_a_blocking_rule_has_59_locked_cases_or_more(rule_id):
    """The library exists, is about this rule, and can show the threshold if none fails."""
    rule = rule_of("card-support", rule_id)
    library = _library(rule)
    assert rule.blocking and library["rule"] == rule_id
    ids = [case["id"] for case in library["cases"]]
    assert len(set(ids)) == len(ids) >= rule.min_n >= 59
    assert gates.rule_gate(rule, _perfect(rule), locked=None).verdict == "passed"


def test_the_authored_replies_keep_the_rules_about_replies():
    """What people wrote as good replies passes: a scorer that refuses them would be wrong."""
    rows = [row | {"reason": row["rule"]} for row in lines("card-support", MESSAGES)]
    assert len(rows) >= 600
    for rule_id in ("reply_no_personal_data", "reply_format", "supported_reason"):
        rule = rule_of("card-support", rule_id)
        score = scorers.score_with(rule.scorer, rule.arguments)
        assert [row["reply"] for row in rows if score(row).outcome != "pass"] == [], rule_id
    for row in rows:
        name = "declined" if row["queue"] == "decline" else "not_declined"
        assert scorers.score_with(name, {})(row).outcome == "pass", row["reply"]


SHAPES = {
    "EMAIL_ADDRESS": lambda value: re.fullmatch(
        r"[\w.+'-]+@([\w-]+\.)*(example|test|example\.[a-z.]+)", value, re.I
    ),
    "PHONE_NUMBER": lambda value: re.fullmatch(r"(\+|00|\(?0)[\d ().-]{8,17}\d", value),
    "CREDIT_CARD": lambda value: luhn.is_valid(re.sub("[ -]", "", value)),
    "IBAN_CODE": iban.is_valid,
    "BANK_ACCOUNT": lambda value: re.fullmatch(r"\d\d([- ]?)\d\d\1\d\d(,? \d{8})?|\d{8}", value),
    "SECRET": lambda value: value == value.strip(" .,;:()"),
    "DATE_OF_BIRTH": lambda value: 1890 < parser.parse(value, dayfirst=True).year < 2020,
}
LABELLED = [
    (row["text"][start:end], entity)
    for row in lines("card-support", "reference/redaction.jsonl")
    for start, end, entity in row["spans"]
]


@pytest.mark.parametrize(("value", "entity"), LABELLED)
def test_a_labelled_span_is_the_whole_value_and_well_formed(value, entity):
    """Each has its entity's shape, and its checksum where it has one: a label cut short has none."""
    assert SHAPES[entity](value)


def test_the_shapes_refuse_a_label_that_is_cut_short():
    """The test above can fail: a span one sign too long or too short is no value of its entity."""
    for wrong, entity in [
        ("h.osei@mail.exampl", "EMAIL_ADDRESS"), ("ana@real-bank.com", "EMAIL_ADDRESS"),
        ("7700 900", "PHONE_NUMBER"), ("4111 1111 1111 111", "CREDIT_CARD"),
        ("GB29 NWBK 6016 1331 9268 1", "IBAN_CODE"), ("08-99-9", "BANK_ACCOUNT"),
        ("hunter77.", "SECRET"), ("14/03/1878", "DATE_OF_BIRTH"),
    ]:  # fmt: skip
        assert not SHAPES[entity](wrong), entity


def test_the_sample_measures_each_entity_that_the_pack_masks():
    """At least 20 spans of each and 60 messages without any; every threshold is asked."""
    step = next(step for step in usecase("card-support").data.steps if step.use == "redact")
    kinds = Counter(entity for _, entity in LABELLED)
    assert set(step.arguments["entities"]) == set(SHAPES) - {"SECRET"} and set(kinds) == set(SHAPES)
    assert min(kinds.values()) >= 20
    sample = lines("card-support", f"reference/{step.arguments['sample']}")
    assert sum(not row["spans"] for row in sample) >= 60
    assert step.accept.keys() == {"recall", "precision", "utility_loss"}


def test_the_sample_is_apart_from_the_messages_and_has_no_text_twice():
    """What redaction is measured on is not what it cleans, nor counted twice; spans lie apart."""
    sample = lines("card-support", "reference/redaction.jsonl")
    texts = [" ".join(row["text"].lower().split()) for row in sample]
    learned = {" ".join(row["text"].lower().split()) for row in lines("card-support", MESSAGES)}
    assert len(set(texts)) == len(texts) and not learned & set(texts)
    for row in sample:
        places = [place for start, end, _ in row["spans"] for place in range(start, end)]
        assert len(set(places)) == len(places)
