"""What a reply about deletion, consent or recording must say, and what it must not promise.

A family of phrases is written as what has to come together in one sentence, in any order: parts
joined by ` + `, each a choice of beginnings of words joined by `|`; what has up to three letters is
a whole word. `keep|stor + law|year` is met by "the law asks us to keep it" and by "stored for six
years". GDPR, Art. 7(3), 13, 17.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from ...errors import InputError
from ..reading import plain, sentences
from ..wordings import wordings
from .interface import Row, Verdict, register, unheard

_WRITTEN = wordings(__package__, "families.yaml")
FAMILIES = _WRITTEN["topics"] | _WRITTEN["families"]
"""Families by name; a policy may use these or write its own."""
_NOT = r"\b(?:not|never|no|cannot|can't|don't|won't|nothing|nobody|unable|isn't|aren't|n't)\b"


@cache
def _parts(family: str) -> tuple[re.Pattern[str], ...]:
    """One pattern a part; InputError for a family that has an empty choice."""
    written = FAMILIES.get(family, family)
    choices = [[word.strip() for word in part.split("|")] for part in written.split(" + ")]
    if not all(map(all, choices)):
        raise InputError(
            "A family of phrases has an empty part.", expected="keep|stor + law|year", given=family
        )
    return tuple(re.compile("|".join(map(_begins, words))) for words in choices)


def _begins(word: str) -> str:
    """Up to three letters are a whole word: "all" is not the beginning of "allow"."""
    return rf"\b{re.escape(word)}" + (r"\b" if len(word) <= 3 else "")


def says(text: str, family: str, *, denied: bool = True) -> bool:
    """Does a sentence hold every part of the family? Not `denied`: one that negates counts not."""
    parts = _parts(family)
    negates = any(part.search("not never nothing no") for part in parts)
    return any(
        all(part.search(sentence) for part in parts)
        and (denied or negates or not re.search(_NOT, sentence))
        for sentence in sentences(plain(text))
    )


@register("phrases")
def phrases(
    row: Row, *, when: str = "", require: Sequence[str] = (), forbid: Sequence[str] = ()
) -> Verdict:
    """Fail when a family to `forbid` is in the reply, or one to `require` is absent.

    `when` is a topic, or a family of its own, that the message must be about for `require` to
    count. InputError when neither `require` nor `forbid` is given.
    """
    if not require and not forbid:
        raise InputError("A rule about phrases requires or forbids some.", given="none")
    missing = unheard(row, "reply", *(["text"] if when else []))
    if missing:
        return missing
    promised = [name for name in forbid if says(row["reply"], name, denied=False)]
    if promised:
        return Verdict("fail", f"the reply says: {', '.join(promised)}")
    if when and not says(row["text"], when):
        return Verdict("pass", f"the message is not about {when}")
    absent = [name for name in require if not says(row["reply"], name)]
    return Verdict("fail" if absent else "pass", ", ".join(f"not said: {name}" for name in absent)
                   or "all that is required is said")  # fmt: skip
