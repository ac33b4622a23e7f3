"""A person's decision on the classes of a dataset, in versions that follow each other (D1).

A version names the digest of the one before, so none can be slipped in or left out. Once there is
one, the use case must declare exactly what the last one says: a class that was lowered afterwards,
by an edit of usecase.yaml, is refused on both tracks. The governed track takes signed versions only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from ..errors import IntegrityError
from ..record.digest import digest
from .classes import ORDER, Column
from .documents import Document

NAMESPACE = "classify@workbench"
KIND = "classification"


class Classification(Document):
    """One version of the decision."""

    usecase: str
    """Id of the use case."""
    dataset: str
    """The data file, relative to the use case."""
    number: int = Field(ge=1)
    """Counts up from 1."""
    previous: str | None
    """Digest of the version before."""
    decided_by: str = Field(min_length=1)
    """Printed name of the person who decided."""
    columns: dict[str, Column]
    """The classes, with what each obliges to."""
    signed: bool = Field(default=False, exclude=True)
    """Did the person sign it?"""

    def data(self) -> dict[str, Any]:
        """Plain JSON data: what is signed."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def sha256(self) -> str:
        """What the next version names."""
        return digest(self.data())


def following(
    before: Classification | None,
    usecase: str,
    dataset: str,
    columns: Mapping[str, Column],
    by: str,
) -> Classification:
    """The version after `before`."""
    number, previous = (before.number + 1, before.sha256) if before else (1, None)
    return Classification(
        usecase=usecase, dataset=dataset, number=number, previous=previous, decided_by=by,
        columns=dict(columns),
    )  # fmt: skip


def history(
    bodies: Iterable[Mapping[str, Any]], usecase: str, dataset: str
) -> list[Classification]:
    """The versions of a dataset from the ledger's bodies, in order.

    Signatures are checked elsewhere (`record.verify`); IntegrityError when a version does not
    follow the one before.
    """
    found: list[Classification] = []
    for body in bodies:
        signed = "envelope" in body
        stated = body["envelope"]["statement"] if signed else body.get("statement", {})
        if (stated.get("usecase"), stated.get("dataset")) != (usecase, dataset):
            continue
        version = Classification.parse(stated | {"signed": signed}, where="ledger: classification")
        expected = following(found[-1] if found else None, usecase, dataset, {}, "?")
        if (version.number, version.previous) != (expected.number, expected.previous):
            raise IntegrityError(
                "A classification does not follow the one before it.",
                where=f"{usecase}: {dataset}",
                expected=f"version {expected.number}",
                given=f"version {version.number}",
            )
        found.append(version)
    return found


def departures(version: Classification | None, declared: Mapping[str, Column]) -> list[str]:
    """Where the declared columns are not what the version in force says; lowered classes first."""
    if version is None:
        return []
    lowered, other = [], []
    for name in sorted(version.columns.keys() | declared.keys()):
        was, now = version.columns.get(name), declared.get(name)
        if was == now:
            continue
        if was and now and ORDER.index(now.data_class) < ORDER.index(was.data_class):
            lowered.append(
                f"{name}: the class was lowered from {was.data_class} to {now.data_class} "
                f"after {version.decided_by} had decided it"
            )
        else:
            other.append(f"{name}: not as {version.decided_by} decided it")
    return lowered + other
