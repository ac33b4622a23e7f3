"""What watches what serves: monitor."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed, InputError
from .program import JSON, USECASE, main
from .registry import ENVIRONMENT


@main.command()
@USECASE
@ENVIRONMENT
@click.option("--once", is_flag=True, help="Judge the log as it is, and end; takes nothing back.")
@click.option("--seal", is_flag=True, help="The same, sealed as a record of 80_monitor.")
@click.option("--by", default="", help="Who takes back; the environment's own monitor without it.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), help="Their SSH key.")
@JSON
def monitor(
    usecase: Path, environment: str, once: bool, seal: bool, as_json: bool, **signing: Any
) -> None:
    """Watch what serves by its log alone; what becomes unsafe is halted or rolled back.

    Runs until it is interrupted. With --once or --seal it exits 3 when something is unsafe.
    """
    from ..execution.operate import monitor as monitoring
    from ..execution.project import Project

    project = Project.load(usecase)
    store = project.store("governed", create=False)
    if bool(signing["by"]) != bool(signing["sign_with"]):
        raise InputError("A name goes with a key.", expected="--by and --sign-with, or neither")
    if not (once or seal):
        monitoring.watch(project, store, environment, threading.Event(), say=click.echo, **signing)
        return
    seen = monitoring.once(project, store, environment)
    for record in monitoring.seal(seen) if seal else ():
        click.echo(f"✓ {record.ref}", err=as_json)
    rows = seen.report()
    click.echo(json.dumps(rows) if as_json else "\n".join(map(_line, rows)))
    if unsafe := [r["signal"] for r in rows if (r["state"], r["then"]) == ("alarm", "roll_back")]:
        raise GateNotPassed("What serves is unsafe.", where=environment, given=", ".join(unsafe),
                            next_step=f"workbench deploy --action roll_back -e {environment}")  # fmt: skip


def _line(row: dict[str, Any]) -> str:
    value = "–" if row["value"] is None else f"{row['value']:.3f}"
    return (f"  {row['arm']:<7}{row['signal']:<22}{row['state']:<6}{value:>7} of {row['borne']:g}"
            f"  e^{row['evidence']:.1f} of e^{row['needed']:.1f}  n={row['lines']}")  # fmt: skip
