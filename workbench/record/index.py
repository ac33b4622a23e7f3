"""A SQLite index of records and ledger, for looking things up fast. Only a cache.

It is rebuilt whenever it doesn't fit the ledger's checkpoint, so deleting it does no harm, and
nothing is decided on what it says.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from workbench.record.sealed import Record
from workbench.record.store import Store

_SCHEMA = """
DROP TABLE IF EXISTS state; DROP TABLE IF EXISTS records;
DROP TABLE IF EXISTS inputs; DROP TABLE IF EXISTS entries;
CREATE TABLE state (checkpoint TEXT);
CREATE TABLE records (digest TEXT PRIMARY KEY, stage TEXT, id TEXT, outcome TEXT, run TEXT,
                      started TEXT, finished TEXT, bytes INTEGER);
CREATE TABLE inputs (record TEXT, name TEXT, sha256 TEXT, source TEXT);
CREATE TABLE entries (number INTEGER PRIMARY KEY, kind TEXT, time TEXT, body TEXT);
CREATE INDEX by_input ON inputs (sha256);
"""


def rebuild(store: Store) -> Path:
    """Write the index afresh; returns its path."""
    path, note = store.path / "index.sqlite", store.ledger.signed().note
    try:
        _fill(path, store, note)
    except sqlite3.DatabaseError:  # damaged: a cache is thrown away, not repaired
        path.unlink(missing_ok=True)
        _fill(path, store, note)
    return path


def _fill(path: Path, store: Store, note: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        records = store.records()
        database.executemany("INSERT INTO records VALUES (?,?,?,?,?,?,?,?)", map(_row, records))
        database.executemany(
            "INSERT INTO inputs VALUES (?,?,?,?)",
            [
                (r.digest, i.name, i.digest.get("sha256"), i.annotations.get("record"))
                for r in records
                for i in r.statement.inputs
            ],
        )
        database.executemany(
            "INSERT INTO entries VALUES (?,?,?,?)",
            [(e.index, e.kind, e.time, json.dumps(e.body)) for e in store.ledger.entries()],
        )
        database.execute("INSERT INTO state VALUES (?)", (note,))


def _row(record: Record) -> tuple[Any, ...]:
    made = record.statement.predicate.runDetails.metadata
    size = sum(item.annotations.get("size", 0) for item in record.statement.subject)
    times = (made.startedOn, made.finishedOn)
    run = record.statement.run_id
    return (record.digest, record.stage, record.id, record.outcome, run, *times, size)


def query(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a SELECT over ``records``, ``inputs`` and ``entries``, from a fresh index."""
    with _fresh(store) as database:
        return [dict(row) for row in database.execute(sql, values)]


@contextmanager
def _fresh(store: Store) -> Iterator[sqlite3.Connection]:
    path = store.path / "index.sqlite"
    if not _fits(path, store.ledger.signed().note):
        rebuild(store)
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        yield database


def _fits(path: Path, note: str) -> bool:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("SELECT checkpoint FROM state").fetchone() == (note,)
    except sqlite3.DatabaseError:
        return False
