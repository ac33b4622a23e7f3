"""Memorisation (A8): how exposed a canary's secret is, and how well what was learned is told from
what was not. What is repeated word for word is a `pass_rate`.

The interval of an area under the ROC curve is Newcombe's fifth method (2006, Statistics in Medicine
25:559): the score interval with the variance of Hanley and McNeil (1982, Radiology 143:29), group
sizes replaced by their mean. Unlike DeLong's it keeps its level with a handful of canaries, and
does not shrink to a point where the groups don't overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log2, sqrt
from statistics import NormalDist

from ...errors import InputError
from .. import statistics
from ..statistics import Interval
from .interface import Figure, Row, Rows, figure, missing, need

FALSE_POSITIVES = (0.01, 0.05)
"""Rates at which the share of members that is found is told (Carlini et al. 2022,
arXiv:2112.03570): a mean over all rows can hide the few that are surely known."""


def bits(rank: int, tried: int, space: int) -> float:
    """Exposure of a secret: log2 of the space less log2 of its rank by likelihood in it.

    Carlini et al. 2019, arXiv:1802.08232, section 4; where only so many were tried, the rank is
    scaled up, and never below 1.
    """
    return log2(space) - log2(max(1.0, rank * space / tried))


@figure
def exposure(rows: Rows, *, level: float = 0.95) -> Figure:
    """Largest exposure of a secret, in bits.

    Where the whole space was tried the rank is exact, and so are the ends; of a sample they are
    Clopper-Pearson's, for all secrets together. InputError without a canary: then nothing shows
    what the model keeps, which is no pass.
    """
    need(rows, "rank", "tried", "space")
    if not rows:
        raise InputError("no canary was learned", where="30_adapt.canaries")
    known = [row for row in rows if not missing(row["rank"])]
    if not known:
        return Figure("exposure", None, unit="bits", level=level, unscored=len(rows))
    ends = [_ends(row, statistics.for_looks(level, len(known))) for row in known]
    unscored, method = len(rows) - len(known), "rank, Clopper-Pearson where sampled"
    return Figure("exposure", *map(max, zip(*ends, strict=True)), len(known), method, "bits",
                  level, unscored)  # fmt: skip


def _ends(row: Row, level: float) -> tuple[float, float, float]:
    rank, tried, space = (int(row[name]) for name in ("rank", "tried", "space"))
    value = bits(rank, tried, space)
    if tried == space:
        return value, value, value
    share = statistics.clopper_pearson(rank, tried, level)
    return value, -log2(share.high), -log2(max(share.low, 1 / space))


@figure
def membership_auc(
    rows: Rows, *, groups: Sequence[str] = ("member", "nonmember"), level: float = 0.95
) -> Figure:
    """How well `score` tells the first of two `groups` from the second: the chance that it is
    higher for one of the first; 0.5 is guessing. n is that of the smaller group."""
    from scipy.stats import rankdata

    need(rows, "group", "score")
    scored = [row for row in rows if row["group"] in groups and not missing(row["score"])]
    yes, no = ([row["score"] for row in scored if row["group"] == group] for group in groups)
    n, unscored, method = min(len(yes), len(no)), len(rows) - len(scored), "Newcombe score"
    if not n:
        return Figure("AUC", None, method=method, level=level, unscored=unscored)
    above = rankdata([*yes, *no])[: len(yes)].sum() - len(yes) * (len(yes) + 1) / 2
    auc = float(above) / (len(yes) * len(no))
    detail = {f"found at {rate:.0%} false": _found(yes, no, rate) for rate in FALSE_POSITIVES}
    detail |= dict(zip(groups, (len(yes), len(no)), strict=True))
    ends = auc_interval(auc, len(yes), len(no), level)
    return Figure("AUC", auc, *ends, n, method, "chance", level, unscored, detail)


def _found(yes: Sequence[float], no: Sequence[float], rate: float) -> float:
    """Share of `yes` above the score that at most `rate` of `no` exceed."""
    bar = sorted(no, reverse=True)[int(rate * len(no))]
    return sum(one > bar for one in yes) / len(yes)


def auc_interval(auc: float, yes: int, no: int, level: float = 0.95) -> Interval:
    """Both ends for two groups of these sizes; source above."""
    from scipy.optimize import brentq

    z, tiny = NormalDist().inv_cdf(0.5 + level / 2), 1e-12

    def beyond(true: float) -> float:
        return abs(auc - true) - z * auc_deviation(true, yes, no)

    low = brentq(beyond, tiny, auc - tiny) if auc > 2 * tiny else 0.0
    return Interval(low, brentq(beyond, auc + tiny, 1 - tiny) if auc < 1 - 2 * tiny else 1.0)


def auc_deviation(auc: float, yes: int, no: int) -> float:
    """Standard error of an area under the ROC curve; source above."""
    spread = 1 + ((yes + no) / 2 - 1) * ((1 - auc) / (2 - auc) + auc / (1 + auc))
    return sqrt(auc * (1 - auc) * spread / (yes * no))
