"""Pre-production: preprod up, status, rehearse, down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed
from .program import JSON, USECASE, main


@main.group()
def preprod() -> None:
    """A place to rehearse a release in, gone after its time."""


def _project(usecase: Path) -> Any:
    from ..execution.project import Project

    return Project.load(usecase)


@preprod.command()
@click.argument("ref", required=False)
@USECASE
@click.option("--ttl", default="2h", show_default=True, help="Its life: 90s, 30m, 2h, 1d.")
@JSON
def up(ref: str | None, usecase: Path, ttl: str, as_json: bool) -> None:
    """Serve release REF (the newest) in a disposable environment on this machine.

    It has processes, a network, a store and keys of its own, and ends by itself.
    """
    from ..execution.operate import preprod as place

    project, seconds = _project(usecase), place.lifetime(ttl)
    made = place.up(project, project.store("governed", create=False), seconds, ref)
    told = f"✓ bundle {made.facts['bundle'][:12]} answers in {made.folder}"
    next_step = f"  until {made.facts['expires']}; next: workbench preprod rehearse"
    click.echo(json.dumps(made.facts) if as_json else f"{told}\n{next_step}")


@preprod.command()
@USECASE
@JSON
def status(usecase: Path, as_json: bool) -> None:
    """Say whether it is up, what it serves, and for how long."""
    from ..execution.operate import preprod as place

    found = place.status(_project(usecase))
    if as_json:
        click.echo(json.dumps(found))
    elif found["up"]:
        click.echo(f"✓ up: bundle {found['bundle'][:12]}, {found['left_s']:.0f} s left")
    else:
        click.echo(
            f"It ended, {found['expires']} at the latest." if len(found) > 2 else "None is up."
        )


@preprod.command()
@USECASE
def down(usecase: Path) -> None:
    """End it and remove it with its keys. What was rehearsed stays in the team's store."""
    from ..execution.operate import preprod as place

    click.echo(f"✓ bundle {place.down(_project(usecase))['bundle'][:12]} answers there no more")


@preprod.command()
@USECASE
@click.option("--traffic", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Recorded traffic: a JSON object with `text` on each line.")  # fmt: skip
@JSON
def rehearse(usecase: Path, traffic: Path | None, as_json: bool) -> None:
    """Ask what serves all that validation asked, compare each answer, and seal 60_preproduction.

    Exits 3 when a blocking gate does not pass; the record is sealed all the same.
    """
    from ..evidence import tables
    from ..execution.operate import rehearsal

    project = _project(usecase)
    store = project.store("governed", create=False)
    record = rehearsal.rehearse(project, store, traffic, lambda line: click.echo(line, err=True))
    gates = record.statement.predicate.workbench_verdicts
    if as_json:
        told = {"record": record.ref, "digest": record.digest, "gates": gates}
        click.echo(json.dumps(told))
    else:
        tables.console().print(tables.verdicts(gates))
        click.echo(f"{record.ref} is sealed.")
    bad = [f"{one['criterion']} {one['verdict']}" for one in gates
           if one["blocking"] and one["verdict"] != "passed"]  # fmt: skip
    if bad:
        raise GateNotPassed("The rehearsal did not pass.", where=record.ref, given="; ".join(bad),
                            next_step=f"workbench open {record.ref}")  # fmt: skip
