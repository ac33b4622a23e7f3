"""Register a release: the standing gates are judged, stage 55 shows why, and the ledger says so."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import GateNotPassed, WaitingForPerson
from ...policy.gates import GateResult, GateVerdict
from ...policy.release import STAGE, Evidence, fresh, judge, owed, weighed
from ...policy.tracks import Missing
from ...record.digest import canonical
from ...record.store import Record, Store
from ..bundle import Candidate
from ..operate import sealing
from ..pipeline import alone
from ..project import Project
from . import request, standing

KIND = "release"
STANDING, SOURCE = "standing.json", "ledger:release"
"""What the engine collected: a sealed output, and an input of the notebook."""


@dataclass(frozen=True)
class Release:
    """A release as the ledger has it: digests, and the entry that registered it."""

    bundle: str
    candidate: str
    record: str
    entry: int
    time: str
    usecase: str
    approvals: tuple[int, ...]
    """Ledger entries of the signatures that counted."""


def releases(store: Store, usecase: str | None = None) -> list[Release]:
    """All that were registered in a store, in order. Whether one still stands, the gates say."""
    names = ("bundle", "candidate", "record")
    return [
        Release(*(one.body[name] for name in names), one.index, one.time, one.body["usecase"],
                tuple(one.body["approvals"]))
        for one in store.ledger.entries(KIND)
        if usecase in (None, one.body["usecase"])
    ]  # fmt: skip


def check(evidence: Evidence, where: str) -> list[GateResult]:
    """The verdicts, when every gate passed. GateNotPassed where one failed; WaitingForPerson names
    who still owes something."""
    results = judge(evidence)
    bad = [one for one in results if one.verdict != GateVerdict.PASSED]
    waits = GateVerdict.INSUFFICIENT_EVIDENCE
    told = "; ".join(f"{one.criterion} {one.verdict}: {one.reason}" for one in bad)
    if any(one.verdict != waits for one in bad):
        raise GateNotPassed("It can't be released.", where=where, given=told,
                            next_step="workbench release status")  # fmt: skip
    if bad:
        raise waiting(owed(evidence), where)
    return results


def waiting(missing: list[Missing], where: str) -> WaitingForPerson:
    names = ", ".join(dict.fromkeys(one.who for one in missing))
    return WaitingForPerson(f"It can't be released yet; it waits for {names}.", where=where,
                            given="\n            ".join(map(str, missing)))  # fmt: skip


def register(
    project: Project, store: Store, ref: str | None = None, now: str | None = None
) -> Release:
    """Run stage 55 on a candidate whose gates pass, and enter the release; the same signatures
    are registered once.

    GateNotPassed, WaitingForPerson or InputError before a kernel starts.
    """
    candidate = request.find(project, store, ref)
    request.facts(project, store, candidate)  # every record under it verifies
    evidence = standing.collect(project, store, candidate, now)
    check(evidence, candidate.record.ref)
    counted = tuple(one.entry for one, why in weighed(fresh(evidence)) if not why)
    for one in releases(store, project.usecase.id):
        if (one.bundle, one.approvals) == (candidate.digest, counted):
            return one
    with alone(store, project.usecase.id):
        record = _run(project, store, candidate, evidence)
    with store.making():  # a signature may have been revoked while the notebook ran
        check(standing.collect(project, store, candidate, now), candidate.record.ref)
        body = {"bundle": candidate.digest, "candidate": candidate.record.digest,
                "record": record.digest, "usecase": candidate.usecase}  # fmt: skip
        entry = store.ledger.append(KIND, body | {"approvals": list(counted)})
    return next(one for one in releases(store) if one.entry == entry.index)


def _run(
    project: Project, store: Store, candidate: Candidate, evidence: Evidence
) -> Record:  # fmt: skip
    """Stage 55 over what the engine collected; the verdicts are the engine's, from that alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, STANDING)
        path.write_bytes(canonical(evidence.as_dict()))
        collected = {path.stem: (path, SOURCE)}
        return sealing.seal(project, store, STAGE, collected, candidate, lambda _: judge(evidence),
                            {STANDING: path})  # fmt: skip
