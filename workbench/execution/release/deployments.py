"""Deployments as the ledger has them: read in its order, held against who signed, entered."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, IntegrityError
from ...policy import deployment as rules
from ...policy.deployment import Deployment, State
from ...record import clock, keyring, person
from ...record.ledger import Entry, Signed
from ...record.store import Store

if TYPE_CHECKING:  # they load what takes a second, and the answer to `at` is to take a tenth
    from ..bundle import Candidate
    from ..project import Project

KIND, NAMESPACE = "deployment", "release@workbench"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
NEEDED = Deployment._fields[2:8]
MORE = Deployment._fields[8:]
Versions = list[tuple[int, keyring.Keyring]]


def state(store: Store, usecase: str, environment: str) -> State:
    """What serves a use case in an environment; the signatures of what serves are verified.

    IntegrityError when the ledger does not verify, or an entry does not count.
    """
    signed = store.ledger.signed()
    found = rules.state(one for one in read(signed) if one.place == (usecase, environment))
    check(signed, keyring.versions(signed.of("keyring")), found.serving)
    return found


def read(signed: Signed) -> list[Deployment]:
    """All deployments in order, none counting from before the one before it."""
    found: list[Deployment] = []
    for one in map(_deployment, signed.of(KIND)):
        late = found and clock.parse(one.time) < clock.parse(found[-1].time)
        found.append(one._replace(time=found[-1].time) if late else one)
    return found


def _deployment(entry: Entry) -> Deployment:
    """IntegrityError for an entry that says no deployment."""
    try:
        said = entry.body["envelope"]["statement"]
        more = {name: said[name] for name in MORE if name in said}
        return Deployment(entry.index, entry.time, *(said[name] for name in NEEDED), **more)
    except (KeyError, TypeError) as error:
        raise IntegrityError("not a deployment", where=f"ledger entry {entry.index}") from error


def check(signed: Signed, versions: Versions, shown: Iterable[Deployment]) -> None:
    """IntegrityError names the deployment that nobody signed who may."""
    for one in shown:
        signer = signer_of(versions, Entry.parse(signed.lines[one.entry]), NAMESPACE)
        if signer.name != one.by or not rules.may(signer.roles, one.action):
            what, given = "A deployment that does not count.", f"{signer.name}: {signer.roles}"
            raise IntegrityError(what, where=f"ledger entry {one.entry}", expected=one.by,
                                 given=given)  # fmt: skip


def signer_of(versions: Versions, entry: Entry, namespace: str) -> keyring.Person:
    try:
        return keyring.signer(versions, entry, namespace)
    except IntegrityError as error:
        error.where = f"ledger entry {entry.index}"
        raise


def deploy(
    project: Project, store: Store, candidate: Candidate, environment: str,
    *, action: str, by: str, sign_with: Path, share: float | None = None, reason: str = "",
) -> Deployment:  # fmt: skip
    """Change what serves in an environment, signed by `by`; returns the entry.

    GateNotPassed names what stands against a start, a canary or a promotion. InputError for a
    person who may not, or what can't follow on what serves; IntegrityError for a key that does
    not count.
    """
    if action not in (*rules.FORWARD, rules.STOP) or not NAME.fullmatch(environment):
        form = f"{', '.join((*rules.FORWARD, rules.STOP))}; lower-case letters, digits, _ and -"
        raise InputError("Not a deployment.", expected=form, given=f"{action} in {environment}")
    held, asked = state(store, candidate.usecase, environment), None
    if action == rules.CANARY and project.operations:
        asked = project.operations.deployments.get(environment)
        share = share or (asked and asked.canary and asked.canary.share)
    if found := rules.fault(held, action, candidate.digest, share):
        raise InputError(found, where=environment, given=f"{candidate.digest[:12]}; {told(held)}")
    said = {"bundle": candidate.digest, "action": action, "reason": reason}
    if action == rules.CANARY:
        said["share"] = share
    if action == rules.STOP:
        said["record"] = next(o.record for o in held.serving if o.bundle == candidate.digest)
    else:
        from ..operate import deploying

        _theirs(store, by, action)  # before a notebook runs for nothing
        said |= deploying.shown(project, store, candidate, environment, held, said | {"by": by})
    return _enter(store, candidate.usecase, environment, said, by, sign_with)


def take_back(
    project: Project, store: Store, environment: str, *, reason: str, by: str, sign_with: Path
) -> Deployment:
    """Serve what served before: a canary is halted; else the last release that served all before
    and whose gates pass now serves again; else nothing. Machines may. Returns the entry.

    No gate, window or notebook stands before it. InputError where nothing serves, or without a
    reason.
    """
    from ..operate import deploying

    usecase = project.usecase.id
    held = state(store, usecase, environment)
    if not held.serving or not reason.strip():
        what = "A way back has a reason." if held.serving else "Nothing serves there."
        raise InputError(what, where=environment, next_step="--reason")
    one, action = (held.canary, rules.HALT) if held.canary else (held.stable, rules.STOP)
    for earlier in rules.back(held) if action == rules.STOP else ():
        if deploying.stands(project, store, earlier, held):
            one, action = earlier, rules.ROLL_BACK
            break
    said = {"bundle": one.bundle, "record": one.record, "action": action, "reason": reason}
    return _enter(store, usecase, environment, said, by, sign_with)


def _enter(
    store: Store, usecase: str, environment: str, said: dict[str, Any], by: str, sign_with: Path
) -> Deployment:
    _theirs(store, by, said["action"])
    said = {"kind": KIND, "usecase": usecase, "environment": environment, "by": by,
            "time": clock.now()} | said  # fmt: skip
    envelope = person.sign_as(by, said, NAMESPACE, sign_with, store.keyring())
    return _deployment(store.ledger.append(KIND, {"envelope": envelope}))


def _theirs(store: Store, by: str, action: str) -> None:
    """InputError for one whose roles don't allow it; that it is they who sign is asked later."""
    roles = next((one.roles for one in store.keyring().persons if one.name == by), ())
    if not rules.may(roles, action):
        raise InputError(f"{by} does not {action} releases.", given=", ".join(roles) or "nobody",
                         expected=" or ".join(sorted(rules.ROLES)))  # fmt: skip


def told(held: State) -> str:
    """What serves, in words."""
    names = {"stable": held.stable, "canary": held.canary}
    said = [f"{name} {one.bundle[:12]}" for name, one in names.items() if one]
    return f"what serves is {' and '.join(said) or 'nothing'}"
