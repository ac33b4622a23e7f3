"""May a candidate be released? Standing gates over signatures and evidence, by the plan (I2, L5).

Nothing here reads a clock, a store or a key: whether a signature is one, `execution.release` says.

1. approvals: for each role that the plan asks, somebody else's signature with the meaning
   `approved` over exactly this bundle, candidate, records, lock and criteria. One does not count
   when it is forged, revoked, expired or replayed (a nonce stands once), or when the person or the
   key has counted already.
2. separation_of_duties: nobody who approved touched what the plan bars; who is unknown may have.
3. findings: no finding that blocks is open.
4. acceptances: each gate that failed and blocks has a risk acceptance that is in force.
5. evidence_fresh: the oldest record of validation is younger than the plan allows.
6. replay_certificate: from tier high on the adapter was trained again, in another environment.
7. incidents: a release that was taken back, or with which something went wrong, has all approvals
   anew; none that harmed somebody while that is open; and what was frozen since an incident was
   shown to answer as it must.

A signature that the plan still waits for, or a replay that nobody made, is `insufficient_evidence`;
what is wrong is `failed`. Only `passed` goes on.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from pydantic import TypeAdapter

from ..errors import InputError
from ..record import clock
from . import duties
from .duties import Touch
from .figures import Figure
from .gates import NAMED, GateResult, GateVerdict
from .tracks import ADD, Missing

STAGE = "55_release"
GATES = {
    "approvals": "A model is used that nobody answers for.",
    "separation_of_duties": "Somebody approved their own work, and saw what they had meant.",
    "findings": "A known fault goes out with the model.",
    "acceptances": "A gate that failed is passed over, and nobody bears the risk.",
    "evidence_fresh": "The model is released on what was true some time ago.",
    "replay_certificate": "Nobody but its maker can show that the training gives this model.",
    "incidents": "What went wrong once goes wrong again, and everybody could have known.",
}
APPROVED = "approved"
MEANINGS = {
    APPROVED: "I approve the release of this bundle, and have no part in what I judge.",
    "reviewed": "I have read what is listed here; I do not decide.",
    "responsible": "I answer for the use of this bundle.",
}
NOT_AN_APPROVAL = "it means `{}`"
DEMO = "(DEMO)"
NAMED_BY = ("usecase", "bundle", "candidate", "records", "lock", "policy", "expires")
"""What an approval names, so that it is of this release and no other."""
REPRODUCED = ("bitwise", "tolerance")
STRICT = ("high", "critical")
"""Tiers at which an author whom nobody knows bars the release."""


@dataclass(frozen=True)
class Approval:
    """A person's signature for a release, as the ledger holds it."""

    by: str
    role: str
    meaning: str
    key: str
    """OpenSSH line of the public key."""
    time: str
    expires: str
    nonce: str
    bundle: str
    entry: int
    """Index in the ledger, which gives the order."""
    identity: tuple[str, ...] = ()
    """Name and address of the signer in the keyring that was in force."""
    said: Mapping[str, Any] = field(default_factory=dict)
    """The statement that was signed."""
    fault: str = ""
    """Why the signature does not count, or whose revocation of it does."""
    flag: str = ""
    """What a reader should know of a signature that counts: its key was lost later."""

    @property
    def demo(self) -> bool:
        return self.by.endswith(DEMO)

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it; empty where there is no key."""
        if self.fault and len(self.key.split()) != 2:
            return ""
        held = hashlib.sha256(base64.b64decode(self.key.split()[1])).digest()
        return "SHA256:" + base64.b64encode(held).decode().rstrip("=")


@dataclass(frozen=True)
class Evidence:
    """What the verdicts rest on, collected outside the kernel."""

    plan: Any
    """The control plan as the candidate's intake sealed it."""
    subject: Mapping[str, Any]
    """What an approval must name: `NAMED_BY`."""
    now: str
    approvals: Sequence[Approval] = ()
    """All signatures for releases in this store, in the ledger's order."""
    holders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Role -> names of those in the keyring who hold it."""
    touches: Sequence[Touch] = ()
    unidentified: Sequence[str] = ()
    findings: Sequence[Missing] = ()
    """Open ones that block."""
    unaccepted: Sequence[Missing] = ()
    """Gates that failed and block, without an acceptance in force."""
    accepted: Sequence[str] = ()
    """Risk acceptances in force, in words."""
    validated: Mapping[str, str] = field(default_factory=dict)
    """Record of validation -> when it was finished."""
    adapter: str = ""
    """The record that trained."""
    replays: Sequence[Mapping[str, Any]] = ()
    """Of that record: `ref`, `grade`, `environments` (declared ones, other than its own)."""
    incidents: Sequence[Mapping[str, Any]] = ()
    """What concerns this bundle: `entry`, `what`, `how` (the command that ends it, if one does),
    `own` (it was this release), `bars` (no approval helps)."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `parse` reads them back."""
        return asdict(self) | {"plan": vars(self.plan)}

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> Evidence:
        """From `as_dict`, through JSON or not. ValueError when it is none."""
        found = TypeAdapter(cls).validate_python(dict(plain))
        return replace(found, plan=SimpleNamespace(**found.plan))


