"""Findings (L9): somebody raises one, somebody answers with evidence, somebody else closes it.

The rules, for each entry of the ledger in order; an entry that breaks one is named and counts for
nothing, so that an open finding can't be closed by it:

1. It is signed by the person whom it names, with a key in force when it was entered.
2. A finding is raised once; its id is the digest of what was signed.
3. Only an open one is answered, with evidence by its digest.
4. Only an answered one is closed: by who raised it, or by a role of `CLOSERS`; never by who answered.

Whoever closes by role has no conflict (`duties`); the standing gate of a release looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from ..errors import InputError, WorkbenchError
from ..record.digest import digest
from .documents import Document
from .duties import Entered, Ignored, Touch, conflicts
from .texts import Lasting
from .tiers import ControlPlan

BLOCKING = ("major", "critical")
CLOSERS = ("model_validator", "quality_assurance")
SHORT = 12  # characters of a digest that name a finding
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Statement(Document):
    """What whoever signs a statement says of themselves."""

    usecase: str
    """Id of the use case."""
    by: str
    """Printed name of who signs."""
    time: str
    """When, as the signer's clock has it; what counts is the ledger's."""


class Raised(Statement):
    """What is wrong, with what, how badly, and who is to see to it until when."""

    act: Literal["raise"] = "raise"
    """What is done to the finding."""
    about: Sha256
    """Digest of the bundle, or of the record before there is a bundle."""
    severity: Literal["minor", "major", "critical"]
    """Major and critical ones block every release of the use case."""
    text: Lasting
    """What is wrong."""
    owner: str
    """Printed name of who is to see to it."""
    due: date
    """The last day for it."""


class Answered(Statement):
    """What was done about a finding, and what shows it."""

    act: Literal["answer"] = "answer"
    """What is done to the finding."""
    finding: str
    """Its id."""
    text: Lasting
    """What was done."""
    evidence: Sha256
    """Digest of a record, or of a file."""


class Closed(Statement):
    """A finding is settled: so says somebody who did not answer it."""

    act: Literal["close"] = "close"
    """What is done to the finding."""
    finding: str
    """Its id."""


ACTS = {"raise": Raised, "answer": Answered, "close": Closed}


@dataclass(frozen=True)
class Finding:
    """A finding as it stands."""

    id: str
    raised: Raised
    entry: int
    """Of the ledger, where it was raised."""
    answers: tuple[Answered, ...] = ()
    closed: Closed | None = None

    def overdue(self, today: date) -> bool:
        """Is it open after the day until which it was to be settled?"""
        return self.closed is None and today > self.raised.due

    @property
    def state(self) -> str:
        return "closed" if self.closed else "answered" if self.answers else "open"

    def __str__(self) -> str:
        said = self.raised
        return f"{self.id} {said.severity}, {self.state}: {said.text} ({said.owner}, by {said.due})"


def fold(usecase: str, entries: Iterable[Entered]) -> tuple[list[Finding], list[Ignored]]:
    """The findings of a use case in the order in which they were raised, and what does not count."""
    found: dict[str, Finding] = {}
    ignored = []
    for one in entries:
        if one.statement.get("usecase", usecase) == usecase:
            try:
                changed = follow(found, one)
                found[changed.id] = changed
            except WorkbenchError as error:
                ignored.append(Ignored(one.entry, error.what))
    return list(found.values()), ignored


def follow(found: Mapping[str, Finding], one: Entered) -> Finding:
    """The finding as it stands after an entry. InputError names the rule that the entry breaks."""
    said = one.read(ACTS.get(str(one.statement.get("act")), Raised))
    raises, closes = isinstance(said, Raised), isinstance(said, Closed)
    name = digest(dict(one.statement))[:SHORT] if raises else said.finding
    held = found.get(name)
    answered = {answer.by for answer in held.answers} if held else set()
    theirs = bool(held) and (one.name == held.raised.by or set(CLOSERS) & set(one.roles))
    for broken, what in (
        (raises and held, "the same finding a second time"),
        (not raises and not held, "there is no such finding"),
        (held and held.closed, "it is closed already"),
        (closes and not answered, "nobody has answered it with evidence"),
        (closes and one.name in answered, "whoever answered a finding may not close it"),
        (closes and not theirs, f"only who raised it may close it, or a {' or '.join(CLOSERS)}"),
    ):
        if broken:
            raise InputError(what, where=f"finding {name}", given=one.name)
    if raises:
        return Finding(name, said, one.entry)
    return replace(held, closed=said) if closes else replace(held, answers=(*held.answers, said))


def blocking(
    found: Iterable[Finding], touches: Iterable[Touch], plan: ControlPlan
) -> list[Finding]:
    """Major and critical findings that stand in the way of a release: open ones, and those that
    somebody closed by role who has a conflict."""
    touched = list(touches)

    def settled(one: Finding) -> bool:
        by = one.closed.by if one.closed else ""
        own = by == one.raised.by
        return bool(by) and (own or not conflicts(touched, by, "close_finding", plan))

    return [one for one in found if one.raised.severity in BLOCKING and not settled(one)]
