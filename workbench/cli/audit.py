"""Audit by sample: audit."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ..errors import GateNotPassed, InputError, IntegrityError
from .program import JSON, main, stored


@main.command()
@click.argument("ref", required=False)
@stored
@click.option("--sample", default=25, show_default=True, help="So many rows, and so many cases.")
@click.option("--seed", type=int, required=True, help="Decides which; the same draws the same.")
@click.option("--to", type=click.Path(path_type=Path), required=True, help="A new folder.")
@JSON
def audit(store: Any, ref: str | None, sample: int, seed: int, to: Path, as_json: bool) -> None:
    """Trace drawn rows and cases of REF (the newest candidate) end to end; write a work paper.

    The ledger says that rows were read. Exits 3 for an exception, 6 where a seal does not verify.
    """
    from ..evidence.work_paper import page
    from ..execution import bundle
    from ..execution.audit import audit as examine
    from ..record.digest import canonical

    if to.exists():
        raise InputError("A work paper is never overwritten.", where=to, expected="a new folder")
    record = None
    with suppress(InputError):  # a record that is no candidate, such as a release, is one too
        record = bundle.find(store, ref).record
    record = record or store.record(ref or "50_candidate")
    paper = examine(store, record, sample=sample, seed=seed, who=os.environ.get("USER", "unknown"))
    to.mkdir(parents=True)
    (to / "work-paper.json").write_bytes(canonical(paper))
    (to / "work-paper.html").write_text(page(paper), encoding="utf-8")
    click.echo(json.dumps(paper) if as_json else f"{paper['conclusion']} {to}")
    if paper["problems"]:
        raise IntegrityError("Seals do not verify.", where=store.path, given=paper["problems"][0])
    if paper["exceptions"]:
        raise GateNotPassed(paper["conclusion"], where=to / "work-paper.html")
