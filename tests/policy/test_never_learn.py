"""Never-learn rules: what may not be learned is found, and only a signed review excuses it (D2)."""

from __future__ import annotations

from datetime import date

import pytest

from workbench.errors import InputError
from workbench.policy.classes import Column
from workbench.policy.never_learn import Residue, Review, Rule, excuse, rule_digest, scan

COLUMNS = {
    "text": Column.parse({"class": "personal", "purpose": "p", "owner": "o"}),
    "ward": Column.parse({"class": "health", "purpose": "p", "owner": "o"}),
}
ROWS = [
    {"row_id": "r1", "text": "call me", "ward": "3"},
    {"row_id": "r2", "text": "write to ann.lee@example.org", "ward": None},
]


def rule(**facts) -> Rule:
    return Rule.parse({"id": "N1", "reason": "nobody agreed to it"} | facts)


def test_each_kind_of_rule_finds_what_it_names():
    """Classes and columns speak of whole columns, entities and patterns of single rows."""
    found = {
        "classes": scan([rule(classes=["health"])], COLUMNS, ROWS, ["text", "ward"]),
        "columns": scan([rule(columns=["ward"])], COLUMNS, ROWS, ["text", "ward"]),
        "entities": scan([rule(entities=["EMAIL_ADDRESS"])], COLUMNS, ROWS, ["text", "ward"]),
        "pattern": scan([rule(pattern=r"(?i)CALL\s")], COLUMNS, ROWS, ["text"]),
    }
    assert found == {
        "classes": [Residue("N1", "ward", "", "health")],
        "columns": [Residue("N1", "ward", "", "column")],
        "entities": [Residue("N1", "text", "r2", "EMAIL_ADDRESS")],
        "pattern": [Residue("N1", "text", "r1", "pattern")],
    }


def test_what_is_not_learned_is_not_searched():
    """A column that stays out of the training rows binds nobody."""
    assert scan([rule(classes=["health"], columns=["ward"])], COLUMNS, ROWS, ["text"]) == []


def test_a_finding_never_holds_the_value():
    """Rows are of persons; a verdict stands in the clear."""
    [found] = scan([rule(entities=["EMAIL_ADDRESS"])], COLUMNS, ROWS, ["text"])
    assert "ann.lee" not in str(found)


@pytest.mark.parametrize(
    "facts", [{}, {"entities": ["EMAIL_ADRESS"]}, {"pattern": "("}, {"classes": ["secret"]}]
)
def test_a_rule_that_could_find_nothing_is_refused(facts):
    """Empty, misspelt or broken: it would pass for a control."""
    with pytest.raises(InputError):
        rule(**facts)


def review(of: Rule, **facts) -> Review:
    known = {"usecase": "u", "rule": of.id, "rule_sha256": rule_digest(of), "reason": "agreed",
             "expires": date(2030, 1, 31), "reviewed_by": "P. Officer"}  # fmt: skip
    return Review.parse(known | facts)


def test_a_review_excuses_one_rule_until_its_last_day():
    """It names who, until when and why; the day after, the rule binds again."""
    one = rule(columns=["ward"])
    assert "P. Officer until 2030-01-31" in excuse(one, [review(one)], "2030-01-31T23:59:59Z")
    assert excuse(one, [review(one)], "2030-02-01T00:00:00Z") is None


def test_a_review_of_another_rule_excuses_nothing():
    """Neither of another id, nor of the same id as it read before it was changed."""
    one = rule(columns=["ward"])
    assert excuse(one, [review(one, rule="N2")], "2026-01-01") is None
    assert excuse(rule(columns=["ward", "text"]), [review(one)], "2026-01-01") is None
