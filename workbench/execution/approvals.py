"""What a person approves before a governed run: the change envelope, the templates.

An approval names what it is about by digest, so whatever changes afterwards is not approved. Each
names the one before: an old one that is entered again can't bring back what was replaced since.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import InputError, IntegrityError, WorkbenchError
from ..policy.tracks import ROLES
from ..record import keyring, person
from ..record.digest import Entry, digest, tree, tree_digest
from ..record.keyring import Person
from ..record.store import Store
from . import capture
from . import envelope as change_envelope
from .project import Project
from .stages import Stage, stages_for

KIND, NAMESPACE = "approval", "approve@workbench"
STEPS, CACHES = "steps/", {"__pycache__", ".ipynb_checkpoints"}
MEANINGS = {
    "envelope": "A retraining that stays inside this envelope changes nothing I have not weighed.",
    "templates": "I have reviewed these notebooks and steps; governed runs may use them.",
}


def subject(project: Project, kind: str) -> dict[str, Any]:
    """What there is to approve now, by name and digest. InputError when there is nothing."""
    stages = stages_for(project.root, project.usecase)
    names = envelope(project) if kind == "envelope" else templates(project, stages)
    if not names:
        raise InputError(f"There is no {kind} to approve.", where=f"usecase.yaml: {kind}",
                         next_step="Write it, and name its file there.")  # fmt: skip
    facts = {"usecase": project.usecase.id, "workbench": capture.package_version()}
    return facts | {
        "kind": kind,
        "names": names,
        "sha256": digest(names),
        "meaning": MEANINGS[kind],
    }


def envelope(project: Project) -> dict[str, str]:
    """The change envelope's file and digest; empty where the use case has none."""
    found = change_envelope.load(project)
    return {project.usecase.envelope: found.digest} if found else {}


def templates(project: Project, stages: Iterable[Stage]) -> dict[str, str]:
    """Stage -> digest of what its notebook says and does, and that of the use case's own steps."""
    own = project.root / STEPS
    steps = {STEPS: tree_digest(sources(own))} if own.is_dir() else {}
    return {stage.name: stage.source_digest for stage in stages} | steps


def sources(folder: Path) -> list[Entry]:
    """The use case's own steps; what Python and Jupyter leave beside them decides nothing."""
    return [entry for entry in tree(folder) if not CACHES & set(entry.path.split("/"))]


def enter(
    store: Store, kind: str, statement: dict[str, Any], by: str, sign_with: Path
) -> dict[str, Any]:
    """Sign what `subject` stated with a person's SSH key and enter it; returns what was signed.

    InputError or IntegrityError when the key is not that person's, or they lack the role.
    """
    last, ring = in_force(store, kind, statement["usecase"]), store.keyring()
    signed = statement | {"kind": kind, "by": by, "previous": last and digest(last)}
    sealed = person.sign_as(by, signed, NAMESPACE, sign_with, ring)
    _check(signed, ring.find(sealed["public_key"])[0], last)
    with store.making():
        if in_force(store, kind, statement["usecase"]) != last:
            raise InputError("Somebody else approved meanwhile.", next_step="Look, and sign anew.")
        store.ledger.append(KIND, {"envelope": sealed})
    return signed


def in_force(store: Store, kind: str, usecase: str) -> dict[str, Any] | None:
    """The statement of the last approval of that kind; None when there is none.

    IntegrityError names the ledger entry whose signature did not count when it was entered.
    """
    versions, last = keyring.versions(store.ledger.entries("keyring")), None
    for entry in store.ledger.entries(KIND):
        said = entry.body.get("envelope", {}).get("statement", {})
        if (said.get("kind"), said.get("usecase")) != (kind, usecase):
            continue  # of another kind or use case: it approves nothing here
        try:
            _check(said, keyring.signer(versions, entry, NAMESPACE), last)
        except WorkbenchError as error:
            raise IntegrityError(
                f"An approval of the {kind} does not count: {error.what}",
                where=f"ledger entry {entry.index}", expected=error.expected, given=error.given,
                next_step="Find out who entered it; nothing runs on it.",
            ) from error  # fmt: skip
        last = said
    return last


def _check(said: dict[str, Any], signer: Person, last: dict[str, Any] | None) -> None:
    """IntegrityError unless whoever signed is who it says, may approve this, and follows `last`."""
    if signer.name != said.get("by") or said.get("previous") != (last and digest(last)):
        raise IntegrityError("not signed by whom it names, or entered out of order")
    if ROLES[said["kind"]] not in signer.roles:
        raise IntegrityError(f"{signer.name} may not approve the {said['kind']}",
                             expected=ROLES[said["kind"]], given=", ".join(signer.roles))  # fmt: skip
