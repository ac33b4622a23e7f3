"""Identity numbers of many countries: form, checksum, and a word where neither is enough."""

from __future__ import annotations

import pytest

from workbench.policy.detectors import detect


def spans(text: str, entity: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, {entity})]


CHECKED = {
    "DE": "36574261809", "FR": "2 95 10 99 126 111 93", "ES": "54362315K",
    "ES foreigner": "X-2482300-W",
    "IT": "RCCMNL83S18D969H", "BE": "85.07.30-033.28", "PL": "44051401359", "NO": "15108695088",
    "IE": "6433435F", "CH": "756.9217.0769.85", "AT": "1237 010180", "BR": "390.533.447-05",
    "IN": "2341 2341 2346", "CN": "360426199101010071", "KR": "971013-9019902",
    "MX": "BOXW310820HNERXN09",
    "SE": "880320-0016", "FI": "131052-308T", "ZA": "7503305044089", "TR": "17291716060",
    "HR": "33392005961", "RO": "1630615123457",
}  # fmt: skip
WORDED = {"GB health": "943 476 5919", "NL": "111222333", "CA": "123-456-782", "PT": "501 964 843",
          "AU": "123 456 782", "DK": "211062-5629"}  # fmt: skip


@pytest.mark.parametrize("country", CHECKED)
def test_a_checked_number_is_found_alone_and_a_wrong_one_is_not(country):
    """No other last character will do; eleven or thirteen bare digits may be another country's."""
    number = CHECKED[country]
    assert spans(f"it is {number} now", "NATIONAL_ID") == [number]
    signs = "0123456789" if number[-1].isdigit() else "ABCDEFGHIJ"
    others = [number[:-1] + sign for sign in signs if sign != number[-1]]
    wrong = [other for other in others if spans(f"it is {other} now", "NATIONAL_ID")]
    assert len(wrong) <= (3 if number.isdigit() else 0)


@pytest.mark.parametrize("country", WORDED)
def test_a_number_that_passes_by_chance_needs_a_word(country):
    """Every tenth number has the right last digit."""
    number = WORDED[country]
    assert spans(f"my tax / national id: {number}", "NATIONAL_ID") == [number]
    assert spans(f"we sold {number} of them", "NATIONAL_ID") == []


def test_the_australian_health_card_is_checked():
    """The ninth digit is the check, the tenth the issue."""
    assert spans("2123 45670 1", "NATIONAL_ID") == ["2123 45670 1"]
    assert spans("medicare 2123 45671 1", "NATIONAL_ID") == []


@pytest.mark.parametrize(
    "number", ["123-45-6789", "123.45.6789", "AB 12 34 56 C", "AB123456C", "ABCPE1234F"]
)
def test_numbers_without_a_checksum_go_by_their_form(number):
    """American social security, British national insurance, the Indian account number."""
    assert spans(f"mine is {number}.", "NATIONAL_ID") == [number]


@pytest.mark.parametrize(
    "text",
    ["000-12-3456", "666-12-3456", "BG123456A", "AB123456E", "customer id 36574261809",
     "order number 36574261809", "tracking 390533447051", "1.234.567.890", "SKU 12345-6789"],
)  # fmt: skip
def test_what_no_state_gives_is_none(text):
    """Areas that are never issued, and numbers that a shop gives."""
    assert spans(text, "NATIONAL_ID") == []


def test_a_tax_number_is_told_from_a_persons():
    """The union's VAT numbers by the country's check; others by the word."""
    assert spans("VAT DE136695976", "TAX_ID") == ["DE136695976"]
    assert spans("VAT DE136695977", "TAX_ID") == []
    assert spans("EIN 91-1144442", "TAX_ID") == ["91-1144442"]
    assert spans("CNPJ 16.727.230/0001-97", "TAX_ID") == ["16.727.230/0001-97"]


@pytest.mark.parametrize(
    ("text", "entity", "expected"),
    [
        ("my passport number is 123456789", "PASSPORT", "123456789"),
        ("Reisepass: C01X00T47", "PASSPORT", "C01X00T47"),
        ("pasaporte n.º AAA123456", "PASSPORT", "AAA123456"),
        ("driver's license D123-4567-8901", "DRIVER_LICENSE", "D123-4567-8901"),
        ("Führerschein B072RRE2I55", "DRIVER_LICENSE", "B072RRE2I55"),
        ("MORGA657054SM9IJ", "DRIVER_LICENSE", "MORGA657054SM9IJ"),
        ("the car 1HGCM82633A004352", "VIN", "1HGCM82633A004352"),
        ("VIN WVWZZZ1JZXW000001", "VIN", "WVWZZZ1JZXW000001"),
    ],
)
def test_documents_are_found_after_their_word(text, entity, expected):
    """A vehicle and a British licence by their form alone."""
    assert spans(text, entity) == [expected]


@pytest.mark.parametrize(
    ("text", "entity"),
    [
        ("my passport expired", "PASSPORT"),
        ("lost my passport on 12 May", "PASSPORT"),
        ("I need a driving licence in 2021", "DRIVER_LICENSE"),
        ("the car 1HGCM82634A004352", "VIN"),
        ("C01X00T47", "PASSPORT"),
    ],
)
def test_a_document_without_its_number_is_none(text, entity):
    """The word alone, a year, a wrong check digit, a code without the word."""
    assert spans(text, entity) == []
