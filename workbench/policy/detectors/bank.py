"""Cards and accounts, by form and checksum; account numbers without one by the words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .contact import COUNTED
from .interface import Entity, Finding, detector, said_before

_S = "[ \u00a0.-]?"
# Lengths and first digits as in ISO/IEC 7812: Visa, Mastercard, Maestro, Discover, UnionPay, JCB,
# Mir, RuPay in fours; American Express and Diners in their own groups; other lengths unbroken.
_CARD = re.compile(
    rf"(?<![\w.])(?<!\d-)(?<!\+\d )(?<!\+\d\d )(?:"
    rf"(?:[456]\d{{3}}|35\d\d|2[2-7]\d\d|8[12]\d\d)(?:{_S}\d{{4}}){{3}}(?:{_S}\d{{3}})?|"
    rf"3[47]\d\d{_S}\d{{6}}{_S}\d{{5}}|3[0689]\d\d{_S}\d{{6}}{_S}\d{{4}}|"
    rf"4\d{{3}}(?:(?:{_S}\d{{3}}){{3}}|(?:{_S}\d{{4}}){{2}}{_S}\d)|"
    rf"3\d{{3}}(?:{_S}\d{{4}}){{2}}{_S}\d{{2,3}}|(?:1800|2131)\d{{11}}|6[25]\d{{15,17}}|"
    rf"(?:50\d\d|5[6-8]\d\d|6304|67\d\d)\d{{8,15}})(?!\w|-\d)"
)
# A joining word ends it: what follows may be another one.
_IBAN = re.compile(
    r"(?<![^\W_])[A-Za-z]{2}\d{2}(?:[ \u00a0-]?(?!(?:and|to|or|then) )[A-Za-z0-9]){11,30}"
)
_BIC = re.compile(r"(?<![\w-])[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?(?![\w-])")
_IFSC = re.compile(r"(?<!\w)[A-Z]{4}0\d{6}(?!\w)")
_BIC_CUE = re.compile(r"\b(?:bic|swift|iban)\b")
_ROUTING_CUE = re.compile(r"routing|\baba\b|\brtn\b|transit|wire")
_ACCOUNT_CUE = re.compile(
    r"(?:\bacc(?:oun)?ts?\b|\bacc\b|\ba/c|\bacct|\biban|konto|compte|cuenta|\bconto\b|rekening|"
    r"\bconta\b|\bbban|\bclabe|\bccc\b|savings|checking|\bgiro|salary|payee|direct debit|standing order)(?:(?!balance)\D){0,28}(?:\D{0,40}should be\W{1,3})?$"
)
_SORT_CUE = re.compile(
    r"sort\b(?: ?-?code)?|sort-?code|\bs/?c\b|\bbsb\b|\bblz\b|bankleitzahl|branch|code banque"
)
_SORTED = re.compile(
    r"(?<![\w./-])\d\d([- ]|(?=\d{4}[ ,]{1,2}\d{8}\b))\d\d\1\d\d(?P<more>[ ,;/]{1,3}(?:(?:and )?(?i:acc)\w*\.? ?(?:no|"
    r"number)?[.: ]*)?\d{7,8})?(?![\w/]|[-.]\d)"
)
_ACCOUNT = re.compile(r"(?<![\w.,/€$£])\d(?:[ -]?\d){4,19}+(?!\w|[.,:/]\d|[ -]?\d| ?[%€$£])")
# Between two numbers of which the second is what the first is.
_JOINED = re.compile(
    r"[ ,;:.()-]{1,4}(?:(?:and|to|from|not|or|it|is|my|the|other|wrong|should be|for \w+)[ ,;:.(-]{1,3}){0,6}"
)
_WALLET = re.compile(
    r"(?<!\w)(?:0x[0-9a-fA-F]{40}|bc1[ac-hj-np-z02-9]{11,71}|[13][1-9A-HJ-NP-Za-km-z]{25,34})(?!\w)"
)


@detector(Entity("CREDIT_CARD", "payment card number", DataClass.PERSONAL, True), needs=r"\d{4}")
def find_cards(text: str) -> Iterator[Finding]:
    """Issuers' lengths and groups, and the Luhn check (ISO/IEC 7812-1 annex B)."""
    from stdnum import luhn

    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if luhn.is_valid(digits) and digits.strip(digits[0]):
            counted = COUNTED.search(said_before(text, match.start()))
            yield Finding("CREDIT_CARD", match.start(), match.end(), 0.5 if counted else 0.92)


@detector(Entity("IBAN_CODE", "IBAN", DataClass.PERSONAL, True), needs=r"[A-Za-z]{2}\d\d")
def find_ibans(text: str) -> Iterator[Finding]:
    """ISO 13616: the country's structure and mod 97; spaced, dashed or in lower case."""
    from stdnum import iban

    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):
            whole = not text[end : end + 1].isalnum() and text[end - 1].isalnum()
            if whole and iban.is_valid(text[match.start() : end], check_country=False):
                yield Finding("IBAN_CODE", match.start(), end, 1.0)
                break


@detector(
    Entity("BIC_CODE", "bank's code (BIC)", DataClass.INTERNAL_OPERATIONAL, structured=True),
    Entity("BANK_ACCOUNT", "bank account or sort code", DataClass.PERSONAL, structured=True),
    Entity("CRYPTO", "wallet of a crypto-currency", DataClass.PERSONAL, structured=True),
)
def find_accounts(text: str) -> Iterator[Finding]:
    """What banks write beside IBANs, and wallets; without a checksum only after a telling word."""
    for match in _BIC.finditer(text):
        if match[0][8:] == "XXX" or _BIC_CUE.search(said_before(text, match.start())):
            yield Finding("BIC_CODE", match.start(), match.end(), 0.96)
    for match in _IFSC.finditer(text):
        yield Finding("BANK_ACCOUNT", match.start(), match.end(), 0.8)
    last = 0
    numbers = [*_SORTED.finditer(text), *_ACCOUNT.finditer(text)]
    for match in sorted(numbers, key=lambda one: one.start()):
        before = said_before(text, match.start(), 80)
        if match.re is _ACCOUNT:
            score = _account(match[0], before)
        else:
            score = 0.9 if match["more"] or _SORT_CUE.search(before[-40:]) else 0.0
        if score or (last and _JOINED.fullmatch(text, last, match.start())):
            yield Finding("BANK_ACCOUNT", match.start(), match.end(), score or 0.8)
            last = max(last, match.end())
    for match in _WALLET.finditer(text):
        if _is_wallet(match[0]):
            yield Finding("CRYPTO", match.start(), match.end(), 0.95)


def _account(number: str, before: str) -> float:
    """How sure this is a bank's number, by its digits and the words before; 0 when none."""
    from stdnum.es import ccc
    from stdnum.us import rtn

    digits = re.sub(r"\D", "", number)
    if len(digits) == 9 and _ROUTING_CUE.search(before[-40:]):
        return 0.95 if rtn.is_valid(digits) else 0.0
    if (len(digits) == 20 and ccc.is_valid(digits)) or (
        6 <= len(digits) <= 9 and _SORT_CUE.search(before[-40:])
    ):
        return 0.85
    return 0.8 if len(digits) >= 6 and _ACCOUNT_CUE.search(before) else 0.0


def _is_wallet(address: str) -> bool:
    """Bitcoin by its checksum (Base58Check, Bech32); Ethereum's is in the case and mostly lost."""
    from stdnum import bitcoin

    return address.startswith("0x") or bitcoin.is_valid(address)
