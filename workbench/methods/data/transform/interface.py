"""What a transformation is, and `run`: steps in order, and no row changes hands without lineage.

A transformation says what it did to which row; `run` doesn't take its word. It digests every row
before and after, and refuses a step whose account differs from what happened.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from ....errors import InputError
from ....policy.classes import Column
from ....policy.documents import Document
from ....policy.usecase import Step
from ....record.digest import file_digest
from ..lineage import begin, extend

MARK = "synthetic"
"""Column that is True for created rows; no part of what a row's digest covers."""
SHOWN = 5  # rows that a refusal names


@dataclass(frozen=True)
class Context:
    """What a transformation may know beside the rows."""

    text: str
    """Column with the message."""
    label: str
    """Column with the class."""
    group: str | None
    """Column whose equal values belong together."""
    time: str | None
    """Column with the time of the row."""
    columns: Mapping[str, Column]
    """How each column is classified."""
    key: bytes
    """Secret of this snapshot, for keyed digests and pseudonyms."""
    seed: int
    """Where chance begins."""
    read: Callable[[str], Path]
    """The path of a file of the use case that the stage was given."""
    split: str | None = None
    """Column that already says which set a row is for."""
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None
    """Told (what, done, total) now and then during long work."""

    def digest(self, use: str, data: str) -> str:
        """HMAC-SHA256 under the snapshot's key; `use` keeps digests of two uses apart."""
        message = f"{use}\0{data}".encode("utf-8", "surrogatepass")
        return hmac.digest(self.key, message, "sha256").hex()


@dataclass(frozen=True)
class Result:
    """What a transformation made, and its account of every row that left, changed or was made."""

    table: pd.DataFrame
    changes: pd.DataFrame
    """As `lineage.changes` makes it: row_id, outcome (changed, removed, created), detail, other."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    """File name -> per-case table that its acceptance is computed from."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts for the manifest; never a value of a row."""


@dataclass(frozen=True)
class Transformation:
    """A named, versioned function over the rows; a module exports it as `TRANSFORMATION`."""

    name: str
    """As a step's `use` says it: the name of the module."""
    version: str
    """Changes whenever the code does; the manifest holds both."""
    arguments: type[Document]
    """The document that a step's arguments must fit."""
    apply: Callable[[pd.DataFrame, Any, Context], Result]
    """(rows, checked arguments, context) -> result."""


@dataclass(frozen=True)
class Applied:
    """All steps done."""

    table: pd.DataFrame
    lineage: pd.DataFrame
    manifest: list[dict[str, Any]]
    """One entry a step."""
    tables: dict[str, pd.DataFrame]
    """Per-case tables by file name, each with the `step` that a row is of."""


def run(table: pd.DataFrame, steps: Sequence[Step], context: Context) -> Applied:
    """Every step in order over the rows (with `row_id`).

    InputError when a step's arguments do not fit, or when rows left, came, came twice or changed
    without its saying so, or it says what did not happen.
    """
    table = table.reset_index(drop=True)
    lineage, manifest, tables = begin(table), [], {}
    before = row_digests(table, context)
    for number, step in enumerate(steps, start=1):
        context.on_progress(step.use, number - 1, len(steps))
        where = f"usecase.yaml: data.steps, step {number} ({step.use})"
        found, code = load(step.use)
        done = found.apply(table.copy(), found.arguments.parse(step.arguments, where), context)
        after = row_digests(done.table, context)
        account = {"step": number, "version": found.version, "code_sha256": code}
        manifest.append(step.model_dump() | account | _counted(before, after, done, context))
        extended = extend(lineage, done.changes, number, step.use, found.version)
        _check(before, after, done, extended, where, (context.text, context.label))
        table, before, lineage = done.table.reset_index(drop=True), after, extended
        for name, rows in done.tables.items():
            tables.setdefault(name, []).append(rows.assign(step=number))
    whole = {name: pd.concat(parts, ignore_index=True) for name, parts in tables.items()}
    return Applied(table, lineage, manifest, whole)


