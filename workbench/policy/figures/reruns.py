"""Whether answers stay the same when they are asked for again."""

from __future__ import annotations

from dataclasses import replace

from .interface import Figure, Rows, figure, need
from .operations import marked

ARITHMETIC = "arithmetic"
"""What a row names that is about a whole stage, and no case."""
NAMED = 20
"""Answers that differ, named in the detail at most."""


@figure
def differing(rows: Rows, *, level: float = 0.95) -> Figure:
    """Number of answers that were another the second time; n counts the cases asked again.

    One row a case, variant and field, with `first` and `again`: they are compared here, whatever
    the row says of itself. An answer that is not there is unscored; `detail` names what differs.
    Where a served answer was held against the one offline, the row says `differs` (0 or 1).
    """
    if rows and all("differs" in row for row in rows):
        return replace(marked(rows, column="differs", level=level), name="differing")
    need(rows, "case_id", "variant", "what", "first", "again")
    if not rows:
        return Figure("differing", None, method="count", unit="answers")
    there = [row for row in rows if not (_absent(row["first"]) or _absent(row["again"]))]
    other = [row for row in there if row["first"] != row["again"]]
    named = sorted(f"{row['case_id']}, {row['variant']}: {row['what']}" for row in other)
    detail = {"answers": len(there), "differ": named[:NAMED]}
    n = len({row["case_id"] for row in there if row["what"] != ARITHMETIC})
    found = Figure("differing", len(other), n=n, method="count", unit="answers", detail=detail)
    return replace(found, unscored=len(rows) - len(there))


def _absent(value: object) -> bool:
    """None or NaN; a reply may be empty and is an answer all the same."""
    return value is None or value != value
