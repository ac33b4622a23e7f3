"""Environments as code: environment declare, environment render."""

from __future__ import annotations

from pathlib import Path

import click

from .program import USECASE, main


@main.group()
def environment() -> None:
    """Environments as code: what each has to be, and the manifests that make it so."""


@environment.command()
@click.argument("name")
@USECASE
def declare(name: str, usecase: Path) -> None:
    """Write environments/NAME.yaml as this machine, or the server that runs there, is now.

    A person reads, corrects and commits it. What is declared already is never overwritten.
    """
    from ..execution import environment as environments
    from ..execution.operate import observe
    from ..execution.project import Project
    from ..policy.environment import undeclared

    project = Project.load(usecase)
    stages = name in ("training", "validation") or project.operations is None
    environments.refuse_declared(project, name)
    found = None if stages else observe.planned(project, name)
    path = environments.declare(project, name, found)
    click.echo(f"✓ {path}: read it, correct it, and commit it with usecase.yaml.")
    left = undeclared(environments.declared(Project.load(usecase), name))
    click.echo(f"  Left open: {', '.join(left)}.")


@environment.command()
@click.argument("name")
@USECASE
@click.option("--to", type=click.Path(path_type=Path), required=True, metavar="FOLDER",
              help="Where the files go; none is overwritten.")  # fmt: skip
def render(name: str, usecase: Path, to: Path) -> None:
    """Write a declared environment as Dockerfile, compose file and Kubernetes manifests.

    No image is built: what is hashed is the installed environment, and the files say so.
    """
    from ..execution import environment as environments
    from ..execution.project import Project

    for path in environments.render(Project.load(usecase), name, to):
        click.echo(f"  {path}")
    click.echo("✓ Written. No image was built; the installed environment is what was hashed.")
