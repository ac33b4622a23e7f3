"""Where what was learned from rows may lie: the class that it inherits, and the zones that hold it.

A model can repeat what it learned from, so an adapter is handled as strictly as the strictest rows
of its lineage, whatever was left out of them on the way (A9 in docs/assurance.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pydantic import Field

from ..errors import InputError
from .classes import ORDER, DataClass, strictest
from .documents import Document


class Zone(Document):
    """A part of the infrastructure under one regime of access."""

    name: str = Field(min_length=1)
    """As the organisation calls it."""
    holds: DataClass
    """The strictest data class that may lie there."""


def inherited(
    classes_of_inputs: Iterable[DataClass | str | None], own: Collection[DataClass | str]
) -> DataClass:
    """The class of an output: the strictest of its lineage.

    An input without a class counts as the strictest of `own`, those that the use case declares for
    what is read here. InputError when nothing is known, or a class that nobody knows: neither is
    public.
    """
    inputs = list(classes_of_inputs)
    known = [one for one in (*own, *inputs) if one is not None]
    if not known or not set(known) <= set(ORDER) or (None in inputs and not own):
        raise InputError(
            "The data class of what was read is not known.",
            expected=f"in every input's record, or declared: {', '.join(ORDER)}",
            given=", ".join(sorted(known)) or "none",
            next_step="Run `workbench classify`.",
        )
    return strictest(known)


def refuse(zone: Zone | None, data_class: DataClass | str | None, what: str) -> None:
    """InputError when `what`, of this class, may not lie in `zone`. A class that is not known may
    lie in none, and where no zone is declared nothing may."""
    if zone and data_class in ORDER and ORDER.index(data_class) <= ORDER.index(zone.holds):
        return
    raise InputError(
        f"{what} may not enter the zone {zone.name}." if zone else "No zone is declared.",
        expected=f"at most {zone.holds}" if zone else "zone: {name, holds} of the environment",
        given=data_class or "no known data class",
        next_step="Use a zone that holds this class, or learn anew without what makes it strict.",
    )
