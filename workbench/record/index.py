"""A SQLite index of records and ledger, for looking things up fast. Only a cache.

It is rebuilt whenever it doesn't fit the ledger's checkpoint, so deleting it does no harm, and
nothing is decided on what it says.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from workbench.record.sealed import Record
from workbench.record.store import Store

_SCHEMA = """
CREATE TABLE state (checkpoint TEXT);
CREATE TABLE records (digest TEXT PRIMARY KEY, stage TEXT, id TEXT, outcome TEXT, run TEXT,
                      started TEXT, finished TEXT, bytes INTEGER);
CREATE TABLE inputs (record TEXT, name TEXT, sha256 TEXT, source TEXT);
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT, time TEXT, body TEXT);
CREATE INDEX by_input ON inputs (sha256);
"""


def rebuild(store: Store) -> Path:
    """Write the index afresh; returns its path."""
    path, signed, records = _path(store), store.ledger.signed(), store.records()
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        rows = {
            "records": [_record(record) for record in records],
            "inputs": [row for record in records for row in _inputs(record)],
            "entries": [(e.index, e.kind, e.time, json.dumps(e.body)) for e in signed.entries],
            "state": [(signed.note,)],
        }
        for table, values in rows.items():
            marks = ",".join("?" * len(values[0])) if values else ""
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", values)
    return path


def query(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a SELECT over ``records``, ``inputs`` and ``entries``, rebuilt when it is stale."""
    note = store.ledger.signed().note
    try:
        fresh = _select(store, "SELECT checkpoint FROM state") == [{"checkpoint": note}]
    except sqlite3.DatabaseError:
        fresh = False
    if not fresh:
        rebuild(store)
    return _select(store, sql, *values)


def _select(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{_path(store).as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(sql, values)]


def _path(store: Store) -> Path:
    return store.path / "index.sqlite"


def _record(record: Record) -> tuple[Any, ...]:
    made = record.statement.predicate.runDetails.metadata
    size = sum(item.annotations.get("size", 0) for item in record.statement.subject)
    names = (record.digest, record.stage, record.id, record.outcome, made.invocationId)
    return (*names, made.startedOn, made.finishedOn, size)


def _inputs(record: Record) -> list[tuple[Any, ...]]:
    return [
        (record.digest, item.name, item.digest.get("sha256"), item.annotations.get("record"))
        for item in record.statement.inputs
    ]
