"""Health terms by word, stem, form and cue; ages."""

from __future__ import annotations

import time

import pytest

from workbench.policy.classes import DataClass
from workbench.policy.detectors import ENTITIES, detect, health


def found(text: str, entity: str = "HEALTH_TERM") -> list[str]:
    return [text[one.start : one.end] for one in detect(text, [entity])]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("She takes amoxicillin and lisinopril.", ["amoxicillin", "lisinopril"]),
        ("He has diabetes and chronic bronchitis.", ["diabetes", "bronchitis"]),
        ("An appendectomy followed.", ["appendectomy"]),
        ("LDL was 160, glucose 5.6 mmol/L", ["LDL was 160", "5.6 mmol/L"]),
        ("Code E11.9 was noted.", ["E11.9"]),
        ("She was diagnosed with zemblosia.", ["zemblosia"]),
        ("I am allergic to peanuts", ["peanuts"]),
        ("My father had a heart attack.", ["heart attack"]),
        ("because of my severe headache", ["severe headache"]),
        ("Er leidet an Lungenentzündung", ["Lungenentzündung"]),
        ("Está embarazada", ["embarazada"]),
    ],
)
def test_health_terms_are_found(text, terms):
    """Diagnoses, medicines, procedures, measured values, codes, and what a cue announces."""
    assert found(text) == terms


@pytest.mark.parametrize(
    "text",
    ["The academy in April", "Version E11 failed", "It weighs 5 kg.", "I have no sympathy.",
     "my new card", "The economic depression of 1929", "a diploma from Oklahoma"],
)  # fmt: skip
def test_like_words_are_no_health_terms(text):
    """Endings that only look alike, codes without a dot, and other quantities."""
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "ages"),
    [
        ("A 34-year-old man and a 5 month old baby", ["34-year-old", "5 month old"]),
        ("He is 45 and she, aged 7, too", ["45", "7"]),
        ("Ines, 29, of Porto", ["29"]),
        ("Sie ist 34 Jahre alt", ["34 Jahre alt"]),
        ("in his 30s", ["30s"]),
        ("forty-two years old", ["forty-two years old"]),
        ("It is 45% of 30 days; I am 2 km away; 34 items", []),
    ],
)
def test_ages_are_found(text, ages):
    """Numbers that a person's years are said with; other numbers are none."""
    assert found(text, "AGE") == ages


def test_health_is_of_the_strictest_class():
    """A column with health terms is proposed as health."""
    assert ENTITIES["HEALTH_TERM"].data_class == DataClass.HEALTH
    assert not ENTITIES["HEALTH_TERM"].structured


@pytest.mark.parametrize(
    "unit", ["a", "1", "1 ", "diagnosed with a ", "my ", "aa ", "é", "1.", "a-", "\n"]
)
def test_hostile_text_takes_linear_time(unit):
    """100 kB of any one thing take three seconds at most; in quadratic time it would be minutes."""
    started = time.process_time()
    list(health.find_health(unit * (100_000 // len(unit))))
    assert time.process_time() - started <= 3
