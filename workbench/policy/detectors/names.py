"""People: names by lexicon, form and the words around them, and the titles before them.

Given names and surnames of some seventy locales come from Faker's lists (MIT), read once, with the
first text; so what is measured on text that Faker made says nothing of this detector.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from ..classes import DataClass
from . import places
from .interface import Entity, Finding, detector
from .places import Word, is_whole, opens_sentence, place_score

_GIVEN = (
    "aisha ahmed mohammed muhammad fatima yusuf hassan hussein omar khalid layla noor priya rahul "
    "arjun sanjay vijay sunil ravi lakshmi wei ming jing hiroshi kenji haruto sakura naoko min-jun "
    "ji-woo olga svetlana dmitri vladimir sergei natasha boris igor yuri oksana giorgos eleni "
    "kwame kofi chinedu ngozi thabo sipho tuan linh barack donald elon"
)
_FAMILY = (
    "wang zhang chen yang huang zhao zhou xu lin liang tang cheung wong leung tanaka suzuki sato "
    "watanabe yamamoto nakamura kim park choi jung xi li wu hu ma kang nguyen tran pham hoang phan "
    "singh sharma patel gupta kumar khan iyer nair reddy rao das hussain ivanov petrov smirnov "
    "kuznetsov popov shevchenko kovalenko papadopoulos okafor okonkwo mensah diallo traore haddad "
    "rahman obama trump"
)
_CUE = re.compile(
    r"\b(?i:name(?:'s| is|:)|i am called|call me|called|named|this is|dear|hi|hello|hey|regards,?"
    r"|sincerely,?|thanks,?|yours,?|cheers,?|attn:?|c/o|(?:patient|customer|client|contact|from|to"
    r"|cc):|sp(?:eak|oke)\w* (?:to|with)|talk to|meet|ask for|mein name ist|ich hei(?:ß|ss)e"
    r"|je m'appelle|me llamo|mi nombre es|mi chiamo|ik heet|i am|i'm|contact|my (?:husband|wife"
    r"|partner|son|daughter|brother|sister|father|mother|friend|boss))[ \n]{1,2}$"
)
_NEAR = re.compile(
    r"\b(?i:by|with|and|told|asked|met|saw|for|colleague|manager|actor|actress|singer|player|coach"
    r"|spokes\w+|analyst|lawyer|agent|minister|leader|champion|director|to|from)[ ,]{1,2}$"
)
_AFTER = re.compile(
    r"(?i:'s (?:account|card|wife|husband|phone|email|address)|,? (?:said|says|told|asked|wrote"
    r"|replied|added|who|joined|works?|lives?|called|wants|won|visited|was born|is a|and "
    r"(?:i|his|her))\b|, (?:\d\d\b|an? |the |from ))"
)
_LOWER = re.compile(
    r"\b(?i:name is|name's|name:|call me|i'm|regards,?|sincerely,?|ich heiße|je m'appelle"
    r"|me llamo)[ \n](?=[^\W\d_]{2})((?:(?:^|[ ])?[^\W\d_]{2,20}\b){1,3})"
)
_INVERTED = re.compile(
    rf"(?<![^\x1e\n])({places.CAPITAL}), ({places.CAPITAL})"
    rf"(?: [{places.UPPER}]\w{{0,30}}\.?){{0,2}}"
    r"(?![^\x1e\n])"
)


@cache
def _lexicon() -> tuple[frozenset[str], frozenset[str]]:
    """Given names and surnames, lower case."""
    from importlib import import_module
    from pkgutil import iter_modules

    from faker.providers import person

    given, family = set(_GIVEN.split()), set(_FAMILY.split())
    for locale in iter_modules(person.__path__, person.__name__ + "."):
        for key, values in vars(import_module(locale.name).Provider).items():
            kept = given if key.startswith("first_name") else family if "last_name" in key else None
            if kept is not None and isinstance(values, list | tuple | dict):
                kept.update(one.lower() for one in values if isinstance(one, str))
    return frozenset(given - places.FUNCTION), frozenset(family - places.FUNCTION)


@lru_cache(maxsize=65_536)
def _kind(low: str) -> str:
    """Given, Surname, Ambiguous (a common word or large place too), Initial, Unknown, Ordinary."""
    given, family = _lexicon()
    if low in places.FUNCTION or len(low) == 1:
        return "O" if low in "ai" else "I" if len(low) == 1 else "O"
    is_given = low in given or re.split("[-’']", low)[0] in given
    known = is_given or low in family or re.split("[-’']", low)[-1] in family
    if place_score(low) >= 0.7 or (low in places.ordinary() if known else places.is_ordinary(low)):
        return "A" if known else "O"
    return "G" if is_given else "S" if known else "U"


@detector(
    Entity("PERSON", "name of a person", DataClass.PERSONAL, structured=False),
    Entity("TITLE", "form of address", DataClass.INTERNAL_OPERATIONAL, structured=False),
)
def find_names(text: str) -> Iterator[Finding]:
    """Names by lexicon and form, names after a cue ('my name is', Dr, Dear), titles."""
    for run in places.runs(text):
        part: list[Word] = []
        titled = False
        for at, word in enumerate(run):
            low = word.text.lower()
            title = low in places.TITLES and at + 1 < len(run) and run[at + 1].link == " "
            acronym = word.text.isupper() and 1 < len(low) < 5 and len(run) < 3
            ends = title or _kind(low) == "O" or (acronym and _kind(low) == "U")
            if ends or (part and word.link not in places.PARTICLES and word.link != " "):
                yield from _person(text, part, titled)
                part, titled = [], title
            if title:
                yield Finding("TITLE", word.start, word.end, 0.6)
            elif not ends:
                part.append(word)
        yield from _person(text, part, titled)
    for match in _LOWER.finditer(text):
        end = match.start(1)
        for word in re.finditer(r"\w+", match[1].lower()):
            if _kind(word[0]) not in ("GA" if end == match.start(1) else "GSA"):
                break
            end = match.start(1) + word.end()
        if end > match.start(1) and _kind(match[1].lower().split()[0]) == "G":
            yield Finding("PERSON", match.start(1), end, 0.7)
    for match in _INVERTED.finditer(text):
        kinds = _kind(match[1].lower()) + _kind(match[2].lower())
        if re.fullmatch("[SGU][GA]|A[G]", kinds) and place_score(match[2]) < 0.7:
            yield Finding("PERSON", match.start(), match.end(), 0.9)


def _person(text: str, part: list[Word], titled: bool) -> Iterator[Finding]:
    """One name at most, from words that could all be parts of a name."""
    kinds = "".join(_kind(word.text.lower()) for word in part[:5]).rstrip(
        "I" if len(part) > 1 else ""
    )
    if not kinds:
        return
    end = part[len(kinds) - 1].end
    stray = kinds[0] == "U" or (kinds[0] == "A" and part[0].text.lower() not in _lexicon()[0])
    opens = opens_sentence(text, part[0].start)
    if stray and kinds[1:2] == "G" and opens and not is_whole(text, part[0].start, end):
        part, kinds, opens = part[1:], kinds[1:], False  # 'Bonjour Marie': a sentence's capital
    score = 0.9 if titled else _sure(text, part[0], end, kinds, opens)
    if score:
        yield Finding("PERSON", part[0].start, end, score)


def _sure(text: str, first: Word, end: int, kinds: str, opens: bool) -> float:
    """How sure it is that this is a person's name; 0 when it more likely is none."""
    known, short = set(kinds) & set("GS"), first.text.isupper() and len(first.text) < 5
    if kinds not in "IA" and not short and places.follows(_CUE, text, first.start):
        return 0.8 if known else 0.5
    if len(kinds) > 1 and known:
        return 0.85 if re.search("G.|[IA][GS]", kinds) else 0.6
    said = _AFTER.match(text, end)
    if len(kinds) == 1:
        if kinds == "G" and not short and len(first.text) > 2:
            return 0.63
        return 0.45 * bool(not short and kinds != "I" and (not opens or (said and known)) and (
            said or (kinds == "S" and len(first.text) > 3)))  # fmt: skip
    near = said or places.follows(_NEAR, text, first.start)
    if kinds[0] in "IA" and "U" in kinds and place_score(first.text) < 0.5:
        return 0.5 * (not opens or is_whole(text, first.start, end))
    return (
        0.4
        * bool(is_whole(text, first.start, end) or said or (near and not opens))
        * ("U" in kinds)
    )
