"""Records, one by one and as a whole: ls, show, open, why, verify, pack, import, index."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from ..errors import InputError, IntegrityError
from .program import JSON, TRACK, USECASE, main, stored


@main.command()
@stored
@click.option("--stage", help="Only this stage.")
@JSON
def ls(store: Any, stage: str | None, as_json: bool) -> None:
    """List the records, the newest last."""
    from ..evidence import tables

    found = store.records(stage)
    if as_json:
        click.echo(json.dumps([{"stage": r.stage, "id": r.id, "digest": r.digest,
                                "outcome": r.outcome} for r in found]))  # fmt: skip
    else:
        tables.console().print(tables.records(found))


@main.command()
@click.argument("ref")
@stored
@click.option("--row", metavar="ID", help="Trace one row to its source; the ledger will say so.")
@JSON
def show(store: Any, ref: str, row: str | None, as_json: bool) -> None:
    """Show one record: what it is, from what, verdicts and files; or the way of one row."""
    from ..evidence import tables

    record = store.record(ref)
    if row:
        from ..execution.trace import trace

        found = trace(store, record, row, os.environ.get("USER", "unknown"))
        out = tables.console()
        click.echo(json.dumps(found)) if as_json else out.print(tables.traced(found))
        return
    if as_json:
        click.echo(json.dumps(record.statement.data()))
    else:
        from ..execution.causes import explained
        from ..execution.promote import asked
        from .approvals import owed

        place = click.get_current_context().params["usecase"]
        tables.console().print(tables.show(record))
        if failed := explained(store, record):
            click.echo(f"{sum(map(bool, failed.values()))} of {len(failed)} blocking failures have "
                       f"a cause: workbench cause {record.id}")  # fmt: skip
        if missing := asked(place.resolve(), record):
            click.echo(f"\nThe governed track would still ask:\n{owed(missing, place)}")


@main.command("open")
@click.argument("ref")
@TRACK
@USECASE
@click.option("--to", type=click.Path(path_type=Path), help="Default: scratch/ in the use case.")
@click.option("--rows", is_flag=True, help="Decrypt rows of persons; the ledger will say so.")
def open_(ref: str, track: str, usecase: Path, to: Path | None, rows: bool) -> None:
    """Copy a record to a scratch place, or prepare a stage to run cell by cell."""
    from ..execution import scratch
    from ..execution.pipeline import Pipeline
    from ..execution.project import Project, open_store, runs_folder

    target = (to or usecase / "scratch").resolve()
    if ref[:2].isdigit() and "_" in ref[:4] and "/" not in ref:
        project = Project.load(usecase)
        place = scratch.open_stage(Pipeline(project, project.store(track)), ref, target)
    else:
        store = open_store(runs_folder(usecase.resolve()), track, create=False)
        place = scratch.open_record(store.record(ref), store, target, decrypt=rows)
    click.echo(f"{place}\n  jupyter lab {place}")


@main.command()
@click.argument("a")
@click.argument("b")
@stored
@JSON
def why(store: Any, a: str, b: str, as_json: bool) -> None:
    """Name the input, parameter or library that changed between two records, and the figures."""
    from ..evidence.explain import why as compare

    found = compare(store.record(a), store.record(b))
    if as_json:
        click.echo(json.dumps(found))
        return
    for title, part in (("what differs", "causes"), ("figures that moved", "effects")):
        click.echo(f"{title}:" if found[part] else f"{title}: nothing")
        for name, (was, now) in found[part].items():
            click.echo(f"  {name}: {_brief(was)} → {_brief(now)}")


def _brief(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:16] + "…"


@main.command()
@click.argument("ref", required=False)
@stored
@click.option("--recompute", is_flag=True, help="Compute again all that REF shows, from its data.")
@JSON
def verify(store: Any, ref: str | None, recompute: bool, as_json: bool) -> None:
    """Verify one record, or the whole store with its ledger. Exits 6 and names what is wrong."""
    from ..record.verify import foreign_keys, verify_record, verify_store

    if recompute:
        return _recomputed(store, ref, as_json)
    if ref:
        keys = [*store.public_keys, *foreign_keys(store.ledger.entries())]
        problems, erased, flags, count = verify_record(store.record(ref), keys), [], [], 1
    else:
        report = verify_store(store)
        problems, erased, flags, count = (
            report.problems,
            report.erased,
            report.flags,
            report.records,
        )
    if as_json:
        click.echo(json.dumps({"records": count, "problems": [vars(p) for p in problems],
                               "erased": erased, "flags": flags}))  # fmt: skip
    for flag in [] if as_json else [*(f"erased: {e}" for e in erased), *flags]:
        click.echo(f"  · {flag}")
    if problems:
        raise IntegrityError(
            f"{len(problems)} problem(s) in {count} record(s):\n  "
            + "\n  ".join(map(str, problems)),
            where=store.path,
            next_step="Restore what is named from a copy or a pack, and find out who changed it.",
        )
    if not as_json:
        click.echo(f"✓ {count} record(s) verify, {store.path}")


def _recomputed(store: Any, ref: str | None, as_json: bool) -> None:
    from ..execution.project import USECASE_FILE, Project
    from ..execution.recompute import recompute

    if ref is None:
        raise InputError("--recompute takes a record.", next_step="workbench ls")
    home = click.get_current_context().params["usecase"].resolve()
    project = Project.load(home) if (home / USECASE_FILE).is_file() else None
    found = recompute(store, project, ref)
    if as_json:
        click.echo(json.dumps(found, default=vars))
    for line in [] if as_json else [*found.versions, *map(str, found.left)]:
        click.echo(f"  · {line}")
    if found.bad:
        raise IntegrityError(
            f"{len(found.bad)} of what the record shows does not follow from its data:\n  "
            + "\n  ".join(map(str, found.bad)),
            where=found.record,
            next_step="Replay the record, and find out who changed it.",
        )
    if not as_json:
        click.echo(f"✓ {found.compared} outputs recomputed, {found.record}, {found.seconds} s")


@main.command()
@click.argument("to", type=click.Path(path_type=Path))
@click.argument("refs", nargs=-1, required=True)
@TRACK
@USECASE
@click.option("--alone", is_flag=True, help="Without the records that these stand on.")
@click.option("--replayable", is_flag=True, help="With all that executes them again.")
@click.option("--keys", type=click.Path(path_type=Path),
              help="New file for the keys to rows of persons; it travels apart.")  # fmt: skip
@click.option("--wheels", type=click.Path(exists=True, path_type=Path), help="Folder of wheels.")
def pack(
    to: Path, refs: tuple[str, ...], track: str, usecase: Path, alone: bool, replayable: bool,
    keys: Path | None, wheels: Path | None,
) -> None:  # fmt: skip
    """Pack records with their ancestry and proofs into TO (.tar or .tar.zst)."""
    from ..execution.project import Project, open_store, runs_folder
    from ..execution.replayable import pack_replayable
    from ..record.pack import pack as write

    store = open_store(runs_folder(usecase.resolve()), track, create=False)
    if replayable:
        project, facts = Project.load(usecase), {"keys": keys, "wheels": wheels}
        found = pack_replayable(store, project, [*refs], to, ancestors=not alone, **facts)
    elif keys or wheels:
        raise InputError("--keys and --wheels belong to --replayable.")
    else:
        found = write(store, refs, to, ancestors=not alone)
    click.echo(f"✓ {len(found)} record(s) in {to} ({os.path.getsize(to):,} bytes)")


@main.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@TRACK
@USECASE
def import_(path: Path, track: str, usecase: Path) -> None:
    """Import a pack after verifying it; refused whole if anything is wrong.

    Where the use case declares its training environment, its zone must be one that may hold the
    class of every record.
    """
    from ..execution.project import open_store, runs_folder
    from ..execution.zones import gate
    from ..record.pack import import_pack

    store = open_store(runs_folder(usecase.resolve()), track, create=True)
    found = import_pack(store, path, admit=gate(usecase.resolve()))
    click.echo(f"✓ {len(found)} record(s) imported into {store.path}")


@main.command()
@stored
def index(store: Any) -> None:
    """Rebuild the SQLite index from records and ledger. It is only a cache."""
    from ..record.index import rebuild

    click.echo(f"✓ {rebuild(store)}")
