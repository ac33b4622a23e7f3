"""Separation of duties (L6): who touched what led to a candidate, and what that bars them from.

The conflict matrix is the control plan's, by tier: at a low tier a small team must be able to go
on, at a high one nobody signs for their own work. A touch that is not in the matrix is shown, and
bars nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from ..errors import InputError
from .documents import Document
from .tiers import ControlPlan

ACTS = ("built", "edited_policy", "edited_scenarios", "edited_templates", "edited_code",
        "edited_data", "classified", "approved_envelope", "approved_templates", "reviewed_privacy",
        "accepted_risk", "gave_cause", "answered_finding", "signed_release")  # fmt: skip
"""What a person can have done: `built` ran a stage; code is steps, suites and declarations."""
DUTIES = ("approve", "waive", "close_finding")
"""What it can bar them from: a release's approval, a risk's acceptance, the end of a finding."""
Said = TypeVar("Said", bound=Document)


class Touch(NamedTuple):
    """One thing that a person did to what led to a candidate."""

    person: str
    """Printed name, as the keyring has it."""
    act: str
    """One of `ACTS`."""
    where: str
    """What shows it: a file and commit, a record, or a ledger entry, with its day."""

    def __str__(self) -> str:
        return f"{self.act.replace('_', ' ')}: {self.where}"


class Entered(NamedTuple):
    """What a person stated in a ledger entry, and who signed it."""

    entry: int
    kind: str
    time: str
    """Of the entry."""
    statement: Mapping[str, Any]
    name: str = ""
    email: str = ""
    roles: tuple[str, ...] = ()
    """As the keyring that was in force has the signer."""
    refused: str = ""
    """Why the signature does not count."""

    def read(self, document: type[Said]) -> Said:
        """The statement as a document. InputError unless it is one, signed by whom it names."""
        if self.refused:
            raise InputError(self.refused)
        said = document.parse(self.statement)
        if said.by != self.name:
            raise InputError("not signed by whom it names", expected=said.by, given=self.name)
        return said


class Ignored(NamedTuple):
    """An entry of the ledger that does not count, and why."""

    entry: int
    why: str

    def __str__(self) -> str:
        return f"ledger entry {self.entry} does not count: {self.why}"


def conflicts(touches: Iterable[Touch], person: str, duty: str, plan: ControlPlan) -> list[Touch]:
    """The touches of a person that bar them from a duty by the plan; empty when they may.

    InputError for a duty or an act that nobody knows: one misspelt would bar nobody.
    """
    barring = plan.conflicts.get(duty, ())
    if duty not in DUTIES or not set(barring) <= set(ACTS):
        raise InputError("There is no such duty, or no such act in the plan's conflicts.",
                         given=f"{duty}: {', '.join(barring)}", expected=", ".join(ACTS))  # fmt: skip
    return [one for one in touches if one.person == person and one.act in barring]


def refuse(touches: Iterable[Touch], person: str, duty: str, plan: ControlPlan) -> None:
    """InputError that says where the person touched, when the plan bars them from a duty."""
    if found := conflicts(touches, person, duty, plan):
        raise InputError(
            f"{person} may not {duty.replace('_', ' ')}: they touched what they would judge.",
            where="; ".join(map(str, found)),
            expected=f"at tier {plan.tier}, somebody who did none of this",
            next_step="Ask another person; `workbench release status` shows who touched what.",
        )
