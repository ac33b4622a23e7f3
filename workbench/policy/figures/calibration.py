"""Calibration: can a probability be taken at its word, and may a model keep silent below one?

Rows hold `labels` and `probabilities` (lists, equally long) beside expected and predicted. Rows of
set `dev` are never judged: from them come the temperature and the threshold, so that both are
found again from the sealed rows and nobody's word is taken for them. All others are judged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from ...errors import InputError
from .. import statistics
from .interface import Figure, Row, Rows, figure, missing, need

CHOICE = 0.90
"""Level of the two-sided interval in the choice of a threshold: each end is a 95 % bound."""
LEAST = 0.25
"""Share of the dev rows that a threshold answers at least; one for fewer would serve nobody."""
FLOOR = 1e-12
"""Least probability that is told from none; one surprise costs 27.6 nats at most."""
SEED, REPEATS = 0, 1000
COLUMNS = ("set", "expected", "predicted", "labels", "probabilities")


class Scores(NamedTuple):
    """Per case, each (n,): right or not, probability of the answer, NLL (nats), Brier score."""

    hit: Any
    confidence: Any
    nll: Any
    brier: Any


def answered(rows: Rows) -> tuple[list[Row], list[Row], int]:
    """Rows of set `dev`, rows that are judged, and how many of those have no answer."""
    need(rows, *COLUMNS)
    judged = [row for row in rows if row["set"] != "dev"]
    whole = [
        [row for row in part if not any(_void(row[name]) for name in COLUMNS)]
        for part in ([row for row in rows if row["set"] == "dev"], judged)
    ]
    return whole[0], whole[1], len(judged) - len(whole[1])


def _void(value: Any) -> bool:
    """As `missing`, for a cell that may hold a list."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        return missing(value)
    return len(value) == 0


def _matrix(rows: Rows) -> tuple[Any, Any, Any]:
    """Probabilities (n, labels) and the places of the expected and the predicted label.

    InputError for probabilities that are none, and for an answer that is not among the labels.
    """
    import numpy as np

    shares = np.zeros((len(rows), max(len(row["labels"]) for row in rows)))
    places = np.zeros((2, len(rows)), dtype=int)
    for i, row in enumerate(rows):
        labels, given = list(row["labels"]), np.asarray(row["probabilities"], dtype=float)
        fits = given.shape == (len(labels),) and given.min() >= 0 and abs(given.sum() - 1) < 1e-3
        if not fits or not {row["expected"], row["predicted"]} <= set(labels):
            raise InputError(
                "Probabilities don't fit their labels.",
                where=f"case {row.get('case_id')}",
                expected="one a label, summing to 1, with both answers among the labels",
                given=f"{given.size} for {len(labels)} labels, sum {given.sum():.4g}",
            )
        shares[i, : len(labels)] = np.maximum(given, FLOOR)
        places[:, i] = labels.index(row["expected"]), labels.index(row["predicted"])
    return shares, *places


def scaled(probabilities: Any, temperature: float) -> Any:
    """Probabilities (..., k) at a temperature: the softmax of their logarithms over it."""
    import numpy as np

    given = np.asarray(probabilities, dtype=float)
    raised = (given / given.max(axis=-1, keepdims=True)) ** (1 / temperature)
    return raised / raised.sum(axis=-1, keepdims=True)


def scores(rows: Rows, temperature: float = 1.0) -> Scores:
    """The scores of rows that all have an answer, in their order."""
    import numpy as np

    shares, expected, predicted = _matrix(rows)
    shares, every = scaled(shares, temperature), np.arange(len(rows))
    true = np.maximum(shares[every, expected], FLOOR)
    brier = (shares**2).sum(axis=1) - 2 * true + 1
    return Scores(expected == predicted, shares[every, predicted], -np.log(true), brier)