def load(use: str) -> tuple[Transformation, str]:
    """The transformation of that name and its code's SHA-256: a shipped one, else the use case's."""
    for name in (f"{__package__}.{use}", use):
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        found = getattr(module, "TRANSFORMATION", None)
        # The digest of one file would not cover the code of a folder.
        if isinstance(found, Transformation) and not hasattr(module, "__path__"):
            return found, file_digest(Path(module.__file__).resolve())
    expected = f"a shipped one, or a file steps/{use}.py with TRANSFORMATION = Transformation(…)"
    raise InputError("There is no such transformation.", expected=expected, given=use)


def row_digests(table: pd.DataFrame, context: Context) -> dict[str, str]:
    """row_id -> keyed digest of its values by column name, in the order of the rows.

    Equal numbers are equal however pandas keeps them, and missing is missing; InputError when a
    row's id stands there twice.
    """
    if not table["row_id"].is_unique:
        raise InputError("Rows have the same id, so none can be traced.", where="column `row_id`")
    names = sorted(set(table.columns) - {"row_id", MARK}, key=str)
    found = {}
    for row_id, *values in zip(*(_plain(table[name]) for name in ["row_id", *names]), strict=True):
        held = {n: v for n, v in zip(names, values, strict=True) if v is not None}
        found[str(row_id)] = context.digest("row", json.dumps(held, default=str, sort_keys=True))
    return found


def _plain(column: pd.Series) -> list[Any]:
    values = column.astype(object).where(column.notna(), None).tolist()
    return [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]


def _counted(
    before: Mapping[str, str], after: Mapping[str, str], done: Result, context: Context
) -> dict[str, Any]:
    said = done.changes
    reasons = said.loc[said["outcome"] == "removed", "detail"].value_counts().sort_index()
    return {
        "rows_in": len(before),
        "rows_out": len(after),
        "changed": int((said["outcome"] == "changed").sum()),
        "created": int((said["outcome"] == "created").sum()),
        "removed": {reason: int(n) for reason, n in reasons.items()},
        "hmac_sha256_in": context.digest("table", json.dumps(before)),
        "hmac_sha256_out": context.digest("table", json.dumps(after)),
        "facts": done.facts,
    }


def _check(
    before: Mapping[str, str], after: Mapping[str, str], done: Result, lineage: pd.DataFrame,
    where: str, needed: Sequence[str],
) -> None:  # fmt: skip
    """Compare what a step says of each row with what became of it."""
    happened = dict.fromkeys(before.keys() - after.keys(), "removed")
    happened |= dict.fromkeys(after.keys() - before.keys(), "created")
    both = before.keys() & after.keys()
    happened |= {row_id: "changed" for row_id in both if before[row_id] != after[row_id]}
    rows = done.changes.to_dict("records")
    said = {row["row_id"]: row["outcome"] for row in rows}
    faults = {
        n: f"{happened.get(n, 'unchanged')}; the step says {said.get(n, 'nothing')}"
        for n in happened.keys() | said.keys()
        if happened.get(n) != said.get(n)
    }
    faults |= {row["row_id"]: "no reason is given" for row in rows if not row["detail"].strip()}
    odd = [r["row_id"] for r in rows if r["outcome"] == "created" and r["other"] not in before]
    faults |= dict.fromkeys(odd, "made from no row that there was")
    faults |= dict.fromkeys(done.changes["row_id"][done.changes["row_id"].duplicated()], "twice")
    made = set(lineage.loc[lineage["outcome"] == "created", "row_id"]) & after.keys()
    marked = set(done.table.loc[done.table[MARK].eq(True), "row_id"]) if MARK in done.table else ()
    faults |= dict.fromkeys(made.symmetric_difference(marked), f"its mark `{MARK}` is wrong")
    faults |= {f"column {name}": "it left" for name in needed if name not in done.table}
    if faults:
        shown = sorted(faults)[:SHOWN]
        raise InputError(
            f"A step's account of its rows is not what happened, in {len(faults)} places.",
            where=f"{where}: {', '.join(shown)}",
            expected="every row that left, changed or was made, once, with outcome and reason",
            given=f"{shown[0]}: {faults[shown[0]]}",
            next_step="Make the step name it in `changes`: a row without lineage proves nothing.",
        )
