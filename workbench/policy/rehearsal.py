"""What was served, held against what was validated, case by case (E4).

1. Answers are compared field by field: the fields that the log holds, and the free one that the
   caller got. Equal means the same text.
2. A confidence is compared where validation measured one; it may be `TOLERANCE` apart.
3. A case that the model did not answer, or of which the log has no line, or more than one,
   differs. Texts that the declared limits refuse, and recorded traffic, stand aside.
4. What is compared is the answer that validation got, never the right one. So this says nothing
   of how good the model is, and a locked set that is replayed is not looked at.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import InputError
from ..record.digest import canonical
from .gates import GateResult, GateVerdict
from .operations import STAGES

STAGE = STAGES["rehearsal"]
COLUMNS = ["case_id", "set", "expected", "served", "confidence_offline", "confidence_served",
           "differs", "what", "latency_ms", "outcome"]  # fmt: skip
TOLERANCE = 1e-5
"""Of a confidence: what float32 leaves of it in another order of sums."""
LOG, NAMED = "log", 5
GIVEN = ("answered", "escalated")
"""Outcomes with which the caller gets the model's own answer."""
TURNED_AWAY = (400, 413)
"""HTTP statuses of a text that no model is asked about; the log names no case on its line."""


class Case(NamedTuple):
    """A text that was answered before, and what was answered."""

    id: str
    set: str
    """locked, dev, scenarios; `traffic` has no answer."""
    text: str
    answer: dict[str, str] = {}
    """Field -> value."""
    confidence: dict[str, float] = {}
    """Field -> calibrated confidence, of those that validation measured."""


class Served(NamedTuple):
    """What came of a case: the lines of the log that name it, and what its caller got."""

    lines: Sequence[Mapping[str, Any]]
    reply: Mapping[str, Any]

    @property
    def line(self) -> Mapping[str, Any]:
        return self.lines[0] if len(self.lines) == 1 else {}


def compared(case: Case, served: Served) -> bool:
    """Is there something to compare? Not of recorded traffic, nor where the declared limits of the
    server turned the text away; both stand in `aside.parquet`."""
    return bool(case.answer) and served.reply.get("status") not in TURNED_AWAY


def item(case: Case, served: Served, closed: Iterable[str]) -> dict[str, Any]:
    """One row of `items.parquet`; only values of `closed` fields are in it, no text of a person's.

    `differs` is 0 or 1, and None where nothing is `compared`.
    """
    known, line = set(closed), served.line
    logged, outcome = dict(line.get("answer", {})), line.get("outcome", "no line")
    got = served.reply.get("answer") if outcome in GIVEN else {}
    odd = [] if logged else ["no answer"]
    odd += [f"{n} is not as logged" for n, v in logged.items() if got and got.get(n) != v]
    said = {**(got or {}), **logged}
    odd += [name for name, value in case.answer.items()
            if (name in known or got) and said.get(name) != value]  # fmt: skip
    sure = line.get("confidence", {})
    gaps = {name: _gap(p, sure.get(name)) for name, p in case.confidence.items()}
    odd += [f"confidence of {name}" for name, gap in gaps.items() if not gap <= TOLERANCE]
    widest = max(gaps, key=gaps.__getitem__, default="")
    return {
        "case_id": case.id, "set": case.set, "expected": _plain(case.answer, known),
        "served": _plain(logged, known), "confidence_offline": case.confidence.get(widest),
        "confidence_served": sure.get(widest),
        "differs": int(bool(odd)) if compared(case, served) else None, "what": ", ".join(odd),
        "latency_ms": line.get("latency_ms"), "outcome": outcome,
    }  # fmt: skip


def again(row: Mapping[str, Any]) -> bool:
    """Does a row of `items.parquet` differ, by its own two answers and confidences?"""
    offline, served = row["confidence_offline"], row["confidence_served"]
    measured = offline is not None and offline == offline
    return row["expected"] != row["served"] or (measured and not _gap(offline, served) <= TOLERANCE)


def _gap(one: float, other: float | None) -> float:
    return abs(one - other) if other is not None else float("inf")


def _plain(answer: Mapping[str, str], known: set[str]) -> str:
    """One field as its value, several as JSON."""
    held = {name: answer[name] for name in sorted(known & answer.keys())}
    return next(iter(held.values())) if len(held) == 1 else canonical(held).decode()


def log_gate(problems: Sequence[str], asked: Iterable[str], lines: Iterable[Any]) -> GateResult:
    """Passed when the chain of the decision log holds and it has one line of each case asked."""
    found = Counter(line.get("sentinel") for line in lines)
    cases = list(asked)
    odd = list(problems) + [f"{name}: {found[name]} lines" for name in cases if found[name] != 1]
    verdict = GateVerdict.PASSED if cases and not odd else GateVerdict.FAILED
    told = "; ".join(odd[:NAMED]) + f"; {len(odd)} in all" * (len(odd) > NAMED)
    reason = told or (f"{len(cases)} decisions, each on one line" if cases else "nothing was asked")
    return GateResult(
        LOG, STAGE, verdict, None, "an unbroken chain, a line for each decision", reason,
        "Nobody can say afterwards what was answered, and by which release.", blocking=True,
    )  # fmt: skip


def recorded(text: str) -> list[Case]:
    """Recorded traffic, a JSON object with `text` on each line. InputError names a bad line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            said = json.loads(line)["text"]
        except (ValueError, TypeError, KeyError):
            said = None
        if not isinstance(said, str):
            raise InputError("Not recorded traffic.", where=f"line {number}",
                             expected='a JSON object with a string "text"')  # fmt: skip
        found.append(Case(f"traffic-{number:06d}", "traffic", said))
    return found
