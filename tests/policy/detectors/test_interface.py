"""Findings lie where they say, none overlap, and many texts at once give what one by one gives."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.policy.classes import DataClass
from workbench.policy.detectors import ENTITIES, Entity, detect, detect_all
from workbench.policy.detectors.interface import SEPARATOR, detector

PIECES = [
    "4111 1111 1111 1111", "GB29 NWBK 6016 1331 9268 19", "mary@x.org", "020 7946 0958",
    "+49 30 1234567",
    "www.x.org/a", "10.0.0.1", "::1", "2021-05-03", "3 May 2021", "born", "SSN", "123-45-6789",
    "passport",
    "C01X00T47", "password=hunter22", "token = ", '"abcdef"', "account", "12345678", "12.50",
    "order no.",
    "call", "@", ":", "-", "+1", "Tel.", "1990", "May", "sort code", "12-34-56", "driving licence",
]  # fmt: skip
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=8).map(" ".join)
OURS = {name for name, entity in ENTITIES.items() if entity.structured}


@settings(max_examples=60, deadline=None)
@given(TEXT)
def test_findings_lie_in_the_text_in_order_and_apart(text):
    """Spans are not empty, inside the text, sorted, and none overlaps the next."""
    found = detect(text)
    assert all(0 <= one.start < one.end <= len(text) and 0 < one.score <= 1 for one in found)
    assert all(one.end <= after.start for one, after in zip(found, found[1:], strict=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, max_size=8))
def test_many_at_once_find_what_one_by_one_finds(texts):
    """The joined block changes nothing: no pattern and no cue reaches over the separator."""
    assert list(detect_all(texts, OURS)) == [detect(text, OURS) for text in texts]


def test_a_match_does_not_cross_texts():
    """Halves that would make a whole stay halves, and a cue speaks for its own text only."""
    assert list(detect_all(["4111 1111", "1111 1111"], OURS)) == [[], []]
    assert list(detect_all(["token =", '"abcdefgh"'], OURS)) == [[], []]
    assert list(detect_all(["passport", "123456789"], OURS)) == [[], []]
    (found,) = detect("a" + SEPARATOR + "mary@x.org", OURS)
    assert (found.entity, found.start) == ("EMAIL_ADDRESS", 2)


def test_the_limit_to_some_entities_does_not_change_who_wins():
    """A card is no telephone number when only telephone numbers are asked for."""
    assert detect("4111 1111 1111 1111", {"PHONE_NUMBER"}) == []


def test_an_entity_that_nobody_finds_is_refused():
    """A misspelt name must not mean that nothing was found."""
    with pytest.raises(InputError, match="No detector"):
        detect("x", {"EMAIL"})


def test_one_entity_has_one_detector():
    """A second one would count everything twice."""
    with pytest.raises(InputError, match="same entity"):
        detector(Entity("EMAIL_ADDRESS", "again", DataClass.PERSONAL, structured=True))(list)


def test_what_identifies_is_proposed_personal():
    """Only dates, web addresses and banks' codes are less among what has a form."""
    mild = {name for name in OURS if ENTITIES[name].data_class != DataClass.PERSONAL}
    assert mild <= {"DATE", "URL", "BIC_CODE"}


HOSTILE = [
    "a", "A", "1", "@", " ", ".", "-", ":", "/", "_", "=", '"', "1 ", "1-", "a.", "a@", "@a.",
    "0", "::",
    "http://", "www.", "a.a", "password ", "may 1 ", "GB29 A ", "4111 ", "passport ", "sk-",
    "eyJ", 'a="',
    "token=a", "-----BEGIN PRIVATE KEY-----", "+1", "(1", "[at]", "a:b@", "Bearer ", "account ",
    "P<", "\n",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_text_costs_no_more_than_its_length(unit):
    """100 kB of anything is searched by each detector in a second of processor time."""
    from workbench.policy.detectors import interface

    text = unit * (100_000 // len(unit))
    ours = ("contact", "bank", "national", "dates", "secrets")
    for find in [one for one in interface._FIND if one.__module__.endswith(ours)]:
        started = time.process_time()
        list(find(text))
        assert time.process_time() - started <= 3, find.__name__
