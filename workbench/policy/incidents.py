"""Incidents and near misses (M2): what went wrong, kept as a scenario that blocks what comes later.

The rules, for each entry of the ledger in order; an entry that breaks one is named and counts for
nothing, so that an open incident can't be closed by it:

1. It is signed by the person or machine whom it names.
2. An incident is opened once; its id is the digest of what was signed.
3. It names the release that served, and how to see it again: a text, and what must be answered.
4. A person closes it who had no part in the candidate that they name, by the sealed record in
   which that text was answered as it must be. No machine closes any.

What an incident means for a release, the standing gate `incidents` says (`policy.release`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field

from ..errors import InputError, WorkbenchError
from ..record.digest import digest
from ..record.keyring import AUTOMATION
from .documents import Document
from .duties import Entered, Ignored
from .findings import SHORT, Sha256, Statement
from .scenarios import Library, Scenario
from .texts import Lasting

LIBRARY, CONDITION = "incidents", "as_reported"
HARM = "harm"
ORIGIN = {"near_miss": "near_miss", HARM: "incident"}
"""Severity -> the origin that its scenario has."""


class Opened(Statement):
    """What happened, with which release, and how to see it again."""

    act: Literal["open"] = "open"
    """What is done to the incident."""
    what: Lasting
    """What went wrong, for whom."""
    severity: Literal["near_miss", "harm"]
    """Was somebody harmed?"""
    environment: str
    """Where."""
    happened: str
    """When, UTC."""
    bundle: Sha256
    """The release that answered."""
    deployment: int
    """The ledger entry that had put it there."""
    decision: Sha256 | None = None
    """Digest of the line in the decision log."""
    taken_back: int | None = None
    """The ledger entry that took the release back before anybody reported it."""
    text: Lasting
    """What was asked, without what tells who somebody is."""
    expect: dict[str, str] = Field(min_length=1)
    """Field -> what must be answered."""


class Closed(Statement):
    """A candidate answers as it must: so says somebody who had no part in it."""

    act: Literal["close"] = "close"
    """What is done to the incident."""
    incident: str
    """Its id."""
    candidate: Sha256
    """Digest of the bundle."""
    record: Sha256
    """The sealed record of 42_scenarios that shows it."""


ACTS: dict[str, type[Document]] = {"open": Opened, "close": Closed}


@dataclass(frozen=True)
class Incident:
    """An incident as it stands."""

    id: str
    opened: Opened
    entry: int
    """Of the ledger, where it was opened."""
    closed: Closed | None = None

    @property
    def state(self) -> str:
        return "closed" if self.closed else "open"

    @property
    def scenario(self) -> str:
        """Id of its scenario."""
        return f"incident-{self.id}"

    def __str__(self) -> str:
        said = self.opened
        return (f"{self.id} {said.severity}, {self.state}: {said.what} "
                f"({said.environment}, release {said.bundle[:SHORT]})")  # fmt: skip


def named(said: Mapping[str, Any]) -> str:
    """The id of an incident, from what was signed."""
    return digest(dict(said))[:SHORT]


def fold(usecase: str, entries: Iterable[Entered]) -> tuple[list[Incident], list[Ignored]]:
    """The incidents of a use case in their order, and what does not count."""
    found: dict[str, Incident] = {}
    ignored = []
    for one in entries:
        if one.statement.get("usecase", usecase) == usecase:
            try:
                changed = follow(found, one)
                found[changed.id] = changed
            except WorkbenchError as error:
                ignored.append(Ignored(one.entry, error.what))
    return list(found.values()), ignored


def follow(found: Mapping[str, Incident], one: Entered) -> Incident:
    """The incident as it stands after an entry. InputError names the rule that the entry breaks."""
    said = one.read(ACTS.get(str(one.statement.get("act")), Opened))
    opens = isinstance(said, Opened)
    name = named(one.statement) if opens else said.incident
    held = found.get(name)
    for broken, what in (
        (opens and held, "the same incident a second time"),
        (not opens and not held, "there is no such incident"),
        (held and held.closed, "it is closed already"),
        (not opens and AUTOMATION in one.roles, "a machine closes no incident"),
    ):
        if broken:
            raise InputError(what, where=f"incident {name}", given=one.name)
    return Incident(name, said, one.entry) if opens else replace(held, closed=said)


def taught(before: Mapping[str, Any] | None, one: Incident) -> dict[str, Any]:
    """The library of incidents with this one's scenario in it, as plain data.

    InputError when what it holds is no library, or has it already.
    """
    said, day = one.opened, one.opened.happened[:10]
    source = f"incident {one.id} in {said.environment} on {day}, reported by {said.by}"
    held = dict(before or {"library": LIBRARY, "version": 0, "author": said.by, "reviewed_by": "",
                           "hazards": {}, "conditions": {}, "scenarios": []})  # fmt: skip
    if any(dict(other).get("id") == one.scenario for other in held.get("scenarios", ())):
        raise InputError("The library has this scenario already.", given=one.scenario)
    hazard = {"text": said.what, "source": source, "severity": "blocking"}
    checks = [{"use": "one_of", "arguments": {"field": field, "values": [value]}}
              for field, value in said.expect.items()]  # fmt: skip
    scenario = {"id": one.scenario, "hazard": one.scenario, "condition": CONDITION,
                "origin": ORIGIN[said.severity], "author": said.by, "text": said.text,
                "checks": checks}  # fmt: skip
    held |= {"version": held["version"] + 1}
    held["hazards"] = held["hazards"] | {one.scenario: hazard}
    held["conditions"] = held["conditions"] | {CONDITION: "as it was reported"}
    held["scenarios"] = [*held["scenarios"], scenario]
    Library.parse(held, where=LIBRARY)
    return held


def untaught(found: Iterable[Incident], libraries: Iterable[Library]) -> list[str]:
    """Ids of the incidents whose scenario no library holds as it was reported."""
    held = {one.id: one for library in libraries for one in library.scenarios}
    lost = []
    for one in found:
        asked = Scenario.parse(taught(None, one)["scenarios"][0])
        known = held.get(one.scenario)
        same = known and (known.text, known.checks) == (asked.text, asked.checks)
        if not same or known.severity not in (None, "blocking"):
            lost.append(one.id)
    return lost
