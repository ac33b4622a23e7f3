"""The life cycle of a use case: new, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed, InputError
from .program import JSON, TRACK, USECASE, main


@main.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--template", "-t", default="intent-routing", show_default=True, help="Starter pack.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Your CSV, JSON-lines or Parquet file."
)
@click.option("--text", help="Column with the text.")
@click.option("--label", help="Column with the label.")
@click.option("--group", help="Column whose equal values never divide over sets (a customer).")
@click.option("--split", help="Column that already says train, dev or test.")
def new(path: Path, template: str, **given: Any) -> None:
    """Make your own repository from a starter pack, with your data in place."""
    from ..execution import scaffold

    made = scaffold.new(path, template, **given)
    click.echo(f"✓ {made} is ready.")
    if given["data"]:
        click.echo(f"  Next: workbench classify -u {made}")
    click.echo(f"  Then: workbench run -u {made}")


@main.command()
@TRACK
@USECASE
@click.option("--profile", help="A profile of the use case, such as `demo`.")
@click.option("--set", "-p", "given", multiple=True, metavar="STAGE.NAME=VALUE", help="A value.")
@click.option("--until", metavar="STAGE", help="Run up to this stage.")
@click.option("--fresh", is_flag=True, help="Run every stage, also those that are unchanged.")
@click.option(
    "--development", is_flag=True, help="Examine the development split; no look is spent."
)
@click.option("--jobs", type=click.IntRange(1), help="Stages side by side; else as cores allow.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and why; run nothing.")
@JSON
def run(
    track: str, usecase: Path, profile: str | None, given: tuple[str, ...], until: str | None,
    fresh: bool, development: bool, jobs: int | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the life cycle: every stage that changed, in order, to a candidate or a refusal."""
    from ..evidence import tables
    from ..execution.pipeline import Pipeline
    from ..execution.project import Project

    project = Project.load(usecase)
    pipeline = Pipeline(
        project, project.store(track), profile, _by_stage(given), fresh, development, jobs
    )
    if dry_run:
        _show_plan(pipeline, until, as_json)
        return
    done, stopped = carry_out(pipeline, until, quiet=as_json)
    if as_json:
        click.echo(json.dumps([{"stage": one.stage, "record": one.record.id, "reused": one.reused,
                                "verdicts": one.verdicts} for one in done]))  # fmt: skip
    else:
        tables.print_run(done)
    if stopped:
        raise stopped


def carry_out(pipeline: Any, until: str | None, quiet: bool) -> tuple[list, GateNotPassed | None]:
    """Run it with progress shown; what was done, and the gate that stopped it if one did."""
    from ..evidence import progress

    teller = pipeline.on_event = progress.Teller(quiet=quiet)
    try:
        return pipeline.run(until), None
    except GateNotPassed as error:
        return error.done, error
    finally:
        teller.close()


def _by_stage(given: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        stage, dot, rest = text.partition(".")
        if not dot or "=" not in rest:
            raise InputError("--set takes STAGE.NAME=VALUE.", given=text.partition("=")[0])
        found.setdefault(stage, []).append(rest)
    return found


def _show_plan(pipeline: Any, until: str | None, as_json: bool) -> None:
    from ..evidence import tables
    from ..execution.isolation import available

    rows, missing = pipeline.preview(until), [vars(one) for one in pipeline.missing(until)]
    if as_json:
        click.echo(json.dumps({"isolation": available()[0], "stages": rows, "missing": missing}))
    else:
        tables.console().print(tables.plan(rows))
    pipeline.check(until)  # names what is missing, as the run itself would
