"""Organisations: by legal form (GmbH), by what they call themselves (Bank, University of), by fame,
and by the words before them (works at)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..classes import DataClass
from .interface import Entity, Finding, detector
from .places import FUNCTION, PARTICLES, Word, follows, is_ordinary, place_score, runs

_FORM = re.compile(
    r",? (?:Inc|Ltd|Limited|Co|Corp|LL[CP]|L\.L\.C|plc|PLC|S\.?A\.?S?|S\.p\.A|S\.?[rR]\.?[lL]|B\.?V"
    r"|N\.?V|e\.V|A/S|ApS|AB|Oyj?|GmbH|AG|KG|SE|Pty|s\.r\.o|Sp\. z o\.o)(?![^\W_])\.?(?: Ltd\b\.?)?"
)
_NOUNS = frozenset(
    "company corporation group holding holdings bank capital partners associates technologies "
    "systems solutions industries enterprises pharmaceuticals laboratories motors airlines airways "
    "insurance foundation institute university college academy school hospital clinic council "
    "commission committee agency authority ministry department bureau association federation union "
    "society trust ventures brothers sons consulting logistics energy electronics software studios "
    "entertainment times post news journal parliament court party united fc museum stiftung "
    "sparkasse versicherung".split()
)
_HEADS = frozenset(
    "university bank ministry department institute bureau council church museum office academy "
    "association house court banco banque université universidad hospital".split()
)
_FAMOUS = (
    "Red Cross|Vodafone|Wells Fargo|American Express|Deutsche Bank|Goldman Sachs|Microsoft|Google|"
    "Amazon|Facebook|Netflix|Tesla|Twitter|IBM|Intel|Oracle|Siemens|Volkswagen|BMW|Toyota|Samsung|"
    "Sony|Airbus|Boeing|Pfizer|Novartis|Nestlé|Walmart|Tesco|PayPal|Barclays|HSBC|Santander|UBS|"
    "JPMorgan|Reuters|BBC|CNN|NATO|UN|WHO|IMF|FIFA|UEFA|NASA|FBI|CIA|NHS|NBA|NFL|EU|United Nations|"
    "European Union|World Bank|Congress|Senate|Parliament|Pentagon|Kremlin|Hamas"
)
_KNOWN = re.compile(rf"(?<![\w.])(?=[A-Z])(?:{_FAMOUS})(?!\w)")
_CUE = re.compile(
    r"(?i:work\w* (?:at|for)|employ\w+ (?:by|at|of)|employer:?|joined|(?:ceo|director|manager"
    r"|founder|chairman|shares?|customer|engineer|job) (?:of|in|at|for|with)|(?:company|firm"
    r"|startup|bank|insurer|airline|merchant|supplier)(?: called| named|:)?|arbeite bei|acquired) "
    r"(?:the )?$"
)
_OF = PARTICLES | {" of ", " of the ", " for "}


@detector(Entity("ORGANIZATION", "organisation", DataClass.INTERNAL_OPERATIONAL, structured=False))
def find_organisations(text: str) -> Iterator[Finding]:
    """Legal forms, nouns of organisations, well-known names, and capitals after 'works at'."""
    for match in _KNOWN.finditer(text):
        yield Finding("ORGANIZATION", match.start(), match.end(), 0.86)
    ends = {word.end: run for run in runs(text) for word in run}
    for match in _FORM.finditer(text):
        start = _start(ends.get(match.start(), []))
        if start and start.start < match.start():
            yield Finding("ORGANIZATION", start.start, match.end(), 0.95)
    for run in runs(text):
        for stop in _stops(run):
            if start := _start(run[:stop]):
                yield Finding("ORGANIZATION", start.start, run[stop - 1].end, 0.87)
        first, plain = run[0], [is_ordinary(word.text.lower()) for word in run]
        if not all(plain) and follows(_CUE, text, first.start):
            if place_score(first.text) < 0.7:
                yield Finding("ORGANIZATION", first.start, run[-1].end, 0.62)


def _start(run: list[Word]) -> Word | None:
    """The first word that is no function word: 'The Acme' starts at Acme."""
    return next((word for word in run if word.text.lower() not in FUNCTION), None)


def _stops(run: list[Word]) -> Iterator[int]:
    """How many words of the run make up an organisation, by a noun, by 'and Sons', by '&'."""
    plain = [is_ordinary(word.text.lower()) for word in run]
    for at, word in enumerate(run):
        low, after = word.text.lower(), run[at + 1].link if at + 1 < len(run) else ""
        if low in _HEADS and after in _OF:
            yield next((n for n in range(at + 2, len(run)) if run[n].link != " "), len(run))
        elif (
            low in _NOUNS
            and word.link == " "
            and not all(plain[:at])
            and not (after == " " and plain[at + 1])
        ):
            yield at + 1
        elif word.link == " & " and not any(plain[at - 1 : at + 1]):
            yield len(run)
