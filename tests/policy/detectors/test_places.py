"""Places by gazetteer, form and cue; nationalities."""

from __future__ import annotations

import time

import pytest

from workbench.policy.detectors import detect, detect_all, places


def found(text: str, entity: str = "LOCATION") -> list[str]:
    return [text[one.start : one.end] for one in detect(text, [entity])]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("She moved from Nairobi to New York City.", ["Nairobi", "New York City"]),
        ("Trade between Brazil and South Korea grew.", ["Brazil", "South Korea"]),
        ("Bosnia and Herzegovina won in Rio de Janeiro.",
         ["Bosnia and Herzegovina", "Rio de Janeiro"]),
        ("It rained in Ontario and the UK.", ["Ontario", "UK"]),
        ("They camped near Lake Vanern and in Marion County.", ["Lake Vanern", "Marion County"]),
        ("I live in Zemblagrad.", ["Zemblagrad"]),
        ("The office in Kutná Hora is closed.", ["Kutná Hora"]),
    ],
)  # fmt: skip
def test_places_are_found(text, names):
    """By the gazetteer, by words such as Lake and County, and after 'live in' even if unknown."""
    assert found(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Nice to meet you. Reading helps.",
        "Same Most Of Deal",
        "Please call us on Monday.",
        "Jack London wrote it.",
        "I paid in March.",
        "Dear Victoria Beckham",
    ],
)
def test_words_and_people_are_no_places(text):
    """Towns that are common words need a cue, and a name keeps the place within it."""
    assert found(text) == []


def test_a_small_town_needs_a_cue_or_a_cell():
    """A town below 80,000 people counts after 'in' and as a whole cell, not on its own."""
    assert places.place_score("Albi") < 0.5
    assert found("She is from Albi and was glad.") == ["Albi"]
    assert [len(one) for one in detect_all(["Albi", "Lima", "blue"], ["LOCATION"])] == [1, 1, 0]


def test_nationalities_and_religions_are_told_apart_from_places():
    """Groups of people are NRP."""
    assert found("The Norwegian nurse and two Indians prayed with a Buddhist.", "NRP") == [
        "Norwegian", "Indians", "Buddhist",
    ]  # fmt: skip
    assert found("Norway and India", "NRP") == []


@pytest.mark.parametrize("unit", ["A", "New York ", "Aa, ", "Rio de ", "lives in ", "\n"])
def test_hostile_text_takes_linear_time(unit):
    """100 kB of any one thing take three seconds at most; in quadratic time it would be minutes."""
    list(places.find_places("warm Up"))
    started = time.process_time()
    list(places.find_places(unit * (100_000 // len(unit))))
    assert time.process_time() - started <= 3
