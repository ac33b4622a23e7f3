"""Risk acceptances (L3): a gate that failed stays failed, and a person answers for going on.

The rules; an acceptance that breaks one does not count:

1. It is of a gate that blocks and `failed` in the record that it names; what was not measured is no
   risk that anybody could know.
2. The control plan allows it: of any criterion, only of one marked `acceptable`, or of none. A
   standing gate is no criterion, and can't be accepted.
3. It is signed by whom it names, in a role that may (`roles`).
4. It ends within the plan's `acceptance_days` after it was entered; from then on the gate refuses.

Whoever accepts has no conflict (`duties`, `waive`); the standing gate of a release looks again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from ..errors import InputError
from .criteria import Policy
from .findings import Sha256, Statement
from .texts import Lasting
from .tiers import ControlPlan

ROLE, OWNER = "risk_manager", "use_case_owner"
OWNERS_TIERS = ("low", "moderate")
SHOWN = ("by", "residual", "control", "owner", "expires", "entry")
Verdict = Mapping[str, Any]


class Acceptance(Statement):
    """What a person signs: the gate, its record, what remains, what is done about it, until when."""

    gate: str
    """Id of the criterion."""
    stage: str
    """Stage whose record gave the verdict."""
    record: Sha256
    """Digest of that record: after another examination it is another risk."""
    residual: Lasting
    """What can still go wrong."""
    control: Lasting
    """What is done about it."""
    owner: str
    """Printed name of who sees that it is done."""
    expires: date
    """The last day on which the acceptance holds."""


def roles(plan: ControlPlan) -> list[str]:
    """Who may accept a risk at the plan's tier."""
    return [ROLE, OWNER] if plan.tier in OWNERS_TIERS else [ROLE]


def check(
    said: Acceptance,
    held: Collection[str],
    entered: date,
    verdicts: Iterable[Verdict],
    criteria: Policy,
    plan: ControlPlan,
) -> None:
    """InputError with the rule that an acceptance breaks. `held` are the roles of who signs it,
    `criteria` and `verdicts` those of the record that it names."""
    verdicts = list(verdicts)
    failed = [v["criterion"] for v in verdicts if v["blocking"] and v["verdict"] == "failed"]
    alone = [v["criterion"] for v in verdicts].count(said.gate) == 1
    marks = {one.id: one.acceptable for one in criteria.gates}
    may = plan.acceptable == "criteria" or (plan.acceptable == "marked" and marks.get(said.gate))
    last = entered + timedelta(days=plan.acceptance_days)
    for broken, what, expected, given in (
        (said.gate not in failed or not alone, "No one gate of that name blocks and failed in that record.",
         ", ".join(failed), said.gate),
        (said.gate not in marks, "A standing gate can't be accepted.", ", ".join(marks), said.gate),
        (not may, f"Tier {plan.tier} does not let this gate's failure be accepted.",
         f"acceptable: {plan.acceptable}", f"{said.gate}, acceptable: {marks.get(said.gate)}"),
        (not set(roles(plan)) & set(held), f"Not theirs to accept at tier {plan.tier}.",
         " or ".join(roles(plan)), ", ".join(held)),
        (not entered <= said.expires <= last, "It must end within the days that the plan gives.",
         f"from {entered} to {last}", said.expires),
    ):  # fmt: skip
        if broken:
            raise InputError(
                what, where=f"acceptance of {said.gate}", expected=expected, given=given
            )


def marked(verdicts: Iterable[Verdict], accepted: Iterable[Verdict]) -> list[dict[str, Any]]:
    """The verdicts, each failed one with the acceptance of it beside; the verdict stays `failed`.

    `accepted` are acceptances in force of the very records that gave the verdicts.
    """
    held = {(one["stage"], one["gate"]): one for one in accepted}
    found = []
    for verdict in verdicts:
        one = held.get((verdict["stage"], verdict["criterion"]))
        plain = {name: value for name, value in verdict.items() if name != "accepted"}
        if one and verdict["verdict"] == "failed":
            plain["accepted"] = {name: one[name] for name in SHOWN}
        found.append(plain)
    return found


def words(verdict: Verdict) -> str:
    """The verdict, and whose acceptance stands beside it until when."""
    said = verdict.get("accepted")
    told = f", accepted by {said['by']} until {said['expires']}: {said['residual']}" if said else ""
    return f"{verdict['verdict']}{told}"


def tally(verdicts: Iterable[Verdict]) -> str:
    """How many of the gates that block passed, and each that is failed and accepted."""
    held = [one for one in verdicts if one["blocking"]]
    accepted = [f"{one['criterion']}: {words(one)}" for one in held if one.get("accepted")]
    passed = sum(one["verdict"] == "passed" for one in held)
    share = f"all {passed}" if passed == len(held) else f"{passed} of {len(held)}"
    return "; ".join([f"{share} blocking gates passed", *accepted])


def stands(verdict: Verdict) -> bool:
    """May it go on with this verdict: passed, or failed and accepted by a person?"""
    accepted = verdict["verdict"] == "failed" and bool(verdict.get("accepted"))
    return verdict["verdict"] == "passed" or accepted
