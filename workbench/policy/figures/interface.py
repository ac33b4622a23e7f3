"""What a figure is: rows of one table -> one number with interval, n and what was not scored.

A row without an answer (None, NaN, empty) is unscored: left out of the figure, counted apart,
and no gate passes over it. To add a figure: a function (rows, *, level, ...) under `@figure`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import InputError

Row = dict[str, Any]
Rows = Sequence[Row]


@dataclass(frozen=True)
class Figure:
    """One number and how far it can be trusted. `value` is None when nothing could be measured."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    method: str = ""
    unit: str = "share"
    level: float | None = None
    unscored: int = 0
    detail: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


FIGURES: dict[str, Callable[..., Figure]] = {}


def figure(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Register a figure under its function's name."""
    FIGURES[function.__name__] = function
    return function


def compute(name: str, rows: Rows, *, level: float = 0.95, **arguments: Any) -> Figure:
    """The figure of that name. InputError when it is unknown or a column is missing."""
    if name not in FIGURES:
        raise InputError("There is no such figure.", expected=", ".join(FIGURES), given=name)
    return FIGURES[name](rows, level=level, **arguments)


def missing(value: object) -> bool:
    """None, NaN (the only value unequal to itself) or blank text."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def need(rows: Rows, *columns: str) -> None:
    """InputError when a row lacks one of the columns."""
    absent = [name for name in columns if any(name not in row for row in rows)]
    if absent:
        raise InputError("The table lacks a column.", expected=", ".join(absent))
