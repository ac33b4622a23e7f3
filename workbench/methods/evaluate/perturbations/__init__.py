"""Perturbations: a text in, the same text damaged or wrapped out, the same for the same seed.

To add an operator: a function (text, random.Random) -> text under `@operator`, and its name in
`policy.scenarios.OPERATORS`.
"""

from __future__ import annotations

from . import attacks, damage  # noqa: F401
from .interface import REGISTERED, operator, perturb

__all__ = ["REGISTERED", "operator", "perturb"]
