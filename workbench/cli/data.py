"""Decisions about data: classify, accept, retention, forget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, WaitingForPerson
from .program import JSON, TRACK, USECASE, main, stored

SIGN = click.option(
    "--sign-with", type=click.Path(exists=True, path_type=Path),
    help="Your SSH key, as in the keyring; the governed track asks for it.",
)  # fmt: skip


@main.command()
@TRACK
@USECASE
@click.option("--by", help="The person who decides, by name. Without it: inspect and propose.")
@click.option("--column", "-c", multiple=True, metavar="NAME=CLASS", help="Class of one column.")
@click.option("--rest", metavar="CLASS", help="Class of every column not named.")
@click.option("--confirm", is_flag=True, help="Take what the inspection proposes for the rest.")
@click.option("--because", multiple=True, metavar="NAME=REASON",
              help="Why a column is less strict than proposed.")  # fmt: skip
@click.option("--legal-basis", help="Needed for personal and health data.")
@click.option("--retention-days", type=int, help="Days after which the rows must be gone.")
@click.option("--licence", help="Needed for licensed data.")
@click.option("--purpose", help="Why the columns are kept.")
@SIGN
def classify(
    track: str, usecase: Path, by: str | None, column: tuple[str, ...], rest: str | None,
    confirm: bool, because: tuple[str, ...], sign_with: Path | None, **duties: Any,
) -> None:  # fmt: skip
    """Classify the columns of the data. Unclassified data is refused on both tracks."""
    from ..execution import classification
    from ..execution.project import Project

    project = Project.load(usecase)
    store = project.store(track)
    known = {name: value for name, value in duties.items() if value is not None}
    found = _inspected(project, store) if confirm or not by else None
    if not by:
        raise WaitingForPerson(
            "The inspection proposes; a person decides.",
            next_step="workbench classify --by 'Your Name' --confirm, with -c NAME=CLASS where you "
            "decide otherwise",
        )
    assigned = classification.proposed(found, known) if found else {}
    assigned |= {name: {"class": kind, **known} for name, kind in _pairs("--column", column)}
    for name, reason in _pairs("--because", because):
        assigned.setdefault(name, {})
        assigned[name] = {**assigned[name], "override": reason}
    others = {"class": rest, **known} if rest else None
    made = classification.classify(project.root, store, by, assigned, others, sign_with=sign_with)
    for name, facts in made.columns.items():
        click.echo(f"  {name}: {facts.data_class}")
    how = "signed" if made.signed else "by name, not signed"
    click.echo(f"✓ version {made.number}, classified by {by} ({how}).")


def _inspected(project: Any, store: Any) -> Any:
    """The record of the inspection of these very bytes, made now where there is none; shown."""
    from ..evidence import progress, tables
    from ..execution.classification import INSPECTION, proposals_of
    from ..execution.pipeline import Pipeline

    teller = progress.Teller()
    try:
        pipeline = Pipeline(project, store, on_event=teller)
        record = pipeline.run(until=INSPECTION)[-1].record
    finally:
        teller.close()
    tables.console().print(tables.proposals(proposals_of(record)))
    return record


def _pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    """NAME=VALUE texts; a class holds no `=`, a reason may."""
    found = []
    for text in texts:
        name, equals, value = text.rpartition("=") if option == "--column" else text.partition("=")
        if not equals:
            raise InputError(f"{option} takes NAME=VALUE.", given=text)
        found.append((name, value))
    return found


@main.group()
def accept() -> None:
    """Answer for going on all the same: a privacy review, a risk that a gate shows."""


@accept.command()
@click.argument("rule")
@TRACK
@USECASE
@click.option("--by", required=True, help="The reviewer, by name.")
@click.option("--reason", required=True, help="Why it may be learned all the same.")
@click.option("--expires", required=True, metavar="YYYY-MM-DD", help="The last day it holds.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
def review(
    rule: str, track: str, usecase: Path, by: str, reason: str, expires: str, sign_with: Path
) -> None:
    """Sign a privacy review: a never-learn RULE does not bind, for a reason, until a day."""
    from ..execution import governance
    from ..execution.project import Project
    from ..policy.never_learn import Review, rule_digest

    project = Project.load(usecase)
    rules = {one.id: one for one in project.usecase.data.never_learn}
    if rule not in rules:
        raise InputError(
            "The use case has no such never-learn rule.",
            expected=", ".join(rules) or "none is declared",
            given=rule,
        )
    review = Review.parse(
        {"usecase": project.usecase.id, "rule": rule, "rule_sha256": rule_digest(rules[rule]),
         "reason": reason, "expires": expires, "reviewed_by": by},
    )  # fmt: skip
    governance.enter_review(project.store(track), review, sign_with)
    click.echo(f"✓ {rule} is excused until {review.expires}; the ledger holds the signed review.")


@main.command()
@stored
@JSON
def retention(store: Any, as_json: bool) -> None:
    """Say what expires when, and what stands on it."""
    from ..evidence import tables
    from ..execution import retention as collecting

    rows = collecting.due(store)
    if as_json:
        click.echo(json.dumps(rows, default=str))
    else:
        shown = [row | {"depends": f"{len(row['depends'])} records"} for row in rows]
        tables.console().print(tables.of_rows(shown))


@main.command()
@click.argument("subjects", nargs=-1)
@TRACK
@USECASE
@click.option("--column", help="Column that holds the subjects; the group column unless given.")
@click.option("--subjects-from", type=click.Path(exists=True, path_type=Path),
              help="A file with one subject a line, so that none stands in the shell's history.")  # fmt: skip
@click.option("--by", help="Who asks for it, by name. Without it: show what would be touched.")
@click.option("--reason", help="Why; it must not name a subject.")
@click.option("--force", is_flag=True, help="Delete also where the new dataset is refused.")
@SIGN
@JSON
def forget(
    subjects: tuple[str, ...], track: str, usecase: Path, column: str | None,
    subjects_from: Path | None, by: str | None, reason: str | None, force: bool,
    sign_with: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Delete the rows of SUBJECTS for good, and name the models that learned from them.

    Destroys the key of every snapshot that holds such a row, after the rows that are left have
    been sealed anew. Without --by it changes nothing and shows what it would touch.
    """
    from ..evidence import progress, tables
    from ..execution import forget as forgetting
    from ..execution.project import Project

    named = [*subjects, *(subjects_from.read_text().splitlines() if subjects_from else [])]
    project = Project.load(usecase)
    store = project.store(track)
    plan = forgetting.plan(project, store, named, column)
    rows = plan.rows()
    if as_json:
        click.echo(json.dumps(rows))
    else:
        tables.console().print(tables.of_rows(rows))
    if not by:
        raise WaitingForPerson(
            "Nothing was changed; a person decides.",
            next_step="the same with --by 'Your Name' --reason '...' (and --sign-with KEY)",
        )
    teller = progress.Teller(quiet=as_json)
    try:
        done = forgetting.carry_out(
            project, store, plan, by=by, reason=reason or "", sign_with=sign_with, force=force,
            on_event=teller,
        )  # fmt: skip
    finally:
        teller.close()
    click.echo(f"✓ forgotten; ledger entry {done.index} is the tombstone.", err=as_json)
