"""Signatures for a release: entered, read back, revoked. A signature counts by the ledger's order.

Whether one counts for the quorum is a rule of `policy.release`; here is said whether it is one at
all: whose key made it, in force when it was entered, over which statement.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import InputError, WorkbenchError
from ...policy import duties
from ...policy.cards import brief as briefs
from ...policy.cards.facts import Signature
from ...policy.duties import Entered
from ...policy.release import (
    APPROVED,
    MEANINGS,
    NAMED_BY,
    NOT_AN_APPROVAL,
    Approval,
    Evidence,
    fresh,
    weighed,
)
from ...record import clock, merkle, person
from ...record.digest import digest
from ...record.keyring import Keyring, Person
from ...record.ledger import Entry, Signed
from ...record.lineage import Graph
from ...record.store import Store
from ..approvals import KIND, NAMESPACE
from ..bundle import Candidate
from ..facts import Sealed, card_facts
from .touches import entered

SUBJECT = "release"
REVOCATION, REVOKE = "revocation", "revoke@workbench"
STATED = ("by", "role", "meaning", "time", "expires", "nonce", "bundle")


def of(store: Store, bundle: str | None = None) -> list[Approval]:
    """Every signature for a release that the ledger holds, in order; of one bundle if it is named.

    One that is no signature by whom it names is among them, its `fault` saying why.
    """
    signed, ring = store.ledger.signed(), store.keyring()
    gone = list(entered(store, {REVOCATION: REVOKE}))
    return [
        _read(one, signed, ring, gone)
        for one in entered(store, {KIND: NAMESPACE})
        if one.statement.get("kind") == SUBJECT and bundle in (None, one.statement.get("bundle"))
    ]


def _read(one: Entered, signed: Signed, ring: Keyring, gone: Iterable[Entered]) -> Approval:
    envelope, said = signed.entries[one.entry].body.get("envelope"), one.statement
    key = str(envelope.get("public_key", "")) if isinstance(envelope, dict) else ""
    found = Approval(
        **{name: str(said.get(name, "")) for name in STATED},
        key=key, entry=one.entry, said=said, identity=(one.name, one.email),
        fault=one.refused or _fault(one, signed.leaves), flag=_lost(ring, key),
    )  # fmt: skip
    for end in gone:
        if end.statement.get("approval") == digest(envelope):
            why = end.refused or barred(end.name, end.roles, end.statement.get("by"), found)
            told = f"revoked by {end.name} at {end.time}: {end.statement.get('reason')}"
            odd = f"the revocation in entry {end.entry} does not count: {why}"
            found = replace(found, flag=odd) if why else replace(found, fault=found.fault or told)
    return found


def _fault(one: Entered, leaves: Sequence[bytes]) -> str:
    """Why a good signature counts for nothing: not the signer's own, not whole, not of here."""
    said = one.statement
    if one.name != said.get("by"):
        return f"{one.name} signed in the name of {said.get('by')}"
    if said.get("role") not in one.roles:
        return f"{one.name} is no {said.get('role')}"
    if str(said.get("meaning")) not in MEANINGS or not said.get("nonce"):
        return "it does not say what it means, or has no nonce"
    if not extends(said.get("ledger"), leaves[: one.entry]):
        return "it was made before another ledger than this one"
    try:
        _ = [clock.parse(str(said.get(name, ""))) for name in ("time", "expires")]
    except InputError as error:
        return f"{error.what}: {error.given}"
    return ""


def extends(head: Any, leaves: Sequence[bytes]) -> bool:
    """Does a ledger with these leaves go on from the head that is named by `size` and `root`?"""
    size = head.get("size") if isinstance(head, dict) else None
    held = isinstance(size, int) and 0 < size <= len(leaves)
    return held and merkle.root(list(leaves[:size])).hex() == head.get("root")


def _lost(ring: Keyring, key: str) -> str:
    """What became of a key since it signed."""
    try:
        revoked = ring.find(key)[1].revoked
    except WorkbenchError:
        return "the key is not in the keyring now"
    return f"the key was revoked later, at {revoked.at}: {revoked.reason}" if revoked else ""


def barred(name: str, roles: Collection[str], by: object, approval: Approval) -> str:
    """Why this signer may not revoke an approval in the name of `by`; empty when they may."""
    if name != by:
        return f"{name} signed in the name of {by}"
    if name != approval.by and "keyholder" not in roles:
        return f"{name} may not revoke what {approval.by} signed"
    return ""


