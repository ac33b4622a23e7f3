"""Which snapshots a store holds, how old they are, and when their columns must be gone (D10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..policy import retention
from ..record import clock
from ..record.lineage import Graph
from ..record.store import Record, Store

STAGE = "20_dataset"
OLDEST = "oldest_row"


def due(store: Store, now: str | datetime | None = None) -> list[dict[str, Any]]:
    """What expires when: a plain row for every column with a window, the earliest first.

    A window counts from the oldest row where the dataset states it (figure `oldest_row`), else from
    the ledger's first record of the snapshot; `basis` says which. The newest declaration counts.
    Rows in the clear are listed too, though no key can erase them. Of an imported record the key,
    and so the deletion, is with the store that it comes from; it is not listed.
    """
    held: dict[str, list[Record]] = {}
    for record in made(store, STAGE):
        for name in snapshots_of(record):
            held.setdefault(name, []).append(record)
    graph, moment = Graph.from_store(store), clock.parse(now or clock.now())
    rows = [
        row for name, records in held.items() for row in _rows(store, graph, name, records, moment)
    ]
    return sorted(rows, key=lambda row: (row["expires"], row["snapshot"], row["column"]))


def _rows(
    store: Store, graph: Graph, name: str, records: list[Record], now: datetime
) -> Iterator[dict[str, Any]]:
    figures = [_document(record, "outputs/figures.json").get(OLDEST, {}) for record in records]
    stated = [found for one in figures if (found := retention.oldest(one.get("value")))]
    times = {e.body["digest"]: clock.parse(e.time) for e in store.ledger.entries("record")}
    since = min(stated, default=times[records[0].digest])
    standing = {one for record in records for one in graph.descendants(record.digest)}
    common = {
        "snapshot": name,
        "record": records[-1].ref,
        "basis": "oldest row" if stated else "first record",
        "depends": sorted(graph.records[one].ref for one in standing),
    }
    erased = name in forgotten(store) and not store.cipher.exists(name)
    for column, said in declaration(graph, records[-1]).get("columns", {}).items():
        if days := said.get("retention_days"):
            row = common | {"column": column, "class": said["class"], "retention_days": days}
            yield row | retention.expiry(since, days, now, erased=erased)


def made(store: Store, stage: str | None = None) -> list[Record]:
    """The records that this store made itself, in the order of its ledger."""
    order = {e.body["digest"]: e.index for e in store.ledger.entries("record")}
    own = (record for record in store.records(stage) if record.digest in order)
    return sorted(own, key=lambda record: order[record.digest])


def forgotten(store: Store) -> set[str]:
    """The snapshots whose deletion the ledger holds."""
    return {entry.body["snapshot"] for entry in store.ledger.entries("forgotten")}


def sealed(record: Record) -> set[str]:
    """The snapshots whose keys a record's files are encrypted with."""
    return {how["snapshot"] for how in record.statement.predicate.workbench_encrypted.values()}


def snapshots_of(record: Record) -> set[str]:
    """The snapshots that a record holds, or read as the use case's file."""
    read = [item for item in record.statement.inputs if item.annotations.get("input") == "data"]
    return sealed(record) | {value[:16] for item in read for value in item.digest.values()}


def declaration(graph: Graph, record: Record) -> dict[str, Any]:
    """The declaration of the data that a dataset record was held to; empty when it is not here."""
    for item in graph.inputs(record):
        if item.name == "outputs/data.json" and item.record in graph.records:
            return _document(graph.records[item.record], item.name)
    return {}


def _document(record: Record, name: str) -> dict[str, Any]:
    try:
        return json.loads((record.path / name).read_text(encoding="utf-8"))
    except (
        OSError,
        ValueError,
    ):  # a failed record may lack it; `verify` names one that was changed
        return {}
