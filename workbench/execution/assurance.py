"""The evidence of an assurance case, collected from a candidate's records and the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from ..errors import InputError, WorkbenchError
from ..policy import assurance, release
from ..policy.assurance import Claim, Piece
from ..policy.gates import GateVerdict
from ..policy.usecase import UseCase
from ..record import clock, keyring
from ..record.ledger import Entry
from ..record.store import Record, Store
from ..record.verify import verify_record
from . import bundle
from .bundle import Candidate
from .project import Project
from .release import acceptances, standing
from .stages import stages_for

RELEASE = "55_release"


def case(
    project: Project, store: Store, candidate: Candidate, regimes: Iterable[str] | None = None,
    now: str | None = None,
) -> list[Claim]:  # fmt: skip
    """The claims about a candidate and their colours, by what is in the store and the clock `now`.

    IntegrityError when the ledger does not verify, or holds an entry that nobody signed as it says.
    """
    now = clock.text(clock.parse(now or clock.now()))
    plan = candidate.read("plan.json")
    usecase = UseCase.parse(candidate.read("usecase.json"), candidate.record.ref)
    accepted = {
        (one["record"], one["gate"]) for one in acceptances.in_force(store, usecase.id, now)
    }
    pieces = [*_of_records(project, store, candidate, plan["evidence_expiry_days"], accepted),
              *_of_bundle(candidate), *_of_ledger(store, candidate),
              *_of_release(project, store, candidate, now)]  # fmt: skip
    return assurance.claims(usecase, plan["layers"], pieces, now, regimes)


def _of_records(
    project: Project, store: Store, candidate: Candidate, days: int,
    accepted: Collection[tuple[str, str]],
) -> Iterator[Piece]:  # fmt: skip
    """Each stage's record that the candidate was decided from, and the verdicts sealed in it."""
    layer_of = {s.name: s.facts.get("layer") for s in stages_for(project.root, project.usecase)}
    held = {record.digest: record for record in store.records()} | {
        candidate.record.digest: candidate.record
    }
    own = {candidate.record.stage: candidate.record.digest}
    for stage, digest in (candidate.records | own | _released(store, candidate)).items():
        record = held.get(digest)
        problems = verify_record(record, store.public_keys) if record else ["it was removed"]
        if problems:
            said = f"the record does not verify: {problems[0]}"
            yield Piece(f"stage:{stage}", False, said, digest=digest)
            continue
        told = {"where": record.ref, "digest": digest, "since": _finished(record)}
        yield Piece(f"stage:{stage}", record.outcome == "succeeded", record.outcome, **told)
        for verdict in record.statement.predicate.workbench_verdicts:
            passed = (digest, verdict["criterion"]) in accepted
            yield from _of_verdict(verdict, layer_of.get(stage), days, passed, told)


def _of_verdict(
    verdict: dict[str, Any], layer: str | None, days: int, accepted: bool, told: dict[str, str]
) -> Iterator[Piece]:
    """A verdict is evidence of its own gate; one that blocks, of its layer too, which expires."""
    if not verdict["blocking"]:
        return
    facts = {"holds": verdict["verdict"] == GateVerdict.PASSED, "accepted": accepted} | told
    said = f"{verdict['criterion']} {verdict['verdict']}: {verdict['reason']}"
    yield Piece(f"gate:{verdict['criterion']}", said=said, **facts)
    if layer:
        until = release.fresh_until([told["since"]], days)
        yield Piece(f"layer:{layer}", said=said, expires=until, **facts)


def _of_bundle(candidate: Candidate) -> Iterator[Piece]:
    """Each file that is as the manifest says; one that is not is no evidence."""
    wrong = {problem.where: problem.what for problem in bundle.check(candidate.folder)}
    told = {"where": candidate.record.ref}
    for one in candidate.manifest["files"]:
        path, said = one["path"], wrong.get(one["path"])
        yield Piece(f"bundle:{path}", not said, said or path, digest=one["sha256"], **told)
    for name, value in candidate.read("plan.json").items():
        yield Piece(f"plan:{name}", "plan.json" not in wrong, str(value)[:80], **told)


def _of_ledger(store: Store, candidate: Candidate) -> Iterator[Piece]:
    """Of each kind the newest entry that speaks of the candidate, its use case or its records."""
    entries = store.ledger.entries()
    versions = keyring.versions(entry for entry in entries if entry.kind == "keyring")
    known = {candidate.usecase, candidate.digest, candidate.record.digest}
    for record in bundle.lineage(store, candidate):
        known |= {record.digest, record.statement.run_id}
    newest = {e.kind: e for e in entries if e.kind == "keyring" or known & set(_texts(e.body))}
    for kind, entry in newest.items():
        said, why = f"ledger entry {entry.index}", _forged(entry, versions)
        yield Piece(f"ledger:{kind}", not why, why or said, said, entry.hash, entry.time)


def _forged(entry: Entry, versions: list[tuple[int, keyring.Keyring]]) -> str:
    """Why the signature under an entry does not count; "" where it does, or none is needed."""
    sealed = entry.body.get("envelope")
    if not sealed or entry.kind == "keyring":  # whose signatures `versions` has checked
        return ""
    try:
        keyring.signer(versions, entry, str(sealed.get("namespace")))
    except WorkbenchError as error:
        return error.what
    return ""


def _of_release(project: Project, store: Store, candidate: Candidate, now: str) -> Iterator[Piece]:
    """The standing gates of a release, judged at `now`; none holds where nothing validated it."""
    try:
        evidence = standing.collect(project, store, candidate, now)
    except InputError as error:
        yield from (Piece(f"gate:{name}", False, error.what) for name in release.GATES)
        return
    counted = [one.expires for one, why in release.weighed(evidence) if not why]
    fresh = release.fresh_until(evidence.validated.values(), evidence.plan.evidence_expiry_days)
    expires = {"approvals": min(counted, default=""), "evidence_fresh": fresh}
    for result in release.judge(evidence):
        name, passed = result.criterion, result.verdict == GateVerdict.PASSED
        risky = name == "acceptances" and passed and bool(evidence.accepted)
        yield Piece(f"gate:{name}", passed, f"{result.verdict}: {result.reason}",
                    expires=expires.get(name, ""), accepted=risky)  # fmt: skip


def _released(store: Store, candidate: Candidate) -> dict[str, str]:
    """The record of the release that was registered last, where there is one."""
    bodies = [entry.body for entry in store.ledger.entries("release")]
    found = [one["record"] for one in bodies if one["candidate"] == candidate.record.digest]
    return {RELEASE: found[-1]} if found else {}


def _finished(record: Record) -> str:
    return record.statement.predicate.runDetails.metadata.finishedOn or ""


def _texts(body: Any) -> Collection[str]:
    """Every text in plain JSON data, but for names of fields."""
    if isinstance(body, str):
        return {body}
    parts = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return {text for part in parts for text in _texts(part)}
