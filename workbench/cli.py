"""The command line: verbs only. Parse, call, print, exit code. `jupyter workbench` is the same."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click

from .errors import GateNotPassed, InputError, IntegrityError, RunError, WorkbenchError

TRACK = click.option(
    "--track", type=click.Choice(["research", "governed"]), default="research", show_default=True,
    help="Research is free; only governed records can lead to a release.",
)  # fmt: skip
USECASE = click.option(
    "--usecase", "-u", type=click.Path(path_type=Path), default=Path("."), show_default=True,
    help="Folder of the use case.",
)  # fmt: skip
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


class Group(click.Group):
    """Every error of ours leaves with its words and its exit code; wrong usage is wrong input."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            super().main(*args, **kwargs)
            code = 0
        except WorkbenchError as error:
            click.echo(f"{click.style('✗', fg='red')} {error}", err=True)
            code = error.exit_code
        except click.ClickException as error:
            error.show()
            code = InputError.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("✗ Interrupted. What had been sealed stays; run again to go on.", err=True)
            code = RunError.exit_code
        except OSError as error:
            click.echo(f"✗ {error}", err=True)
            code = RunError.exit_code
        except Exception:  # a fault of ours: not the reader's input, which is what exit 1 says
            traceback.print_exc()
            code = RunError.exit_code
        sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="workbench")
def main() -> None:
    """Retrain an open model in a regulated field, and prove what you did.

    Exit codes: 0 done · 1 wrong input · 2 the run broke · 3 a gate did not pass ·
    4 waiting for a person · 6 something does not verify.
    """


