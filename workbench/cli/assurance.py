"""Claim, argument, evidence, with a colour: assurance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed
from .program import JSON, USECASE, main

SIGNS = {"red": ("✗", "red"), "amber": ("!", "yellow"), "green": ("✓", "green")}


@main.command()
@click.argument("ref", required=False)
@USECASE
@click.option("--regime", "regimes", multiple=True, help="Only this pack, beside our own rules.")
@click.option("--at", "moment", metavar="TIME", help="Judge by this clock; without it, now.")
@JSON
def assurance(
    ref: str | None, usecase: Path, regimes: tuple[str, ...], moment: str | None, as_json: bool
) -> None:
    """Which claims about candidate REF (the newest) hold, on what evidence. Exit 3 when one is red.

    Red: evidence is missing, failed or expired. Amber: it expires within 14 days, a risk was
    accepted, or nobody has compared our reading of the clause with its text.
    """
    from ..execution import assurance as collected
    from ..execution import bundle, preflight
    from ..execution.project import Project
    from ..policy.assurance import worst
    from ..policy.regimes import named

    project = Project.load(usecase)
    store = preflight.governed(project)
    shown = named(regimes or project.usecase.regimes)
    candidate = bundle.find(store, ref, project.usecase.id)
    claims = collected.case(project, store, candidate, regimes or None, moment)
    colour = worst(claim.colour for claim in claims)
    if as_json:
        told = {"bundle": candidate.digest, "candidate": candidate.record.digest, "colour": colour}
        click.echo(json.dumps(told | {"claims": [claim.as_dict() for claim in claims]}))
    else:
        show(shown, claims)
    if colour == "red":
        red = [f"{claim.regime} {claim.id}" for claim in claims if claim.colour == "red"]
        raise GateNotPassed(
            f"{len(red)} of {len(claims)} claims are red.", where=f"bundle {candidate.digest[:12]}",
            given=", ".join(red) or "no claim", next_step="workbench release status says who owes what",
        )  # fmt: skip


def show(regimes: Mapping[str, Any], claims: Sequence[Any]) -> None:
    """A block a regime, a line a claim; below it each piece of evidence that is not green."""
    from rich.text import Text

    from ..evidence import tables
    from ..policy.regimes import OURS

    out = tables.console()
    for name, regime in regimes.items():
        own = [claim for claim in claims if claim.regime == name]
        out.print(f"\n{regime.title}" + ("" if own else f"\n  Claims nothing here. {regime.scope}"))
        for claim in own:
            symbol, style = SIGNS[claim.colour]
            unread = "" if claim.verified or name == OURS else "  (unverified reading)"
            told = f"{claim.id:<20}{claim.asks}{unread}"
            out.print(Text(f"{symbol} {claim.colour:<6}", style), told)
            for line in claim.lines:
                if line.colour != "green":
                    why = f"{line.source}: {line.why} {line.where}".rstrip()
                    out.print(Text(f"      {line.colour:<6} {why}", SIGNS[line.colour][1]))
            out.print(f"         not covered: {claim.not_covered}", style="dim")
        for part in regime.not_mapped if own else ():
            out.print(f"  not claimed: {part}", style="dim")
