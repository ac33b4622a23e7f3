"""A request for approval: what there is to sign, in a file that anybody may prepare and pass on.

It decides nothing. Before somebody signs, it is made again from the store and compared: whatever
was edited, has changed since or is of another store is named. New ledger entries are no change.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError, IntegrityError, WorkbenchError
from ...policy.gates import GateVerdict
from ...policy.release import MEANINGS, Evidence, judge, not_shown
from ...record.digest import canonical, read_canonical
from ...record.store import Store
from ...record.verify import verify_record
from .. import bundle
from ..bundle import Candidate
from ..project import Project, runs_folder
from . import standing

VERSION = 1
OWN = ("ledger", "nonce")
"""Fields that are the request's own; all others follow from the store."""


def prepare(project: Project, store: Store, ref: str | None = None) -> dict[str, Any]:
    """What an approver of a candidate (the newest unless named) is asked to sign.

    InputError on the research track; IntegrityError when a record under it does not verify.
    """
    candidate = find(project, store, ref)
    head, about = store.ledger.head(), facts(project, store, candidate)
    return about | {
        "ledger": {"size": head.size, "root": head.root.hex()},
        "nonce": secrets.token_hex(16),
    }


def find(project: Project, store: Store, ref: str | None) -> Candidate:
    """The candidate of this use case; InputError on the research track."""
    if store.track != "governed":
        raise InputError(
            "Only a candidate of the governed track can be released.", where=store.path,
            given=store.track, next_step="workbench promote runs what led to it on that track.",
        )  # fmt: skip
    return bundle.find(store, ref, project.usecase.id)


def facts(project: Project, store: Store, candidate: Candidate) -> dict[str, Any]:
    """All of a request that follows from the store, its records verified."""
    lineage = bundle.lineage(store, candidate)
    if lost := set(candidate.records.values()) - {record.digest for record in lineage}:
        raise IntegrityError("Records that the candidate was decided from are not here as sealed.",
                             where=candidate.record.ref, given=", ".join(sorted(lost)))  # fmt: skip
    for record in lineage:
        if problems := verify_record(record, store.public_keys):
            raise IntegrityError("A record under the candidate does not verify.",
                                 where=record.ref, given=problems[0])  # fmt: skip
    evidence = standing.collect(project, store, candidate)
    plan = evidence.plan
    return evidence.subject | {
        "version": VERSION, "kind": "release-request", "store": store.id,
        "name": candidate.manifest["name"], "number": candidate.number, "tier": plan.tier,
        "records": sorted(({"ref": r.ref, "digest": r.digest} for r in lineage),
                          key=lambda one: one["digest"]),
        "roles": list(plan.approver_roles), "quorum": plan.quorum,
    }  # fmt: skip


def write(project: Project, asked: Mapping[str, Any], to: Path | None = None) -> Path:
    """Write a request; beside the stores unless another place is named."""
    path = to or runs_folder(project.root) / f"request-{asked['bundle'][:12]}.json"
    path.write_bytes(canonical(dict(asked)))
    return path


def read(path: Path) -> dict[str, Any]:
    """A request from a file; InputError when it is none."""
    try:
        found = read_canonical(path.read_bytes())
    except (OSError, WorkbenchError) as error:
        raise InputError("This is no request for approval.", where=path, given=error,
                         next_step="workbench release request makes one.") from error  # fmt: skip
    if not isinstance(found, dict) or found.get("kind") != "release-request":
        raise InputError("This is no request for approval.", where=path)
    return found


def check(project: Project, store: Store, asked: Mapping[str, Any]) -> Candidate:
    """The candidate that is asked about; InputError names each field that is not as the store has
    it now: edited, stale, or of another store."""
    if asked.get("store") != store.id:
        raise InputError("The request is of another store.", expected=store.id,
                         given=asked.get("store"))  # fmt: skip
    candidate = find(project, store, str(asked.get("bundle")))
    now = facts(project, store, candidate)
    names = sorted((now.keys() | asked.keys()) - set(OWN))
    differ = [name for name in names if asked.get(name) != now.get(name)]
    if not standing.signatures.extends(asked.get("ledger"), store.ledger.signed().leaves):
        differ.append("ledger")
    if differ:
        raise InputError(
            "The request is not what the store gives now.", given=", ".join(differ),
            next_step="Find out who changed it; workbench release request makes a new one.",
        )  # fmt: skip
    return candidate


def render(asked: Mapping[str, Any], candidate: Candidate, evidence: Evidence) -> str:
    """What is about to be signed, for the person who signs."""
    evaluation = candidate.read("evaluation.json")
    lines = [
        f"{asked['name']} number {asked['number']} of {asked['usecase']}, tier {asked['tier']}",
        f"  bundle    {asked['bundle']}, {len(candidate.manifest['files'])} files",
        f"  candidate {candidate.record.ref}",
        f"  lock      {asked['lock']}",
        f"  policy    {asked['policy']}",
        f"  ledger    {asked['ledger']['size']} entries, root {asked['ledger']['root']}",
        f"  expires   {asked['expires']}",
        f"Records read, {len(asked['records'])}:",
        *(f"  {one['digest'][:16]}  {one['ref']}" for one in asked["records"]),
        "Gates of the candidate:",
        *map(_gate, evaluation["verdicts"]),
        "Gates of the release, as it stands:",
        *(_gate(one.as_dict()) for one in judge(evidence)),
        "Not shown:",
        *(f"  {one}" for one in not_shown(evaluation)),
        "Meanings:",
        *(f"  {name:<12}{text}" for name, text in MEANINGS.items()),
    ]
    return "\n".join(lines)


def _gate(one: Mapping[str, Any]) -> str:
    accepted = " (ACCEPTED RISK)" if one.get("accepted") else ""
    why = "" if one["verdict"] == GateVerdict.PASSED else f": {one['reason']}"
    return f"  {one['verdict']:<24}{one['criterion']}{accepted}{why}"
