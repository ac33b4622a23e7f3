"""The registry (E6): what ran where and when, and the way back from it to its data.

1. A deployment is a ledger entry, signed by an operator or the owner of the use case, or, to take
   back, by a machine. What serves after it, `policy.deployment` says.
2. A start takes the place of what served; a canary serves beside it.
3. To start, a release must be registered and its gates must pass now. To stop, it must serve:
   nobody waits for a gate to take a model away.
4. The order is the ledger's. A clock that went back reorders nothing: an entry counts from the
   latest time that a deployment up to it claims, and the entry is flagged.
5. Nothing is believed of the index. Ledger lines are read under the signed root, records by their
   digest, and the signatures of what is shown are verified; what fails is an IntegrityError.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import InputError, IntegrityError
from ...policy import deployment as rules
from ...policy.deployment import Deployment, State
from ...record import clock, index, keyring, person
from ...record.digest import digest as digest_of
from ...record.digest import file_digest
from ...record.ledger import Entry, Signed, listed
from ...record.sealed import Record
from ...record.statement import SEALS
from ...record.store import Store
from .deployments import (
    KIND,
    NAMESPACE,
    Versions,
    check,
    deploy,
    read,
    signer_of,
    state,
    take_back,
)

__all__ = ["KIND", "NAMESPACE", "ancestry", "at", "deploy", "over", "state", "take_back", "touched"]

MANIFEST, PREVIOUS = "outputs/bundle/manifest.json", "previous"
STEPS = {"7": "deployment", "6": "rehearsal", "55": "release", "50": "candidate", "4": "validation",
         "3": "training", "2": "dataset", "15": "base", "1": "intake", "0": "inspection"}  # fmt: skip
"""Beginning of a stage's name -> which step of the way it is; the first that fits."""


def at(
    store: Store, environment: str, time: str | None = None, usecase: str | None = None
) -> dict[str, Any]:
    """What ran in an environment at a time (now), with the whole way back from it; plain values.

    `serving` is None when nothing served all, `canary` when nothing served a share; `history` has
    what was changed up to then. InputError for a time to come, or where several use cases ran
    there and none is named.
    """
    moment, signed = _moment(time), store.ledger.signed()
    known, versions = _of(signed, environment, usecase), keyring.versions(signed.of("keyring"))
    before = [one for one in known if clock.parse(one.time) <= moment]
    held = rules.state(before)
    check(signed, versions, [*before[-1:], *held.serving])
    ways = {one.entry: _way(store, signed, versions, one) for one in held.serving}
    return {
        "environment": environment,
        "usecase": known[0].usecase if known else usecase,
        "time": clock.text(moment),
        "serving": ways[held.stable.entry] if held.stable else None,
        "canary": ways[held.canary.entry] if held.canary else None,
        "history": [one._asdict() for one in before],
        "first": known[0].time if known else None,
        "flags": list(_flags(signed, known)),
    }


def over(
    store: Store, environment: str, start: str, end: str, usecase: str | None = None
) -> list[dict[str, Any]]:
    """What ran from `start` to `end`: intervals `from`, `to`, `deployment` and `canary` (None for
    nothing).

    They follow on each other without a gap. InputError as `at`, or when the end is not later.
    """
    first, last, signed = clock.parse(start), _moment(end), store.ledger.signed()
    if first >= last:
        raise InputError("The period ends before it begins.", given=f"{start} to {end}")
    states: list[tuple[datetime, State]] = [(first, State())]
    for one in _of(signed, environment, usecase):
        begin, held = clock.parse(one.time), rules.after(states[-1][1], one)
        if begin <= states[-1][0]:
            states.pop()
        if begin < last:
            states.append((max(begin, first), held))
    shown = [one for _, held in states for one in held.serving]
    check(signed, keyring.versions(signed.of("keyring")), shown)
    ends = [begin for begin, _ in states[1:]] + [last]
    return [
        {"from": clock.text(begin), "to": clock.text(end),
         "deployment": held.stable and held.stable._asdict(),
         "canary": held.canary and held.canary._asdict()}
        for (begin, held), end in zip(states, ends, strict=True)
    ]  # fmt: skip


def touched(store: Store, records: Iterable[str]) -> list[tuple[str, str, str]]:
    """(what, its name, what of it) of each release, and each deployment of one, whose candidate or
    own record is among these digests."""
    signed, digests = store.ledger.signed(), set(records)
    hit = [e for e in signed.of("release") if digests & {e.body["candidate"], e.body["record"]}]
    found = [("release", f"bundle {e.body['bundle'][:12]}, ledger entry {e.index}",
              "stands on these rows: withdraw it, or say why not") for e in hit]  # fmt: skip
    names, known = {entry.body["bundle"] for entry in hit}, read(signed)
    for one in known:
        if one.bundle in names and one.action not in (rules.STOP, rules.HALT):
            there = rules.state(other for other in known if other.place == one.place)
            serves = one in there.serving
            then = "serves now: stop it, or say why not" if serves else "served"
            found.append(("deployment", f"{one.environment}, ledger entry {one.entry}", then))
    return found


def _moment(time: str | None) -> datetime:
    now = clock.parse(clock.now())
    found = clock.parse(time) if time else now
    if found > now:
        raise InputError("That time is still to come.", given=time, expected="a time up to now")
    return found


def _of(signed: Signed, environment: str, usecase: str | None) -> list[Deployment]:
    there = [one for one in read(signed) if one.environment == environment]
    names = sorted({one.usecase for one in there})
    if usecase is None and len(names) > 1:
        what = "Several use cases were deployed there: name one."
        raise InputError(what, where=environment, expected=", ".join(names))
    return [one for one in there if usecase in (None, one.usecase)]


