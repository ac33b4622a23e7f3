"""What went wrong where a release serves: incident open, close, ls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..record import clock
from .findings import signed
from .program import JSON, USECASE, main


def _opened(usecase: Path) -> tuple[Any, Any]:
    from ..execution.project import Project

    project = Project.load(usecase)
    return project, project.store("governed", create=False)


@main.group()
def incident() -> None:
    """Say what went wrong; it becomes a scenario that every later candidate must pass."""


@incident.command("open")
@click.option("--what", help="What went wrong, in a line; of --from-entry its reason.")
@click.option("--severity", type=click.Choice(["near_miss", "harm"]), required=True)
@click.option("--environment", "-e", help="Where it served.")
@click.option("--text", required=True, help="What was asked, without what tells who somebody is.")
@click.option("--expect", multiple=True, required=True, metavar="FIELD=VALUE",
              help="What must be answered; repeat.")  # fmt: skip
@click.option("--time", help="When, RFC 3339 with a zone; now without it.")
@click.option("--decision", help="Its name in the decision log, FILE:NUMBER.")
@click.option("--from-entry", type=int, help="The ledger entry that took the release back.")
@signed
def open_(
    usecase: Path, sign_with: Path, by: str, what: str | None, severity: str,
    environment: str | None, text: str, expect: tuple[str, ...], time: str | None,
    decision: str | None, from_entry: int | None,
) -> None:  # fmt: skip
    """Record an incident, and write the scenario that reproduces it."""
    from ..execution.operate import incidents
    from ..policy.incidents import Opened

    project, store = _opened(usecase)
    reason, now = "", clock.now()
    about: dict[str, Any] = {"environment": environment}
    if from_entry is not None:
        about, reason = incidents.taken_back(store, project.usecase.id, from_entry)
    elif environment:
        about |= incidents.served(project, store, environment, time or now, decision)
    else:
        raise InputError("Where did it happen?", expected="--environment or --from-entry")
    said = Opened.parse({
        "usecase": project.usecase.id, "by": by, "time": now, "what": what or reason,
        "severity": severity, "text": text, "expect": dict(map(_pair, expect)), **about,
    })  # fmt: skip
    found = incidents.enter(project, store, said, sign_with)
    click.echo(f"✓ {found}")
    folder = project.usecase.scenarios
    click.echo(f"  scenario {found.scenario} in {folder}/{incidents.FILE}: read it, and commit it")
    if from_entry is None:
        click.echo(f"  the release goes on: workbench deploy --action roll_back "
                   f"-e {found.opened.environment} takes it back")  # fmt: skip


def _pair(text: str) -> tuple[str, str]:
    field, mark, value = text.partition("=")
    if not (field and mark and value):
        raise InputError("Not a field and its value.", expected="--expect queue=fraud", given=text)
    return field, value


@incident.command()
@click.argument("incident")
@click.option("--candidate", required=True, help="The bundle that answers as it must.")
@signed
def close(usecase: Path, sign_with: Path, by: str, incident: str, candidate: str) -> None:
    """Close INCIDENT by a candidate whose sealed scenarios show it, which you had no part in."""
    from ..execution.operate import incidents

    click.echo(f"✓ {incidents.close(*_opened(usecase), incident, candidate, by, sign_with)}")


@incident.command("ls")
@USECASE
@JSON
def ls(usecase: Path, as_json: bool) -> None:
    """List the incidents of the use case, and the ledger entries that count for nothing."""
    from ..execution.operate import incidents

    project, store = _opened(usecase)
    found, ignored = incidents.read(store, project.usecase.id)
    lost = incidents.untaught(project, store)
    if as_json:
        rows = [one.opened.model_dump(mode="json") | {"id": one.id, "state": one.state,
                "scenario": one.scenario, "taught": one.id not in lost} for one in found]  # fmt: skip
        click.echo(json.dumps({"incidents": rows, "ignored": [one._asdict() for one in ignored]}))
        return
    for one in found:
        click.echo(f"  {one}{'  NOT IN THE SCENARIOS' if one.id in lost else ''}")
    for one in ignored:
        click.echo(f"✗ {one}", err=True)
    click.echo(f"{sum(one.closed is None for one in found)} of {len(found)} incidents are open.")
