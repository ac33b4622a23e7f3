"""The rule that is given as reason is one that can bear the decision (V7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .interface import Row, Verdict, register, said


@register("supported_reason")
def supported_reason(row: Row, *, allowed: Mapping[str, Sequence[str]]) -> Verdict:
    """Pass when the reason is the case's own, or where none is given, one of its queue's.

    `allowed` maps a queue to the rules that can lead there; a queue without an entry fails.
    """
    queue, reason = said(row, "queue"), said(row, "reason")
    if queue is None or reason is None:
        return Verdict("unscored", "no queue or no reason")
    own = said(row, "expected_reason")
    bearing = [own] if own else list(allowed.get(queue, ()))
    supported = reason in bearing
    return Verdict("pass" if supported else "fail", f"{reason} given, {bearing} bear {queue}")
