"""Promotion: what research found is run again on the governed track, and never copied there (A6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..policy.tracks import Missing
from ..record.store import Record
from . import preflight
from .inputs import OUTPUTS, SEALED_SUFFIX
from .pipeline import Done, Pipeline, changed, key_of, track_of, usecase_of
from .preflight import ADAPT
from .project import USECASE_FILE, Project, open_store, runs_folder

CANDIDATE = "50_candidate"


@dataclass(frozen=True)
class Promotion:
    """A research record, and what stands between it and the same on the governed track."""

    record: Record
    profile: str | None
    made: Mapping[str, Record]
    """Stage -> research record, of all that leads to it."""
    missing: list[Missing]


def plan(project: Project, ref: str | None = None, profile: str | None = None) -> Promotion:
    """What is to be promoted, and all that is missing for it; makes nothing, not even a store.

    Without `ref`: the newest candidate, else the newest adapter. InputError when there is none.
    """
    store = open_store(runs_folder(project.root), "research", create=False)
    record = _chosen(Pipeline(project, store), ref)
    profile = profile or _profile(record)
    research = Pipeline(project, store, profile)
    governed = Pipeline(project, preflight.governed(project), profile)
    missing = [*_departures(research, record), *governed.missing(record.stage)]
    return Promotion(record, profile, research.records, missing)


def _profile(record: Record) -> str | None:
    return record.statement.predicate.buildDefinition.internalParameters.get("profile")


def _chosen(pipeline: Pipeline, ref: str | None) -> Record:
    """A successful record of this use case that this research store saw happen."""
    wanted = pipeline.store.record(ref) if ref else None
    names = (wanted.stage,) if wanted else (CANDIDATE, ADAPT)
    for stage in sorted(pipeline.stages, key=lambda one: one.name, reverse=True):
        for record in reversed(pipeline.earlier(stage)) if stage.name in names else ():
            if wanted in (None, record):
                return record
    raise InputError(
        "There is no such research record to promote.", where=pipeline.store.path, given=ref,
        expected=f"one of {pipeline.project.usecase.id} that succeeded",
        next_step="workbench run makes one.",
    )  # fmt: skip


def _departures(research: Pipeline, record: Record) -> Iterator[Missing]:
    """Where the use case no longer leads to the record: on the governed track it would be another.

    Leaves in `research.records` what it leads to now.
    """
    how = "workbench run, then promote what it makes; or correct usecase.yaml"
    for stage, step, why in research.plan(record.stage):
        if step and step.reuse:
            continue
        if step is None and (last := research.earlier(stage)):  # it follows: has it changed itself?
            own = {"template": stage.source_digest, "parameters": research.parameters[stage.name]}
            was = key_of(last[-1])
            why = changed(was, {"parts": was["parts"] | own})
        if why != "changed: ":
            yield Missing(f"{stage.name} {why}", "engineer", how)
    now = research.records.get(record.stage)
    if now and key_of(now)["digest"] != key_of(record)["digest"]:
        what = f"the use case leads to {now.ref}, {changed(key_of(record), key_of(now))}"
        how = f"workbench promote {now.ref}, or correct usecase.yaml: workbench why "
        yield Missing(what, "engineer", how + f"{record.ref} {now.ref}")


def asked(root: Path, record: Record) -> list[Missing]:
    """What the governed track would still ask before it runs what led to a research record; nothing
    where the record's use case is not at hand."""
    if track_of(record) != "research" or not (root / USECASE_FILE).is_file():
        return []
    project = Project.load(root)
    governed = Pipeline(project, preflight.governed(project), _profile(record))
    known = usecase_of(record) == project.usecase.id and record.stage in governed.parameters
    return governed.missing(record.stage) if known else []


def compared(promotion: Promotion, done: list[Done]) -> list[str] | None:
    """Outputs of the adapting stage that differ between the tracks; None where it did not run.

    Encrypted ones are left out: each store has keys of its own.
    """
    governed = [one.record for one in done if one.stage == ADAPT]
    if not governed:
        return None
    then, now = _outputs(promotion.made[ADAPT]), _outputs(governed[0])
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _outputs(record: Record) -> dict[str, str]:
    return {
        one.name.removeprefix(OUTPUTS): one.digest["sha256"]
        for one in record.statement.subject
        if one.name.startswith(OUTPUTS) and not one.name.endswith(SEALED_SUFFIX)
    }
