"""What a detector is, and how findings of many become one answer.

A detector is a pure function text -> findings for one or a few kinds of entity. Names of entities
are Presidio's where it has one. A detector never matches across `SEPARATOR`: `detect_all` joins
many short texts by it, so that a pattern runs once over a large block. White space (`\\s`) and
negated classes match it: patterns say `[ \\t]`, or exclude it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from ...errors import InputError
from ..classes import DataClass

SEPARATOR = "\x1e"
BLOCK = 200_000  # characters that are searched at once


@dataclass(frozen=True, slots=True)
class Finding:
    """One span of a text: `text[start:end]` is an `entity`, with `score` in (0, 1]."""

    entity: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Entity:
    """A kind of thing that can be found."""

    name: str
    """Name as Presidio writes it: EMAIL_ADDRESS."""
    title: str
    """In words, for people: e-mail address."""
    data_class: DataClass
    """The class proposed for a column that holds it."""
    structured: bool
    """Has it a form that can be checked, or does only its meaning tell?"""


Find = Callable[[str], Iterable[Finding]]
ENTITIES: dict[str, Entity] = {}
_FIND: dict[Find, re.Pattern[str]] = {}


def detector(*entities: Entity, needs: str = "") -> Callable[[Find], Find]:
    """Make a function known as the detector of `entities`. InputError when one has a detector.

    `needs` is a pattern without which it finds nothing; a column of amounts costs it one search.
    """

    def add(find: Find) -> Find:
        for entity in entities:
            if entity.name in ENTITIES:
                raise InputError("Two detectors find the same entity.", given=entity.name)
            ENTITIES[entity.name] = entity
        _FIND[find] = re.compile(needs)
        return find

    return add


def detect(text: str, entities: Collection[str] | None = None) -> list[Finding]:
    """Findings in order of place, none overlapping; of two that do the surer stays, or the longer.

    `entities` limits what is reported. InputError names an entity that no detector finds.
    """
    return next(detect_all([text], entities))


def detect_all(
    texts: Iterable[str], entities: Collection[str] | None = None
) -> Iterator[list[Finding]]:
    """The findings of each text, in the order of the texts; short ones are searched at once."""
    wanted = _wanted(entities)
    for block in _blocks(texts):
        starts = list(accumulate((len(text) + 1 for text in block), initial=0))
        found: list[list[Finding]] = [[] for _ in block]
        for one in _search(SEPARATOR.join(block), wanted):
            place = bisect_right(starts, one.start) - 1
            base = starts[place]
            found[place].append(Finding(one.entity, one.start - base, one.end - base, one.score))
        yield from found


def _wanted(entities: Collection[str] | None) -> set[str]:
    unknown = set(entities or ()) - set(ENTITIES)
    if unknown:
        raise InputError(
            "No detector finds that.",
            expected=", ".join(ENTITIES),
            given=", ".join(sorted(unknown)),
        )
    return set(ENTITIES) if entities is None else set(entities)


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text.replace(SEPARATOR, " "))
        size += len(text)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _search(text: str, wanted: set[str]) -> list[Finding]:
    """Every detector speaks before overlaps are settled, so that a card is not half a phone."""
    found = [one for find, needed in _FIND.items() if needed.search(text) for one in find(text)]
    found.sort(key=lambda one: one.start)
    kept: list[Finding] = []
    crowd: list[Finding] = []
    reach = 0
    for one in found:
        if crowd and one.start >= reach:
            kept += _settle(crowd)
            crowd = []
        crowd.append(one)
        reach = max(reach, one.end)
    return [one for one in kept + _settle(crowd) if one.entity in wanted]


def _settle(crowd: list[Finding]) -> list[Finding]:
    """Of findings that overlap, the surer; of equally sure ones the longer, then the earlier."""
    if len(crowd) < 2:
        return crowd
    taken: list[Finding] = []
    for one in sorted(crowd, key=lambda one: (-one.score, one.start - one.end, one.start)):
        place = bisect_right(taken, one.start, key=lambda other: other.start)
        after = place == len(taken) or one.end <= taken[place].start
        if after and (not place or taken[place - 1].end <= one.start):
            taken.insert(place, one)
    return taken


def said_before(text: str, place: int, width: int = 40) -> str:
    """The words before a place, in lower case and of the same text, for cues."""
    piece = text[max(0, place - width) : place]
    return piece[piece.rfind(SEPARATOR) + 1 :].lower()


def said_after(text: str, place: int, width: int = 16) -> str:
    """The words after a place, in lower case and of the same text."""
    return text[place : place + width].partition(SEPARATOR)[0].lower()


def is_whole(text: str, start: int, end: int) -> bool:
    """Is the span all of its text?"""
    return text[start - 1 : start] in ("", SEPARATOR) and text[end : end + 1] in ("", SEPARATOR)
