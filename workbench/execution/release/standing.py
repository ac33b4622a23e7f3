"""What the standing gates of a release rest on, collected outside the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ...errors import IntegrityError
from ...policy import duties
from ...policy.duties import Touch
from ...policy.findings import blocking
from ...policy.release import Evidence, fresh_until
from ...policy.tracks import Missing
from ...record import clock
from ...record.lineage import Graph
from ...record.store import Record, Store
from .. import bundle, replay
from ..bundle import Candidate
from ..facts import Sealed
from ..operate import incidents
from ..preflight import ADAPT, TRAINING
from ..project import Project
from . import acceptances, findings, signatures, touches

PLAN = f"{bundle.FOLDER}/plan.json"


def collect(
    project: Project, store: Store, candidate: Candidate, now: str | None = None
) -> Evidence:
    """The evidence on a candidate as it stands at `now`.

    InputError when nothing validated it; IntegrityError when the ledger, or what it reads of the
    candidate, does not verify.
    """
    now, lineage = now or clock.now(), bundle.lineage(store, candidate)
    record, trained = candidate.record, candidate.records.get(ADAPT)
    if Record.at(record.path).digest != record.digest:
        raise IntegrityError("The candidate's statement was changed.", where=record.path)
    plan = SimpleNamespace(**Sealed({bundle.STAGE: record}).json(bundle.STAGE, PLAN))
    adapter = next((one for one in lineage if one.digest == trained), None)
    validated = finished(candidate, adapter, lineage)
    touched, unidentified = touches.touches(project, store, candidate)
    accepted, unaccepted = _acceptances(store, candidate, touched, plan, now)
    return Evidence(
        plan=plan,
        subject=subject(store, candidate, lineage)
        | {"expires": fresh_until(validated.values(), plan.evidence_expiry_days)},
        now=now,
        approvals=signatures.of(store),
        holders=holders(store, now),
        touches=touched,
        unidentified=unidentified,
        findings=_findings(store, candidate, touched, plan),
        accepted=accepted,
        unaccepted=unaccepted,
        validated=validated,
        adapter=adapter.ref if adapter else "",
        replays=list(replays(store, adapter)) if adapter else [],
        incidents=incidents.concerning(store, candidate),
    )


def subject(store: Store, candidate: Candidate, lineage: Sequence[Record]) -> dict[str, Any]:
    """What an approval names: the bundle, every record under it, the lock and the criteria."""
    decided = set(candidate.records.values())  # not what a candidate before it stood on
    held = {
        entry.kind: entry.body["sha256"]
        for entry in store.ledger.entries()
        if entry.kind in ("evaluation-lock", "criteria") and entry.body.get("record") in decided
    }
    return {
        "usecase": candidate.usecase,
        "bundle": candidate.digest,
        "candidate": candidate.record.digest,
        "records": sorted(one.digest for one in lineage),
        "lock": held.get("evaluation-lock"),
        "policy": held.get("criteria"),
    }


def finished(
    candidate: Candidate, adapter: Record | None, lineage: Sequence[Record]
) -> dict[str, str]:
    """Each record that examined the adapter, by name -> when it was finished."""
    later = Graph(lineage).descendants(adapter.digest) if adapter else set()
    return {
        one.ref: one.statement.predicate.runDetails.metadata.finishedOn
        for one in lineage
        if one.digest in later - {candidate.record.digest}
    }


def _findings(
    store: Store, candidate: Candidate, touched: Sequence[Touch], plan: Any
) -> list[Missing]:
    """The findings of the use case that block, each with who is to answer."""
    found, _ = findings.read(store, candidate.usecase)
    return [
        Missing(str(one), one.raised.owner, f"workbench finding answer {one.id}")
        for one in blocking(found, touched, plan)
    ]


def _acceptances(
    store: Store, candidate: Candidate, touched: Sequence[Touch], plan: Any, now: str
) -> tuple[list[str], list[Missing]]:  # fmt: skip
    """Of the acceptances under which the candidate was frozen those that hold, in words, and what
    of the others somebody owes."""
    live = acceptances.in_force(store, candidate.usecase, now)
    held = {(one["record"], one["gate"]): one for one in live}
    accepted, missing = [], []
    for was in acceptances.used(candidate.record):
        one = held.get((was["record"], was["gate"]))
        told = f"{was['gate']}, accepted by {was['by']} until {was['expires']}"
        barred = duties.conflicts(touched, one["by"], "waive", plan) if one else []
        if one and not barred:
            accepted.append(f"{was['gate']}, accepted by {one['by']} until {one['expires']}")
            continue
        why = f"{one['by']} touched it: {'; '.join(map(str, barred))}" if one else "holds no more"
        how = f"workbench accept risk {was['gate']} --record {was['record'][:12]}"
        missing.append(Missing(f"{told}: {why}", "risk manager", how))
    return accepted, missing


def holders(store: Store, now: str) -> dict[str, list[str]]:
    """Role -> names of those who hold it, with a key that is in force."""
    found: dict[str, list[str]] = {}
    for person in store.keyring().persons:
        if any(not key.refusal(clock.parse(now), signatures.NAMESPACE) for key in person.keys):
            for role in person.roles:
                found.setdefault(role, []).append(person.name)
    return found


def replays(store: Store, adapter: Record) -> Iterator[Mapping[str, Any]]:
    """What certificates in this store say of an adapter's record, each with the environments that
    it is declared to have been in, other than the one that it was trained in."""
    known = store.listed()
    for sealed in store.records(replay.STAGE):
        if sealed.digest in known and sealed.statement.parameters.get("record") == adapter.digest:
            found = Sealed({sealed.stage: sealed}).json(sealed.stage, replay.CERTIFICATE)
            places = [n for n, odd in found["declared"].items() if n != TRAINING and not odd]
            yield {"ref": sealed.ref, "grade": found["grade"], "environments": places}
