"""Execute a record again and grade the result: replay."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from ..errors import GateNotPassed
from .program import JSON, TRACK, USECASE, main

SHOWN = ("output", "grade", "largest", "where", "why")


@main.command()
@click.argument("source", metavar="REF|PACK")
@TRACK
@USECASE
@click.option("--record", "ref", metavar="REF", help="Which record of a pack made for several.")
@click.option("--keys", type=click.Path(exists=True, path_type=Path),
              help="The file with the keys to a pack's rows.")  # fmt: skip
@click.option("--at-least", type=click.Choice(["bitwise", "tolerance", "statistical"]),
              default="bitwise", show_default=True, help="The grade that is asked.")  # fmt: skip
@click.option("--margin", type=float, default=0.02, show_default=True,
              help="Equivalence margin for `statistical`, fixed before the run.")  # fmt: skip
@click.option("--by", metavar="NAME", help="Who replays; with --sign-with, as the keyring has it.")
@click.option("--sign-with", type=click.Path(path_type=Path), help="SSH key to sign with.")
@JSON
def replay(
    source: str, track: str, usecase: Path, ref: str | None, keys: Path | None, at_least: str,
    margin: float, by: str | None, sign_with: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Execute a record again elsewhere, compare every output, and seal a certificate."""
    from ..evidence import progress, tables
    from ..execution import replay as engine
    from ..execution.project import USECASE_FILE, Project, open_store, runs_folder
    from ..policy.reproduction import Tolerance

    home, packed = usecase.resolve(), source.endswith((".tar", ".tar.zst"))
    into = open_store(runs_folder(home), track, create=packed)
    project = Project.load(home) if not packed and (home / USECASE_FILE).is_file() else None
    teller, stopped = progress.Teller(quiet=as_json), None
    teller("stage", stage="replay", reused=False, reason=source)
    try:
        sealed = engine.replay(
            Path(source) if packed else into, ref if packed else source, into=into,
            project=project, at_least=at_least, tolerance=Tolerance(margin=margin), keys=keys,
            who=by or os.environ.get("USER", "unknown"), sign_with=sign_with,
            on_event=lambda kind, **facts: teller(kind, stage="replay", **facts),
        )  # fmt: skip
    except GateNotPassed as error:
        sealed, stopped = error.done[0], error
    finally:
        teller.close()
    found = engine.certificate(sealed)
    if as_json:
        click.echo(json.dumps(found | {"certificate": sealed.ref}))
    else:
        tables.console().print(
            tables.of_rows([{name: one[name] for name in SHOWN} for one in found["outputs"]])
        )
        click.echo(f"{found['grade']}: certificate {sealed.ref}")
    if stopped:
        raise stopped
