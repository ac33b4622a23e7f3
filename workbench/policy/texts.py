"""When two texts are the same text: normalisers, each weaker than the one before."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

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


NORMALISERS: dict[str, Callable[[str], str]] = {
    "stripped": str.strip,
    "lower-cased": lower,
    "punctuation removed": bare,
}
