"""The assurance case (N6): claim, argument, evidence, and a colour from records and the clock.

A claim is a control of a regime. Of each source of evidence that it names, in this order:

1. Nothing of that kind is there, it does not hold, it is dated after the clock, or it has expired:
   red. A layer that the plan's tier does not ask for is not missing: amber.
2. It failed and a person accepted the risk, or it expires within 14 days: amber.
3. Green.

A claim is as good as its worst evidence; one whose reading nobody has compared with the clause is
amber at best, save the workbench's own. A regime that does not speak of the use case claims
nothing, and a case without a claim shows nothing: red.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from ..record import clock
from .regimes import OURS, Control, named
from .usecase import UseCase

RED, AMBER, GREEN = COLOURS = ("red", "amber", "green")
SOON = timedelta(days=14)


@dataclass(frozen=True)
class Piece:
    """Something that may carry a claim: a verdict, a record, a ledger entry, a file, a plan's field."""

    source: str
    """What it is evidence of, as a control names it: `gate:layers`."""
    holds: bool
    said: str
    """In words: the verdict's reason, or why it does not hold."""
    where: str = ""
    """The record or ledger entry, as the command line names it."""
    digest: str = ""
    since: str = ""
    """When it came about; empty where that is told by what it stands in."""
    expires: str = ""
    accepted: bool = False
    """It failed, and a person accepted the risk."""


@dataclass(frozen=True)
class Line:
    """One source of a claim, its worst piece, and the colour that follows."""

    source: str
    colour: str
    why: str
    where: str = ""
    digest: str = ""
    expires: str = ""


@dataclass(frozen=True)
class Claim:
    """A control as it stands: what is asked, why the evidence answers it, and whether it does."""

    regime: str
    id: str
    clause: str
    asks: str
    shows: str
    not_covered: str
    verified: bool
    colour: str
    lines: tuple[Line, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"lines": [asdict(line) for line in self.lines]}


def claims(
    case: UseCase, layers: Sequence[str], pieces: Iterable[Piece], now: str,
    regimes: Iterable[str] | None = None,
) -> list[Claim]:  # fmt: skip
    """The claims of the regimes that the use case names, or of those given, and of our own.

    `layers` are those that the plan asks for. InputError for a regime that there is no pack of.
    """
    held: dict[str, list[Piece]] = {}
    for piece in pieces:
        held.setdefault(piece.source, []).append(piece)
    chosen = named(case.regimes if regimes is None else regimes)
    return [
        _claim(name, control, held, layers, clock.parse(now))
        for name, regime in chosen.items()
        if regime.within.holds(case)
        for control in regime.controls
    ]


def worst(colours: Iterable[str]) -> str:
    """The colour of a whole; red where there is nothing."""
    return min(colours, key=COLOURS.index, default=RED)


def _claim(
    regime: str, control: Control, held: Mapping[str, Sequence[Piece]], layers: Sequence[str],
    now: datetime,
) -> Claim:  # fmt: skip
    lines = tuple(_source(one, held.get(one, ()), layers, now) for one in control.evidence)
    ceiling = GREEN if control.verified or regime == OURS else AMBER
    colour = worst([ceiling, *(line.colour for line in lines)])
    told = control.model_dump(include={"id", "clause", "asks", "shows", "not_covered", "verified"})
    return Claim(regime=regime, colour=colour, lines=lines, **told)


def _source(source: str, pieces: Sequence[Piece], layers: Sequence[str], now: datetime) -> Line:
    """A source is as good as its worst piece; of equal ones the first to expire is shown."""
    kind, _, name = source.partition(":")
    if pieces:
        lines = [_line(one, now) for one in pieces]
        return min(lines, key=lambda one: (COLOURS.index(one.colour), one.expires or "~"))
    if kind == "layer" and name not in layers:
        return Line(source, AMBER, "the plan of this tier does not ask for it")
    return Line(source, RED, "missing")


def _line(piece: Piece, now: datetime) -> Line:
    left = clock.parse(piece.expires) - now if piece.expires else None
    colour, why = GREEN, piece.said
    if left is not None and left <= SOON:
        colour, why = AMBER, f"expires {piece.expires}: {piece.said}"
    if piece.accepted:
        colour, why = AMBER, f"failed, and the risk was accepted: {piece.said}"
    if left is not None and left <= timedelta():
        colour, why = RED, f"expired {piece.expires}: {piece.said}"
    if piece.since and clock.parse(piece.since) > now:
        colour, why = RED, f"not there before {piece.since}: {piece.said}"
    if not piece.holds and not piece.accepted:
        colour, why = RED, piece.said
    return Line(piece.source, colour, why, piece.where, piece.digest, piece.expires)
