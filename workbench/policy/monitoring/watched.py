"""One signal in one stream of served lines: what it reads, and when it is an alarm."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..operations import Signal
from .martingales import Categories, Numbers, Rate, psi
from .readings import NUMBERS, category, failed, number

WINDOW, LEAST = 200, 100
"""Lines of the last window; fewer than `LEAST` are no distribution."""
BINS, PER_BIN = 10, 20
"""Bins by the reference's quantiles at most, and lines of the reference that each must hold."""
RARE = 0.01
"""A category with a smaller share of the reference counts among all others."""
Line = Mapping[str, Any]
Profile = Mapping[str, Any]


class Alarm(NamedTuple):
    """A signal that is worse than what is borne, or too far from what it was."""

    signal: str
    watch: str
    then: str
    """report or roll_back."""
    lines: int
    """That the signal had seen in the stream."""
    evidence: float
    """Natural logarithm of the e-value."""
    needed: float
    """From which on it is an alarm."""
    value: float
    """Of the last window: the share, or the PSI."""
    borne: float
    time: str
    """Of the line that gave it."""
    harm: str

    def __str__(self) -> str:
        return (f"{self.signal} ({self.watch}): {self.value:.3f} of the last window, {self.borne:g} "
                f"is borne; log e-value {self.evidence:.1f}, {self.needed:.1f} needed, "
                f"after {self.lines} lines")  # fmt: skip


class Watched:
    """A signal; `Share` and `Distribution` say what it reads and what else an alarm asks."""

    kind = "traffic"
    blind = False

    def __init__(self, signal: Signal, profile: Profile, needed: float) -> None:
        self.signal, self.profile, self.needed = signal, profile, needed
        self.lines, self.unscored, self.evidence, self.highest = 0, 0, 0.0, 0.0
        self.alarm: Alarm | None = None
        self.window: deque[Any] = deque(maxlen=WINDOW)

    def see(self, line: Line) -> Alarm | None:
        """The alarm, the first time that there is one."""
        value = self.read(line) if line["kind"] == self.kind and not self.blind else None
        if value is None:
            return None
        self.lines += 1
        self.window.append(value)
        self.evidence = math.log(max(self.bet(line, value), 1e-300))
        self.highest = max(self.highest, self.evidence)
        if self.alarm or self.highest < self.needed or not self.far():
            return None
        one = self.signal
        self.alarm = Alarm(one.id, one.watch, one.then, self.lines, self.highest, self.needed,
                           self.value(), self.borne, line["time"], one.harm)  # fmt: skip
        return self.alarm

    @property
    def borne(self) -> float:
        return self.signal.at_most if self.signal.rate else self.signal.psi

    def row(self) -> dict[str, Any]:
        """Where it stands, for people."""
        state = "blind" if self.blind else "alarm" if self.alarm else "quiet"
        one = self.signal
        return {"signal": one.id, "watch": one.watch, "then": one.then, "lines": self.lines,
                "value": self.value() if self.lines else None, "borne": self.borne, "ks": None,
                "evidence": self.evidence, "needed": self.needed, "unscored": self.unscored,
                "state": state}  # fmt: skip

    def read(self, line: Line) -> Any:
        """What the line says; None where it says nothing."""
        raise NotImplementedError

    def bet(self, line: Line, value: Any) -> float:
        """The evidence after it."""
        raise NotImplementedError

    def far(self) -> bool:
        """What an alarm asks besides evidence: of a share nothing."""
        return True

    def value(self) -> float:
        """Of the last window."""
        raise NotImplementedError


class Share(Watched):
    """Of lines that fail. Of sentinel cases, new failures against what is borne less the known."""

    def __init__(
        self, signal: Signal, profile: Profile, needed: float, cases: Iterable[str]
    ) -> None:
        super().__init__(signal, profile, needed)
        self.cases, self.known = set(cases), set[str]()
        if signal.watch == "sentinel":
            self.kind, self.blind = "sentinel", not self.cases
            if not signal.rule:
                self.known = {one for one in self.cases if not profile["cases"][one]["passed"]}
        known = len(self.known) / max(1, len(self.cases))
        self._martingale = Rate(max(0.0, signal.at_most - known))

    def read(self, line: Line) -> bool | None:
        if self.kind == "sentinel" and line["sentinel"] not in self.cases:
            return None
        return failed(self.signal, line, self.profile)

    def bet(self, line: Line, value: bool) -> float:
        self.unscored += (
            self.kind == "sentinel" or self.signal.watch == "guard"
        ) and "unscored" in line["verdicts"].values()
        return self._martingale.see(value and line["sentinel"] not in self.known)

    def value(self) -> float:
        return sum(self.window) / max(1, len(self.window))


class Distribution(Watched):
    """Of numbers or categories, held to the profile's."""

    def __init__(self, signal: Signal, profile: Profile, needed: float, seed: int) -> None:
        import numpy as np

        # Once, as an array: every line is measured to all of them.
        super().__init__(signal, {**profile, "sketches": np.array(profile["sketches"])}, needed)
        self._reference = profile.get(signal.watch) or {}
        self.blind = not self._reference
        self._numbers = signal.watch in NUMBERS
        if self._numbers:
            self._edges = _edges(list(self._reference))
            self._martingale: Any = Numbers(self._reference, seed)
            weighted = [(value, 1) for value in self._reference]
        else:
            self._common = _common(self._reference)
            self._martingale = Categories(self._reference, seed)
            weighted = list(self._reference.items())
        self._held = self._counts(weighted)

    def read(self, line: Line) -> Any:
        if self._numbers:
            return number(self.signal.watch, line, self.profile)
        return category(self.signal.watch, line)

    def bet(self, line: Line, value: Any) -> float:
        return self._martingale.see(value)

    def far(self) -> bool:
        return len(self.window) >= LEAST and self.value() > self.signal.psi

    def value(self) -> float:
        return psi(self._held, self._counts([(value, 1) for value in self.window]))

    def _counts(self, weighted: Iterable[tuple[Any, int]]) -> list[int]:
        names: Sequence[Any] = range(len(self._edges) + 1) if self._numbers else [*self._common, ""]
        found = dict.fromkeys(names, 0)
        for value, n in weighted:
            bin_ = bisect_right(self._edges, value) if self._numbers else value
            found[bin_ if bin_ in found else ""] += n
        return list(found.values())

    def row(self) -> dict[str, Any]:
        """With the largest distance of the distribution functions (Kolmogorov and Smirnov)."""
        ks = None
        if self._numbers and self.window:
            from scipy.stats import ks_2samp

            ks = float(ks_2samp(list(self._reference), list(self.window)).statistic)
        return super().row() | {"ks": ks}


def _edges(values: Sequence[float]) -> list[float]:
    """Inner edges of bins that hold as much of the reference each, as far as ties let them."""
    n = len(values)
    bins = max(2, min(BINS, n // PER_BIN))
    return sorted({values[n * place // bins] for place in range(1, bins)}) if n else []


def _common(counts: Mapping[str, int]) -> list[str]:
    total = sum(counts.values())
    return [name for name, n in counts.items() if n >= RARE * total]
