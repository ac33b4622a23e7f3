"""What stands between a release and traffic, collected and judged before its entry is signed (E5).

Everywhere: it is registered and its standing gates pass now. Where `operations.yaml` names the
environment also: the window is open, a rehearsal of this bundle passed, parity holds, it begins as
a canary, and the canary has shown what was fixed beforehand. That is sealed as 70_deploy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import GateNotPassed, InputError, IntegrityError, WorkbenchError
from ...policy import deployment as rules
from ...policy import parity, runbook
from ...policy.deployment import Deployment, State
from ...policy.environment import Environment
from ...policy.gates import GateResult, GateVerdict
from ...policy.operations import STAGES, Operations
from ...policy.operations import Deployment as Asked
from ...policy.release import judge, since
from ...record import clock, decisions, person
from ...record.digest import canonical
from ...record.store import Record, Store
from ...record.verify import verify_record
from .. import bundle
from ..bundle import Candidate
from ..environment import declared
from ..facts import Sealed
from ..project import Project, load_yaml
from ..release import register, standing
from ..release.deployments import state
from . import observe, places, sealing

REHEARSAL, SOURCE, RULES = STAGES["rehearsal"], "ledger:deployment", "environments/parity.yaml"
SERVED, PLAN = "served.parquet", "deployment.json"


def faults(
    project: Project, store: Store, one: Deployment, held: State, now: str | None = None
) -> Iterator[str]:
    """Why a release may not answer now: it is not registered, a standing gate does not pass, or a
    key that it rests on is revoked; a register shows such a signature, a server does not heed it."""
    lost = {person.bare(key.public) for someone in store.keyring().persons for key in someone.keys
            if key.revoked}  # fmt: skip
    entry = store.ledger.entries()[one.entry].body if one.entry >= 0 else {}
    if entry.get("envelope", {}).get("public_key") in lost:
        yield f"the key that {one.by} deployed it with is revoked"
    known = [r for r in register.releases(store, one.usecase) if r.bundle == one.bundle]
    if one.record not in {r.record for r in known}:
        yield "the release is not registered"
        return
    candidate = bundle.find(store, one.bundle, one.usecase)
    evidence = standing.collect(project, store, candidate, now)
    for gate in judge(since(evidence, held.taken_back.get(one.bundle), lost)):
        if gate.criterion == "incidents" and one in held.serving:
            continue  # who reports an incident does not by that take away what serves
        if gate.verdict != GateVerdict.PASSED:
            yield f"{gate.criterion}: {gate.reason}"


def stands(project: Project, store: Store, one: Deployment, held: State) -> bool:
    """May a release answer now?"""
    try:
        return not list(faults(project, store, one, held))
    except WorkbenchError:
        return False


def shown(
    project: Project, store: Store, candidate: Candidate, environment: str, held: State,
    said: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """What the entry of a start, a canary or a promotion names: the `record` of its release, and
    `sealed`, that of 70_deploy, where the environment asks for one.

    GateNotPassed names what stands against it; nothing is sealed then.
    """
    release = _registered(project, store, candidate, environment, held)
    operations = project.operations
    asked = operations.deployments.get(environment) if operations else None
    if operations is None or asked is None:
        return {"record": release}
    now = clock.now()
    if asked.window and (opens := rules.opens(asked.window, now)) > clock.parse(now):
        raise GateNotPassed("What serves there may not be changed now.", where=environment,
                            given=now, expected=f"from {opens:%a %Y-%m-%d %H:%M} {asked.window.zone}",
                            next_step="workbench deploy --action roll_back needs no window")  # fmt: skip
    share = said.get("share")
    if asked.canary and (said["action"] == rules.START or (share or 0) > asked.canary.share):
        raise GateNotPassed("It begins as a canary there.", where=environment,
                            expected=f"--action canary, of {asked.canary.share:.0%} at most")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        return {"record": release} | _seal(
            project, store, candidate, environment, held, said, asked, operations, Path(folder)
        )


def _registered(
    project: Project, store: Store, candidate: Candidate, environment: str, held: State
) -> str:
    """Digest of the registered release's record. GateNotPassed where there is none, or a gate
    does not pass now: evidence expires, and people revoke."""
    known = [r for r in register.releases(store, candidate.usecase) if r.bundle == candidate.digest]
    record = known[-1].record if known else ""
    one = Deployment(-1, clock.now(), candidate.usecase, environment, candidate.digest, record,
                     rules.START, "")  # fmt: skip
    if bad := list(faults(project, store, one, held)):
        what = "Gates of the release do not pass now." if known else "It may not serve."
        if taken := held.taken_back.get(candidate.digest):
            bad.append(f"it was taken back by ledger entry {taken}, only later approvals count")
        raise GateNotPassed(what, where=f"bundle {candidate.digest[:12]}", given="; ".join(bad),
                            next_step="workbench release status")  # fmt: skip
    return record


def _seal(
    project: Project, store: Store, candidate: Candidate, environment: str, held: State,
    said: Mapping[str, Any], asked: Asked, operations: Operations, folder: Path,
) -> dict[str, str]:  # fmt: skip
    """Judge, and seal 70_deploy when all passed; {"sealed": its digest}."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    now, files = clock.now(), {}
    record, findings, results = _rehearsal(project, store, candidate, environment, asked)
    if said["action"] == rules.PROMOTE:
        rows = canary_rows(project, environment, held)
        columns = {name: [row[name] for row in rows] for name in rules.COLUMNS}
        parquet.write_table(pa.table(columns), folder / SERVED)
        files[SERVED] = folder / SERVED
        results += [rules.grown(asked.canary, held, rows, now)] if asked.canary else []
        results += sealing.judge(operations.promotion, rules.STAGE, folder, operations.version)
    if bad := [one for one in results if one.blocking and one.verdict != GateVerdict.PASSED]:
        raise GateNotPassed(
            f"It can't {said['action']} in {environment}.", where=candidate.record.ref,
            given="; ".join(f"{one.criterion} {one.verdict}: {one.reason}" for one in bad),
            next_step=f"workbench deploy --runbook -e {environment}",
        )  # fmt: skip
    plain = {
        "usecase": candidate.usecase, "environment": environment, "time": now, **said,
        "asked": asked.model_dump(mode="json"), "operations": operations.version,
        "serves": {arm: one and one._asdict() for arm, one in
                   (("stable", held.stable), ("canary", held.canary))},
        "rehearsal": record and record.digest, "parity": findings,
        "criteria": [one.model_dump(mode="json") for one in operations.promotion],
        "runbook": runbook.render(candidate.usecase, environment, operations, held),
    }  # fmt: skip
    (folder / PLAN).write_bytes(canonical(plain))
    files[PLAN] = folder / PLAN
    collected = {path.stem: (path, SOURCE) for path in files.values()}
    sealed = sealing.seal(project, store, rules.STAGE, collected, candidate, lambda _: results,
                          files)  # fmt: skip
    return {"sealed": sealed.digest}


