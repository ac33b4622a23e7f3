"""Names of people by lexicon, form and the words around them."""

from __future__ import annotations

import time

import pytest

from workbench.policy.detectors import detect, detect_all, names


def found(text: str, entity: str = "PERSON") -> list[str]:
    return [text[one.start : one.end] for one in detect(text, [entity])]


@pytest.mark.parametrize(
    ("text", "people"),
    [
        ("I spoke to Priya Raghunathan about the refund.", ["Priya Raghunathan"]),
        ("Yesterday Kwame Asante and Ingrid Solberg signed.", ["Kwame Asante", "Ingrid Solberg"]),
        ("The letter from J. R. Whitfield arrived.", ["J. R. Whitfield"]),
        ("We met Ludwig van der Meulen in May.", ["Ludwig van der Meulen"]),
        ("It was Siobhán O'Connell's account.", ["Siobhán O'Connell"]),
        ("Ask Mary-Jane about it.", ["Mary-Jane"]),
        ("JUAN CARLOS ORTEGA", ["JUAN CARLOS ORTEGA"]),
        ("Ortega, Juan Carlos", ["Ortega, Juan Carlos"]),
        ("Ольга Смирнова позвонила.", ["Ольга Смирнова"]),
    ],
)
def test_names_of_many_cultures_are_found(text, people):
    """A known name or an initial makes its neighbours a name; particles belong to it."""
    assert found(text) == people


@pytest.mark.parametrize(
    "text",
    [
        "My name is Xqwari Zemblant.",
        "Dear Zemblant, we have your letter.",
        "Dr. Zemblant will see you.",
        "Regards,\nZemblant",
        "Frau Zemblant hat angerufen.",
    ],
)
def test_an_unknown_name_is_found_after_a_cue(text):
    """Words such as 'my name is', 'Dear' and titles say that a name follows."""
    assert [name.split()[-1] for name in found(text)] == ["Zemblant"]


def test_lower_case_names_need_a_strong_cue():
    """In lower case a name is told only by what stands before it."""
    assert found("hi, my name is maria gonzalez and my card is lost") == ["maria gonzalez"]
    assert found("maria gonzalez") == []


@pytest.mark.parametrize(
    "text",
    [
        "Can I change my PIN? The ATM kept my card.",
        "Will it arrive in May or June?",
        "I am very upset. Please Help Me With My Top Up.",
        "The Refund was issued on Monday.",
        "Premium Account",
        "my name is not on the card",
        "He paid in Paris, Texas.",
        "ORDER NOT FOUND",
    ],
)
def test_capitals_and_ambiguous_words_are_no_names(text):
    """Sentence starts, months, business words and places are not taken for people."""
    assert found(text) == []


def test_a_place_in_a_name_is_part_of_the_name():
    """Given name and surname outweigh the city that one of them also is."""
    assert found("Yesterday Jordan Peterson flew to Jordan.") == ["Jordan Peterson"]


def test_titles_are_found_apart_from_the_name():
    """Dr is a TITLE where a name follows; the word alone is not."""
    assert found("Ask Dr Amina Yusuf.", "TITLE") == ["Dr"]
    assert found("The President spoke.", "TITLE") == []


def test_a_column_of_names_is_found_cell_by_cell():
    """Joined cells give what each cell gives alone; no name runs from one cell into the next."""
    cells = ["Amina Yusuf", "Tomasz Wiśniewski", "12.50", "Anna", "Svensson, Lars", "red"]
    joined = list(detect_all(cells, ["PERSON"]))
    assert joined == [detect(cell, ["PERSON"]) for cell in cells]
    assert [len(one) for one in joined] == [1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    "unit", ["a", "Aa ", "Aa-", "A'", "A. ", "Aa, ", "my name is ", "Mary Xu "]
)
def test_hostile_text_takes_linear_time(unit):
    """100 kB of any one thing take three seconds at most; in quadratic time it would be minutes."""
    text = unit * (100_000 // len(unit))
    names.find_names("warm")
    started = time.process_time()
    list(names.find_names(text))
    assert time.process_time() - started <= 3
