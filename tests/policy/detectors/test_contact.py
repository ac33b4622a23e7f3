"""E-mail, telephone, web and network addresses in the forms that people write, and what is none."""

from __future__ import annotations

import pytest

from workbench.policy.detectors import detect


def spans(text: str, entity: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, {entity})]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to mary.o'hara+bank@mail.example.co.uk.", "mary.o'hara+bank@mail.example.co.uk"),
        ("<jörg@müller.de>", "jörg@müller.de"),
        ("mailto:a@b.io?subject=x", "a@b.io"),
        ("jane [at] example [dot] org", "jane [at] example [dot] org"),
        ("jane at example dot com please", "jane at example dot com"),
    ],
)
def test_an_email_is_found_whole(text, expected):
    """With tags, accents, in brackets, or spelt out against robots."""
    assert spans(text, "EMAIL_ADDRESS") == [expected]


@pytest.mark.parametrize("text", ["meet @ noon", "@handle", "a@b", "pay 5 @ 3.20", "x@.com"])
def test_an_at_sign_is_no_email(text):
    """A handle, a price and half an address."""
    assert spans(text, "EMAIL_ADDRESS") == []


@pytest.mark.parametrize(
    "number",
    [
        "+44 20 7946 0958", "+49 (0)30 1234567", "0049 30 1234567", "+1-202-555-0143",
        "(202) 555-0143",
        "202.555.0143", "1-800-555-0199", "001-234-567-8901x234", "020 7946 0958", "07911 123456",
        "0171/1234567", "06 12 34 56 78", "01.23.45.67.89", "98765 43210", "+91 98765-43210",
        "(11) 91234-5678", "555-0123", "202-555-0143 ext. 12", "22 33 44 55",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "Is {} still right?", "call {} please"])
def test_a_phone_number_is_found_with_and_without_a_word(number, frame):
    """International and national forms of many countries, with extensions."""
    assert spans(frame.format(number), "PHONE_NUMBER") == [number]


@pytest.mark.parametrize(
    "number",
    [
        "06 45 65 60 86", "079 4432 6431", "(08) 9033 5561", "0680 391 65 24", "847-555-0143 x22",
        "612 345 678", "912 34 56 78", "2123 4567", "6123-4567", "08-12 34 56", "(022) 12345",
        "01512 3456789", "06.12345678", "0475/12 34 56", "(506)/234-5678", "21 234 56 78",
        "210 123 4567", "+45.32.12.34.56", "00 44 20 7946 0958",
    ],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["Please come back {}.", "Ana, {}, is waiting", "Ana ({}) waits"])
def test_a_grouped_number_is_a_phone_without_a_word(number, frame):
    """Groups, a trunk prefix or brackets speak for themselves where a country's plan allows it."""
    assert spans(frame.format(number), "PHONE_NUMBER") == [number]


@pytest.mark.parametrize("kind", ["FIXED_LINE", "MOBILE"])
def test_most_countries_write_numbers_that_are_found(kind):
    """Of the examples of libphonenumber in every region, 98 % with + and 75 % without are found."""
    import phonenumbers as library

    formats = library.PhoneNumberFormat
    for form, least in ((formats.INTERNATIONAL, 0.98), (formats.NATIONAL, 0.75)):
        hits = []
        for region in sorted(library.SUPPORTED_REGIONS):
            example = library.example_number_for_type(
                region, getattr(library.PhoneNumberType, kind)
            )
            if example:
                number = library.format_number(example, form)
                hits.append(spans(f"Come back {number}.", "PHONE_NUMBER") == [number])
        assert len(hits) >= 200
        assert sum(hits) / len(hits) >= least


@pytest.mark.parametrize(
    "number", ["612 345 678", "4155550132", "12345678", "555 1234", "9487.5749"]
)
def test_an_ambiguous_number_is_a_phone_after_a_word_only(number):
    """The digits alone could count anything."""
    assert spans(f"my mobile is {number}", "PHONE_NUMBER") == [number]
    assert spans(f"we sold {number} of them", "PHONE_NUMBER") == []


@pytest.mark.parametrize(
    "text",
    [
        "it cost 1.234.567,89 €", "1 234 567 people", "order number 2025550143",
        "invoice 020 7946 0958",
        "ISBN 978-3-16-148410-0", "on 2021-05-03 12:30", "version 10.20.30.40", "12345.678901",
        "3.14159265", "from 09:30 to 17:45", "50-100 items", "€1 000 000", "15.5%",
        "call me on 03.05.2021", "the war of 1939-1945", "open 09.30 - 17.45 daily",
        "from 01.02 - 05.03 we are closed", "sort code 20-00-00", "on 01 02 2003 we met",
        "card 4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "0-306-40615-2", "078-05-1120",
        "a population of 612 345 678.", "it cost 5000-6000 dollars", "pages 2234-2256 of it",
        "version 06.12.34.56", "reference 0123 456 7890", "48.8566, 2.3522", "NHS 943 476 5919",
        "the sizes 10 12 14 16 18", "00 00 00 00", "5.5.2020 - 6.6.2020", "years 1998 1999 2000",
        "numbers 03 12 24 35 41 49", "the code 1234 5678 9012", "size 2560-1440",
    ],
)  # fmt: skip
def test_amounts_dates_and_counts_are_no_phones(text):
    """Digits with another meaning stay what they are."""
    assert spans(text, "PHONE_NUMBER") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://x.org/a?b=1#c.", "https://x.org/a?b=1#c"),
        ("(http://x.org/a_(b))", "http://x.org/a_(b)"),
        ("www.x.org/path, please", "www.x.org/path"),
        ("on example.co.uk/a now", "example.co.uk/a"),
        ("go to shop.example.com.", "shop.example.com"),
        ("visit example.it", "example.it"),
        ("ftp://files.x.org", "ftp://files.x.org"),
    ],
)
def test_a_web_address_is_found_without_the_full_stop(text, expected):
    """With a scheme, with www, or a bare domain."""
    assert spans(text, "URL") == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Thanks.It was",
        "fix this.it broke",
        "ASP.NET",
        "report.pdf",
        "e.g. this",
        "mary@x.org",
        "3.5",
    ],
)
def test_a_full_stop_makes_no_domain(text):
    """A missing blank, a file's ending, an abbreviation, and the host of an e-mail."""
    assert spans(text, "URL") == []


@pytest.mark.parametrize(
    "address",
    ["192.168.0.1", "10.0.0.0/8", "2001:db8::8a2e:370:7334", "::1", "fe80::1%eth0",
    "::ffff:10.0.0.1",
     "2001:0db8:85a3:0000:0000:8a2e:0370:7334"],
)  # fmt: skip
def test_network_addresses_of_both_versions_are_found(address):
    """Compressed, with a zone, with a prefix."""
    assert spans(f"from {address} at noon", "IP_ADDRESS") == [address]


@pytest.mark.parametrize(
    "text",
    ["256.1.1.1", "version 1.2.3.4", "v1.2.3.4", "12:30:45", "std::vector", "1.2.3", "1.2.3.4.5"],
)
def test_versions_times_and_scopes_are_no_ip(text):
    """What has dots or colons, too."""
    assert spans(text, "IP_ADDRESS") == []


def test_a_hardware_address_is_found_and_a_mixed_one_is_not():
    """Colons, hyphens or groups of four; never two kinds of mark."""
    for address in ("00:1A:2b:3c:4D:5e", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e"):
        assert spans(f"device {address}.", "MAC_ADDRESS") == [address]
    assert spans("00:1a-2b:3c:4d:5e", "MAC_ADDRESS") == []
