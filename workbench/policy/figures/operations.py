"""How a server bears its load: latency, requests that no model answered, and marked rows (V6)."""

from __future__ import annotations

from math import ceil

from ...errors import InputError
from .. import statistics
from .interface import Figure, Row, Rows, figure, missing, need

FAILED = ("fallback", "refused")
"""Outcomes of a request that the model did not answer."""
BY_RULE = ("abstained", "guard")
"""How a reason begins when the server did what it was told to, and nothing failed."""


@figure
def latency_quantile(rows: Rows, *, q: float = 0.99, level: float = 0.95) -> Figure:
    """Quantile `q` of `latency_ms`, in milliseconds, with a distribution-free interval.

    Ends are order statistics, whose ranks are the binomial's (David and Nagaraja 2003, Order
    Statistics, 7.1). Where so few requests bound it on one side only there is no interval: 0.99
    at level 0.9 takes 299.
    InputError unless 0 < q < 1.
    """
    from scipy.stats import binom

    need(rows, "latency_ms")
    if not 0 < q < 1:
        raise InputError("A quantile lies between 0 and 1.", expected="0 < q < 1", given=q)
    known = sorted(row["latency_ms"] for row in rows if not missing(row["latency_ms"]))
    about = {"unit": "ms", "level": level, "unscored": len(rows) - len(known)}
    name, n, method = f"latency at quantile {q:g}", len(known), "order statistics"
    if not known:
        return Figure(name, None, method=method, **about)
    low, high = (int(binom.ppf(tail, n, q)) for tail in ((1 - level) / 2, (1 + level) / 2))
    ends = (known[low - 1], known[high]) if 0 < low and high < n else (None, None)
    return Figure(name, known[ceil(n * q) - 1], *ends, n, method, **about)


@figure
def failed_share(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of requests whose `outcome` is fallback or refused, with Clopper-Pearson's interval.

    A `reason`, where rows have one, that says that the model kept silent by rule makes no failure:
    whoever counts silence asks for it by its own name.
    """
    need(rows, "outcome")
    known = [_failed(row) for row in rows if not missing(row["outcome"])]
    n, method, unscored = len(known), "Clopper-Pearson", len(rows) - len(known)
    if not n:
        return Figure("failed share", None, method=method, level=level, unscored=unscored)
    ends = statistics.clopper_pearson(sum(known), n, level)
    return Figure("failed share", sum(known) / n, *ends, n, method, "share", level, unscored)


def _failed(row: Row) -> bool:
    return row["outcome"] in FAILED and not str(row.get("reason") or "").startswith(BY_RULE)


@figure
def marked(rows: Rows, *, column: str, value: int = 1, level: float = 0.95) -> Figure:
    """Number of rows with `value` (0 or 1) in `column`; n counts all that say either.

    Unlike `count` it tells none of many from none of none: without a row it is not measured.
    """
    need(rows, column)
    known = [row[column] for row in rows if row[column] in (0, 1)]
    found = sum(one == value for one in known) if known else None
    return Figure(f"{column} = {value}", found, n=len(known), method="count", unit="rows",
                  unscored=len(rows) - len(known))  # fmt: skip


@figure
def highest(rows: Rows, *, column: str, level: float = 0.95) -> Figure:
    """Largest number in `column`, such as the longest recovery; an absent one is unscored."""
    need(rows, column)
    known = [row[column] for row in rows if not missing(row[column])]
    return Figure(f"highest {column}", max(known, default=None), n=len(known), method="maximum",
                  unit="", unscored=len(rows) - len(known))  # fmt: skip
