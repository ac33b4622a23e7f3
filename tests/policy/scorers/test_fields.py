"""Checks on one field of the answer, and on a field beside the original's."""

from __future__ import annotations

import pytest

from workbench.policy.scorers import score_with


@pytest.mark.parametrize(
    ("queue", "one", "none"),
    [("fraud", "pass", "fail"), ("fees", "fail", "pass"), (None, "unscored", "unscored"),
     (" ", "unscored", "unscored")],
)  # fmt: skip
def test_a_field_is_one_of_these_or_none_of_those(queue, one, none):
    """No answer is neither."""
    arguments = {"field": "queue", "values": ["fraud", "care"]}
    row = {"queue": queue}
    assert score_with("one_of", arguments)(row).outcome == one
    assert score_with("none_of", arguments)(row).outcome == none


@pytest.mark.parametrize(
    ("row", "outcome"),
    [
        ({"queue": "a", "source_queue": "a", "person": "no", "source_person": "no"}, "pass"),
        ({"queue": "a", "source_queue": "a", "person": "no", "source_person": "yes"}, "fail"),
        ({"queue": "a", "source_queue": "a", "person": "no"}, "unscored"),
        ({"source_queue": "a", "person": "no", "source_person": "no"}, "unscored"),
    ],
)
def test_an_answer_stays_what_it_was_in_every_field(row, outcome):
    """One that moved is a failure; one that is lacking on either side can't be judged."""
    assert score_with("unchanged", {"fields": ["queue", "person"]})(row).outcome == outcome


def test_a_relation_over_no_field_holds_for_nothing():
    """All of no fields are equal, and that is no evidence."""
    assert score_with("unchanged", {"fields": []})({"queue": "a"}).outcome == "unscored"
