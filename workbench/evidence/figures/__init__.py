"""Figures in one style: colour-blind-safe, direct labels, threshold, interval and n always drawn.

Each function takes a table and returns a matplotlib figure; the caller saves it together with the
table (`Stage.plot`). A theme, a file.
"""

from __future__ import annotations

from .attribution import differences
from .calibration import reliability, risk_coverage
from .coverage import coverage
from .gates import margins
from .memorisation import exposure
from .monitoring import evidence
from .operations import latencies
from .shares import confusion, counts, intervals
from .training import change, loss_curve

__all__ = [
    "change",
    "confusion",
    "counts",
    "coverage",
    "differences",
    "evidence",
    "exposure",
    "intervals",
    "latencies",
    "loss_curve",
    "margins",
    "reliability",
    "risk_coverage",
]
