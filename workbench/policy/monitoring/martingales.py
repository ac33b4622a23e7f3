"""Evidence that something changed, which may be looked at after every single line.

A test martingale is the capital of somebody who starts with 1 and bets against "nothing changed" at
fair odds. While that is true, the chance that it ever reaches 1/a is at most a (Ville 1939), so
watching all day costs nothing.

When to bet. Who bets on every line from the first has lost nearly all after 10,000 quiet ones, and
finds a change late or never. So a part of the cash is staked only when the lines just seen look bad
(Page's CUSUM, Biometrika 1954, above `ENTER`), and what is left of it is taken back when they look
well again. What is staked on a line depends on the lines before it alone, so the capital stays a
martingale. An e-detector (Shin, Ramdas and Rinaldo 2023) or Shiryaev and Roberts' sum is faster
still, but promises a mean time between false alarms, and no bound on having one at all.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence

ENTER, STAKE = (2.0, 5.0), (0.5, 0.25)
"""Of shares, and of ranks: those of unchanged traffic are even, so that every bet on them loses, and
it must be rare that one is made."""
RISES = {0.10: 0.75, 0.03: 0.25}
"""Rise above the share that is borne, for which a bet is best -> part of the capital on it."""
SHIFTS = (1.5, -1.5)
FULL = 20_000
"""Lines that a conformal bag holds; ranks in a full bag are off by `SLACK` with a chance of 0.001
at most (Dvoretzky, Kiefer and Wolfowitz; Massart 1990), which the bets then give away."""
SLACK = math.sqrt(math.log(2 / 0.001) / (2 * FULL))


class Capital:
    """Of one bettor; `see` takes the factor by which a whole stake on this line grows or falls."""

    def __init__(self, part: float, enter: float, stake: float) -> None:
        self.cash, self.staked, self.score = part, 0.0, 0.0
        self.enter, self.stake = enter, stake

    def see(self, factor: float) -> float:
        """What it has after a line."""
        self.staked *= factor
        self.score = max(0.0, self.score + math.log(factor))
        if self.staked and not self.score:
            self.cash, self.staked = self.cash + self.staked, 0.0
        elif not self.staked and self.score > self.enter:
            self.staked = self.stake * self.cash
            self.cash -= self.staked
        return self.cash + self.staked


class Rate:
    """Evidence that a share is above what is borne.

    Bets of Waudby-Smith and Ramdas 2023 (JRSS B 86:1): 1 + b (x - at_most) has a mean of 1 at most
    whenever a line's chance to fail, given all before it, is at most `at_most`; lines need not be
    independent. A share of 0 is taken as one in a million: the second failure is the alarm.
    """

    def __init__(self, at_most: float) -> None:
        self.at_most = at_most
        share = min(max(at_most, 1e-6), 1 - 1e-6)
        bets = [min(rise, (1 - share) / 2) / (share * (1 - share)) for rise in RISES]
        self._factors = [(1 - bet * share, 1 + bet * (1 - share)) for bet in bets]
        self._bettors = [Capital(part, ENTER[0], STAKE[0]) for part in RISES.values()]

    def see(self, failed: bool) -> float:
        """The evidence after a line."""
        pairs = zip(self._bettors, self._factors, strict=True)
        return sum(bettor.see(factors[bool(failed)]) for bettor, factors in pairs)


class _Ranks:
    """Bets on conformal p-values, which are even and independent while lines are exchangeable:
    low or high, in the middle or at both ends (Vovk 2021, Statistical Science 36:595)."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        n = 2 * len(SHIFTS)
        self._bettors = [Capital(1 / n, ENTER[1], STAKE[1]) for _ in range(n)]

    def bet(self, above: int, equal: int, n: int) -> float:
        """Of a line with `above` of n values above its own, and `equal` with itself as it."""
        p = (above + self._chance.random() * equal) / n
        slack = SLACK if n > FULL else 0.0
        middle = abs(2 * p - 1)
        factors = [1 + shift * (value - 0.5) - abs(shift) * slack
                   for value in (p, middle) for shift in SHIFTS]  # fmt: skip
        pairs = zip(self._bettors, factors, strict=True)
        return sum(bettor.see(factor) for bettor, factor in pairs)


class Numbers(_Ranks):
    """Evidence that numbers are not exchangeable with those of the reference; each joins them."""

    def __init__(self, reference: Iterable[float], seed: int = 0) -> None:
        super().__init__(seed)
        self._bag = sorted(reference)

    def see(self, value: float) -> float:
        """The evidence after a line."""
        low = bisect.bisect_left(self._bag, value)
        high = bisect.bisect_right(self._bag, value, low)
        n = len(self._bag) + 1
        evidence = self.bet(n - 1 - high, high - low + 1, n)
        if n <= FULL:
            self._bag.insert(low, value)
        return evidence


class Categories(_Ranks):
    """The same of categories, ranked by how frequent they are."""

    def __init__(self, reference: dict[str, int], seed: int = 0) -> None:
        super().__init__(seed)
        self._bag, self._n = Counter(reference), sum(reference.values())

    def see(self, value: str) -> float:
        """The evidence after a line."""
        own, n = self._bag[value] + 1, self._n + 1
        counts = [count for other, count in self._bag.items() if other != value]
        equal = own + sum(count for count in counts if count == own)
        evidence = self.bet(sum(count for count in counts if count > own), equal, n)
        if n <= FULL:
            self._bag[value], self._n = own, n
        return evidence


def psi(reference: Sequence[float], window: Sequence[float]) -> float:
    """Population Stability Index of two lists of counts over the same bins, less what chance alone
    gives; 0 at least.

    Each count is half a case more than was seen, so that an empty bin is finite. Of two samples of
    one distribution the index is about (1/n + 1/m) times a chi-square variable with a degree of
    freedom a bin less one (Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14:4).
    """
    a, b = ([(one + 0.5) / (sum(side) + 0.5 * len(side)) for one in side]
            for side in (reference, window))  # fmt: skip
    found = sum((q - p) * math.log(q / p) for p, q in zip(a, b, strict=True))
    chance = (len(a) - 1) * (1 / max(1, sum(reference)) + 1 / max(1, sum(window)))
    return max(0.0, found - chance)
