"""Data classes, what each obliges to, and the check that fails closed on unclassified columns.

A detector may propose a class; only a named person decides (D1 in docs/assurance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from pydantic import Field, PositiveInt

from ..errors import InputError
from .documents import Document


class DataClass(StrEnum):
    """How a column may be kept and used, from the least to the most strict."""

    PUBLIC = "public"
    LICENSED = "licensed"
    INTERNAL_OPERATIONAL = "internal_operational"
    RETENTION_BOUND = "retention_bound"
    SAFETY_INCIDENT = "safety_incident"
    PERSONAL = "personal"
    HEALTH = "health"


ORDER = tuple(DataClass)
ENCRYPTED = frozenset({DataClass.PERSONAL, DataClass.HEALTH})
DUTIES: dict[DataClass, tuple[str, ...]] = {
    DataClass.LICENSED: ("licence",),
    DataClass.RETENTION_BOUND: ("retention_days",),
    DataClass.SAFETY_INCIDENT: ("retention_days",),
    DataClass.PERSONAL: ("legal_basis", "retention_days"),
    DataClass.HEALTH: ("legal_basis", "retention_days"),
}


class Column(Document):
    """The declaration of one column."""

    data_class: DataClass = Field(alias="class")
    """Its data class."""
    purpose: str = Field(min_length=1)
    """Why this column is kept at all."""
    owner: str = Field(min_length=1)
    """Who answers for it."""
    legal_basis: str | None = None
    """For personal and health data: the basis of processing (GDPR Art. 6, and 9 for health)."""
    retention_days: PositiveInt | None = None
    """Days after which it must be gone."""
    licence: str | None = None
    """For licensed data: the licence that allows this use."""
    override: str | None = Field(default=None, min_length=1)
    """Why the class is less strict than what the detectors propose, where it is."""

    def missing(self) -> list[str]:
        """Names of the attributes that the class asks for and the declaration lacks."""
        return [name for name in DUTIES.get(self.data_class, ()) if not getattr(self, name)]


def is_encrypted_class(data_class: DataClass | str) -> bool:
    """Are rows of this class encrypted at rest (D3)?"""
    return data_class in ENCRYPTED


def strictest(classes: Iterable[DataClass | str]) -> DataClass:
    """The strictest class present. InputError when there is none: nothing known is not public."""
    found = [DataClass(name) for name in classes]
    if not found:
        raise InputError("No data class is known, so none can be the strictest.")
    return max(found, key=ORDER.index)


def problems(found: Iterable[str], declared: Mapping[str, Column]) -> list[str]:
    """What stands between these columns and their use; empty when all are fully classified."""
    present = list(found)
    unclassified = [f"{name}: not classified" for name in present if name not in declared]
    stale = [f"{name}: classified, but not in the data" for name in declared if name not in present]
    lacking = [
        f"{name}: {column.data_class} asks for {', '.join(column.missing())}"
        for name, column in declared.items()
        if column.missing()
    ]
    return unclassified + stale + lacking


def check(
    found: Iterable[str],
    declared: Mapping[str, Column],
    allowed: Collection[str] | None = None,
    *,
    classified_by: str | None = None,
) -> None:
    """Refuse (InputError) columns whose classification is incomplete or not `allowed`.

    `allowed` are the classes of the control plan, `classified_by` the person who stands for the
    classification; None leaves either question to another caller, an empty name is refused.
    """
    wrong = problems(found, declared)
    if allowed is not None:
        barred = [
            (name, c.data_class) for name, c in declared.items() if c.data_class not in allowed
        ]
        wrong += [f"{name}: the control plan does not allow {kind}" for name, kind in barred]
    if classified_by is not None and not classified_by.strip():
        wrong.append("data.classified_by: no person has confirmed the classification")
    if wrong:
        raise InputError(
            "The data is not classified so that it may be used; both tracks refuse it.",
            where="usecase.yaml: data.columns",
            expected="every column with class, purpose, owner and what its class asks for",
            given="; ".join(wrong),
            next_step="Run `workbench classify`, or complete data.columns.",
        )
