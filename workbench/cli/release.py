"""A release: what it waits for, the request that people sign, its entry in the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from .approvals import owed
from .program import JSON, USECASE, main

REF = click.argument("ref", required=False)
SHOWN = ("by", "role", "meaning", "time", "entry", "demo")


@main.group()
def release() -> None:
    """Release the candidate REF: its bundle, record, or the newest."""


def _found(usecase: Path, ref: str | None) -> tuple[Any, Any, Any]:
    """Project, governed store and candidate."""
    from ..execution.project import Project
    from ..execution.release import request

    project = Project.load(usecase)
    store = project.store("governed", create=False)
    return project, store, request.find(project, store, ref)


@release.command()
@REF
@USECASE
@JSON
def status(ref: str | None, usecase: Path, as_json: bool) -> None:
    """Say which gate stands how, who owes what, and whether it is registered.

    Exits 4 while somebody owes something, 3 when a gate failed.
    """
    from ..evidence import tables
    from ..execution.release import register, standing
    from ..policy.release import judge, weighed
    from ..policy.release import owed as owing

    project, store, candidate = _found(usecase, ref)
    evidence = standing.collect(project, store, candidate)
    gates, missing = [one.as_dict() for one in judge(evidence)], owing(evidence)
    known = [r for r in register.releases(store, candidate.usecase) if r.bundle == candidate.digest]
    signed = [
        {n: getattr(one, n) for n in SHOWN} | {"counts": not why, "why": why or one.flag}
        for one, why in weighed(evidence)
    ]
    told = {"bundle": candidate.digest, "candidate": candidate.record.ref, "gates": gates,
            "signatures": signed, "missing": [vars(one) for one in missing],
            "registered": [vars(one) for one in known]}  # fmt: skip
    if as_json:
        click.echo(json.dumps(told))
    else:
        click.echo(f"bundle {candidate.digest[:12]}, {candidate.record.ref}")
        tables.console().print(tables.verdicts(gates))
        tables.console().print(tables.of_rows(signed))
        click.echo(owed(missing, usecase))
        click.echo(f"✓ registered in entry {known[-1].entry}" if known else "Not registered yet.")
    register.check(evidence, candidate.record.ref)


@release.command("request")
@REF
@USECASE
@click.option("--to", type=click.Path(path_type=Path), help="File; else beside the stores.")
def request_(ref: str | None, usecase: Path, to: Path | None) -> None:
    """Write the request that approvers sign with `workbench approve FILE`; signs nothing."""
    from ..execution.release import request

    project, store, candidate = _found(usecase, ref)
    path = request.write(project, request.prepare(project, store, candidate.digest), to)
    click.echo(f"✓ {path}\n  Next, each approver: workbench approve {path}")


@release.command()
@REF
@USECASE
@JSON
def register(ref: str | None, usecase: Path, as_json: bool) -> None:
    """Run stage 55 and enter the release, when every standing gate passes."""
    from ..execution.release import register as registering

    project, store, candidate = _found(usecase, ref)
    done = registering.register(project, store, candidate.digest)
    told = f"✓ released: bundle {done.bundle[:12]}, ledger entry {done.entry}"
    click.echo(json.dumps(vars(done)) if as_json else told)


@release.command()
@click.argument("entry", type=int)
@USECASE
@click.option("--reason", required=True)
@click.option("--by", required=True, help="Who signed it, or a keyholder.")
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
def revoke(entry: int, usecase: Path, reason: str, by: str, sign_with: Path) -> None:
    """Withdraw the signature in ledger ENTRY; a release that rests on it stands no more."""
    from ..execution.project import Project
    from ..execution.release import signatures

    store = Project.load(usecase).store("governed", create=False)
    done = signatures.revoke(store, entry, reason, by, sign_with)
    click.echo(f"✓ entry {entry} is revoked by entry {done.index}")


@release.command()
@REF
@USECASE
@click.option("--for", "reader", type=click.Choice(["risk", "engineer"]), default="risk",
              show_default=True)  # fmt: skip
@click.option("--to", type=click.Path(path_type=Path), required=True, help="HTML file.")
def brief(ref: str | None, usecase: Path, reader: str, to: Path) -> None:
    """Write the one-page brief of a candidate, with the signatures that stand."""
    from ..execution.release import signatures, standing

    project, store, candidate = _found(usecase, ref)
    if to.exists():
        raise InputError("There is a file already.", where=to)
    stands = standing.collect(project, store, candidate)
    to.write_text(signatures.brief(store, candidate, reader, stands), encoding="utf-8")
    click.echo(f"✓ {to}")


@release.command()
@REF
@USECASE
@click.option("--to", type=click.Path(path_type=Path), required=True, help="A new folder.")
def export(ref: str | None, usecase: Path, to: Path) -> None:
    """Write the release into one folder that a stranger can verify offline."""
    from ..execution.release import export as exporting

    project, store, _ = _found(usecase, ref)
    done = exporting.export(store, project.usecase.id, to, ref)
    click.echo(f"✓ {to}: bundle {done.bundle[:12]}; python verify_record.py there checks it")
