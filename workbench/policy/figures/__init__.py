"""Figures: rows of one table -> one number with interval, n and what could not be scored.

Importing the package registers them all; to add one, see `interface.figure`. A theme, a file.
"""

from __future__ import annotations

from . import (  # noqa: F401
    attribution,
    calibration,
    families,
    memorisation,
    operations,
    reruns,
    shares,
    suites,
)
from .interface import FIGURES, Figure, Row, Rows, compute, figure, missing, need

__all__ = ["FIGURES", "Figure", "Row", "Rows", "compute", "figure", "missing", "need"]
