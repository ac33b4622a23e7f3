"""Served lines, drawn by a seeded generator; tests alter what is served, never the alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from workbench.policy.operations import Monitor

WHY = {"harm": "h", "why": "w"}
SIGNALS = [
    {"id": "chars", "watch": "length", "psi": 0.25},
    {"id": "shape", "watch": "shape", "psi": 0.25},
    {"id": "meaning", "watch": "meaning", "psi": 0.25},
    {"id": "mix", "watch": "answers", "psi": 0.25},
    {"id": "sure", "watch": "confidence", "psi": 0.25},
    {"id": "silent", "watch": "abstained", "at_most": 0.3, "then": "roll_back"},
    {"id": "rule", "watch": "guard", "rule": "polite", "at_most": 0.05, "then": "roll_back"},
    {"id": "regression", "watch": "sentinel", "at_most": 0.3, "then": "roll_back"},
    {"id": "errors", "watch": "error", "at_most": 0.02, "then": "roll_back"},
    {"id": "slow", "watch": "latency", "slower_than_ms": 500, "at_most": 0.05},
]


def monitor_of(*ids: str, **changes: Any) -> Monitor:
    """A monitor of some of the signals (all of them)."""
    held = [WHY | one for one in SIGNALS if one["id"] in ids or not ids]
    return Monitor.parse({"signals": held} | changes)


class Traffic:
    """Lines as a sound release over the same traffic writes them; `changes` alter them."""

    def __init__(self, seed: int = 0) -> None:
        self.chance = np.random.Generator(np.random.PCG64(seed))

    def line(self, **changes: Any) -> dict[str, Any]:
        topic = int(self.chance.integers(4))
        sketch = self.chance.normal(size=16) + 3 * np.eye(16)[topic]
        plain = {
            "kind": "traffic", "sentinel": None, "bundle": "b" * 64, "entry": 7, "arm": "stable",
            "shape": {"chars": int(self.chance.lognormal(4, 0.5)), "language": "en", "ascii": 1.0,
                      "missing": 0},
            "sketch": sketch.round(3).tolist(), "answer": {"label": f"t{topic}"},
            "confidence": {"label": float(self.chance.beta(8, 2))}, "abstained": False,
            "verdicts": {"polite": "pass"}, "outcome": "answered", "reason": "",
            "latency_ms": 20.0, "time": "2026-01-01T00:00:00.000000Z",
        }  # fmt: skip
        return plain | changes

    def lines(self, n: int, alter: Callable[[int], dict[str, Any]] = lambda i: {}) -> list[dict]:
        return [self.line(**alter(i)) for i in range(n)]

    def asked(self, n: int, share: float, cases: int = 20, known: int = 4) -> list[dict]:
        """Sentinel lines of cases drawn at random, the first `known` of which failed offline; a
        `share` of the others is answered otherwise than in the rehearsal."""
        names = self.chance.integers(cases, size=n)
        return [
            self.line(kind="sentinel", sentinel=f"c{name:02d}",
                      answer={"label": "other" if self.chance.random() < share else f"a{name}"})
            for name in names
        ]  # fmt: skip

    def rehearsed(self, cases: int = 20, known: int = 4, n: int = 300) -> tuple[list[dict], dict]:
        """Lines of a rehearsal, and which cases passed offline."""
        asked = [self.line(kind="rehearsal", sentinel=f"c{i:02d}", answer={"label": f"a{i}"})
                 for i in range(cases)]  # fmt: skip
        rows = [self.line(kind="rehearsal", sentinel=f"row-{i}") for i in range(n)]
        return [*rows, *asked], {f"c{i:02d}": i >= known for i in range(cases)}


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()
