"""Answers asked for again: what differs is counted, whatever the row says of itself."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy import figures


def row(first: str | None, again: str | None, **more) -> dict:
    about = {"case_id": "a", "variant": "v", "what": "reply", "same": True}
    return about | {"first": first, "again": again, **more}


def test_what_differs_is_counted_and_named():
    """From the answers themselves: a row that calls itself the same is not believed."""
    found = figures.compute("differing", [row("x", "x"), row("x", "y", case_id="b")])
    assert (found.value, found.n, found.unscored) == (1, 2, 0)
    assert found.detail["differ"] == ["b, v: reply"]


def test_an_empty_reply_is_an_answer():
    """Empty the first time and a sentence the second is a difference; empty twice is none."""
    assert figures.compute("differing", [row("", "Hello.")]).value == 1
    assert figures.compute("differing", [row("", "")]).value == 0


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_an_answer_that_is_not_there_is_unscored(nothing):
    """No gate passes over it."""
    found = figures.compute("differing", [row("x", "x"), row("x", nothing)])
    assert (found.value, found.unscored) == (0, 1)


def test_what_is_about_a_stage_is_no_case():
    """It counts when it differs, but makes the evidence no larger."""
    found = figures.compute("differing", [row("x", "x"), row("b", "f", what="arithmetic")])
    assert (found.value, found.n) == (1, 1)


def test_nothing_asked_again_is_nothing_measured():
    """No rows are no agreement, and a table without the answers is refused."""
    assert figures.compute("differing", []).value is None
    with pytest.raises(InputError, match="lacks a column"):
        figures.compute("differing", [{"case_id": "a"}])
