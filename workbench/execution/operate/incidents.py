"""Incidents in the ledger: opened with a scenario that reproduces them, closed by a candidate.

Opening one writes its scenario into the use case's library `incidents.yaml`, so that the next
candidate is asked. The ledger names text and answer too: what somebody takes out of the library
is missed before a governed run (`untaught`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ...errors import GateNotPassed, InputError, IntegrityError
from ...policy import deployment, duties, incidents, scenarios
from ...policy.deployment import Deployment
from ...policy.duties import Entered, Ignored
from ...policy.incidents import HARM, Closed, Incident, Opened
from ...policy.tiers import control_plan
from ...record import clock, decisions, durable, person
from ...record.store import Record, Store
from .. import bundle, gating
from ..project import Project
from ..release import deployments, touches
from ..release.acceptances import known
from ..trace import read_rows
from . import places

KIND, NAMESPACE, STAGE = "incident", "incident@workbench", "42_scenarios"
FILE = f"{incidents.LIBRARY}.yaml"
Json = dict[str, Any]


def read(store: Store, usecase: str) -> tuple[list[Incident], list[Ignored]]:
    """The incidents of a use case as they stand, and the entries that count for nothing."""
    return incidents.fold(usecase, touches.entered(store, {KIND: NAMESPACE}))


def find(store: Store, usecase: str, ref: str) -> Incident:
    """The incident by (the beginning of) its id. InputError when none fits, or several do."""
    every, _ = read(store, usecase)
    found = [one for one in every if ref and one.id.startswith(ref)]
    if len(found) != 1:
        raise InputError("No one incident fits.", given=ref,
                         expected=", ".join(one.id for one in every) or "none was opened")  # fmt: skip
    return found[0]


# -- what it is about ------------------------------------------------------------------------------


def served(
    project: Project, store: Store, environment: str, happened: str, decision: str | None = None
) -> Json:
    """The release that answered in an environment: `bundle`, `deployment`, `happened`, `decision`.

    InputError when nothing served then, or a canary served beside and no line of the decision log
    says which it was.
    """
    if decision:
        return _decided(project, environment, decision)
    moment = clock.parse(happened)
    place = project.usecase.id, environment
    every = [one for one in deployments.read(store.ledger.signed()) if one.place == place]
    there = deployment.state(o for o in every if clock.parse(o.time) <= moment).serving
    if len(there) != 1:
        what = "A canary served beside: name the decision." if there else "Nothing served there."
        raise InputError(what, where=f"{environment} at {happened}",
                         expected="--decision, --from-entry, or another time")  # fmt: skip
    return {"bundle": there[0].bundle, "deployment": there[0].entry, "happened": happened}


def _decided(project: Project, environment: str, ref: str) -> Json:
    """By a line of the decision log, named as its answer did: `FILE:NUMBER`."""
    folder = places.served(project, environment) / places.DECISIONS
    if problems := [one for one in decisions.verify_log(folder) if one.what != decisions.TORN]:
        raise IntegrityError("The decision log does not verify.", where=folder, given=problems[0])
    name, _, number = ref.partition(":")
    found = [path for path in decisions.files(folder) if path.stem == name]
    lines = decisions.lines(found[0])[0] if found and number.isdecimal() else []
    held = json.loads(lines[int(number)]) if lines and int(number) < len(lines) else {}
    if not held.get("bundle"):
        raise InputError("There is no such decision of a release.", where=folder, given=ref,
                         expected="FILE:NUMBER, as the answer has it under `decision`")  # fmt: skip
    return {"bundle": held["bundle"], "deployment": held["entry"], "happened": held["time"],
            "decision": decisions.head(lines[int(number)])}  # fmt: skip


def taken_back(store: Store, usecase: str, index: int) -> tuple[Json, str]:
    """What a ledger entry took back, as `served` says it, with environment; and the reason.

    InputError for an entry that took nothing back.
    """
    every = [one for one in deployments.read(store.ledger.signed()) if one.usecase == usecase]
    one = next((one for one in every if one.entry == index), None)
    gone: Deployment | None = None
    if one:
        held = deployment.state(o for o in every if o.place == one.place and o.entry < index)
        lost = deployment.after(held, one).taken_back.items() - held.taken_back.items()
        gone = next((o for o in held.serving if (o.bundle, index) in lost), None)
    if one is None or gone is None:
        raise InputError("It took nothing back.", where=f"ledger entry {index}",
                         next_step="workbench at ENVIRONMENT shows what was deployed")  # fmt: skip
    return {"bundle": gone.bundle, "deployment": gone.entry, "happened": one.time,
            "environment": one.environment, "taken_back": index}, one.reason  # fmt: skip


# -- opened and closed -----------------------------------------------------------------------------


def enter(project: Project, store: Store, said: Opened, sign_with: Path) -> Incident:
    """Sign an incident, write its scenario, and enter it; returns it.

    InputError for what breaks a rule, or a use case without a folder of scenarios; IntegrityError
    for a key that does not count. The library is as it was when nothing could be entered.
    """
    after = _signed(store, said, sign_with)
    path = _library(project)
    before = path.read_bytes() if path.exists() else None
    found = incidents.taught(yaml.safe_load(before) if before else None, after)
    text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=100)
    beside = {one.name: one.read_bytes() for one in path.parent.glob("*.yaml")}
    scenarios.parse(beside | {FILE: text.encode()})
    durable.replace(path, text.encode())
    try:
        return _entered(store, said, sign_with)
    except BaseException:
        if before is None:
            os.unlink(path)
        else:
            durable.replace(path, before)
        raise


def _signed(store: Store, said: Opened | Closed, sign_with: Path) -> Incident:
    """The incident as it would stand; the rules that forbid it are known before anything is done."""
    ring, stated = store.keyring(), said.model_dump(mode="json")
    who = ring.who(person.public_line(sign_with), clock.now(), NAMESPACE)
    held = {one.id: one for one in read(store, said.usecase)[0]}
    one = Entered(-1, KIND, clock.now(), stated, who.name, who.email, who.roles)
    return incidents.follow(held, one)


def _entered(store: Store, said: Opened | Closed, sign_with: Path) -> Incident:
    stated, ring = said.model_dump(mode="json"), store.keyring()
    envelope = person.sign_as(said.by, stated, NAMESPACE, sign_with, ring)
    entry = store.ledger.append(KIND, {"envelope": envelope})
    found, _ = read(store, said.usecase)
    name = said.incident if isinstance(said, Closed) else incidents.named(stated)
    return next(one for one in found if one.id == name and entry.index >= one.entry)


def _library(project: Project) -> Path:
    if not project.usecase.scenarios:
        raise InputError("The use case has no folder of scenarios.", where=project.root,
                         next_step="name one in usecase.yaml, under `scenarios`")  # fmt: skip
    return project.path(project.usecase.scenarios, "scenarios") / FILE


def close(
    project: Project, store: Store, ref: str, candidate: str, by: str, sign_with: Path
) -> Incident:
    """Close an incident by a candidate in whose sealed 42_scenarios it is answered as it must be.

    GateNotPassed where it is not, InputError for one who had a part in the candidate. Reading the
    answer is an entry of the ledger where the rows are encrypted.
    """
    usecase = project.usecase.id
    one, held = find(store, usecase, ref), bundle.find(store, candidate, usecase)
    known(store.keyring(), by)
    touched, _ = touches.touches(project, store, held)
    built = [str(touch) for touch in touched if (touch.person, touch.act) == (by, "built")]
    if built:
        raise InputError(f"{by} built what they would judge.", where="; ".join(built),
                         next_step="Ask somebody who had no part in it.")  # fmt: skip
    duties.refuse(touched, by, "close_finding", control_plan(project.usecase))
    record = store.record(held.records[STAGE]) if STAGE in held.records else None
    said = Closed(usecase=usecase, by=by, time=clock.now(), incident=one.id, candidate=held.digest,
                  record=record.digest if record else "0" * 64)  # fmt: skip
    _signed(store, said, sign_with)
    outcome = shown(store, record, one, by) if record else f"there is no {STAGE} under it"
    if outcome:
        raise GateNotPassed("The candidate does not show that it is settled.", given=outcome,
                            where=record.ref if record else held.record.ref,
                            next_step="workbench promote, with its scenario in the library")  # fmt: skip
    return _entered(store, said, sign_with)


def shown(store: Store, record: Record, one: Incident, who: str) -> str:
    """Why a record of 42_scenarios does not show that an incident is settled; empty when it does.

    The text must be the one that was reported, and the checks are those of the signed entry.
    """
    rows = [row for row in read_rows(store, record, scenarios.TABLE, who)
            if row.get("model") == "candidate" and row.get("case_id") == one.scenario]  # fmt: skip
    library = scenarios.Library.parse(incidents.taught(None, one), where=one.id)
    if not rows:
        return f"{one.scenario} was not asked"
    try:
        [found] = scenarios.examined(scenarios.cases([library]), rows)
    except InputError as error:
        return error.what
    return "" if found["verdict"] == "pass" else f"{one.scenario}: {found['because']}"


# -- what it means for a release and a run ---------------------------------------------------------


def concerning(store: Store, candidate: bundle.Candidate) -> list[Json]:
    """For the standing gate `incidents`: what went wrong with this release, or was open when it was
    frozen and nobody has shown to be settled."""
    own = [
        {"entry": entry, "what": f"it was taken back in {environment} (ledger entry {entry})",
         "how": "", "own": True, "bars": False}
        for environment, entry in _backs(store, candidate)
    ]  # fmt: skip
    found, _ = read(store, candidate.usecase)
    entries = store.ledger.entries("record") if found else []
    frozen = [e.index for e in entries if e.body["digest"] == candidate.record.digest]
    for one in found:
        mine, still = one.opened.bundle == candidate.digest, one.closed is None
        if one.closed and one.closed.candidate == candidate.digest:
            continue
        if mine or (still and frozen and frozen[0] > one.entry):
            bars = mine and still and one.opened.severity == HARM
            how = f"workbench incident close {one.id}" if bars or not mine else ""
            own.append({"entry": one.entry, "what": f"incident {one}", "how": how, "own": mine,
                        "bars": bars})  # fmt: skip
    return own


def _backs(store: Store, candidate: bundle.Candidate) -> Iterator[tuple[str, int]]:
    """Environment and entry of each time that a release was taken back last."""
    every = [o for o in deployments.read(store.ledger.signed()) if o.usecase == candidate.usecase]
    for environment in sorted({one.environment for one in every}):
        held = deployment.state(one for one in every if one.environment == environment)
        if candidate.digest in held.taken_back:
            yield environment, held.taken_back[candidate.digest]


def untaught(project: Project, store: Store) -> list[str]:
    """Ids of the incidents whose scenario is not in the libraries as it was reported."""
    found, _ = read(store, project.usecase.id)
    if not found:
        return []
    folder = _library(project).parent
    held: Mapping[str, Any] = {one.name: one for one in folder.glob("*.yaml")}
    return incidents.untaught(found, gating.libraries(folder) if held else [])
