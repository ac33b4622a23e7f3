"""Dates in many forms and languages; a birth by its words; times, versions and amounts are none."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.policy.detectors import detect

KINDS = {"DATE", "DATE_OF_BIRTH"}


def spans(text: str, entity: str = "DATE") -> list[str]:
    return [text[one.start : one.end] for one in detect(text, {entity})]


@pytest.mark.parametrize(
    "written",
    [
        "2021-05-03", "2021/5/3", "2021-05-03T10:20:30Z", "2021-05-03 10:20", "03/05/2021",
        "5/3/21",
        "31.12.2021", "31-12-21", "3 May 2021", "3rd of May 2021", "May 3, 2021", "May 3rd",
        "3 May",
        "Dec. 3, 2021", "03-May-2021", "3. März 2021", "3. Dezember", "3 février 2021",
        "1er mars 2021",
        "3 de mayo de 2021", "3 maggio 2021", "3 mei 2021", "3 de março de 2021", "March 2021",
        "2021 May 3", "2021年5月3日",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "It was paid {}, I think", "({})"])
def test_a_date_is_found_whole(written, frame):
    """ISO 8601, day first, month first, with a month's name in eight languages."""
    assert spans(frame.format(written)) == [written]


@settings(max_examples=40, deadline=None)
@given(st.dates(date(1900, 1, 1), date(2099, 12, 31)))
def test_every_day_is_found_in_every_numeric_form(day):
    """Whatever the day, the form decides."""
    for form in ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%B %d, %Y", "%d %b %Y"):
        assert spans(f"on {day.strftime(form)} here") == [day.strftime(form)]


@pytest.mark.parametrize(
    "text",
    [
        "32/13/2021", "13/13/2021", "2021-13-40", "version 10.12.21", "1.2.3", "in 2021", "12:30",
        "3/4 cup",
        "only 10 may enter", "may 5 people come", "£12.50", "50%", "10-20 items", "0.12.2021.5",
        "May I?",
        "room 12/14", "1234567890",
    ],
)  # fmt: skip
def test_what_is_no_day_is_no_date(text):
    """Months beyond twelve, versions, fractions, amounts, years alone, and the verb."""
    assert detect(text, KINDS) == []


def test_part_of_a_date_needs_a_word():
    """A card's expiry and a day without its year."""
    assert spans("expires 09/27") == ["09/27"]
    assert spans("on 5/12 at noon") == ["5/12"]
    assert spans("20210503") == ["20210503"]
    assert spans("item 20210503") == []


@pytest.mark.parametrize(
    "text",
    ["I was born on 3 May 1980", "DOB: 03/05/1980", "geboren am 3. Mai 1980", "née le 3 mai 1980",
     "fecha de nacimiento: 3/5/1980", "nata il 3 maggio 1980", "geboortedatum 03-05-1980",
     "3 May 1980 is my birthday"],
)  # fmt: skip
def test_a_birth_is_told_by_its_words(text):
    """In the language of the text, before the date or after it."""
    assert len(spans(text, "DATE_OF_BIRTH")) == 1 and spans(text) == []


def test_the_word_speaks_for_the_next_date_only():
    """Whoever was born then was hired later."""
    text = "born 3 May 1980, hired 4 June 2010"
    assert spans(text, "DATE_OF_BIRTH") == ["3 May 1980"] and spans(text) == ["4 June 2010"]


@pytest.mark.parametrize(
    ("text", "births"),
    [
        ("b. 19/04/1969", ["19/04/1969"]),
        ("J. Smith (b. 19 April 1969)", ["19 April 1969"]),
        ("born: 3 May 1980", ["3 May 1980"]),
        ("date of birth should be 3 May 1980, not 5 May", ["3 May 1980", "5 May"]),
        ("paid 3 May 1980, not 5 May", []),
        ("plan b, 3 May 1980", []),
    ],
)
def test_a_corrected_birth_is_one_too(text, births):
    """The day that is wrong was on somebody's record as a birth; other corrections are dates."""
    assert spans(text, "DATE_OF_BIRTH") == births
