"""Findings in the ledger: raised, answered, closed, each signed; and what of it blocks a release."""

from __future__ import annotations

from pathlib import Path

from ...policy import duties, findings
from ...policy.duties import Entered, Ignored
from ...policy.findings import Answered, Closed, Finding, Raised
from ...policy.tiers import control_plan
from ...record import clock, person
from ...record.store import Store
from ..project import Project
from .acceptances import known
from .touches import about, entered

KIND, NAMESPACE = "finding", "finding@workbench"


def enter(
    project: Project, store: Store, said: Raised | Answered | Closed, sign_with: Path
) -> Finding:
    """Sign what a person says of a finding and enter it; returns the finding as it then stands.

    InputError names the rule that forbids it, IntegrityError a key that does not count.
    """
    ring, stated = store.keyring(), said.model_dump(mode="json")
    who = known(ring, said.by)
    held = {one.id: one for one in read(store, said.usecase)[0]}
    one = Entered(-1, KIND, clock.now(), stated, who.name, who.email, who.roles)
    after = findings.follow(held, one)
    known(ring, after.raised.owner)
    if isinstance(said, Closed) and who.name != after.raised.by:
        touched, _ = about(project, store, after.raised.about)
        duties.refuse(touched, who.name, "close_finding", control_plan(project.usecase))
    envelope = person.sign_as(said.by, stated, NAMESPACE, sign_with, ring)
    store.ledger.append(KIND, {"envelope": envelope})
    return after


def read(store: Store, usecase: str) -> tuple[list[Finding], list[Ignored]]:
    """The findings of a use case as they stand, and the entries that count for nothing."""
    return findings.fold(usecase, entered(store, {KIND: NAMESPACE}))
