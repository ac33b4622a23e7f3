"""The one function by which a person classifies data; the command line and the widget call it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..policy import classes, classification, sources
from ..policy.classification import KIND, NAMESPACE, Classification
from ..policy.usecase import UseCase
from ..record import keyring, person
from ..record.store import Record, Store
from .project import USECASE_FILE, load_yaml
from .scaffold import header

HEADER = "# What the model is for. `workbench run --dry-run` says what is still missing.\n"
INSPECTION = "05_inspection"
PROPOSALS = "proposals.json"


def classify(
    root: Path,
    store: Store,
    by: str,
    assigned: Mapping[str, Mapping[str, Any]],
    rest: Mapping[str, Any] | None = None,
    *,
    sign_with: Path | None = None,
) -> Classification:
    """Enter a person's decision into the ledger of `store`, and write it into usecase.yaml.

    `assigned` maps a column to class, purpose and so on; `rest` is used for columns not named.
    With `sign_with` (an SSH key in the keyring) the decision is signed, as the governed track asks.
    InputError when a column is unknown, stays unclassified or lacks what its class asks for;
    nothing is written then.
    """
    path = root / USECASE_FILE
    config = load_yaml(path)
    columns = header(root / config["data"]["path"])
    unknown = set(assigned) - set(columns)
    if unknown:
        raise InputError("The data has no such column.", expected=", ".join(columns),
                         given=", ".join(sorted(unknown)))  # fmt: skip
    decided = _decided(config, columns, assigned, rest)
    config["data"] |= {"columns": decided, "classified_by": by}
    usecase = UseCase.parse(config, where=path)  # a wrong class is named before anything is written
    classes.check(columns, usecase.data.columns, classified_by=by)
    version = _enter(store, usecase, by, sign_with)
    if config != load_yaml(path):  # a decision that confirms what stands there leaves its comments
        body = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
        path.write_text(HEADER + body, encoding="utf-8")
    return version


def _decided(
    config: dict[str, Any],
    columns: list[str],
    assigned: Mapping[str, Mapping[str, Any]],
    rest: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Column -> declaration, in the order of the data; what was decided before stays."""
    owner, decided = config["owner"]["name"], dict(config["data"].get("columns") or {})
    for column in columns:
        if column in assigned or (rest and column not in decided):
            said = assigned.get(column) or rest or {}
            kept = {k: v for k, v in decided.get(column, {}).items() if k in ("purpose", "owner")}
            stated = {"purpose": "stated when it was classified", "owner": owner}
            decided[column] = stated | kept | dict(said)
    return {column: decided[column] for column in columns if column in decided}


def _enter(store: Store, usecase: UseCase, by: str, sign_with: Path | None) -> Classification:
    before = in_force(store, usecase)
    version = classification.following(
        before, usecase.id, usecase.data.path, usecase.data.columns, by
    )
    if sign_with is None:
        store.ledger.append(KIND, {"statement": version.data()})
        return version
    envelope = person.sign_as(by, version.data(), NAMESPACE, sign_with, store.keyring())
    store.ledger.append(KIND, {"envelope": envelope})
    return version.model_copy(update={"signed": True})


def in_force(store: Store, usecase: UseCase) -> Classification | None:
    """The last version that the ledger holds for the use case's data, if there is one.

    IntegrityError when a signature does not count by the keyring of its time.
    """
    entries = store.ledger.entries(KIND)
    signed = [entry for entry in entries if "envelope" in entry.body]
    versions = keyring.versions(store.ledger.entries("keyring")) if signed else []
    for entry in signed:
        keyring.signer(versions, entry, NAMESPACE)
    bodies = [entry.body for entry in entries]
    found = classification.history(bodies, usecase.id, usecase.data.path)
    return found[-1] if found else None


def findings(store: Store, usecase: UseCase) -> list[str]:
    """What stands between the data and its use, as far as the declaration tells; see `classes`."""
    data, version = usecase.data, in_force(store, usecase)
    found = classes.problems(data.columns, data.columns)
    if not data.columns:
        found.append("no column is classified")
    if not data.classified_by:
        found.append("data.classified_by: no person has confirmed the classification")
    found += classification.departures(version, data.columns)
    if store.track == "governed":
        if data.columns and not (version and version.signed):
            found.append("no signed classification is in force: workbench classify --sign-with KEY")
        told = {one.id for one in data.sources} if data.source else ()  # rows are checked when read
        found += sources.problems(data.sources, told, data.classes)
    return found


def proposals_of(record: Record) -> list[dict[str, Any]]:
    """What an inspection proposed: column, class, what was found, why."""
    return json.loads(record.file(f"outputs/{PROPOSALS}").read_text(encoding="utf-8"))


def proposed(record: Record, duties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Column -> declaration as the inspection proposes it, with the duties that a person states."""
    return {
        one["column"]: {"class": one["data_class"]} | _owed(one["data_class"], duties)
        for one in proposals_of(record)
    }


def _owed(data_class: str, duties: Mapping[str, Any]) -> dict[str, Any]:
    """Of the stated duties those that the class asks for, so that a city gets no legal basis."""
    asked = {"purpose", *classes.DUTIES.get(classes.DataClass(data_class), ())}
    return {name: value for name, value in duties.items() if name in asked}
