"""Where a record came from and what came of it: a graph by digest.

Edges are the inputs that statements name, so the graph crosses stores: a record whose input lives
in another store names it all the same, and ``missing`` lists what is not here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.record.sealed import Record
    from workbench.record.store import Store


@dataclass(frozen=True)
class Input:
    """One input of a record: file name, its SHA-256, where from, and the digest of its record."""

    name: str
    sha256: str
    uri: str | None
    record: str | None


class Graph:
    """Records and the inputs between them."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.records = {record.digest: record for record in records}
        self._children: dict[str, set[str]] = {}
        for record in self.records.values():
            for parent in self._parents(record.digest):
                self._children.setdefault(parent, set()).add(record.digest)

    @classmethod
    def from_store(cls, store: Store) -> Graph:
        """The graph of all records of a store."""
        return cls(store.records())

    def inputs(self, record: Record) -> list[Input]:
        """What a record read, in the order its statement names it."""
        return [
            Input(
                item.name, item.digest.get("sha256", ""), item.uri, item.annotations.get("record")
            )
            for item in record.statement.inputs
        ]

    def ancestors(self, digest: str) -> set[str]:
        """Digests of all records that this one stands on, those that are not here included."""
        return _reach(digest, self._parents)

    def descendants(self, digest: str) -> set[str]:
        """Digests of all records that stand on this one."""
        return _reach(digest, lambda item: self._children.get(item, set()))

    def missing(self, digest: str) -> list[str]:
        """What the ancestry names but this graph doesn't hold: ``uri of the input (digest)``."""
        here = {digest, *self.ancestors(digest)} & set(self.records)
        return sorted(
            f"{item.uri or item.name} ({item.record})"
            for known in here
            for item in self.inputs(self.records[known])
            if item.record and item.record not in self.records
        )

    def _parents(self, digest: str) -> set[str]:
        record = self.records.get(digest)
        return {item.record for item in self.inputs(record) if item.record} if record else set()


def _reach(start: str, step: Callable[[str], set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        new = step(todo.pop()) - found
        found |= new
        todo += new
    return found
