"""Scores of external suites."""

from __future__ import annotations

from .. import statistics
from .interface import Figure, Rows, figure, missing, need


@figure
def suite_score(rows: Rows, *, origin: str = "run", level: float = 0.95) -> Figure:
    """Mean of `value` over the rows of one `origin`; rows made elsewhere count only where named.

    Wilson's interval; for scores between 0 and 1 it is wider than need be, since none of them
    varies more than a coin with the same mean. Scores on another scale have no interval.
    """
    need(rows, "value", "origin")
    mine = [row["value"] for row in rows if row["origin"] == origin]
    values = [float(value) for value in mine if not missing(value)]
    unscored = len(mine) - len(values)
    if not values:
        return Figure("suite score", None, level=level, unscored=unscored)
    n, total = len(values), sum(values)
    if not all(0 <= value <= 1 for value in values):
        return Figure("suite score", total / n, n=n, method="mean", unit="score", unscored=unscored)
    interval = statistics.wilson(total, n, level)
    return Figure("suite score", total / n, *interval, n, "Wilson", "share", level, unscored)
