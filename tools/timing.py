"""How long something takes, and how figures of several rounds are told."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def timed(work: Callable[[], object]) -> float:
    """Seconds by the wall clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(found: list[float], unit: str = " s", digits: int = 2) -> str:
    """`median (min to max), n`."""
    low, high = min(found), max(found)
    middle = f"{statistics.median(found):.{digits}f}{unit}"
    return f"{middle} ({low:.{digits}f} to {high:.{digits}f}), n={len(found)}"
