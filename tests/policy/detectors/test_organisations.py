"""Organisations by legal form, noun, fame and cue."""

from __future__ import annotations

import time

import pytest

from workbench.policy.detectors import detect, organisations


def found(text: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, ["ORGANIZATION"])]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Zemblant GmbH sued Orbex, Inc. over it.", ["Zemblant GmbH", "Orbex, Inc."]),
        ("The Zemblant Group bought Harker & Dunne.", ["Zemblant Group", "Harker & Dunne"]),
        ("He studied at the University of Zembla.", ["University of Zembla"]),
        ("She works for Zemblant in Oslo.", ["Zemblant"]),
        ("A loan from Pemberton Bank", ["Pemberton Bank"]),
        ("NATO and the United Nations met.", ["NATO", "United Nations"]),
    ],
)
def test_organisations_are_found(text, names):
    """By legal form, by nouns such as Group and Bank, by fame, and after 'works for'."""
    assert found(text) == names


@pytest.mark.parametrize(
    "text",
    ["My Bank Account is empty.", "The Company said no.", "Terms & Conditions", "I work for her."],
)
def test_common_words_are_no_organisations(text):
    """A noun of organisations alone names none."""
    assert found(text) == []


@pytest.mark.parametrize("unit", ["A & ", "Aa and ", "Aa, Inc", "Bank of ", "works at ", "A"])
def test_hostile_text_takes_linear_time(unit):
    """100 kB of any one thing take three seconds at most; in quadratic time it would be minutes."""
    list(organisations.find_organisations("Warm Up"))
    started = time.process_time()
    list(organisations.find_organisations(unit * (100_000 // len(unit))))
    assert time.process_time() - started <= 3
