"""What serves an environment, and who may change it when: the rules over ledger entries (E5).

1. `start` serves all at once, `canary` a share beside what serves, `promote` makes the canary serve
   all. `halt` ends a canary, `roll_back` puts an earlier release back, `stop` leaves nothing.
2. Whatever makes less be served, or what served before, is a way back: no gate, window or
   rehearsal stands before it, and a machine may take it. All else is a person's.
3. A release that was halted, rolled back from, or stopped for a reason, was taken back. It serves
   again only under approvals that are younger than that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InputError
from ..record import clock
from .figures import Figure
from .gates import GateResult, GateVerdict
from .operations import Canary, Window

STAGE = "70_deploy"
START, CANARY, PROMOTE = FORWARD = ("start", "canary", "promote")
STOP, HALT, ROLL_BACK = BACK = ("stop", "halt", "roll_back")
ROLES, AUTOMATION = {"operator", "use_case_owner"}, "automation"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
COLUMNS = ("arm", "outcome", "reason", "status", "latency_ms", "abstained")
"""Of `served.parquet`, as the decision log names them."""
ANSWERED = ("answered", "escalated")
HARM = {
    "rehearsal": "What serves was never seen to work where it serves.",
    "canary": "Everybody meets at once what nobody has met.",
}


class Deployment(NamedTuple):
    """One ledger entry: who changed what serves where."""

    entry: int
    time: str
    """From when it counts."""
    usecase: str
    environment: str
    bundle: str
    """The release that serves after it; of a halt or a stop the one that no longer does."""
    record: str
    """Digest of the record of the release."""
    action: str
    by: str
    share: float | None = None
    """Of a canary: the share of the subjects."""
    reason: str = ""
    """Why it was taken back."""
    sealed: str | None = None
    """Digest of the record of 70_deploy that shows on what it rests, where the environment asks."""

    @property
    def place(self) -> tuple[str, str]:
        return self.usecase, self.environment


class State(NamedTuple):
    """What serves one use case in one environment."""

    stable: Deployment | None = None
    """The entry that made it serve all."""
    canary: Deployment | None = None
    taken_back: Mapping[str, int] = {}
    """Bundle -> the last entry that took it back, also when it serves again."""
    before: tuple[Deployment, ...] = ()
    """What served all before, the newest first."""

    @property
    def serving(self) -> tuple[Deployment, ...]:
        return tuple(one for one in (self.stable, self.canary) if one)


def after(state: State, one: Deployment) -> State:
    """What serves once this entry counts."""
    stable, taken = state.stable, dict(state.taken_back)
    if one.action == CANARY:
        return state._replace(canary=one)
    if one.action == HALT:
        return state._replace(canary=None, taken_back=taken | {one.bundle: one.entry})
    if stable and (one.action == ROLL_BACK or (one.action == STOP and one.reason)):
        taken[stable.bundle] = one.entry
    before = (stable, *state.before) if stable else state.before
    return State(None if one.action == STOP else one, None, taken, before)


def state(known: Iterable[Deployment]) -> State:
    """What serves after these entries of one use case in one environment."""
    found = State()
    for one in known:
        found = after(found, one)
    return found


def fault(held: State, action: str, bundle: str, share: float | None = None) -> str:
    """Why an action can't follow on what serves; empty when it can."""
    stable, canary = (one and one.bundle for one in (held.stable, held.canary))
    if action in (START, CANARY) and bundle in (stable, canary):
        return "It serves there already."
    if action == CANARY and not (share and 0 < share < 1):
        return "A canary has a share between 0 and 1."
    if action in (START, CANARY) and canary:
        return "A canary serves there: promote or halt it first."
    if action in (PROMOTE, HALT) and bundle != canary:
        return "It is no canary there."
    if action in (STOP, ROLL_BACK) and bundle not in (stable, canary):
        return "It does not serve there."
    return ""


def may(roles: Collection[str], action: str) -> bool:
    """May somebody with these roles do that? A machine only takes back."""
    return bool(ROLES & set(roles)) or (AUTOMATION in roles and action in BACK)


def back(held: State) -> list[Deployment]:
    """Releases that served all before and were not taken back, the newest first, each once."""
    gone = {*held.taken_back, *(one.bundle for one in held.serving)}
    found = {one.bundle: one for one in reversed(held.before) if one.bundle not in gone}
    return sorted(found.values(), key=lambda one: -one.entry)


# -- when ------------------------------------------------------------------------------------------


def opens(window: Window, now: str) -> datetime:
    """When what serves may next be changed, in the window's zone; `now` when it may.

    InputError for a zone that the time zone database does not know.
    """
    try:
        moment = clock.parse(now).astimezone(ZoneInfo(window.zone))
    except (ZoneInfoNotFoundError, ValueError):
        raise InputError("No such time zone.", where="window.zone", given=window.zone) from None
    for days in range(8):
        day = moment.date() + timedelta(days=days)
        begin, end = (datetime.combine(day, t, moment.tzinfo) for t in (window.start, window.end))
        if DAYS[day.weekday()] in window.days and moment < end:
            return max(moment, begin)
    raise InputError("The window never opens.", given=", ".join(window.days))


# -- what a canary has shown -----------------------------------------------------------------------


def served(lines: Iterable[Mapping[str, Any]], held: State) -> list[dict[str, Any]]:
    """Rows of `served.parquet`: what callers got since the canary began, from the decision log.

    Requests of sentinels and rehearsals are none, nor are those of a canary before it.
    InputError where there is no canary.
    """
    one = held.canary
    if one is None:
        raise InputError("No canary serves there.")
    return [
        {name: line[name] for name in COLUMNS}
        for line in lines
        if line["kind"] == "traffic" and line["arm"]
        and clock.parse(line["time"]) >= clock.parse(one.time)
        and (line["arm"] != "canary" or line["entry"] == one.entry)
    ]  # fmt: skip


def grown(asked: Canary, held: State, rows: Sequence[Mapping[str, Any]], now: str) -> GateResult:
    """Has the canary run as long, and answered as many, as the environment asks?"""
    n = sum(row["arm"] == "canary" and row["outcome"] in ANSWERED for row in rows)
    minutes = (clock.parse(now) - clock.parse(held.canary.time)).total_seconds() / 60
    waits = [f"{n} requests answered, {asked.requests} needed"] if n < asked.requests else []
    if minutes < asked.minutes:
        waits.append(f"{minutes:.1f} minutes, {asked.minutes:g} needed")
    return _gate("canary", waits, n, f"{n} requests answered in {minutes:.1f} minutes")


def rehearsed(refs: Sequence[str], faults: Sequence[str]) -> GateResult:
    """Did a rehearsal of this bundle pass? `faults` say why those that there are do not count."""
    waits = [] if refs else list(faults) or ["it was never rehearsed in pre-production"]
    return _gate("rehearsal", waits, len(refs), ", ".join(refs) or "none passed")


def _gate(name: str, waits: list[str], n: int, reason: str) -> GateResult:
    verdict = GateVerdict.INSUFFICIENT_EVIDENCE if waits else GateVerdict.PASSED
    figure = Figure(name, len(waits), n=n, method="count", unit="findings")
    said = "; ".join([*waits, reason])
    return GateResult(name, STAGE, verdict, figure, "none missing", said, HARM[name], True,
                      tuple(waits))  # fmt: skip
