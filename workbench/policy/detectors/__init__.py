"""Detectors: what in a text speaks of a person or opens a door. They propose; a person decides."""

from . import (  # noqa: F401  (importing a module makes its detectors known)
    addresses,
    bank,
    contact,
    dates,
    health,
    names,
    national,
    organisations,
    places,
    secrets,
)
from .interface import ENTITIES, Entity, Finding, detect, detect_all

__all__ = ["ENTITIES", "Entity", "Finding", "detect", "detect_all"]