def _flags(signed: Signed, known: list[Deployment]) -> Iterator[str]:
    for line in signed.lines[known[0].entry :] if known else ():
        if b'"clock_back_s":' in line and (entry := Entry.parse(line)).clock_back_s:
            yield f"ledger entry {entry.index}: the clock went back {entry.clock_back_s:g} s"


def _way(store: Store, signed: Signed, versions: Versions, one: Deployment) -> dict[str, Any]:
    """From a deployment back: release, approvals, bundle, records."""
    entry = next((e for e in signed.of("release") if e.body["record"] == one.record), None)
    if entry is None or entry.body["bundle"] != one.bundle:
        what = "What was deployed is not a registered release."
        raise IntegrityError(what, where=f"ledger entry {one.entry}", given=one.bundle)
    wanted = {one.record, entry.body["candidate"], *([one.sealed] if one.sealed else ())}
    found, missing = ancestry(store, signed, wanted)
    candidate, ended = found.get(entry.body["candidate"]), signed.of("revocation")
    signatures = [Entry.parse(signed.lines[place]) for place in entry.body["approvals"]]
    person.check_together(held.body["envelope"] for held in signatures)
    return {
        "deployment": one._asdict(),
        "release": {"entry": entry.index, "time": entry.time, "record": one.record},
        "approvals": [_approval(versions, one, ended) for one in signatures],
        "bundle": {"sha256": one.bundle} | (_bundle(candidate, one.bundle) if candidate else {}),
        "records": sorted(map(_facts, found.values()), key=lambda one: (one["stage"], one["id"])),
        "missing": missing,
    }


def _approval(versions: Versions, entry: Entry, ended: list[Entry]) -> dict[str, Any]:
    """Who signed, as what, and whether somebody withdrew it since."""
    said, name = entry.body["envelope"]["statement"], digest_of(entry.body["envelope"])
    signer = signer_of(versions, entry, "approve@workbench")
    by = [f"{signer_of(versions, one, 'revoke@workbench').name}, {one.time}" for one in ended
          if one.body["envelope"]["statement"]["approval"] == name]  # fmt: skip
    facts = {key: said.get(key) for key in ("role", "meaning", "expires")}
    return {"entry": entry.index, "name": signer.name, "time": entry.time, "withdrawn": by} | facts


def _bundle(record: Record, digest: str) -> dict[str, Any]:
    path = record.path / MANIFEST
    if file_digest(path) != digest:
        raise IntegrityError("The bundle is not what was released.", where=path, expected=digest)
    manifest = json.loads(path.read_bytes())
    return {key: manifest.get(key) for key in ("name", "number", "parent", "made_from")}


def ancestry(store: Store, signed: Signed, wanted: set[str]) -> tuple[dict[str, Record], list[str]]:
    """The records of these digests and all that they stand on, by digest; what of it is not here.

    What a record read of the candidate before is no part of what it stands on.
    """
    found: dict[str, Record] = {}
    missing: set[str] = set()
    while wanted:
        hints = index.places(store, wanted)
        read = {one: _record(store, signed, one, hints.get(one)) for one in wanted}
        held = {one: record for one, record in read.items() if record}
        found |= held
        missing |= read.keys() - held.keys()
        wanted = {name for one in held.values() for name in _parents(_predicate(one))}
        wanted -= found.keys() | missing
    return found, sorted(missing)


def _predicate(record: Record) -> dict[str, Any]:
    """Of its statement, as plain data: the digest has vouched for the bytes."""
    return json.loads((record.path / SEALS[0]).read_bytes())["predicate"]


def _parents(predicate: dict[str, Any]) -> set[str]:
    read = predicate["buildDefinition"].get("resolvedDependencies", ())
    notes = (one.get("annotations", {}) for one in read)
    return {one["record"] for one in notes if one.get("record") and PREVIOUS not in one}


def _record(store: Store, signed: Signed, digest: str, hint: Path | None) -> Record | None:
    """The record of a digest: where the index says, else where the ledger says."""
    with suppress(IntegrityError):
        if hint and (record := Record.at(hint)).digest == digest:
            return record
    entries = [Entry.parse(line) for line in signed.lines if digest.encode() in line]
    held = listed(entry for entry in entries if entry.kind in ("record", "import"))
    place = next((place for place, facts in held.items() if facts["digest"] == digest), None)
    record = Record.at(store.path / "records" / place) if place else None
    if record and record.digest != digest:
        what = "not the record that was used"
        raise IntegrityError(what, where=record.path, expected=digest, given=record.digest)
    return record


def _facts(record: Record) -> dict[str, Any]:
    """What the way shows of a record."""
    predicate = _predicate(record)
    internal = predicate["buildDefinition"].get("internalParameters", {})
    declared, repository = internal.get("declared_environment"), internal.get("repository", {})
    verdicts = predicate.get("workbench_verdicts", ())
    return {
        "step": next((s for start, s in STEPS.items() if record.stage.startswith(start)), "other"),
        "stage": record.stage, "id": record.id, "digest": record.digest,
        "finished": predicate["runDetails"]["metadata"].get("finishedOn"),
        "commit": repository.get("commit"), "dirty": repository.get("dirty"),
        "environment": (declared or {}).get("name"),
        "environment_sha256": _named(json.dumps(internal.get("environment", {}))),
        "verdicts": {one["criterion"]: one["verdict"] for one in verdicts},
        "inputs": sorted(_parents(predicate)),
    }  # fmt: skip


@lru_cache(64)  # most records of a store were made in a few environments
def _named(environment: str) -> str:
    return digest_of(json.loads(environment))
