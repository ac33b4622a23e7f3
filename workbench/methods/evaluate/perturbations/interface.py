"""What an operator is, how its random numbers are drawn, and the phrases that operators share."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import yaml

from ....errors import InputError

REGISTERED: dict[str, Callable[[str, random.Random], str]] = {}
PHRASES = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
DRAWS = 20


def operator(function: Callable[[str, random.Random], str]) -> Callable[[str, random.Random], str]:
    """Register an operator under its function's name."""
    REGISTERED[function.__name__] = function
    return function


def perturb(name: str, text: str, *, key: str, seed: int) -> str:
    """`text` changed by the operator; `key` (the scenario's id), name and seed decide how.

    InputError for an unknown operator, and for a text that it can't change.
    """
    if name not in REGISTERED:
        raise InputError("No such perturbation.", expected=", ".join(REGISTERED), given=name)
    draws = random.Random(f"{key}\n{name}\n{seed}")
    for _ in range(DRAWS):
        changed = REGISTERED[name](text, draws)
        if changed != text:
            return changed
    raise InputError(f"`{name}` leaves the text as it is.", where=key, given=text[:80])
