"""Where the candidate fell behind the base, and whether what explains an answer bears on it."""

from __future__ import annotations

from .. import attribution, statistics
from .interface import Figure, Rows, figure, missing, need


@figure
def regressions(rows: Rows, *, level: float = 0.95) -> Figure:
    """Groups in which the candidate is worse than the base beyond chance; n is the smallest group.

    Exact McNemar over pairs, Holm over the groups. Cases for choices (`dev`) are left out.
    """
    need(rows, "case_id", "model", "set", "task", "group", "correct")
    judged = [row for row in rows if row["set"] != attribution.DEV]
    unscored = sum(missing(row["correct"]) for row in judged)
    scored = [row for row in judged if not missing(row["correct"])]
    found, method = attribution.changes(scored, level=level), "McNemar, Holm over groups"
    if not found:
        return Figure("regressions", None, method=method, unit="groups", unscored=unscored)
    worse = [" ".join(one.key) for one in found if one.verdict == attribution.WORSE]
    n, detail = min(one.n for one in found), {"groups": len(found), "worse": worse}
    return Figure(
        "regressions", len(worse), None, None, n, method, "groups", level, unscored, detail
    )


@figure
def faithfulness(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of answers that change without the words that count most, less that without as many
    words at random (comprehensiveness: DeYoung et al. 2020, arXiv:1911.03429)."""
    need(rows, "case_id", "top", "random")
    n, gained = len(rows), sum(row["top"] and not row["random"] for row in rows)
    lost = sum(row["random"] and not row["top"] for row in rows)
    if not n:
        return Figure("faithfulness", None, method="Tango score", unit="difference", level=level)
    interval = statistics.tango(gained, lost, n, level)
    detail = {"top": sum(row["top"] for row in rows), "random": sum(row["random"] for row in rows)}
    value = (gained - lost) / n
    return Figure(
        "faithfulness", value, *interval, n, "Tango score", "difference", level, 0, detail
    )
