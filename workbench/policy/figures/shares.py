"""Shares, differences and counts: what most gates ask about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

from .. import statistics
from .interface import Figure, Row, Rows, figure, missing, need


def _answered(rows: Rows) -> list[Row]:
    need(rows, "expected", "predicted")
    return [row for row in rows if not missing(row["expected"]) and not missing(row["predicted"])]


def _hits(rows: Rows) -> int:
    return sum(row["expected"] == row["predicted"] for row in rows)


def _share(name: str, hits: int, n: int, unscored: int, level: float, exact: bool) -> Figure:
    method = "Clopper-Pearson" if exact else "Wilson"
    if n == 0:
        return Figure(name, None, method=method, level=level, unscored=unscored)
    interval = (statistics.clopper_pearson if exact else statistics.wilson)(hits, n, level)
    return Figure(name, hits / n, *interval, n, method, level=level, unscored=unscored)


@figure
def accuracy(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of cases with the expected answer."""
    scored = _answered(rows)
    return _share("accuracy", _hits(scored), len(scored), len(rows) - len(scored), level, False)


@figure
def recall(rows: Rows, *, label: str, level: float = 0.95) -> Figure:
    """Of the cases that are `label`, the share found; n counts those only. Exact, for safety."""
    need(rows, "expected", "predicted")
    # A row without an expected answer could be one of them, so it is unscored here too.
    of = [row for row in rows if missing(row["expected"]) or row["expected"] == label]
    scored = _answered(of)
    unscored = len(of) - len(scored)
    return _share(f"recall of {label}", _hits(scored), len(scored), unscored, level, True)


@figure
def lowest_accuracy(rows: Rows, *, by: str = "expected", level: float = 0.95) -> Figure:
    """Accuracy of the worst group; by `expected` it is the lowest per-class recall.

    All groups hold together: each bound is taken at 1 - (1 - level) / groups (Bonferroni).
    n is that of the smallest group, so that a criterion's min_n holds for each.
    """
    need(rows, by)
    name, scored = f"lowest accuracy by {by}", _answered(rows)
    unscored = len(rows) - len(scored)
    groups: dict[str, list[Row]] = {str(row[by]): [] for row in rows}
    for row in scored:
        groups[str(row[by])].append(row)
    if not groups or not all(groups.values()):
        return Figure(name, None, level=level, unscored=unscored)
    shared = statistics.for_looks(level, len(groups))
    each = {g: _share(g, _hits(part), len(part), 0, shared, True) for g, part in groups.items()}
    worst = min(each.values(), key=lambda one: (one.value, one.name))
    low, high = min(one.low for one in each.values()), min(one.high for one in each.values())
    detail = {"group": worst.name, "groups": len(each)}
    n, method = min(one.n for one in each.values()), "Clopper-Pearson, Bonferroni over groups"
    return Figure(name, worst.value, low, high, n, method, "share", level, unscored, detail)


@figure
def macro_f1(rows: Rows, *, level: float = 0.95, seed: int = 0, repeats: int = 2000) -> Figure:
    """Mean F1 over classes."""
    scored, method = _answered(rows), "bootstrap within class, percentile"
    unscored = len(rows) - len(scored)
    if not scored:
        return Figure("macro-F1", None, method=method, level=level, unscored=unscored)
    expected = [str(row["expected"]) for row in scored]
    predicted = [str(row["predicted"]) for row in scored]
    value = statistics.macro_f1(expected, predicted)
    interval = statistics.macro_f1_interval(expected, predicted, level, seed=seed, repeats=repeats)
    return Figure("macro-F1", value, *interval, len(scored), method, level=level, unscored=unscored)


@figure
def pass_rate(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of scored cases with verdict `pass`; any verdict but pass and fail is unscored."""
    need(rows, "verdict")
    scored = [row["verdict"] for row in rows if row["verdict"] in ("pass", "fail")]
    unscored = len(rows) - len(scored)
    return _share("pass rate", scored.count("pass"), len(scored), unscored, level, True)


@figure
def paired_difference(rows: Rows, *, level: float = 0.95) -> Figure:
    """Accuracy of the candidate less that of the base, on the cases that both answered.

    Its lower end against minus the margin is the non-inferiority test.
    """
    need(rows, "case_id", "model", "expected", "predicted")
    answered = {(row["case_id"], row["model"]): row for row in _answered(rows)}
    cases = sorted({row["case_id"] for row in rows}, key=str)
    pairs = [
        tuple(_hits([answered[case, model]]) for model in ("candidate", "base"))
        for case in cases
        if (case, "candidate") in answered and (case, "base") in answered
    ]
    n, method = len(pairs), "Tango score"
    if not n:
        return Figure("candidate - base", None, method=method, level=level, unscored=len(cases))
    gained, lost = pairs.count((1, 0)), pairs.count((0, 1))
    interval = statistics.tango(gained, lost, n, level)
    p = statistics.mcnemar_exact(gained, lost)
    detail = {"gained": gained, "lost": lost, "mcnemar_p": p}
    value, unscored = (gained - lost) / n, len(cases) - n
    return Figure(
        "candidate - base", value, *interval, n, method, "difference", level, unscored, detail
    )


@figure
def count(rows: Rows, *, level: float = 0.95) -> Figure:
    """Number of rows: findings, or rows of a set. Not an estimate, so without interval."""
    return Figure("count", len(rows), n=len(rows), method="count", unit="rows")


@figure
def smallest_count(rows: Rows, *, by: Sequence[str], level: float = 0.95) -> Figure:
    """Rows in the emptiest cell of the columns `by`, over all combinations of values seen.

    A class that one of the sets lacks altogether therefore counts 0.
    """
    need(rows, *by)
    if not rows:
        return Figure("smallest count", None, method="count", unit="rows")
    cells = Counter(tuple(str(row[name]) for name in by) for row in rows)
    values = [sorted({str(row[name]) for row in rows}) for name in by]
    emptiest = min(product(*values), key=lambda cell: (cells[cell], cell))
    detail = {"cell": list(emptiest)}
    return Figure(
        "smallest count", cells[emptiest], n=len(rows), method="count", unit="rows", detail=detail
    )
