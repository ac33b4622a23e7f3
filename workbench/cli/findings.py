"""What people say of a candidate beside its gates: findings, and risks that they accept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..record import clock
from .data import accept
from .program import JSON, USECASE, main

BY = click.option("--by", required=True, help="Who says so, by name, as in the keyring.")
SIGN = click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True,
                    help="Your SSH key.")  # fmt: skip
TEXT = click.option("--text", required=True, help="In a line, without what tells who somebody is.")
OWNER = click.option("--owner", required=True, help="Who sees to it, by name.")
DAY = {"metavar": "YYYY-MM-DD", "required": True}


def signed(function: Callable[..., Any]) -> Callable[..., Any]:
    return USECASE(BY(SIGN(function)))


def _opened(usecase: Path) -> tuple[Any, Any]:
    from ..execution.project import Project

    project = Project.load(usecase)
    return project, project.store("governed", create=False)


def _enter(usecase: Path, sign_with: Path, document: str, **said: Any) -> Any:
    """Sign and enter what a person says of a finding of the governed track."""
    from ..execution.release import findings as entering
    from ..policy import findings

    project, store = _opened(usecase)
    said |= {"usecase": project.usecase.id, "time": clock.now()}
    stated = findings.ACTS[document].parse(said)
    found = entering.enter(project, store, stated, sign_with)
    click.echo(f"✓ {found}")


@main.group()
def finding() -> None:
    """Say what is wrong with a candidate, answer it, close it; open major ones block a release."""


@finding.command("raise")
@click.argument("ref", required=False)
@click.option("--severity", type=click.Choice(["minor", "major", "critical"]), required=True)
@TEXT
@OWNER
@click.option("--due", help="The last day for it.", **DAY)
@signed
def raise_(ref: str | None, usecase: Path, sign_with: Path, **said: Any) -> None:
    """Raise a finding about the candidate REF, the newest without it, or about a record."""
    from ..execution import bundle

    project, store = _opened(usecase)
    try:
        about = bundle.find(store, ref, project.usecase.id).digest
    except InputError:
        if ref is None:
            raise
        about = store.record(ref).digest
    _enter(usecase, sign_with, "raise", about=about, **said)


@finding.command()
@click.argument("finding")
@TEXT
@click.option("--evidence", required=True, metavar="RECORD|FILE", help="What shows it.")
@signed
def answer(usecase: Path, sign_with: Path, evidence: str, **said: Any) -> None:
    """Say what was done about FINDING, and name the record or file that shows it."""
    from ..record.digest import file_digest

    file = Path(evidence)
    shown = file_digest(file) if file.is_file() else _opened(usecase)[1].record(evidence).digest
    _enter(usecase, sign_with, "answer", evidence=shown, **said)


@finding.command()
@click.argument("finding")
@signed
def close(usecase: Path, sign_with: Path, **said: Any) -> None:
    """Close FINDING: who raised it, or a validator or quality assurance; never who answered."""
    _enter(usecase, sign_with, "close", **said)


@finding.command("ls")
@USECASE
@JSON
def ls(usecase: Path, as_json: bool) -> None:
    """List the findings of the use case, and the ledger entries that count for nothing."""
    from ..execution.release import findings

    project, store = _opened(usecase)
    found, ignored = findings.read(store, project.usecase.id)
    today = clock.parse(clock.now()).date()
    if as_json:
        rows = [one.raised.model_dump(mode="json") | {"id": one.id, "state": one.state,
                "overdue": one.overdue(today)} for one in found]  # fmt: skip
        click.echo(json.dumps({"findings": rows, "ignored": [one._asdict() for one in ignored]}))
        return
    for one in found:
        click.echo(f"  {one}{'  OVERDUE' if one.overdue(today) else ''}")
    for one in ignored:
        click.echo(f"✗ {one}", err=True)
    click.echo(f"{sum(one.closed is None for one in found)} of {len(found)} findings are open.")


@accept.command()
@click.argument("gate")
@click.option("--record", "ref", required=True, help="The record in which it failed.")
@click.option("--residual", required=True, help="What can still go wrong, in a line.")
@click.option("--control", required=True, help="What is done about it, in a line.")
@OWNER
@click.option("--expires", help="The last day it holds.", **DAY)
@signed
def risk(gate: str, ref: str, usecase: Path, sign_with: Path, **said: Any) -> None:
    """Accept that GATE failed in a governed record, where the control plan leaves that to you.

    The verdict stays `failed`; wherever it is shown, the acceptance stands beside it.
    """
    from ..execution.release import acceptances
    from ..policy.risks import Acceptance

    project, store = _opened(usecase)
    record = store.record(ref)
    said |= {"usecase": project.usecase.id, "time": clock.now(), "gate": gate}
    stated = Acceptance.parse(said | {"stage": record.stage, "record": record.digest})
    entry = acceptances.enter(project, store, stated, sign_with)
    click.echo(f"✓ {gate} stays failed in {record.ref}; {said['by']} accepts that until "
               f"{said['expires']} (ledger entry {entry.index}).")  # fmt: skip