def canary_rows(project: Project, environment: str, held: State) -> list[dict[str, Any]]:
    """What callers got since the canary began. IntegrityError names a line of the decision log
    that was changed or taken out."""
    folder = places.served(project, environment) / places.DECISIONS
    problems = [one for one in decisions.verify_log(folder) if one.what != decisions.TORN]
    if problems:
        raise IntegrityError("The decision log does not verify.", where=folder, given=problems[0])
    return rules.served(places.decisions(folder), held)


# -- rehearsal and parity --------------------------------------------------------------------------


def _rehearsal(
    project: Project, store: Store, candidate: Candidate, environment: str, asked: Asked
) -> tuple[Record | None, list[dict[str, Any]], list[GateResult]]:
    """The rehearsal that counts, the findings of parity, and the gates over both."""
    if not asked.rehearsed:
        return None, [], []
    known = store.listed()
    found: list[Record] = []
    faulty: list[str] = []
    for record in store.records(REHEARSAL):
        of = {item.annotations.get("record") for item in record.statement.inputs}
        if record.digest not in known or candidate.record.digest not in of:
            continue
        wrong = list(_not_passed(store, record, project.operations))
        faulty += [f"{record.ref}: {one}" for one in wrong]
        found += [] if wrong else [record]
    gate = rules.rehearsed([one.ref for one in found], faulty)
    if not found:
        return None, [], [gate]
    findings, parity = _parity(project, environment, found[-1])
    return found[-1], findings, [gate, parity]


def _not_passed(store: Store, record: Record, operations: Operations | None) -> Iterator[str]:
    """Why a rehearsal does not count: changed, broken, or without a gate that it owes."""
    yield from map(str, verify_record(record, store.public_keys))
    verdicts = {one["criterion"]: one for one in record.statement.predicate.workbench_verdicts}
    owed = {"parity"} | {one.id for one in operations.rehearsal if one.blocking}  # type: ignore[union-attr]
    owed |= {name for name, one in verdicts.items() if one["blocking"]}
    for name in sorted(owed):
        verdict = verdicts.get(name, {}).get("verdict", GateVerdict.NOT_EVALUATED)
        if verdict != GateVerdict.PASSED:
            yield f"{name} {verdict}"


def _parity(
    project: Project, environment: str, record: Record
) -> tuple[list[dict[str, Any]], GateResult]:
    """What is declared for the environment, what was rehearsed, and what is there now.

    Of what serves there now the digests of the release itself are left out: it is about to change,
    and the authority grants nothing whose bytes are others.
    """
    wanted = declared(project, environment)
    if wanted is None:
        raise InputError("Nobody declared the environment.", where=environment,
                         next_step=f"workbench environment declare {environment}")  # fmt: skip
    folder, plain = places.served(project, environment), project.root / RULES
    key = person.public_line(folder / places.SERVER_KEY)
    there = observe.read(folder, key, project.usecase.id, environment).found
    sealed = Sealed({record.stage: record})
    rehearsed = Environment.parse(sealed.json(record.stage, "observed.json"))
    shapes = sealed.json(record.stage, "shapes.json", {})
    three = [shapes.get(name) for name in ("validation", "rehearsal")]
    taken = [one and parity.Shape.parse(one) for one in three]
    traffic = [one["shape"] for one in places.decisions(folder / places.DECISIONS)
               if one["kind"] == "traffic"]  # fmt: skip
    taken.append(parity.shape(traffic) or taken[-1])  # before the first request there is none
    digests = there.digests.model_copy(update={
        name: getattr(rehearsed.digests, name) for name in ("model", "policy")})  # fmt: skip
    there = there.model_copy(update={"digests": digests})
    asked = parity.Rules.parse(load_yaml(plain)) if plain.exists() else parity.Rules()
    found = parity.judge(wanted, rehearsed, there, asked, clock.parse(clock.now()), taken)
    return [one.model_dump(mode="json") for one in found], parity.gate(found)


def written(project: Project, store: Store, environment: str) -> str:
    """The runbook of an environment as it stands. InputError where nobody said how it serves."""
    if project.operations is None:
        raise InputError("Nobody said how it is served.", where=project.root,
                         expected="operations: FILE in usecase.yaml")  # fmt: skip
    held = state(store, project.usecase.id, environment)
    return runbook.render(project.usecase.id, environment, project.operations, held)
