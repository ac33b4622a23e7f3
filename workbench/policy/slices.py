"""Slices that nobody named before the run: each against the rest, adjusted for how many there are.

Exploratory: no gate rests on them. Fisher's exact test (1935, JRSS 98:39), then Holm.
"""

from __future__ import annotations

from typing import Any

from . import statistics
from .figures import Rows, missing, need


def slices(rows: Rows, by: str = "subgroup", *, separator: str = "|") -> list[dict[str, Any]]:
    """One line a value of `by`: slice, n, value (share right), p and p_holm against the rest.

    A row whose `by` joins several values counts in each; unanswered rows are left out. Where there
    is no rest, p is 1: nothing to differ from.
    """
    from scipy.stats import fisher_exact

    need(rows, by, "expected", "predicted")
    scored = [r for r in rows if not missing(r["expected"]) and not missing(r["predicted"])]
    cases = [(set(str(r[by]).split(separator)), r["expected"] == r["predicted"]) for r in scored]
    right, lines = sum(hit for _, hit in cases), []
    for name in sorted(set().union(*(values for values, _ in cases)) if cases else ()):
        inside = [hit for values, hit in cases if name in values]
        hits, n = sum(inside), len(inside)
        missed, others = n - hits, len(cases) - n
        table = [[hits, missed], [right - hits, others - right + hits]]
        p = float(fisher_exact(table).pvalue) if others else 1.0
        lines.append({"slice": name, "n": n, "value": hits / n, "p": p})
    adjusted = statistics.holm([line["p"] for line in lines])
    return [line | {"p_holm": p} for line, p in zip(lines, adjusted, strict=True)]
