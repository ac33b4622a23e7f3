"""Scorers: one case in, `pass`, `fail` or `unscored` with the reason out. A scorer, a file.

Importing the package registers them all; to add one, see `interface.register`.
"""

from __future__ import annotations

from . import (  # noqa: F401
    compliance,
    disclosure,
    escalation,
    format,
    human_step,
    language,
    one_of,
    personal_data,
    phrases,
    refusal,
    secrets,
    supported_reason,
    tone,
    unchanged,
)
from .interface import SCORERS, Verdict, register, score_with, sound

__all__ = ["SCORERS", "Verdict", "register", "score_with", "sound"]
