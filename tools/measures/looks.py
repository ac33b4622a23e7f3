"""Do intervals hold when candidates are chosen by what earlier looks at the locked set showed?

Binary labels. A case is hard with probability 2 (1 - p); easy cases are always right, hard ones a
coin that no candidate can know, so every candidate, however it was made, is right with probability
p exactly, and whatever its figure shows beyond p was learned from the set. Figures are shown with
three decimals. An attack maps (chance, n, p, budget, trials) to hits, shape (trials, budget): one
column a look. The analyst releases the candidate that looks best.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from workbench.policy.looks import level_at
from workbench.policy.statistics import Interval, clopper_pearson, for_looks, wilson

LEVEL, DECIMALS, TRIALS = 0.95, 3, 4000
SIZES, TRUTHS, BUDGETS = (100, 300, 1000, 3000), (0.6, 0.7, 0.8, 0.9, 0.95), range(1, 11)


class Method(NamedTuple):
    """How an interval is made at a look of a budget."""

    level: Callable[[int, int], float]
    interval: Callable[[int, int, float], Interval] = wilson

    def ends(self, hits: np.ndarray, n: int, look: int, budget: int) -> np.ndarray:
        """Both ends for each number of hits, shape (2, trials)."""
        counts, where = np.unique(hits, return_inverse=True)
        level = self.level(look, budget)
        return np.array([self.interval(int(k), n, level) for k in counts])[where].T


METHODS = {
    "none": Method(lambda look, budget: LEVEL),
    "looks so far": Method(lambda look, budget: for_looks(LEVEL, look)),
    "equal shares": Method(lambda look, budget: for_looks(LEVEL, budget)),
    "Scheffé": Method(partial(level_at, LEVEL)),
    "Scheffé, exact": Method(partial(level_at, LEVEL), clopper_pearson),
}


def best_of(chance: np.random.Generator, n: int, p: float, budget: int, trials: int) -> np.ndarray:
    """Candidates that owe nothing to each other."""
    hard = chance.binomial(n, 2 * (1 - p), trials)
    return n - hard[:, None] + chance.binomial(hard[:, None], 0.5, (trials, budget))


def climb(chance: np.random.Generator, n: int, p: float, budget: int, trials: int) -> np.ndarray:
    """Each candidate is the best so far with a fifth of its answers to hard cases drawn anew."""
    hard = chance.random((trials, n), dtype=np.float32) < 2 * (1 - p)
    best = ~hard | (chance.random((trials, n), dtype=np.float32) < 0.5)
    hits = [best.sum(axis=1)]
    for _ in range(budget - 1):
        drawn = chance.random((trials, n), dtype=np.float32)
        new = np.where(hard & (drawn < 0.2), drawn < 0.1, best)
        hits.append(new.sum(axis=1))
        better = shown(hits[-1], n) > shown(best.sum(axis=1), n)
        best[better] = new[better]
    return np.stack(hits, axis=1)


def vote(chance: np.random.Generator, n: int, p: float, budget: int, trials: int) -> np.ndarray:
    """Blum and Hardt: random candidates, each turned to look better than p; last, their majority."""
    return _combined(chance, n, p, budget, trials, np.sign)


def weighted(chance: np.random.Generator, n: int, p: float, budget: int, trials: int) -> np.ndarray:
    """As `vote`, each candidate weighing as much as it exceeds p: sharper than a plain majority."""
    return _combined(chance, n, p, budget, trials, np.asarray)


def _combined(
    chance: np.random.Generator, n: int, p: float, budget: int, trials: int, weigh: Callable
) -> np.ndarray:
    """Hard cases are counted by the pattern of who has them right: 2^(budget - 1) patterns."""
    patterns = np.array(list(product((0, 1), repeat=budget - 1)), int).reshape(
        2 ** (budget - 1), budget - 1
    )
    hard = chance.binomial(n, 2 * (1 - p), trials)
    cases = chance.multinomial(hard, np.full(len(patterns), 1 / len(patterns)))
    hits = (n - hard)[:, None] + cases @ patterns
    score = weigh(shown(hits, n) - p) @ (2 * patterns - 1).T
    right = np.where(score == 0, chance.binomial(cases, 0.5), cases * (score > 0)).sum(axis=1)
    return np.column_stack([hits, n - hard + right])


def shown(hits: np.ndarray, n: int) -> np.ndarray:
    return np.round(hits / n, DECIMALS)


ATTACKS = {"best of k": best_of, "hill climbing": climb, "majority": vote, "weighted": weighted}


class Coverage(NamedTuple):
    """Shares of trials in which the interval holds the truth."""

    released: float
    """Of the candidate that looks best, at the look that it had."""
    every: float
    """At every look at once."""


def coverage(hits: np.ndarray, n: int, p: float, method: Method) -> Coverage:
    """Of the intervals of all looks."""
    budget = hits.shape[1]
    held = []
    for look in range(1, budget + 1):
        low, high = method.ends(hits[:, look - 1], n, look, budget)
        held.append((low <= p) & (p <= high))
    best = np.array(held)[hits.argmax(axis=1), np.arange(len(hits))]
    return Coverage(float(best.mean()), float(np.all(held, axis=0).mean()))


def told(look: int, budget: int, n: int) -> float:
    """z of the description-length bound: every candidate that the figures shown could lead to."""
    values = min(n, 10**DECIMALS) + 1
    tail = (1 - LEVEL) / budget / 2 * values ** -(look - 1)
    return -NormalDist().inv_cdf(tail)


def measure(folder: Path) -> list[str]:
    """Least coverage over sizes and truths for each attack and method, and what each costs."""
    chance = np.random.Generator(np.random.PCG64(20260101))
    least: dict[tuple[str, str, int], Coverage] = {}
    for (name, attack), budget, n, p in product(ATTACKS.items(), BUDGETS, SIZES, TRUTHS):
        hits = attack(chance, n, p, budget, TRIALS)
        for method in METHODS:
            found = coverage(hits, n, p, METHODS[method])
            key = name, method, budget
            least[key] = Coverage(*map(min, least.get(key, (1, 1)), found))
    low, high = wilson(round(0.95 * TRIALS), TRIALS)
    return [
        f"Least coverage over n in {SIZES} and accuracies {TRUTHS}, {TRIALS:,} trials each (95 % of "
        f"them is uncertain by [{low:.3f}, {high:.3f}]): at every look at once, and in brackets "
        "of the released candidate alone. Wilson's intervals but in the last column, which has "
        "Clopper and Pearson's; what is lacking at budget 1 is Wilson's own, at 100 cases.",
        "",
        "| attack, budget | " + " | ".join(METHODS) + " |",
        "|---|" + "---|" * len(METHODS),
        *(_row(least, name, budget) for name in ATTACKS for budget in (1, 2, 3, 5, 10)),
        "",
        *(_lowest(least, first) for first in (1, 2)),
        "",
        "What it costs, as z (1.96 is an interval without correction), first and last look:",
        "",
        "| budget | equal shares | Scheffé | description length, n=1000 |",
        "|---|---|---|---|",
        *(_cost(budget) for budget in (1, 2, 3, 5, 10)),
    ]


def _lowest(least: dict[tuple[str, str, int], Coverage], first: int) -> str:
    every = {
        name: min(one.every for (_, method, budget), one in least.items()
                  if method == name and budget >= first)
        for name in METHODS
    }  # fmt: skip
    said = "; ".join(f"{name} {share:.3f}" for name, share in every.items())
    return f"- Least over budgets {first} to {max(BUDGETS)}: {said}."


def _row(least: dict[tuple[str, str, int], Coverage], name: str, budget: int) -> str:
    found = [least[name, method, budget] for method in METHODS]
    cells = " | ".join(f"{one.every:.3f} ({one.released:.3f})" for one in found)
    return f"| {name}, {budget} | {cells} |"


def _cost(budget: int) -> str:
    def z(level: float) -> float:
        return NormalDist().inv_cdf(0.5 + level / 2)

    ends = (1, budget)
    ours = " to ".join(f"{z(level_at(LEVEL, look, budget)):.2f}" for look in ends)
    bits = " to ".join(f"{told(look, budget, 1000):.2f}" for look in ends)
    return f"| {budget} | {z(for_looks(LEVEL, budget)):.2f} | {ours} | {bits} |"
