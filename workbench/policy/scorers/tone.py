"""A reply is courteous: no blame, sarcasm, threat, false promise, insult or familiarity."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..reading import clean, plain, sentences
from ..wordings import patterns, wordings
from .interface import Row, Verdict, register, said

_WRITTEN = wordings(__package__, "patterns.yaml")
KINDS = patterns(_WRITTEN["tone"])
_NONE = patterns({"blame": _WRITTEN["not_blamed"]})["blame"]
_SHOUTED = re.compile(
    r"\b[A-Z]{4,}\b(?:[ ,!]+[A-Z]{2,}\b)+|!{2,}|\?!|(?:\b[A-Z]{5,}\b[^A-Z]{1,40}){3}"
)


def faults(reply: str) -> list[str]:
    """The kinds of discourtesy in a reply; what is quoted or negated is none."""
    text = re.sub(r"\"[^\"\n]{1,300}\"", " ", clean(reply).translate(str.maketrans("“”", '""')))
    found = {"shouting"} if _SHOUTED.search(text) else set()
    for part in sentences(plain(text)):
        hit = {name for name, pattern in KINDS.items() if pattern.search(part)}
        found |= hit - ({"blame", "promise", "insult"} if _NONE.search(part) else set())
    return sorted(found)


@register("tone")
def tone(row: Row, *, allowed: Sequence[str] = ()) -> Verdict:
    """Fail when the reply blames, mocks, threatens, promises what nobody can, shouts or fawns.

    English. `allowed` names kinds that the desk takes: familiarity, promise, …
    """
    reply = said(row, "reply")
    if reply is None:
        return Verdict("unscored", "no reply")
    found = [name for name in faults(reply) if name not in allowed]
    return Verdict("fail" if found else "pass", ", ".join(found) or "courteous")
