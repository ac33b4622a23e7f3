"""What runs where: deploy, at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .program import JSON, USECASE, main

ENVIRONMENT = click.option("--environment", "-e", required=True, help="Such as production.")


@main.command()
@click.argument("ref", required=False)
@USECASE
@ENVIRONMENT
@click.option(
    "--action",
    default="start",
    show_default=True,
    type=click.Choice(["start", "canary", "promote", "stop", "halt", "roll_back"]),
)
@click.option(
    "--share",
    type=click.FloatRange(0, 1, True, True),
    help="Of a canary, such as 0.1; as operations.yaml has it without.",
)
@click.option("--reason", default="", help="Of a way back; a stop for a reason takes back, too.")
@click.option("--by", help="Who deploys, by name: an operator or the owner.")
@click.option(
    "--sign-with",
    type=click.Path(exists=True, path_type=Path),
    help="Your SSH key, as in the keyring.",
)
@click.option("--runbook", is_flag=True, help="Print who does what by which command, and end.")
@JSON
def deploy(
    ref: str | None, usecase: Path, environment: str, action: str, share: float | None,
    reason: str, by: str | None, sign_with: Path | None, runbook: bool, as_json: bool,
) -> None:  # fmt: skip
    """Change what release serves in an environment; the ledger holds it.

    REF is a release (the newest candidate). `start` and `canary` are refused unless it is
    registered, all its gates pass now, and what operations.yaml asks of the environment was
    shown. `halt` ends the canary, `roll_back` serves what served before; neither waits for a gate.
    """
    from ..execution import bundle
    from ..execution.operate import deploying
    from ..execution.project import Project
    from ..execution.release import registry

    project = Project.load(usecase)
    store = project.store("governed", create=False)
    if runbook:
        click.echo(deploying.written(project, store, environment), nl=False)
        return
    if not by or not sign_with:
        raise InputError("A deployment is signed.", expected="--by NAME and --sign-with KEY")
    if action in ("halt", "roll_back"):
        if action == "halt" and not registry.state(store, project.usecase.id, environment).canary:
            raise InputError("There is no canary.", where=environment)
        how = {"reason": reason, "by": by, "sign_with": sign_with}
        done = registry.take_back(project, store, environment, **how)
    else:
        candidate = bundle.find(store, ref, project.usecase.id)
        how = {"action": action, "by": by, "sign_with": sign_with, "share": share}
        done = registry.deploy(project, store, candidate, environment, reason=reason, **how)
    said = (
        f"✓ bundle {done.bundle[:12]}: {done.action} in {environment}, ledger entry {done.entry}."
    )
    click.echo(json.dumps(done._asdict()) if as_json else said)


@main.command()
@USECASE
@ENVIRONMENT
@click.option("--time", help="RFC 3339 with a zone, such as 2026-03-01T00:00:00Z; now without it.")
@click.option("--from", "start", help="With --to: everything that ran in a period.")
@click.option("--to", "end", help="End of the period.")
@click.option("--lineage", type=click.Path(path_type=Path), metavar="FILE.html",
              help="Write the whole way as a page with a table and a picture.")  # fmt: skip
@JSON
def at(
    usecase: Path, environment: str, time: str | None, start: str | None, end: str | None,
    lineage: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what exactly ran in an environment, and from what it was made. Nothing exits 0 too."""
    from ..execution.project import USECASE_FILE, load_yaml, open_store, runs_folder
    from ..execution.release import registry

    if bool(start) != bool(end) or (start and (time or lineage)):
        raise InputError("A period is --from and --to, without --time and --lineage.")
    file = usecase / USECASE_FILE
    name = load_yaml(file).get("id") if file.exists() else None
    store = open_store(runs_folder(usecase.resolve()), "governed", create=False)
    if start and end:
        _told(registry.over(store, environment, start, end, name), as_json)
        return
    found = registry.at(store, environment, time, name)
    if lineage:
        from ..evidence.lineage import page

        lineage.write_text(page(found), encoding="utf-8")
    _told(found, as_json)


def _told(found: Any, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found))
        return
    from ..evidence import lineage, tables

    if isinstance(found, list):
        plain = [one["deployment"] or {"bundle": "nothing ran", "by": ""} for one in found]
        rows = [{"from": one["from"], "to": one["to"], "bundle": _short(run["bundle"]),
                 "by": run["by"], "canary": _short((one["canary"] or {}).get("bundle", ""))}
                for one, run in zip(found, plain, strict=True)]  # fmt: skip
    else:
        rows = _rows(lineage.rows(found))
    out = tables.console()
    out.print(tables.of_rows(rows))
    if isinstance(found, dict) and (canary := found["canary"]):
        out.print(f"Canary, {canary['deployment']['share']:.0%} of the subjects:")
        out.print(tables.of_rows(_rows(lineage.rows(found | {"serving": canary}))))
    for flag in found["flags"] if isinstance(found, dict) else ():
        out.print(f"⚑ {flag}")


def _rows(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row | {"when": str(row["when"])[:19], "digest": _short(row["digest"])}
            for row in found]  # fmt: skip


def _short(name: str) -> str:
    """A digest by its beginning; a ledger entry as it is."""
    return name[:12] if len(name) == 64 else name
