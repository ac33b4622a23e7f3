"""`workbench open`: a copy to look at or to work in, so that looking never breaks a seal."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import InputError
from ..policy.looks import Looks
from ..record.digest import canonical
from ..record.store import Record, Store
from . import commitments
from .inputs import SEALED_SUFFIX, Input, lay_out
from .kernel_run import stage_facts
from .pipeline import Pipeline, actor
from .runner import Job
from .stages import Stage


def open_record(record: Record, store: Store, target: Path, decrypt: bool = False) -> Path:
    """Copy a record below `target`, writable; returns its notebook.

    With `decrypt`, rows of persons are opened in the copy, and the ledger says that they were.
    """
    place = _fresh(target / f"{record.stage}-{record.id}")
    shutil.copytree(record.path, place)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    if decrypt:
        sealed = record.statement.predicate.workbench_encrypted
        store.ledger.append("rows-read", {"record": record.digest, "files": sorted(sealed)})
        for name, facts in sealed.items():
            opened = place / name.removesuffix(SEALED_SUFFIX)
            store.cipher.decrypt(place / name, opened, facts["snapshot"])
    return place / "notebook.ipynb"


def open_stage(pipeline: Pipeline, name: str, target: Path) -> Path:
    """A stage to run cell by cell: template, inputs of the latest records, place for outputs."""
    stage = _stage(pipeline, name)
    for earlier in pipeline.stages:
        if earlier.name in _needed(pipeline, stage):
            found = pipeline.earlier(earlier)
            if found:
                pipeline.records[earlier.name] = found[-1]
    step = pipeline.step(stage)
    who = actor(pipeline.project.root)
    looks = _tell(
        pipeline.store, stage, step.inputs, who["name"], pipeline.project.policy.look_budget
    )
    place = _fresh(target / name)
    place.mkdir(parents=True)
    where = {}
    for input_name, path in lay_out(step.inputs, place / "private", pipeline.store).items():
        link = place / "inputs" / input_name
        if path.is_file():
            link = link / path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
        where[input_name] = link.relative_to(place)
    job = Job(pipeline.project, stage, pipeline.store, step.parameters, step.inputs, step.key,
              "none", who)  # fmt: skip
    (place / "stage.json").write_bytes(canonical(stage_facts(job, where, looks)))
    shutil.copyfile(stage.notebook, place / stage.notebook.name)
    return place / stage.notebook.name


def _tell(store: Store, stage: Stage, inputs: dict[str, Input], who: str, budget: int) -> Looks:
    """The ledger's word that rows were opened, and that a locked set was looked at."""
    records = sorted({item.record for item in inputs.values() if item.snapshot and item.record})
    if records:
        store.ledger.append("rows-read", {"stage": stage.name, "records": records, "who": who})
    return commitments.look(
        store, inputs, budget, run=None, stage=stage.name, who=who, why="cell by cell"
    )


def _needed(pipeline: Pipeline, stage: Stage) -> set[str]:
    return {one for one in stage.needs() if one in {s.name for s in pipeline.stages}}


def _stage(pipeline: Pipeline, name: str) -> Stage:
    for stage in pipeline.stages:
        if stage.name == name:
            return stage
    raise InputError(
        "There is no such stage.",
        expected=", ".join(stage.name for stage in pipeline.stages),
        given=name,
    )


def _fresh(place: Path) -> Path:
    """The place itself, or with a number behind it: nobody's work is written over."""
    for number in range(1, 1000):
        tried = place if number == 1 else place.with_name(f"{place.name}-{number}")
        if not tried.exists():
            return tried
    raise InputError("There are too many copies already.", where=place.parent)
