"""Causes that experts gave for failures, in the ledger: signed where the track asks for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError, IntegrityError, WorkbenchError
from ..policy import causes
from ..record import keyring, person
from ..record.store import Record, Store
from .stages import Stage

KIND, NAMESPACE = "cause", "cause@workbench"
Said = dict[str, Any]


def enter(
    store: Store, record: Record, case: str, cause: str, by: str, why: str, sign_with: Path | None
) -> list[Said]:
    """Enter a person's cause for a case of a record, once for each gate that it failed.

    InputError for a case that did not fail, a reason that speaks of a person, no signature where
    the track asks for one; IntegrityError for a key that is not in the keyring.
    """
    verdicts = record.statement.predicate.workbench_verdicts
    gates = [gate for gate, failed in causes.owed(verdicts) if failed == case] or [""]
    said = [{"record": record.digest, "gate": gate, "case": case, "cause": cause, "by": by,
             "why": why} for gate in gates]  # fmt: skip
    for one in said:
        causes.check(one, verdicts)
    if store.track == "governed" and not sign_with:
        raise InputError("On the governed track a cause is signed.", next_step="--sign-with KEY")
    for one in said:
        body = {"statement": one}
        if sign_with:
            body = {"envelope": person.sign_as(by, one, NAMESPACE, sign_with, store.keyring())}
        store.ledger.append(KIND, body)
    return said


def of(store: Store, records: Collection[str]) -> list[Said]:
    """What was said of the records with these digests, in order.

    IntegrityError names the ledger entry that does not count: of no failure there is, not signed
    where the track asks for it, or by another than it names.
    """
    known = {one.digest: one for one in store.records() if one.digest in records}
    versions, found = keyring.versions(store.ledger.entries("keyring")), []
    for entry in store.ledger.entries(KIND):
        said = entry.body.get("envelope", entry.body).get("statement", {})
        if said.get("record") not in known:
            continue
        try:
            if "envelope" in entry.body or store.track == "governed":
                signer = keyring.signer(versions, entry, NAMESPACE).name
                if signer != said["by"]:
                    raise IntegrityError("by another", expected=said["by"], given=signer)
            causes.check(said, known[said["record"]].statement.predicate.workbench_verdicts)
        except WorkbenchError as error:
            raise IntegrityError(
                f"A cause does not count: {error.what}", where=f"ledger entry {entry.index}",
                expected=error.expected, given=error.given,
                next_step="Find out who entered it.",
            ) from error  # fmt: skip
        found.append(said)
    return found


def told(stage: Stage, store: Store, records: Iterable[Record]) -> dict[str, list[Said]]:
    """For a stage that declares `causes`: what was said of the records before it, else nothing."""
    if not stage.facts.get("causes"):
        return {}
    return {"causes": of(store, {record.digest for record in records})}


def explained(store: Store, record: Record) -> dict[tuple[str, str], Said | None]:
    """Gate and case of each blocking failure of a record -> the last that was said of it."""
    said = {(one["gate"], one["case"]): one for one in of(store, {record.digest})}
    owed = causes.owed(record.statement.predicate.workbench_verdicts)
    return {place: said.get(place) for place in owed}