def enter(
    store: Store, asked: Mapping[str, Any], collect: Callable[[], Evidence], *, by: str,
    role: str, meaning: str, sign_with: Path,
) -> Entry:  # fmt: skip
    """Sign a request that was checked and shown, and enter the signature.

    `collect()` gives the evidence as it stands. InputError says why this person may not sign;
    IntegrityError that the key is in no keyring.
    """
    ring, key = store.keyring(), person.public_line(sign_with)
    refuse(collect(), ring.who(key, clock.now(), NAMESPACE), key, by, role, meaning)
    statement = {name: asked[name] for name in (*NAMED_BY, "ledger")} | {
        "kind": SUBJECT, "by": by, "role": role, "meaning": meaning, "time": clock.now(),
        "nonce": secrets.token_hex(16), "request": digest(dict(asked)),
        "records": sorted(one["digest"] for one in asked["records"]),
    }  # fmt: skip
    sealed = person.sign_as(by, statement, NAMESPACE, sign_with, ring)
    with store.making():  # somebody may have signed meanwhile
        refuse(collect(), ring.find(key)[0], key, by, role, meaning)
        return store.ledger.append(KIND, {"envelope": sealed})


def refuse(
    evidence: Evidence, signer: Person, key: str, by: str, role: str, meaning: str
) -> None:  # fmt: skip
    """InputError when this person's signature, in this role and meaning, would not count."""
    plan, subject = evidence.plan, evidence.subject
    asked = set(signer.roles)
    if meaning == APPROVED:
        asked &= set(plan.approver_roles)
        duties.refuse(evidence.touches, by, "approve", plan)
    if signer.name != by or meaning not in MEANINGS or role not in asked:
        raise InputError(f"{by} may not sign `{meaning}` as {role} with this key.",
                         expected=f"in a role that the plan asks: {', '.join(plan.approver_roles)}",
                         given=f"the key of {signer.name}: {', '.join(signer.roles)}")  # fmt: skip
    if clock.parse(evidence.now) >= clock.parse(subject["expires"]):
        raise InputError("The evidence has expired.", given=subject["expires"],
                         next_step="Validate again, and ask anew.")  # fmt: skip
    for one in fresh(evidence).approvals:
        own = one.key == key or {signer.name, signer.email} & set(one.identity)
        same = one.meaning == meaning or one.by != by
        if own and same and one.bundle == subject["bundle"] and not one.fault:
            raise InputError("This person, or this key, has signed already.",
                             where=f"ledger entry {one.entry}", given=f"{one.by}: {one.meaning}",
                             next_step="workbench release revoke withdraws one.")  # fmt: skip


def revoke(store: Store, index: int, reason: str, by: str, sign_with: Path) -> Entry:
    """Withdraw the signature in a ledger entry; InputError when it is none that stands, or for
    another than its signer or a keyholder."""
    ring, where = store.keyring(), f"ledger entry {index}"
    signer = ring.find(person.public_line(sign_with))[0]
    approval = next((one for one in of(store) if one.entry == index and not one.fault), None)
    if approval is None or not reason.strip():
        raise InputError("There is no signature to revoke, or no reason.", where=where)
    if why := barred(signer.name, signer.roles, by, approval):
        raise InputError(f"Not revoked: {why}.", where=where)
    envelope = store.ledger.entries()[index].body["envelope"]
    said = {"approval": digest(envelope), "reason": reason, "by": by, "time": clock.now()}
    sealed = person.sign_as(by, said, REVOKE, sign_with, ring)
    return store.ledger.append(REVOCATION, {"envelope": sealed})


def shown(evidence: Evidence) -> list[Signature]:
    """What a page shows: those that count, and those that were never meant as an approval."""
    return [
        Signature(one.by, one.role, one.time, one.meaning, one.expires, one.demo)
        for one, why in weighed(evidence)
        if not why or why == NOT_AN_APPROVAL.format(one.meaning)
    ]


def brief(store: Store, candidate: Candidate, reader: str, evidence: Evidence) -> str:
    """The one-page brief of a candidate as HTML, with the signatures that stand."""
    graph = Graph.from_store(store).records
    sealed = Sealed({stage: graph[digest] for stage, digest in candidate.records.items()})
    identity = {name: candidate.manifest[name] for name in ("name", "number", "parent")}
    verdicts = candidate.read("evaluation.json")["verdicts"]
    write = {"risk": briefs.risk, "engineer": briefs.engineer}[reader]
    return write(card_facts(sealed, verdicts, identity), shown(evidence))
