"""A SQLite index of records and ledger, for looking things up fast. Only a cache.

It carries the checkpoint that it was made at. Where the ledger has grown since, the new entries
are added; where the ledger is no longer an extension of that checkpoint, or the file is damaged,
the index is made afresh. Deleting it does no harm, and nothing is decided on what it says: whoever
is told a place by it reads the ledger's line or the record itself, and checks the digest.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError
from workbench.record import merkle
from workbench.record.ledger import Entry, Signed, listed
from workbench.record.merkle import Checkpoint
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
    _path(store).unlink(missing_ok=True)
    return _extend(store, store.ledger.signed())


def query(store: Store, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a SELECT over ``records``, ``inputs`` and ``entries``, brought up to date before."""
    if _note(store) != (store.path / "ledger" / "checkpoint").read_text(encoding="utf-8"):
        _refresh(store)
    return _select(store, sql, *values)


def places(store: Store, digests: set[str]) -> dict[str, Path]:
    """Digest -> folder of the records of these digests; of one that is not here, nothing.

    The folder is a hint: `Record.at` gives the digest of what lies there.
    """
    marks = ",".join("?" * len(digests))
    sql = f"SELECT digest, stage, id FROM records WHERE digest IN ({marks})"
    root = store.path / "records"
    return {r["digest"]: root / r["stage"] / r["id"] for r in query(store, sql, *sorted(digests))}


def _refresh(store: Store) -> None:
    note, signed = _note(store), store.ledger.signed()
    with suppress(WorkbenchError):
        old = Checkpoint.parse(merkle.parse_note(note)[0])
        if old.size <= len(signed.leaves) and merkle.root(signed.leaves[: old.size]) == old.root:
            with suppress(sqlite3.DatabaseError):
                _extend(store, signed, old.size)
                return
    rebuild(store)


def _extend(store: Store, signed: Signed, start: int | None = None) -> Path:
    """Add the entries from `start` on and their records in one transaction; None: a new file."""
    path, entries = _path(store), [Entry.parse(line) for line in signed.lines[start or 0 :]]
    with closing(sqlite3.connect(path)) as database, database:
        if start is None:
            database.executescript(_SCHEMA)
        records = list(_records(store, entries))
        _insert(database, "records", [_record(record) for record in records])
        _insert(database, "inputs", [row for record in records for row in _inputs(record)])
        rows = [(e.index, e.kind, e.time, json.dumps(e.body)) for e in entries]
        _insert(database, "entries", rows)
        database.execute("DELETE FROM state")
        _insert(database, "state", [(signed.note,)])
    return path


def _insert(database: sqlite3.Connection, table: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        marks = ",".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _records(store: Store, entries: list[Entry]) -> Iterator[Record]:
    """What the entries list and the disk holds; of what is missing `verify` speaks."""
    for place in listed(entries):
        if (path := store.path / "records" / place).is_dir():
            yield Record.at(path)


def _note(store: Store) -> str:
    """The checkpoint that the index was made at; empty where there is no sound index."""
    with suppress(sqlite3.DatabaseError):
        return "".join(row["checkpoint"] for row in _select(store, "SELECT checkpoint FROM state"))
    return ""


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
