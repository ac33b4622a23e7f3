"""Figures: rows of one table -> one number with interval, n and what could not be scored.

Importing the package registers them all; to add one, see `interface.figure`. A theme, a file.
"""

from __future__ import annotations

from . import attribution, calibration, families, memorisation, reruns, shares, suites  # noqa: F401
from .interface import FIGURES, Figure, Row, Rows, compute, figure, missing, need

__all__ = ["FIGURES", "Figure", "Row", "Rows", "compute", "figure", "missing", "need"]
