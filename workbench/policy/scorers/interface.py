"""What a scorer is, and how it earns trust before its word counts.

A scorer is a pure function (row, **arguments) -> Verdict over one row of the replies: case_id,
rule, text, tags, queue, person, reason, reply. What it can't judge it calls unscored; that is
never a pass. Its rule brings probes, rows that must pass and rows that must fail; a scorer that
does not tell them apart (always true, always false, broken) is unsound, and its gate is then
`not_evaluated` (V2 in docs/assurance.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from ...errors import InputError

Outcome = Literal["pass", "fail", "unscored"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """The outcome for one case, and why, for a reader."""

    outcome: Outcome
    reason: str


Scorer = Callable[..., Verdict]
SCORERS: dict[str, Scorer] = {}


def register(name: str) -> Callable[[Scorer], Scorer]:
    """Make a scorer known to policies under `name`. InputError when the name is taken."""

    def add(scorer: Scorer) -> Scorer:
        if name in SCORERS:
            raise InputError("Two scorers have the same name.", given=name)
        SCORERS[name] = scorer
        return scorer

    return add


def score_with(name: str, arguments: Mapping[str, Any]) -> Callable[[Row], Verdict]:
    """The scorer of that name with its arguments bound. InputError when there is none."""
    if name not in SCORERS:
        raise InputError("There is no such scorer.", expected=", ".join(SCORERS), given=name)
    return partial(SCORERS[name], **arguments)


def sound(score: Callable[[Row], Verdict], probes: Any) -> bool:
    """Does it pass each of `probes.must_pass` and fail each of `probes.must_fail`, one at least?"""
    if not probes.must_pass or not probes.must_fail:
        return False
    try:
        passes = all(score(row).outcome == "pass" for row in probes.must_pass)
        return passes and all(score(row).outcome == "fail" for row in probes.must_fail)
    except Exception:  # whatever a scorer raises on its own probes, it can't be trusted
        return False


def said(row: Row, name: str) -> str | None:
    """The text in a column; None when the model gave none, so that the case is unscored."""
    value = row.get(name)
    return value if isinstance(value, str) and value.strip() else None


def unheard(row: Row, *names: str) -> Verdict | None:
    """Unscored, with what is missing, when the model gave nothing in one of the columns."""
    absent = [name for name in names if said(row, name) is None]
    return Verdict("unscored", f"no {' or '.join(absent)}") if absent else None
