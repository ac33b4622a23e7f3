"""Transformations: the interface, and one file per implementation."""

from ..lineage import changes
from .interface import Applied, Context, Result, Transformation, run

__all__ = ["Applied", "Context", "Result", "Transformation", "changes", "run"]