def fresh_until(validated: Iterable[str], days: int) -> str:
    """When evidence expires: `days` after the oldest record of validation was finished.

    InputError when nothing validated the candidate.
    """
    oldest = min(map(clock.parse, validated), default=None)
    if oldest is None:
        raise InputError("no record of validation stands under this candidate")
    return clock.text(oldest + timedelta(days=days))


def weighed(evidence: Evidence) -> list[tuple[Approval, str]]:
    """Each signature for this bundle, and why it does not count ("" where it does)."""
    seen: set[str] = set()
    counted: set[str] = set()
    found = []
    for one in evidence.approvals:
        why = _discounted(one, evidence, seen, counted)
        seen.add(one.nonce)
        if one.bundle != evidence.subject["bundle"]:
            continue
        if not why:
            counted |= {*one.identity, one.key}
        found.append((one, why))
    return found


def _discounted(one: Approval, evidence: Evidence, seen: set[str], counted: set[str]) -> str:
    other = [n for n in NAMED_BY if one.said.get(n) != evidence.subject.get(n)]
    if one.fault:
        return one.fault
    if other:
        return f"it names another {', '.join(other)}"
    if clock.parse(evidence.now) >= clock.parse(one.expires):
        return f"it expired at {one.expires}"
    if one.nonce in seen:
        return "its nonce was used before: it is a copy"
    if one.meaning != APPROVED:
        return NOT_AN_APPROVAL.format(one.meaning)
    if one.role not in evidence.plan.approver_roles:
        return f"the plan asks for no {one.role}"
    if barred := duties.conflicts(evidence.touches, one.by, "approve", evidence.plan):
        return f"{one.by} touched what they approve: {'; '.join(map(str, barred[:NAMED]))}"
    if counted & {*one.identity, one.key}:
        return "this person or this key has counted already"
    return ""


def since(evidence: Evidence, entry: int | None, lost: Collection[str] = ()) -> Evidence:
    """The evidence with only those approvals that are younger than a ledger entry and by no key
    that was lost; a copy of an older one, which has its nonce, is none."""
    after = -1 if entry is None else entry
    old = {one.nonce for one in evidence.approvals if one.entry <= after}
    young = [one for one in evidence.approvals
             if one.entry > after and one.nonce not in old and one.key not in lost]  # fmt: skip
    return replace(evidence, approvals=young)


def fresh(evidence: Evidence) -> Evidence:
    """With those approvals that are younger than the last that went wrong with this release."""
    own = [one["entry"] for one in evidence.incidents if one["own"]]
    return since(evidence, max(own, default=None))


def judge(evidence: Evidence) -> list[GateResult]:
    """One result a standing gate, in the order above; never raises."""
    checks = (
        _approvals, _separation, _findings, _acceptances, _fresh, _replayed, _incidents,
    )  # fmt: skip
    return [_run(name, check, evidence) for name, check in zip(GATES, checks, strict=True)]


Found = tuple[list[str], list[str], int, str]
"""What is wrong, what is still waited for, how many things were looked at, and in words."""


def _run(name: str, check: Callable[[Evidence], Found], evidence: Evidence) -> GateResult:
    figure, failing = None, []
    try:
        faults, waits, n, reason = check(evidence)
    except Exception as error:  # whatever stops a gate from being computed, it isn't a pass
        verdict = GateVerdict.NOT_EVALUATED
        reason = " ".join(str(error).split()) or type(error).__name__
    else:
        failing = faults or waits
        verdict = GateVerdict.INSUFFICIENT_EVIDENCE if waits else GateVerdict.PASSED
        verdict = GateVerdict.FAILED if faults else verdict
        figure = Figure(name, len(failing), n=n, method="count", unit="findings")
        reason = "; ".join([*failing[:NAMED], reason])
    return GateResult(
        name, STAGE, verdict, figure, "none missing", reason, GATES[name], True, tuple(failing)
    )


def _approvals(evidence: Evidence) -> Found:
    held = weighed(evidence)
    counted = {one.role: one for one, why in held if not why}
    lacking = [role for role in evidence.plan.approver_roles if role not in counted]
    waits = [f"no approval of a {role.replace('_', ' ')}" for role in lacking]
    told = [f"{one.by} approved as {role}{_flagged(one)}" for role, one in counted.items()]
    told += [f"entry {one.entry} by {one.by} does not count: {why}" for one, why in held if why]
    enough = len(counted) >= evidence.plan.quorum
    return [], [] if enough else waits, len(held), "; ".join(told) or "nobody has signed"


def _flagged(one: Approval) -> str:
    return f" ({one.flag})" if one.flag else ""


