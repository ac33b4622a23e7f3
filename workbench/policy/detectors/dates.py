"""Dates in the forms and languages in which people write them; those of birth by the words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .interface import Entity, Finding, detector, is_whole, said_after, said_before

# English, German, French, Spanish, Italian, Dutch, Portuguese and the Scandinavian languages.
_MONTHS = (
    "jan(?:uar[iy]?|vier|eiro)?|j[äa]n(?:ner)?|ene(?:ro)?|genn?(?:aio)?|feb(?:r(?:uar[iy]?|ero|"
    "aio)?|braio|ruari)?|f[ée]v(?:r(?:ier)?|ereiro)?|mar(?:ch|ts?|s|zo|ço)?|mär(?:z)?|maart|mrt|"
    "apr(?:ile?)?|avr(?:il)?|abr(?:il)?|ma[yji]o?|mei|mag(?:gio)?|jun[ei]?|junio|junho|juin|"
    "giu(?:gno)?|jul[iy]?|julio|julho|juil(?:let)?|lug(?:lio)?|aug(?:ust(?:us|i)?)?|août|"
    "ago(?:sto)?|sept?(?:ember|embre|iembre|tembre)?|set(?:embro|tembre|iembre)?|o[ck]t(?:ober|"
    "obre|ubre)?|out(?:ubro)?|ott(?:obre)?|nov(?:em(?:ber|bre|bro)|iembre)?|de[csz](?:em(?:ber|bre|"
    "bro))?|déc(?:embre)?|dic(?:iembre|embre)?"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_ORDINAL = rf"{_DAY}(?:st|nd|rd|th|er|[.º°ªe](?!\d))?"
_YEAR = r"(?:1[6-9]|20|21)\d\d"
_GAP = r"(?:, |[ ,./_-])"
_TIME = (
    r"(?:(?:,? (?:at |um |à |om |alle )?|T|:)\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
    r"(?: ?[ap]\.?m\b\.?)?(?:Z\b| ?[+-]\d{2}:?\d{2}| UTC| GMT)?)?(?![^\W_])"
)
_NUMERIC = re.compile(
    rf"(?<![\w./+-])(?<!\d[,:])(?:{_YEAR}(?P<s>[-/.])(?P<a>\d{{1,2}})(?P=s)(?P<b>\d{{1,2}})|"
    rf"(?P<c>\d{{1,2}})(?P<t>[-/.]|\. )(?P<d>\d{{1,2}})(?P=t)(?P<z>{_YEAR}|\d\d))(?!\d|"
    rf"[./-]\d){_TIME}|"
    r"(?<!\w)\d{4}年\d{1,2}月\d{1,2}日"
)
_WRITTEN = re.compile(
    rf"(?<![^\W_])(?:{_ORDINAL}{_GAP}?(?:(?:day )?of |de |d['’]|den )?(?P<m>{_MONTHS})\b\.?"
    rf"(?P<y>{_GAP}(?:de |del |of )?(?:{_YEAR}|['’]?\d\d(?![\d:.,%]|(?i: ?[ap]m))))?|"
    rf"(?P<n>{_MONTHS})\b\.?{_GAP}(?:the )?{_ORDINAL}(?![\d:%]|[.,]\d)"
    rf"(?P<x>{_GAP}{{1,2}}(?:{_YEAR}|['’]\d\d))?|"
    rf"{_YEAR}{_GAP}(?:{_MONTHS})\b\.?{_GAP}{_ORDINAL}|"
    rf"(?:{_MONTHS})\b\.?,?[ /'’-](?:(?:de|del|of) )?{_YEAR}){_TIME}", re.I,
)  # fmt: skip
_PARTIAL = re.compile(
    rf"(?<![\w./,+$€£-])(?:(?:0?[1-9]|1[0-2])/(?:{_YEAR}|\d\d)|{_DAY}/{_DAY}|{_DAY}\.(?:0?[1-9]|"
    rf"1[0-2])\.|{_YEAR}-(?:0[1-9]|1[0-2])|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|"
    rf"3[01]))(?![\w/%-]|[.,]\d)"
)
_WHEN = re.compile(
    r"(?:\b(?:on|by|until|till|since|before|after|due|dated?|from|exp(?:ir\w*|\.)?|valid\w*|"
    r"through|thru|and|am|vom|bis|seit|le|du|el|il|dal|op|vanaf|between|day)\b|"
    r"\bund\b)\W{0,3}(?:date|on|the|to|is)?\W{0,2}$"
)
_BORN = re.compile(
    r"\bborn\b|birth|\bb-?day\b|\bd\.? ?o\.? ?b\b|\bgeb\b|geb(?:oren|urt)|\bnée?(?:\(e\))?\b|"
    r"naissance|\bnac(?:i[dóí]|imiento)|nascimento|nascid|\bnat[oa]\b|nascita|geboorte|født|"
    r"fødsels|född|födelse|syntyn|urodz|\*$|(?<![\w.])b[.:] ?$"
)
_CORRECTED = re.compile(r"[,;)(. -]{1,3}(?:(?:and|but|it|is|not|on|the|instead of)[,; ]{1,2}){1,5}")
_BORN_AFTER = re.compile(
    r"\W{0,3}(?:is |was )?(?:(?:my|his|her|their|the) )?(?:\w+ )?(?:birth|dob|born|geboren)"
)
_NUMBERED = re.compile(
    r"(?:\bv|version|release|build|section|python|chapter|rev|\bip|clause)[ .:]*$"
)
_WORDS = frozenset("may march mar mars set out ago gen mag mai dic mei des dec sep jun".split())


@detector(
    Entity("DATE", "date", DataClass.INTERNAL_OPERATIONAL, structured=True),
    Entity("DATE_OF_BIRTH", "date of birth", DataClass.PERSONAL, structured=True),
    needs=r"\d",
)
def find_dates(text: str) -> Iterator[Finding]:
    """ISO 8601, day or month first, with a month's name; a part of one after a telling word."""
    last, born = 0, None
    for match in sorted(_candidates(text), key=lambda one: one.start()):
        start, end = match.span()
        before = said_before(text, start, min(44, max(0, start - last)))
        announced = match.re is not _PARTIAL or _is_announced(text, match, before)
        if start < last or not announced or _NUMBERED.search(before):
            continue
        born = born and _CORRECTED.fullmatch(text, last, start)  # born 3 May, not 5 May
        born = born or _BORN.search(before) or _BORN_AFTER.match(said_after(text, end, 24))
        yield Finding("DATE_OF_BIRTH" if born else "DATE", start, end, 0.97 if born else 0.83)
        last = end


def _candidates(text: str) -> Iterator[re.Match[str]]:
    yield from filter(_is_day, _NUMERIC.finditer(text))
    yield from filter(_is_month, _WRITTEN.finditer(text))
    yield from _PARTIAL.finditer(text)


def _is_day(match: re.Match[str]) -> bool:
    """Can one of the numbers be the month and the other the day?"""
    if not (match["a"] or match["c"]):
        return True
    one, two = int(match["a"] or match["c"]), int(match["b"] or match["d"])
    version = match["t"] == "." and len(match["z"]) == 2 and len(match["c"] + match["d"]) < 4
    return 1 <= min(one, two) <= 12 and max(one, two) <= 31 and not version


def _is_month(match: re.Match[str]) -> bool:
    """Not `10 may enter` and `2 set`: words that are months too need a year or a capital letter."""
    return bool(match["y"] or match["x"]) or (match["m"] or match["n"]) not in _WORDS


def _is_announced(text: str, match: re.Match[str], before: str) -> bool:
    """Is a part of a date, or one without marks, said to be one?"""
    compact = match[0].isdigit()
    if is_whole(text, *match.span()):
        return compact or match[0][4:5] == "-"
    return bool(_WHEN.search(before) or _BORN.search(before))
