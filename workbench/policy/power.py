"""What a number of cases can show, said before the run: exact power of the gates.

A gate over a share passes from a certain number of good answers on; the chance to reach it at a
true share p is a binomial tail, the incomplete beta function. Chernick and Liu 2002, American
Statistician 56:149, show why it is computed and not approximated: it is a saw, not a curve.
"""

from __future__ import annotations

from bisect import bisect_left
from math import ceil
from statistics import NormalDist
from typing import Any

from ..errors import InputError
from . import statistics
from .criteria import Policy, Threshold
from .looks import level_at

INTERVALS = {
    "accuracy": statistics.wilson,
    "recall": statistics.clopper_pearson,
    "pass_rate": statistics.clopper_pearson,
    "families_passed": statistics.clopper_pearson,
}
"""Figure of a share -> its interval."""
STOPPED, PASSED = 0.95, 0.80
"""How surely a gate stops the failure rate that it is said to stop; a good chance to pass."""
DISCORDANT = 0.1
"""Share of pairs on which two equally good models differ, where nothing better is known."""


def _name(gate: Threshold) -> str:
    return getattr(gate, "figure", "pass_rate")


def demand(gate: Threshold, n: int, level: float | None = None) -> int:
    """Good answers of `n` from which on the gate passes; n + 1 when it can't. For `at_most`, good
    is what the figure does not count. InputError for a figure that is no share."""
    if _name(gate) not in INTERVALS:
        raise InputError("Not a share.", expected=", ".join(INTERVALS), given=_name(gate))
    interval, n = INTERVALS[_name(gate)], max(1, n)

    def passes(good: int) -> bool:
        counted = good if gate.at_least is not None else n - good
        low, high = interval(counted, n, level or gate.level)
        return gate.met({"value": counted / n, "lower": low, "upper": high}[gate.bound])

    return bisect_left(range(n + 1), True, key=passes)


def chance(gate: Threshold, n: int, truth: float, level: float | None = None) -> float:
    """Chance that a model passes whose true share of good answers is `truth`."""
    from scipy.special import bdtrc

    least = demand(gate, n, level)
    return 1.0 if least == 0 else float(bdtrc(least - 1, n, truth)) if least <= n else 0.0


def truth_for(gate: Threshold, n: int, wanted: float, level: float | None = None) -> float:
    """True share of good answers at which the chance to pass is `wanted`; nan where no share is."""
    from scipy.special import betaincinv

    least = demand(gate, n, level)
    return float(betaincinv(least, n - least + 1, wanted))


def cases(gate: Threshold, truth: float, wanted: float = PASSED, *, most: int = 20_000) -> int:
    """The fewest cases with which a model that is truly at `truth` passes with chance `wanted`.

    InputError when not even `most` are enough, as where the truth misses the threshold.
    """
    for n in range(max(1, gate.min_n), most + 1):
        if chance(gate, n, truth) >= wanted:
            return n
    raise InputError("No number of cases is enough.", expected=f"{most} at most", given=truth)


def paired_cases(discordant: float, margin: float, level: float = 0.95, power: float = 0.8) -> int:
    """Pairs needed to show non-inferiority within `margin` when the two are truly equal.

    `discordant` is the share of pairs on which they differ. Nam 1997, Biometrics 53:1422,
    with the variance at equality.
    """
    if not 0 < discordant <= 1 or margin <= 0:
        raise InputError("Shares and margins are positive.", given=(discordant, margin))
    z = NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(power)
    return ceil(z**2 * discordant / margin**2)


def paired_chance(
    n: int, margin: float, level: float = 0.95, discordant: float = DISCORDANT
) -> float:
    """Chance that two equally good models are shown to be within `margin` by `n` pairs: exact,
    over the pairs on which they differ and which of the two gained them; Tango's interval."""
    from scipy.stats import binom

    def least(differ: int) -> int:
        """Gained pairs, of those that differ, from which on the interval lies above the margin."""
        low = lambda up: statistics.tango(up, differ - up, n, level).low  # noqa: E731
        return bisect_left(range(differ + 1), -margin, key=low)

    # Beyond these ends lies less than a millionth of the chance.
    first, last = (int(binom.ppf(tail, n, discordant)) for tail in (5e-7, 1 - 5e-7))
    return sum(
        float(binom.pmf(differ, n, discordant) * binom.sf(least(differ) - 1, differ, 0.5))
        for differ in range(first, last + 1)
    )


def of(policy: Policy) -> list[dict[str, Any]]:
    """One row a gate, at its `min_n` and the level of the first look.

    gate, figure, n; for shares also misses (most with which it passes), stops (rate of misses that
    it stops 19 times in 20), truth (midway between what is asked and no miss), chance (to pass
    then), wants (true share that passes 4 times in 5); for a difference, chance at equality.
    """
    return [
        {"gate": gate.id, "figure": _name(gate), "n": gate.min_n}
        | _shown(gate, level_at(gate.level, 1, policy.look_budget))
        for gate in policy.gates
    ]


def _shown(gate: Threshold, level: float) -> dict[str, float]:
    n, asked = gate.min_n, 1 - gate.at_most if gate.at_least is None else gate.at_least
    if _name(gate) == "paired_difference" and n and asked < 0:
        return {"truth": 0.0, "chance": paired_chance(n, -asked, level)}
    if _name(gate) not in INTERVALS or not n:
        return {}
    truth = (1 + asked) / 2
    found = {"misses": n - demand(gate, n, level), "truth": truth}
    found |= {"stops": 1 - truth_for(gate, n, 1 - STOPPED, level)}
    return found | {
        "chance": chance(gate, n, truth, level),
        "wants": truth_for(gate, n, PASSED, level),
    }
