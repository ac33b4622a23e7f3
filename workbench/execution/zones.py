"""The data class of a record, from its lineage, and the zones that may not hold it (A9).

Sealed by the engine in `internalParameters.data_class`, so that it goes where the record goes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..policy.classes import DataClass, strictest
from ..policy.zones import inherited, refuse
from ..record.store import Record
from .environment import declared
from .project import USECASE_FILE, Project

if TYPE_CHECKING:
    from .runner import Job

DOCUMENTS = {"usecase", "policy", "envelope"}  # files of a use case that hold no rows
LEAST = DataClass.INTERNAL_OPERATIONAL  # every record holds the organisation's own documents


def sealed_class(record: Record) -> DataClass | None:
    """The class that the engine sealed in a record; None where it sealed none.

    InputError when it is one that nobody knows.
    """
    found = record.statement.predicate.buildDefinition.internalParameters.get("data_class")
    return None if found is None else inherited([found], ())


def data_class(job: Job) -> DataClass | None:
    """The strictest class over the lineage of a run: of its records, and of the rows that it reads.

    A record without a class counts as the strictest that the use case declares. None where rows are
    read that nobody has classified yet (an inspection): no zone takes such a record.
    """
    declared = job.project.usecase.data.classes
    known = {record.digest: record for record in job.records.values()}
    lineage: list[DataClass | None] = []
    for name, item in job.inputs.items():
        source = job.stage.inputs.get(name)
        if item.record:
            lineage.append(sealed_class(known[item.record]) if item.record in known else None)
        elif source is None or (source.origin == "usecase" and source.path not in DOCUMENTS):
            lineage.append(None)
    if None in lineage and not declared:
        return None
    return inherited(lineage, [LEAST, *(declared if None in lineage else ())])


def check_zone(environment: Any, data_class: DataClass | None, what: str = "The adapter") -> None:
    """InputError when what has this class may not enter the zone that an environment declares, or
    when it declares none."""
    refuse(getattr(environment, "zone", None), data_class, what)


def gate(root: Path) -> Callable[[list[Record]], None]:
    """Asked about records that come in together: InputError where the zone of the use case's
    training environment may not hold one. An inspection, sealed before anybody had classified its
    rows, counts as the strictest record beside it. Open where there is no use case, or it declares
    no environment."""
    found = declared(Project.load(root), "training") if (root / USECASE_FILE).is_file() else None

    def admit(records: list[Record]) -> None:
        classes = {record.ref: sealed_class(record) for record in records}
        known = [one for one in classes.values() if one]
        for ref, one in classes.items():
            check_zone(found, one or (strictest(known) if known else None), f"The record {ref}")

    return admit if found else lambda records: None