def stored(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb its store: `--track` and `--usecase` become the argument `store`."""

    @TRACK
    @USECASE
    @wraps(function)
    def wrapper(track: str, usecase: Path, **rest: Any) -> Any:
        from .execution.project import open_store, runs_folder

        return function(open_store(runs_folder(usecase.resolve()), track, create=False), **rest)

    return wrapper


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
    from .execution import scaffold

    made = scaffold.new(path, template, **given)
    click.echo(f"✓ {made} is ready.")
    if given["data"]:
        click.echo(f"  Next: workbench classify -u {made} --by 'Your Name' --rest CLASS")
    click.echo(f"  Then: workbench run -u {made}")


@main.command()
@USECASE
@click.option("--by", required=True, help="The person who decides, by name.")
@click.option("--column", "-c", multiple=True, metavar="NAME=CLASS", help="Class of one column.")
@click.option("--rest", metavar="CLASS", help="Class of every column not named.")
@click.option("--legal-basis", help="Needed for personal and health data.")
@click.option("--retention-days", type=int, help="Days after which the rows must be gone.")
@click.option("--licence", help="Needed for licensed data.")
@click.option("--purpose", help="Why the columns are kept.")
def classify(usecase: Path, by: str, column: tuple[str, ...], rest: str, **duties: Any) -> None:
    """Classify the columns of the data. Unclassified data is refused on both tracks."""
    from .execution import scaffold
    from .execution.project import Project

    known = {name: value for name, value in duties.items() if value is not None}
    assigned = {}
    for text in column:
        name, equals, kind = text.rpartition("=")
        if not equals:
            raise InputError("--column takes NAME=CLASS.", given=text)
        assigned[name] = {"class": kind, **known}
    decided = scaffold.classify(usecase, by, assigned, {"class": rest, **known} if rest else None)
    Project.load(usecase)  # a class that doesn't exist, or lacks a duty, is named here
    for name, facts in decided.items():
        click.echo(f"  {name}: {facts['class']}")
    click.echo(f"✓ classified by {by} (by name, not signed).")


@main.command()
@TRACK
@USECASE
@click.option("--profile", help="A profile of the use case, such as `demo`.")
@click.option("--set", "-p", "given", multiple=True, metavar="STAGE.NAME=VALUE", help="A value.")
@click.option("--until", metavar="STAGE", help="Run up to this stage.")
@click.option("--fresh", is_flag=True, help="Run every stage, also those that are unchanged.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and why; run nothing.")
@JSON
def run(
    track: str, usecase: Path, profile: str | None, given: tuple[str, ...], until: str | None,
    fresh: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Run the life cycle: every stage that changed, in order, to a candidate or a refusal."""
    from .evidence import progress, tables
    from .execution.pipeline import Pipeline
    from .execution.project import Project

    project = Project.load(usecase)
    teller = progress.Teller(quiet=as_json)
    pipeline = Pipeline(project, project.store(track), profile, _by_stage(given), fresh, teller)
    if dry_run:
        _show_plan(pipeline, until, as_json)
        return
    try:
        done, stopped = pipeline.run(until), None
    except GateNotPassed as error:
        done, stopped = error.done, error
    finally:
        teller.close()
    if as_json:
        click.echo(json.dumps([{"stage": one.stage, "record": one.record.id, "reused": one.reused,
                                "verdicts": one.verdicts} for one in done]))  # fmt: skip
    else:
        tables.print_run(done)
    if stopped:
        raise stopped


def _by_stage(given: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in given:
        stage, dot, rest = text.partition(".")
        if not dot or "=" not in rest:
            raise InputError("--set takes STAGE.NAME=VALUE.", given=text.partition("=")[0])
        found.setdefault(stage, []).append(rest)
    return found


def _show_plan(pipeline: Any, until: str | None, as_json: bool) -> None:
    from .evidence import tables

    level, rows = pipeline.check(), pipeline.preview(until)
    if as_json:
        click.echo(json.dumps({"isolation": level, "stages": rows}))
        return
    tables.console().print(tables.plan(rows))


@main.command()
@stored
@click.option("--stage", help="Only this stage.")
@JSON
def ls(store: Any, stage: str | None, as_json: bool) -> None:
    """List the records, the newest last."""
    from .evidence import tables

    found = store.records(stage)
    if as_json:
        click.echo(json.dumps([{"stage": r.stage, "id": r.id, "digest": r.digest,
                                "outcome": r.outcome} for r in found]))  # fmt: skip
    else:
        tables.console().print(tables.records(found))


@main.command()
@click.argument("ref")
@stored
@JSON
def show(store: Any, ref: str, as_json: bool) -> None:
    """Show one record: what it is, from what, verdicts and files."""
    from .evidence import tables

    record = store.record(ref)
    if as_json:
        click.echo(json.dumps(record.statement.data()))
    else:
        tables.console().print(tables.show(record))


@main.command("open")
@click.argument("ref")
@TRACK
@USECASE
@click.option("--to", type=click.Path(path_type=Path), help="Default: scratch/ in the use case.")
@click.option("--rows", is_flag=True, help="Decrypt rows of persons; the ledger will say so.")
def open_(ref: str, track: str, usecase: Path, to: Path | None, rows: bool) -> None:
    """Copy a record to a scratch place, or prepare a stage to run cell by cell."""
    from .execution import scratch
    from .execution.pipeline import Pipeline
    from .execution.project import Project, open_store, runs_folder

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
    from .evidence.explain import why as compare

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
@JSON
def verify(store: Any, ref: str | None, as_json: bool) -> None:
    """Verify one record, or the whole store with its ledger. Exits 6 and names what is wrong."""
    from .record.verify import foreign_keys, verify_record, verify_store

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


@main.group()
def keys() -> None:
    """The engine's public key, and the keyring of people who sign."""


@keys.command("ls")
@stored
def keys_ls(store: Any) -> None:
    """Show the store's public keys and the people of the keyring in force."""
    click.echo(f"store {store.id} ({store.track}), private keys in {store.keys}")
    for pem in store.public_keys:
        click.echo(pem.strip())
    ring = store.keyring()
    known = (
        f"keyring version {ring.number}" if ring.persons else "no keyring yet: workbench keys add"
    )
    click.echo(known)
    for person in ring.persons:
        for key in person.keys:
            state = f"revoked {key.revoked.at}: {key.revoked.reason}" if key.revoked else "valid"
            click.echo(f"  {person.id}  {person.name} <{person.email}>  {', '.join(person.roles)}  "
                       f"{state}  {key.public.split()[1][-16:]}")  # fmt: skip


@keys.command("add")
@stored
@click.option("--id", "person_id", required=True, help="Short name of the person.")
@click.option("--name", required=True, help="Printed name.")
@click.option("--email", required=True)
@click.option("--role", "roles", multiple=True, required=True, help="Repeat; first: keyholder.")
@click.option("--public-key", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--valid-days", type=int, default=365, show_default=True)
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True,
              help="SSH key of a keyholder; the first version signs itself.")  # fmt: skip
def keys_add(
    store: Any, person_id: str, name: str, email: str, roles: tuple[str, ...], public_key: Path,
    valid_days: int, sign_with: Path,
) -> None:  # fmt: skip
    """Enter a person and their SSH public key into a new version of the keyring."""
    from .record import clock, keyring

    now = clock.now()
    until = clock.text(clock.parse(now) + timedelta(days=valid_days))
    key = keyring.Key(public=public_key.read_text().strip(), valid_from=now, valid_until=until)
    someone = keyring.Person(id=person_id, name=name, email=email, roles=roles, keys=(key,))
    ring = store.update_keyring(store.keyring().add(someone), sign_with)
    click.echo(f"✓ keyring version {ring.number}, {len(ring.persons)} people")


@keys.command("revoke")
@stored
@click.option("--public-key", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--reason", required=True)
@click.option("--sign-with", type=click.Path(exists=True, path_type=Path), required=True)
def keys_revoke(store: Any, public_key: Path, reason: str, sign_with: Path) -> None:
    """Say that a key no longer counts, from now on."""
    version = store.keyring().revoke(public_key.read_text().strip(), reason)
    ring = store.update_keyring(version, sign_with)
    click.echo(f"✓ keyring version {ring.number}")


@main.command()
@click.argument("to", type=click.Path(path_type=Path))
@click.argument("refs", nargs=-1, required=True)
@stored
@click.option("--alone", is_flag=True, help="Without the records that these stand on.")
def pack(store: Any, to: Path, refs: tuple[str, ...], alone: bool) -> None:
    """Pack records with their ancestry and proofs into TO (.tar or .tar.zst)."""
    from .record.pack import pack as write

    found = write(store, refs, to, ancestors=not alone)
    click.echo(f"✓ {len(found)} record(s) in {to} ({os.path.getsize(to):,} bytes)")


@main.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@TRACK
@USECASE
def import_(path: Path, track: str, usecase: Path) -> None:
    """Import a pack after verifying it; refused whole if anything is wrong."""
    from .execution.project import open_store, runs_folder
    from .record.pack import import_pack

    store = open_store(runs_folder(usecase.resolve()), track, create=True)
    found = import_pack(store, path)
    click.echo(f"✓ {len(found)} record(s) imported into {store.path}")


@main.command()
@stored
def index(store: Any) -> None:
    """Rebuild the SQLite index from records and ledger. It is only a cache."""
    from .record.index import rebuild

    click.echo(f"✓ {rebuild(store)}")


if __name__ == "__main__":
    main()
