"""An expert's cause of a failure (V7): which failures ask for one, and what may be said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InputError

CAUSES = ("data", "instruction", "reasoning", "unknown")
"""What it learned from was wrong, what it was told to do was unclear, it drew the wrong conclusion
from both, or nobody could say."""
LONGEST = 400  # characters of a reason; a ledger forgets nothing


def owed(verdicts: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Gate and case of each blocking failure: the cases that a blocking gate which did not pass
    names; a gate that names none is a case of its own, by its id."""
    bad = [one for one in verdicts if one["blocking"] and one["verdict"] != "passed"]
    return [(g["criterion"], str(c)) for g in bad for c in g.get("failing") or [g["criterion"]]]


def check(said: Mapping[str, Any], verdicts: Iterable[Mapping[str, Any]]) -> None:
    """InputError unless it names a failure that there is, a known cause, a person, and says why
    without speaking of a person."""
    from .detectors import detect

    failures, place = owed(verdicts), (said.get("gate"), said.get("case"))
    if place not in failures:
        known = ", ".join(case for _, case in failures[:5]) or "no case: nothing failed that blocks"
        raise InputError("There is no such failure.", expected=known, given=place)
    if said.get("cause") not in CAUSES:
        raise InputError("A cause is one of four.", expected=", ".join(CAUSES), given=said.get("cause"))  # fmt: skip
    why = str(said.get("why") or "").strip()
    if not str(said.get("by") or "").strip() or not why or len(why) > LONGEST:
        expected = f"a person's name, and a reason of {LONGEST} characters at most"
        raise InputError("A cause needs a person and a reason.", expected=expected)
    if found := sorted({one.entity for one in detect(why)}):
        raise InputError("The reason speaks of a person, and a ledger forgets nothing.",
                         given=", ".join(found), next_step="Say it without.")  # fmt: skip
