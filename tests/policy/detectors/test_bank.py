"""Cards, IBANs, accounts and wallets count when their checksum holds or a word announces them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stdnum import luhn

from workbench.policy.detectors import detect


def spans(text: str, entity: str) -> list[str]:
    return [text[one.start : one.end] for one in detect(text, {entity})]


CARDS = ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "3782 822463 10005",
         "378282246310005", "30569309025904", "6011000990139424", "3530111333300000",
         "2223003122003222"]  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_found_and_one_wrong_digit_is_not(card):
    """The issuer's length and groups, and the Luhn check."""
    assert spans(f"my card {card}, exp 12/27", "CREDIT_CARD") == [card]
    wrong = card[:-1] + str((int(card[-1]) + 1) % 10)
    assert spans(f"my card {wrong}", "CREDIT_CARD") == []


@settings(max_examples=50, deadline=None)
@given(st.integers(10**14, 10**15 - 1))
def test_every_visa_number_that_passes_is_found(body):
    """And its number with another check digit is not."""
    stem = "4" + str(body)[1:]
    digit = int(luhn.calc_check_digit(stem))
    assert spans(f"{stem}{digit}", "CREDIT_CARD") == [f"{stem}{digit}"]
    assert spans(f"{stem}{(digit + 5) % 10}", "CREDIT_CARD") == []


@pytest.mark.parametrize(
    "iban",
    ["GB29 NWBK 6016 1331 9268 19", "gb29nwbk60161331926819", "DE89 3704 0044 0532 0130 00",
     "FR14 2004 1010 0505 0001 3M02 606", "NO93-8601-1117-947", "NL91ABNA0417164300"],
)  # fmt: skip
def test_an_iban_ends_where_it_ends(iban):
    """Spaced, dashed or in lower case, and the words after it are no part of it."""
    assert spans(f"to {iban} as agreed", "IBAN_CODE") == [iban]
    wrong = iban[:3] + str((int(iban[3]) + 1) % 10) + iban[4:]
    assert spans(f"to {wrong} as agreed", "IBAN_CODE") == []


def test_accounts_without_a_checksum_need_a_word():
    """A sort code, an account, a routing number whose check holds."""
    assert spans("account number 12345678 at your bank", "BANK_ACCOUNT") == ["12345678"]
    assert spans("sort code 12-34-56", "BANK_ACCOUNT") == ["12-34-56"]
    assert spans("pay 12-34-56 12345678", "BANK_ACCOUNT") == ["12-34-56 12345678"]
    assert spans("routing number 021000021", "BANK_ACCOUNT") == ["021000021"]
    assert spans("routing number 021000022", "BANK_ACCOUNT") == []
    assert spans("order 12345678, size 12-34-56", "BANK_ACCOUNT") == []


def test_a_bank_code_needs_a_word_too():
    """Capitals of eight letters are mostly words."""
    assert spans("BIC: DEUTDEFF500", "BIC_CODE") == ["DEUTDEFF500"]
    assert spans("DEUTDEFFXXX", "BIC_CODE") == ["DEUTDEFFXXX"]
    assert spans("POSSIBLE ABSOLUTE", "BIC_CODE") == []


def test_a_wallet_is_checked():
    """Base58Check and Bech32; an Ethereum address by its form."""
    for wallet in (
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    ):
        assert spans(f"send to {wallet}", "CRYPTO") == [wallet]
        assert spans(f"send to {wallet[:-1]}z", "CRYPTO") == []
    assert spans("0x" + "ab" * 20, "CRYPTO") == ["0x" + "ab" * 20]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("from 12-34-56 12345678 to 65-43-21 87654321", ["12-34-56 12345678", "65-43-21 87654321"]),
        ("my account (sort code 12-34-56) is closed", ["12-34-56"]),
        ("a/c 12345678 (12-34-56)", ["12345678", "12-34-56"]),
        ("the account number should be 12345678", ["12345678"]),
        ("account 87654321 is wrong, it should be 12345678", ["87654321", "12345678"]),
        ("the account that you hold for me is wrong, should be 12345678", ["12345678"]),
        ("sort codes 12-34-56 and 65-43-21", ["12-34-56", "65-43-21"]),
        ("account 12345678, order 87654321", ["12345678"]),
        ("order 12345678 and 87654321", []),
        ("order 87654321 should be 12345678", []),
    ],
)
def test_the_second_of_two_joined_accounts_needs_no_word_of_its_own(text, numbers):
    """But the first does, and another word between them ends it."""
    assert spans(text, "BANK_ACCOUNT") == numbers


@pytest.mark.parametrize(
    "card", ["4222222222222", "4222 2222 22222", "4222-2222-2222-2", "4222 222 222 222"]
)
def test_an_old_visa_of_thirteen_digits_is_found(card):
    """In each of its groupings; not when its check digit is wrong."""
    assert spans(f"my card {card}", "CREDIT_CARD") == [card]
    assert spans(f"my card {card[:-1]}3", "CREDIT_CARD") == []


@pytest.mark.parametrize("between", [" and ", " to ", ", "])
def test_an_iban_after_another_is_found_whole(between):
    """Spaced ones too, where the words between could be letters of the first."""
    for pair in (
        ["GB29 NWBK 6016 1331 9268 19", "DE89 3704 0044 0532 0130 00"],
        ["NO9386011117947", "BE68539007547034"],
    ):
        assert spans(f"from {between.join(pair)} please", "IBAN_CODE") == pair
