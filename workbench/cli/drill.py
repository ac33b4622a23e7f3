"""Planted defects: drill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed, InputError
from .program import JSON, USECASE, main

PATH = click.Path(path_type=Path)


@main.command()
@click.argument("ref", required=False)
@USECASE
@click.option("--seed", default=1, show_default=True, help="What is drawn, by it alone.")
@click.option("--times", default=1, show_default=True, help="So many seeds, from --seed on.")
@click.option("--only", multiple=True, metavar="KIND", help="Only this kind of defect.")
@click.option("--clean", default=10, show_default=True, help="Releases without a defect.")
@click.option("--reviewer", is_flag=True, help="Write packs with hidden defects, for people.")
@click.option("--packs", default=10, show_default=True, help="With --reviewer.")
@click.option("--defects", default=4, show_default=True, help="Packs with a defect.")
@click.option("--to", type=PATH, help="Folder of the packs.")
@click.option("--key", type=PATH, help="File that says which packs have which; not for readers.")
@click.option("--score", type=PATH, metavar="ANSWERS.json", help="Score a reader, and enter it.")
@click.option("--by", help="With --score: the reader.")
@JSON
def drill(
    ref: str | None, usecase: Path, seed: int, times: int, only: tuple[str, ...], clean: int,
    reviewer: bool, packs: int, defects: int, to: Path | None, key: Path | None,
    score: Path | None, by: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Plant defects in copies of release REF (the newest candidate); say which gate caught each.

    Only --score writes to the store. Exits 3 when a defect was not caught by the gates that must
    catch it, or a release without one was refused.
    """
    from ..execution.drills import drill as drills
    from ..execution.drills import reviewer as packing
    from ..execution.project import Project
    from ..execution.release import request

    project = Project.load(usecase)
    store = project.store("governed", create=False)
    if (reviewer or score) and not (to and key and (by or reviewer)):
        raise InputError("--to and --key are needed, and to score --by as well.")
    if score:
        answers = json.loads(score.read_text(encoding="utf-8"))
        click.echo(json.dumps(packing.score(store, to, key, answers, by)))
        return
    candidate = request.find(project, store, ref)
    if reviewer:
        made = packing.make(project, store, candidate, packs=packs, defects=defects, seed=seed,
                            to=to, key=key)  # fmt: skip
        click.echo(f"✓ {to}: {len(made)} packs. Keep {key} from whoever reads them.")
        return
    told = drills.drill(project, store, candidate, seeds=range(seed, seed + times), only=only,
                        clean=clean)  # fmt: skip
    click.echo(json.dumps(told)) if as_json else show(told)
    if not told["ok"]:
        raise GateNotPassed("A defect was not caught, or a sound release was refused.",
                            where=f"bundle {candidate.digest[:12]}")  # fmt: skip


def show(told: dict[str, Any]) -> None:
    """A line a defect, then the rate."""
    from ..evidence import tables

    rows = [{"kind": one["kind"], "seed": one["seed"], "verdict": one["verdict"],
             "must catch it": one["by"], "planted at": one["where"],
             "refused": sorted({gate for gate, _ in one["refused"]}),
             "without them": sorted({gate for gate, _ in one["through"]}) or "comes through"}
            for one in told["outcomes"]]  # fmt: skip
    tables.console().print(tables.of_rows(rows))
    rate, refused = told["caught"], told["false_refusals"]
    click.echo(f"{rate['count']} of {rate['n']} caught, 95 % interval {_percent(rate['interval'])}; "
               f"{len(refused)} of {told['clean']} sound releases refused.")  # fmt: skip
    for one in refused:
        click.echo("  " + "; ".join(one))


def _percent(interval: list[float] | None) -> str:
    return " to ".join(f"{share:.1%}" for share in interval) if interval else "of nothing"
