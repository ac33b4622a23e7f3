"""Served against validated: what differs is found, what can't be compared is said (E4)."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.errors import InputError
from workbench.policy.rehearsal import (
    COLUMNS,
    Case,
    Served,
    again,
    compared,
    item,
    log_gate,
    recorded,
)

CASE = Case("r1", "locked", "the card", {"label": "cards"}, {"label": 0.9})
LINE = {"sentinel": "r1", "answer": {"label": "cards"}, "confidence": {"label": 0.9},
        "outcome": "answered", "latency_ms": 3.0}  # fmt: skip
REPLY = {"status": 200, "answer": {"label": "cards"}}


def row(
    case: Case = CASE, line: dict[str, Any] | None = None, reply: Any = None, n: int = 1
) -> Any:
    served = Served([LINE | (line or {})] * n, REPLY | (reply or {}))
    return item(case, served, {"label"})


def test_the_same_answer_with_the_same_confidence_does_not_differ():
    found = row()
    assert list(found) == COLUMNS
    assert (found["differs"], found["expected"], found["served"], found["what"]) == (
        0, "cards", "cards", "")  # fmt: skip


@pytest.mark.parametrize("line, reply, what", [
    ({"answer": {"label": "fees"}}, {"answer": {"label": "fees"}}, "label"),
    ({}, {"answer": {"label": "fees"}}, "label is not as logged"),
    ({"confidence": {"label": 0.90002}}, {}, "confidence of label"),
    ({"confidence": {}}, {}, "confidence of label"),
    ({"confidence": {"label": float("nan")}}, {}, "confidence of label"),
    ({"answer": {}, "outcome": "fallback"}, {"answer": {"label": "human_review"}}, "no answer, label"),
])  # fmt: skip
def test_each_difference_is_named(line, reply, what):
    """Another answer, another than logged, another or no confidence, no answer of the model's."""
    found = row(line=line, reply=reply)
    assert found["differs"] == 1 and found["what"] == what


def test_float32_leaves_a_confidence_that_much():
    assert row(line={"confidence": {"label": 0.900009}})["differs"] == 0


@pytest.mark.parametrize("n", [0, 2])
def test_a_case_with_no_line_or_two_differs(n):
    assert row(n=n)["differs"] == 1


def test_an_answer_that_was_kept_back_is_compared_by_its_line():
    """Below the threshold the caller gets the fallback, and the log still has the model's word."""
    found = row(line={"outcome": "fallback"}, reply={"answer": {"label": "human_review"}})
    assert (found["differs"], found["outcome"]) == (0, "fallback")


def test_a_free_reply_is_compared_and_never_shown():
    """Its words may be a person's: that it differs is told, and no text of it."""
    case = CASE._replace(answer={"label": "cards", "reply": "Dear Ada"})
    same = row(case, reply={"answer": {"label": "cards", "reply": "Dear Ada"}})
    other = row(case, reply={"answer": {"label": "cards", "reply": "Dear Bob"}})
    assert (same["differs"], other["differs"], other["what"]) == (0, 1, "reply")
    assert not any(name in str(found) for found in (same, other) for name in ("Ada", "Bob"))


def test_what_has_nothing_to_be_compared_with_is_not_compared():
    """Recorded traffic, and a text that the declared limits turned away."""
    assert row(CASE._replace(answer={}, confidence={}))["differs"] is None
    assert not compared(CASE, Served([], {"status": 413}))
    assert compared(CASE, Served([], {"status": 503}))


def test_the_control_of_the_notebook_finds_what_it_changes():
    found = row()
    assert not again(found)
    assert again(found | {"expected": "fees"}) and again(found | {"confidence_offline": 0.8})
    assert not again(found | {"confidence_offline": None, "confidence_served": 0.5})


def test_the_log_has_one_line_of_each_case():
    """A missing line, a second one, a broken chain, or nothing asked: it does not pass."""
    assert log_gate([], ["r1"], [LINE]).verdict == "passed"
    for given in (([], ["r1"], []), ([], ["r1"], [LINE, LINE]), (["000000.jsonl:3 changed"], ["r1"], [LINE]),
                  ([], [], [])):  # fmt: skip
        found = log_gate(*given)
        assert found.verdict == "failed" and found.blocking and found.reason


def test_recorded_traffic_is_texts_in_order():
    assert [case.text for case in recorded('{"text": "a"}\n{"text": "b", "subject": "s"}\n')] == [
        "a",
        "b",
    ]
    assert {case.set for case in recorded('{"text": "a"}')} == {"traffic"}


@pytest.mark.parametrize("line", ["text", "[]", "{}", '{"text": 1}', ""])
def test_traffic_that_is_no_text_is_refused_by_its_line(line):
    with pytest.raises(InputError) as refused:
        recorded('{"text": "a"}\n' + line + '\n{"text": "b"}')
    assert refused.value.where == "line 2"
