"""What persons owe the governed track, and what then runs on it: approve, promote."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, WaitingForPerson
from ..policy.release import MEANINGS
from .lifecycle import carry_out
from .program import JSON, USECASE, main

STANDING = ("envelope", "templates")
SIGN = "the same with --by 'Your Name' --sign-with KEY"


@main.command()
@click.argument("subject", metavar="REQUEST|envelope|templates")
@USECASE
@click.option("--by", help="The person who approves, by name. Without it: show what it is about.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), help="Your SSH key.")
@click.option("--role", help="Of a release: in which of your roles you sign; else you are asked.")
@click.option("--meaning", type=click.Choice(tuple(MEANINGS)), help="Of a release; you are asked.")
def approve(
    subject: str, usecase: Path, by: str | None, sign_with: Path | None, role: str | None,
    meaning: str | None,
) -> None:  # fmt: skip
    """Sign, in a terminal: a release by its REQUEST, the change envelope, the stage templates."""
    from ..execution.project import Project

    project = Project.load(usecase)
    if subject not in STANDING:
        _approve_release(project, Path(subject), by, sign_with, role, meaning)
        return
    if role or meaning:
        raise InputError("Only a release is signed in a role and with a meaning.", given=subject)
    _approve_standing(project, subject, by, sign_with)


def _approve_standing(
    project: Any, subject: str, by: str | None, sign_with: Path | None
) -> None:  # fmt: skip
    from ..execution import approvals, envelope, preflight
    from ..policy.envelope import render

    about = approvals.subject(project, subject)
    last = approvals.in_force(preflight.governed(project), subject, project.usecase.id) or {}
    if subject == "envelope":
        click.echo(render(envelope.load(project)))
    for name, now in about["names"].items():
        was = last.get("names", {}).get(name)
        state = "unchanged" if was == now else "changed since it was approved" if was else "new"
        click.echo(f"  {name:<16}{now[:16]}  {state}")
    click.echo(about["meaning"])
    if not (by and sign_with):
        raise WaitingForPerson("Nothing was signed; a person approves.", next_step=SIGN)
    approvals.enter(project.store("governed"), subject, about, by, sign_with)
    click.echo(f"✓ {subject} of {project.usecase.id}: approved by {by}, signed.")


def _approve_release(
    project: Any, file: Path, by: str | None, sign_with: Path | None, role: str | None,
    meaning: str | None,
) -> None:  # fmt: skip
    from ..execution import bundle
    from ..execution.release import request, signatures, standing

    store, asked = project.store("governed", create=False), request.read(file)
    candidate = request.check(project, store, asked)
    evidence = standing.collect(project, store, candidate)
    click.echo(request.render(asked, candidate, evidence))
    if bundle.find(store, None, project.usecase.id).digest != candidate.digest:
        click.echo("! There is a newer candidate than this one.", err=True)
    if not (by and sign_with):
        raise WaitingForPerson("Nothing was signed; a person approves.", next_step=SIGN)
    held = [one for one in asked["roles"] if by in evidence.holders.get(one, ())]
    role = role or click.prompt("Role", type=click.Choice(held) if held else str)
    meaning = meaning or click.prompt("Meaning", type=click.Choice(tuple(MEANINGS)))
    done = signatures.enter(
        store, asked, lambda: standing.collect(project, store, candidate),
        by=by, role=role, meaning=meaning, sign_with=sign_with,
    )  # fmt: skip
    click.echo(f"✓ {meaning} by {by}, {role}: ledger entry {done.index}.")


@main.command()
@click.argument("ref", required=False)
@USECASE
@click.option("--profile", help="A profile of the use case; that of the record unless given.")
@click.option("--dry-run", is_flag=True, help="Say who owes what; run nothing.")
@JSON
def promote(
    ref: str | None, usecase: Path, profile: str | None, dry_run: bool, as_json: bool
) -> None:
    """Run on the governed track what led to the research record REF; nothing is copied.

    REF is the newest candidate, else the newest adapter. Exits 4 while somebody owes something,
    with a list by person.
    """
    from ..evidence import tables
    from ..execution import promote as promotion
    from ..execution.pipeline import Pipeline
    from ..execution.project import Project

    project = Project.load(usecase)
    plan = promotion.plan(project, ref, profile)
    told = {"record": plan.record.ref, "missing": [vars(one) for one in plan.missing]}
    if plan.missing or dry_run:
        click.echo(json.dumps(told) if as_json else owed(plan.missing, usecase))
    if plan.missing:
        raise WaitingForPerson("It can't be promoted yet.", where=plan.record.ref)
    if dry_run:
        return
    pipeline = Pipeline(project, project.store("governed"), plan.profile)
    done, stopped = carry_out(pipeline, plan.record.stage, quiet=as_json)
    differs = promotion.compared(plan, done)
    if as_json:
        click.echo(json.dumps(told | {"run": [one.record.ref for one in done], "differs": differs}))
    else:
        tables.print_run(done)
        click.echo(_compared(differs))
    if stopped:
        raise stopped


def _compared(differs: list[str] | None) -> str:
    others = f" Outputs that differ: {', '.join(differs)}." if differs else ""
    if differs is None:
        return "No adapter was trained."
    if any(name.startswith("adapter/") for name in differs):
        return f"✗ The governed adapter is not the research one.{others}"
    return f"✓ The governed adapter is the research one, bit for bit.{others}"


def owed(missing: list[Any], usecase: Path) -> str:
    """A to-do list by person, with the command that each one types."""
    lines, place = [], "" if usecase == Path() else f" -u {usecase}"
    for who, mine in groupby(sorted(missing, key=lambda one: one.who), lambda one: one.who):
        lines.append(f"{who}:")
        for one in mine:
            command = one.how + place * one.how.startswith("workbench")
            lines += [f"  · {one.what}", f"      {command}"]
    return "\n".join(lines) or "Nobody owes anything."
