"""Risk acceptances in the ledger: entered, in force, and beside the verdicts that they are of."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...errors import InputError, WorkbenchError
from ...policy import duties, risks
from ...policy.criteria import Policy
from ...policy.duties import Ignored
from ...policy.risks import Acceptance
from ...record import clock, person
from ...record.keyring import Keyring, Person
from ...record.ledger import Entry
from ...record.store import Record, Store
from ..project import Project
from ..stages import Stage
from .touches import about, entered

KIND, NAMESPACE = "risk-acceptance", "accept@workbench"
Accepted = dict[str, Any]
"""The fields of an `Acceptance`, and `entry`: its index in the ledger."""


def enter(project: Project, store: Store, said: Acceptance, sign_with: Path) -> Entry:
    """Sign an acceptance and enter it.

    InputError names the rule that forbids it, or where the person touched what they would waive;
    IntegrityError a key that does not count.
    """
    ring = store.keyring()
    who, _ = known(ring, said.by), known(ring, said.owner)
    plan = _check(store, said, who.roles, clock.now())
    duties.refuse(about(project, store, said.record)[0], who.name, "waive", plan)
    envelope = person.sign_as(said.by, said.model_dump(mode="json"), NAMESPACE, sign_with, ring)
    return store.ledger.append(KIND, {"envelope": envelope})


def known(ring: Keyring, name: str) -> Person:
    """The person with that printed name. InputError when the keyring has none, or several."""
    found = [one for one in ring.persons if one.name == name]
    if len(found) != 1:
        raise InputError("The keyring knows no one person of that name.", given=name,
                         expected=", ".join(one.name for one in ring.persons))  # fmt: skip
    return found[0]


def _check(store: Store, said: Acceptance, roles: tuple[str, ...], at: str) -> Any:
    """InputError unless it counts, by the verdicts, criteria and plan that its record stands on;
    returns that plan."""
    record, day = store.record(said.record), clock.parse(at).date()
    usecase = record.statement.predicate.buildDefinition.externalParameters.get("usecase")
    own = [item for item in record.statement.inputs if item.annotations.get("input") == "criteria"]
    if not own or (record.stage, usecase) != (said.stage, said.usecase):
        raise InputError("A record of another stage or use case, or judged by no sealed criteria.",
                         given=record.ref)  # fmt: skip
    intake = store.record(own[0].annotations["record"])
    plan, criteria = (json.loads(intake.file(name).read_bytes())
                      for name in ("outputs/plan.json", own[0].name))  # fmt: skip
    plan, criteria = SimpleNamespace(**plan), Policy.parse(criteria, where=intake.ref)
    risks.check(said, roles, day, record.statement.predicate.workbench_verdicts, criteria, plan)
    return plan


def read(store: Store, usecase: str | None = None) -> tuple[list[Accepted], list[Ignored]]:
    """Those that counted when they were entered, of a use case or of all, and the entries that did
    not."""
    found, ignored = [], []
    for one in entered(store, {KIND: NAMESPACE}):
        if usecase in (None, one.statement.get("usecase", usecase)):
            try:
                said = one.read(Acceptance)
                _check(store, said, one.roles, one.time)
                found.append(said.model_dump(mode="json") | {"entry": one.entry})
            except WorkbenchError as error:
                ignored.append(Ignored(one.entry, error.what))
    return found, ignored


def in_force(store: Store, usecase: str | None = None, now: str | None = None) -> list[Accepted]:
    """Those that hold at `now` (an RFC 3339 time), in the ledger's order: of one gate in one
    record the last counts."""
    today = clock.parse(now or clock.now()).date()
    held = [one for one in read(store, usecase)[0] if today <= date.fromisoformat(one["expires"])]
    return list({(one["record"], one["gate"]): one for one in held}.values())


def told(stage: Stage, store: Store, records: Iterable[Record]) -> dict[str, list[Accepted]]:
    """For the deciding stage: those in force of the records before it, where there are any."""
    digests = {record.digest for record in records if stage.facts.get("decides")}
    found = [one for one in in_force(store) if one["record"] in digests] if digests else []
    return {"acceptances": found} if found else {}


def used(record: Record) -> list[Accepted]:
    """Those under which a candidate was frozen, as its record holds them."""
    internal = record.statement.predicate.buildDefinition.internalParameters
    return internal.get("key", {}).get("parts", {}).get("acceptances", [])


def beside(store: Store, record: Record) -> list[dict[str, Any]]:
    """A record's verdicts, each failed one with the acceptance in force beside it."""
    own = [one for one in in_force(store) if one["record"] == record.digest]
    return risks.marked(record.statement.predicate.workbench_verdicts, own)
