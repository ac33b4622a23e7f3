"""Scorers: one case in, `pass`, `fail` or `unscored` with the reason out. A scorer, a file.

Importing the package registers them all; to add one, see `interface.register`.
"""

from __future__ import annotations

from . import escalation, format, personal_data, refusal, supported_reason  # noqa: F401
from .interface import SCORERS, Verdict, register, score_with, sound

__all__ = ["SCORERS", "Verdict", "register", "score_with", "sound"]