def _separation(evidence: Evidence) -> Found:
    faults = []
    for one, _ in weighed(evidence):
        if one.meaning == APPROVED and not one.fault:
            barred = duties.conflicts(evidence.touches, one.by, "approve", evidence.plan)
            faults += [f"{one.by} approved (entry {one.entry}) and {touch}" for touch in barred]
    unknown = [f"unidentified: {one}" for one in evidence.unidentified]
    persons = {one.person for one in evidence.touches}
    told = f"{len(evidence.touches)} touches by {len(persons)} people, {len(unknown)} unidentified"
    if evidence.plan.tier in STRICT:
        faults += unknown
    elif unknown:
        told += f" ({'; '.join(unknown[:NAMED])})"
    return faults, [], len(evidence.touches), told


def _findings(evidence: Evidence) -> Found:
    return (
        [one.what for one in evidence.findings],
        [],
        len(evidence.findings),
        "open ones that block",
    )


def _acceptances(evidence: Evidence) -> Found:
    told = "; ".join(evidence.accepted) or "no gate failed that had to be accepted"
    n = len(evidence.accepted) + len(evidence.unaccepted)
    return [one.what for one in evidence.unaccepted], [], n, told


def _fresh(evidence: Evidence) -> Found:
    days, times, now = evidence.plan.evidence_expiry_days, evidence.validated, evidence.now
    until = fresh_until(times.values(), days)
    old = [
        r for r, time in times.items() if clock.parse(fresh_until([time], days)) <= clock.parse(now)
    ]
    faults = [f"{ref} is older than {days} days" for ref in old]
    return faults, [], len(times), f"the evidence expires at {until}"


def _replayed(evidence: Evidence) -> Found:
    if not evidence.plan.replay_certificate:
        return [], [], len(evidence.replays), f"tier {evidence.plan.tier} asks for none"
    if not evidence.replays:
        return [], [f"nobody replayed {evidence.adapter}"], 0, "a certificate is asked"
    told = [f"{r['ref']}: {r['grade']}, declared {', '.join(r['environments']) or 'nowhere else'}"
            for r in evidence.replays]  # fmt: skip
    good = [one for one in evidence.replays if one["environments"] and one["grade"] in REPRODUCED]
    faults = [] if good else [f"{evidence.adapter} was not reproduced in another environment"]
    return faults, [], len(evidence.replays), "; ".join(told)


def _incidents(evidence: Evidence) -> Found:
    found = evidence.incidents
    faults = [one["what"] for one in found if one["bars"]]
    waits = [one["what"] for one in found if one["how"] and not one["bars"]]
    told = "; ".join(one["what"] for one in found if one["own"]) or "nothing went wrong with it"
    lacking = _approvals(fresh(evidence))[1] if any(one["own"] for one in found) else []
    return faults, waits + [f"{one}, younger than that" for one in lacking], len(found), told


def not_shown(evaluation: Mapping[str, Any]) -> list[str]:
    """What no test showed, as the bundle's `evaluation.json` says it, and in general."""
    found = evaluation.get("validation") or {}
    return [*found.get("not_shown", ()), "Anything that no gate above asks about."]


def owed(evidence: Evidence) -> list[Missing]:
    """Who still owes what before the gates pass; empty when nobody does."""
    waiting = {one.criterion for one in judge(evidence) if one.verdict != GateVerdict.PASSED}
    found = [*evidence.findings, *evidence.unaccepted]
    if "evidence_fresh" in waiting:
        what = "the evidence has expired: validate again"
        found.append(Missing(what, "engineer", "workbench promote"))
    if "replay_certificate" in waiting:
        what = f"a certificate that {evidence.adapter} was reproduced in another environment"
        found.append(Missing(what, "engineer", f"workbench replay {evidence.adapter}"))
    if "incidents" in waiting:
        found += [Missing(one["what"], "somebody who had no part in it", one["how"])
                  for one in evidence.incidents if one["how"]]  # fmt: skip
    return found + list(_unsigned(fresh(evidence)) if waiting & {"approvals", "incidents"} else [])


def _unsigned(evidence: Evidence) -> Iterator[Missing]:
    """For each role that lacks its signature, who may still give it."""
    counted, plan = [one for one, why in weighed(evidence) if not why], evidence.plan
    for role in plan.approver_roles:
        if role in {one.role for one in counted}:
            continue
        what, holders = (
            f"the approval of a {role.replace('_', ' ')}",
            evidence.holders.get(role, ()),
        )
        free = [name for name in holders if not any(name in one.identity for one in counted)
                and not duties.conflicts(evidence.touches, name, "approve", plan)]  # fmt: skip
        if free:
            how = f"workbench approve REQUEST --by '{free[0]}' --role {role} --sign-with KEY"
            yield Missing(what, " or ".join(free), how)
        else:
            barred = f"; {', '.join(holders)} may not or signed already" if holders else ""
            yield Missing(f"{what}{barred}", "keyholder", ADD.format(role))