def temperature(rows: Rows) -> float:
    """The temperature with the least NLL over these rows, between 1/20 and 20.

    Guo, Pleiss, Sun and Weinberger 2017, ICML, section 4.2; one number, so that no answer changes.
    The NLL is convex in its inverse, which is what is searched. InputError without rows.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    if not rows:
        raise InputError("No rows to fit a temperature on.", expected="answered rows of set dev")
    shares, expected, _ = _matrix(rows)

    def loss(inverse: float) -> float:
        true = np.take_along_axis(scaled(shares, 1 / inverse), expected[:, None], axis=1)
        return float(-np.log(np.maximum(true, FLOOR)).mean())

    found = minimize_scalar(loss, bounds=(1 / 20, 20), method="bounded", options={"xatol": 1e-8})
    return 1 / float(found.x)


def reliability(found: Scores, bins: int, binning: str = "equal_mass") -> list[dict[str, float]]:
    """One row a bin that holds cases: start, n, right, confidence (mean).

    `equal_width` cuts [0, 1] evenly, `equal_mass` at the quantiles; equal confidences share a bin.
    """
    import numpy as np

    if binning not in ("equal_mass", "equal_width") or bins < 1:
        raise InputError("Unknown bins.", expected="equal_mass or equal_width", given=binning)
    even = np.arange(bins) / bins
    starts = even if binning == "equal_width" else np.unique(np.quantile(found.confidence, even))
    place = np.searchsorted(starts, found.confidence, side="right") - 1
    count = np.bincount(place, minlength=bins)
    right, told = (np.bincount(place, v, minlength=bins) for v in (found.hit, found.confidence))
    return [
        {"start": float(starts[b]), "n": int(count[b]), "right": int(right[b]),
         "confidence": float(told[b] / count[b])}
        for b in np.flatnonzero(count)
    ]  # fmt: skip


def _gap(found: Scores, bins: int, binning: str, debiased: bool) -> float:
    """Mean gap of the bins; or, debiased, its root mean square less what chance adds."""
    table, n = reliability(found, bins, binning), len(found.hit)
    gaps = [(bin["n"], bin["right"] / bin["n"], bin["confidence"]) for bin in table]
    if not debiased:
        return sum(size * abs(right - told) for size, right, told in gaps) / n
    square = sum(
        size * ((right - told) ** 2 - right * (1 - right) / (size - 1))
        for size, right, told in gaps
        if size > 1
    )
    return max(0.0, square / n) ** 0.5


def _bootstrapped(
    name: str, rows: Rows, statistic: Callable[[Scores], float], calibrated: bool, level: float
) -> Figure:
    """The statistic over the judged rows, with the percentile interval of redrawn cases."""
    import numpy as np

    dev, judged, unscored = answered(rows)
    method = "bootstrap over cases, percentile"
    if not judged:
        return Figure(name, None, method=method, level=level, unscored=unscored)
    at = temperature(dev) if calibrated else 1.0
    found, n = scores(judged, at), len(judged)
    rng = np.random.Generator(np.random.PCG64(SEED))
    redrawn = (rng.integers(n, size=n) for _ in range(REPEATS))
    drawn = [statistic(Scores(*(column[cases] for column in found))) for cases in redrawn]
    value = statistic(found)
    low, high = statistics.percentile_ends(value, drawn, level)
    detail = {"temperature": at}
    return Figure(name, value, max(0.0, low), high, n, method, "", level, unscored, detail)


@figure
def brier(rows: Rows, *, calibrated: bool = False, level: float = 0.95) -> Figure:
    """Mean squared distance of the probabilities from the truth, summed over labels, 0 to 2.

    Brier 1950, Monthly Weather Review 78:1. `calibrated`: at the temperature of the dev rows.
    """
    return _bootstrapped("Brier", rows, lambda at: float(at.brier.mean()), calibrated, level)


@figure
def nll(rows: Rows, *, calibrated: bool = False, level: float = 0.95) -> Figure:
    """Mean negative log probability of the truth (nats)."""
    return _bootstrapped("NLL (nats)", rows, lambda at: float(at.nll.mean()), calibrated, level)


@figure
def ece(
    rows: Rows, *, bins: int = 10, binning: str = "equal_mass", debiased: bool = False,
    calibrated: bool = False, level: float = 0.95,
) -> Figure:  # fmt: skip
    """Expected calibration error of the answers: mean gap of confidence and accuracy over bins.

    Naeini, Cooper and Hauskrecht 2015, AAAI; `equal_mass` as in Nixon et al. 2019, CVPR workshops.
    `debiased`: the root mean square gap, less what chance adds to it (Kumar, Liang and Ma 2019,
    NeurIPS, section 4). Chance opens gaps where there are none and a redraw opens them wider, so
    the high end is on the safe side, and a low end would say nothing: it is 0.
    """
    name = f"{'debiased ' * debiased}ECE, {bins} {binning} bins"
    gap = partial(_gap, bins=bins, binning=binning, debiased=debiased)
    found = _bootstrapped(name, rows, gap, calibrated, level)
    return replace(found, low=None if found.value is None else 0.0)


def threshold(found: Scores, target: float, level: float = CHOICE) -> float | None:
    """The lowest confidence that may be answered so that errors stay at `target`; None: there is
    none that these rows can show.

    Selective guarantee: the upper Clopper-Pearson bound of the error among the answered is at most
    `target` (Geifman and El-Yaniv 2017, NeurIPS). Thresholds are walked from the most confident
    cases down and the walk ends at the first that fails, a fixed sequence of tests, so none pays
    for the others (Learn then Test: Angelopoulos et al. 2021, arXiv:2110.01052). It stops where
    one more error could be borne: sizes that were set before an answer was seen. It begins where
    a quarter is answered, else one odd case among the first few would end it.
    """
    import numpy as np

    confidence = np.sort(found.confidence)[::-1]
    chosen, borne = None, 0
    for n in range(1, len(confidence) + 1):
        if n < len(confidence) and statistics.clopper_pearson(borne, n, level).high > target:
            continue
        borne += 1
        if n < LEAST * len(confidence):
            continue
        kept = found.confidence >= confidence[n - 1]
        wrong = int((kept & ~found.hit).sum())
        if statistics.clopper_pearson(wrong, int(kept.sum()), level).high > target:
            break
        chosen = float(confidence[n - 1])
    return chosen


@figure
def abstention(
    rows: Rows, *, target: float, of: str = "risk", calibrated: bool = True, level: float = 0.95
) -> Figure:
    """Share of wrong among the answered (`risk`), or share answered (`coverage`), where the model
    keeps silent below the threshold that the dev rows support at `target`; exact intervals.

    Without such a threshold nothing is answered: no risk was measured, and coverage is 0.
    """
    if of not in ("risk", "coverage") or not 0 < target < 1:
        raise InputError("Unknown figure.", expected="risk or coverage; 0 < target < 1", given=of)
    dev, judged, unscored = answered(rows)
    at = temperature(dev) if calibrated else 1.0
    chosen = threshold(scores(dev, at), target)
    found = scores(judged, at) if judged else None
    kept = found.confidence >= (2 if chosen is None else chosen) if judged else None
    some, wrong = (int(kept.sum()), int((kept & ~found.hit).sum())) if judged else (0, 0)
    hits, n = (wrong, some) if of == "risk" else (some, len(judged))
    detail = {"threshold": chosen, "temperature": at, "answered": some, "wrong": wrong}
    value, low, high = (
        (hits / n, *statistics.clopper_pearson(hits, n, level)) if n else (None, None, None)
    )
    name, method = f"{of} at abstention", "Clopper-Pearson"
    return Figure(name, value, low, high, n, method, "share", level, unscored, detail)
