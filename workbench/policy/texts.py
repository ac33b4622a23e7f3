"""When two texts are the same text (normalisers, each weaker than the one before), and what a ledger
may keep for ever."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 400  # characters of what a person says in a ledger
_MARK = re.compile(r"[^\w\s]|_")
_SPACE = re.compile(r"\s+")


def lower(text: str) -> str:
    """Compatibility forms and case folded, every run of white space one space."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def bare(text: str) -> str:
    """As `lower`, without punctuation; a text of punctuation only stays as it is."""
    folded = lower(text)
    # Emoji, currencies and the vowel signs of many scripts carry meaning and are no punctuation.
    return _SPACE.sub(" ", _MARK.sub(_unless_mark, folded)).strip() or folded


def _unless_mark(match: re.Match[str]) -> str:
    kind = unicodedata.category(match[0])
    return "" if kind.startswith("P") or kind == "Cf" else match[0]


def lasting(text: str) -> str:
    """A text that a ledger may keep for ever; ValueError for one that breaks out of its line, is
    longer than `LONGEST`, or holds what tells who somebody is."""
    from .detectors import ENTITIES, detect

    if not text.strip() or len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"one line of {LONGEST} characters at most, without control characters")
    tells = {
        name for name, one in ENTITIES.items() if one.structured and one.data_class == "personal"
    }
    if found := sorted({one.entity for one in detect(text)} & {*tells, "PERSON", "ADDRESS"}):
        raise ValueError(
            f"words that speak of no person ({', '.join(found)}): a ledger forgets nothing"
        )
    return text


Lasting = Annotated[str, AfterValidator(lasting)]
"""Field of a document for what a person says in a ledger."""
NORMALISERS: dict[str, Callable[[str], str]] = {
    "stripped": str.strip,
    "lower-cased": lower,
    "punctuation removed": bare,
}
