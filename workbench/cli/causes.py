"""What an expert says of failures: cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..policy.causes import CAUSES
from .program import JSON, main, stored


@main.command()
@click.argument("ref")
@stored
@click.option("--case", help="The failed case; a gate that names no case, by its id.")
@click.option("--cause", type=click.Choice(CAUSES), help="Where it comes from, as you see it.")
@click.option("--by", default="", help="Who says so, by name.")
@click.option("--why", default="", help="In your own words: no names, nothing of the message.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), help="Your SSH key.")
@JSON
def cause(
    store: Any, ref: str, case: str | None, cause: str | None, by: str, why: str,
    sign_with: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """List the blocking failures of record REF that have no cause yet, or give the cause of one."""
    from ..execution import causes

    record = store.record(ref)
    if case or cause:
        given = {"cause": cause or "", "by": by, "why": why}
        said = causes.enter(store, record, case or "", **given, sign_with=sign_with)
        click.echo(json.dumps(said) if as_json else f"✓ {case}: {cause}, said by {by}.")
        return
    found = causes.explained(store, record)
    left = [place for place, said in found.items() if not said]
    if as_json:
        click.echo(json.dumps([{"gate": gate, "case": name} for gate, name in left]))
        return
    for gate, name in left:
        click.echo(f"  {gate:<28}{'' if name == gate else name}")
    click.echo(f"{len(left)} of {len(found)} blocking failures have no cause yet.")
