"""A text is read without what nobody sees, in sentences, and its language is told or left open."""

from __future__ import annotations

import pytest

from workbench.policy.reading import LANGUAGES, clean, language, plain, sentences
from workbench.policy.wordings import patterns


@pytest.mark.parametrize("sign", ["\u200b", "\u202e", "\u00ad", "\ufeff", "\x00", "\x1b"])
def test_what_nobody_sees_is_left_out(sign):
    """Zero-width signs, marks of direction, soft hyphens, controls; line breaks stay."""
    assert clean(f"pass{sign}word\nline") == "password\nline"


def test_letters_of_other_scripts_inside_latin_words_are_read_as_latin():
    """Words wholly of another script stay what they are; case and apostrophes are folded."""
    assert clean("pаsswоrd") == "password"
    assert clean("платёж ради") == "платёж ради"
    assert plain("I Can\N{RIGHT SINGLE QUOTATION MARK}t") == "i can't"


def test_sentences():
    """By marks, lines and semicolons; an abbreviation inside a word does not end one."""
    assert sentences("One. Two!\n- three; four v1.2") == ["One.", "Two!", "- three", "four v1.2"]
    assert sentences(" \n ") == []


def test_the_language_is_left_open_where_too_little_tells():
    """Names, numbers and single words tell nothing; long text in no known language is other."""
    assert len(LANGUAGES) >= 8
    for text in ("", "OK", "12:30", "Papadopoulou", "!!!"):
        assert language(text) is None, text
    assert language("Счёт закрыт, деньги отправлены") == "other"
    assert language("lorem ipsum dolor sit amet " * 8) == "other"


def test_patterns_are_alternatives_with_named_parts():
    """A line an alternative; a part inside a part; an unknown name stays as it is written."""
    parts = {"animal": "cat\n<dog>", "dog": "dog\nhound"}
    found = patterns({"pet": r"\bmy <animal>\b" + "\n<b>"}, parts)["pet"]
    assert all(found.search(text) for text in ("my cat", "my hound", "a <b>"))
    assert not found.search("my bird")
