"""Looks at one locked set: a budget fixed before the first, and intervals that hold to the last.

The analyst. Who builds candidate j has seen the figures of candidates 1 to j - 1 on the locked set,
to every digit, and may choose, change or combine candidates by them in any way: best of k, hill
climbing, the majority-vote attack of Blum and Hardt 2015 (The Ladder, ICML, section 1).

The method: Scheffé's (1953, Biometrika 40:87), its space grown look by look, with the error shared
equally over the budget (Bonferroni). Let G(f) be the excess of candidate f's figure over its true
value, in units of 1/sqrt(n), and normal, as it is in the limit. Split each candidate, orthogonally
in the covariance of G, into what the earlier ones span and a new direction e_j of length 1. The
analyst chose e_j by what was seen; G(e_j) is not correlated with that, so it is a fresh standard
normal, whatever the choice was. G(f_j) / sd(f_j) is then a sum of j such numbers with weights of
length 1, and by Cauchy and Schwarz its square is at most a chi-square variable with j degrees of
freedom. Look j errs with (1 - level) / budget at most where its z is the root of that variable's
quantile; over all looks the errors add up to 1 - level at most. A vote weighted by the figures
comes close: it takes sqrt(2 / pi) of what the bound allows. One z for all looks, from `budget`
degrees of freedom, would hold too; of ten looks the last would have 4.28 for 5.02, the first 4.28
for 2.81. Equal shares favour who looks seldom.

Narrower is not safe, and wider not needed: equal shares alone (the first look's level for all) fail
against the majority vote; counting what an analyst could be told (Dwork et al. 2015, NeurIPS,
Generalization in adaptive data analysis and holdout reuse: m^(j-1) candidates when a figure takes m
values) needs no normal limit, and an interval more than twice as wide (`make measure ONLY=looks`).

Limits. It is a limit theorem; simulated down to 100 cases. A look is taken to reveal one figure;
`figures` counts more. Who has seen single cases of the set, such as which of them were wrong, knows
more than any number of figures tells, and no interval holds then: take a new locked set.
"""

from __future__ import annotations

from math import erf, sqrt
from typing import NamedTuple

from ..errors import InputError
from .statistics import for_looks


class Looks(NamedTuple):
    """Which look at a locked set it is, of how many that were allowed before the first."""

    number: int
    budget: int


ONLY = Looks(1, 1)
WIDEST = 8.0  # standard errors; beyond, a level cannot be told from 1 in floating point


def level_at(level: float, look: int, budget: int, *, figures: int = 1) -> float:
    """The level of a two-sided interval at this look, so that all looks together keep `level`.

    `figures` is how many figures of the set each look reveals. InputError for a look beyond the
    budget, and for so many figures that no interval would be left.
    """
    if beyond(look, budget) or figures < 1:
        raise InputError("No level is left.", expected=f"looks 1 to {budget}", given=look)
    share = for_looks(level, budget)
    directions = (look - 1) * figures + 1
    if directions == 1:
        return share
    from scipy.special import gammainccinv

    z = sqrt(2 * float(gammainccinv(directions / 2, 1 - share)))
    if z > WIDEST:
        raise InputError("So much was seen of the locked set that no interval is left.", given=look)
    return erf(z / sqrt(2))


def beyond(look: int, budget: int) -> bool:
    """Is this look (counted from 1) one more than the budget allows? InputError for no count."""
    if look < 1 or budget < 1:
        raise InputError("Looks and budgets count from 1.", given=f"look {look} of {budget}")
    return look > budget
