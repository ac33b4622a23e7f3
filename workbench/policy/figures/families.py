"""Scenario families: a scenario with all its variants is one piece of evidence, not many."""

from __future__ import annotations

from ...errors import InputError
from .. import statistics
from .interface import Figure, Rows, figure, need


def _families(rows: Rows) -> dict[str, list[str]]:
    """Family -> verdicts. InputError when rows of several models would count as one's."""
    need(rows, "family", "model", "verdict")
    models = sorted({str(row["model"]) for row in rows})
    if len(models) > 1:
        raise InputError("Rows of several models.", expected="one, by `where`", given=models)
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(str(row["family"]), []).append(row["verdict"])
    return found


@figure
def families_passed(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of families in which every check and relation of every row passes; exact.

    A family with a failure fails; one without, but with anything else than a pass, is unscored.
    """
    families, method = _families(rows), "Clopper-Pearson over families"
    failing = sorted(one for one, verdicts in families.items() if "fail" in verdicts)
    passing = sum({*verdicts} == {"pass"} for verdicts in families.values())
    n = passing + len(failing)
    share = (passing / n, *statistics.clopper_pearson(passing, n, level)) if n else (None,) * 3
    detail, unscored = {"failing": failing, "rows": len(rows)}, len(families) - n
    return Figure("families passed", *share, n, method, "share", level, unscored, detail)


@figure
def families_failed(rows: Rows, *, level: float = 0.95) -> Figure:
    """Number of families in which a row fails, of such as may not exist yet: of none it is 0."""
    passed = families_passed(rows, level=level)
    failing = len(passed.detail["failing"])
    return Figure("families failed", failing, n=passed.n, method="count", unit="families",
                  unscored=passed.unscored, detail=passed.detail)  # fmt: skip


@figure
def scenario_pass_rate(rows: Rows, *, level: float = 0.95) -> Figure:
    """Share of rows that pass, clustered; n counts families, as the rows of one are alike.

    One family alone tells nothing of others: its interval is all there is.
    """
    families = {name: [one for one in verdicts if one in ("pass", "fail")]
                for name, verdicts in _families(rows).items()}  # fmt: skip
    hits = {name: [one == "pass" for one in found] for name, found in families.items() if found}
    flat = [hit for found in hits.values() for hit in found]
    one = (sum(flat) / len(flat), 0.0, 1.0) if flat else (None,) * 3
    share = statistics.clustered_share(hits, level) if len(hits) > 1 else one
    detail, unscored = {"rows": len(flat)}, len(rows) - len(flat)
    method = "Korn-Graubard, clustered by family"
    return Figure("scenario pass rate", *share, len(hits), method, "share", level, unscored, detail)
