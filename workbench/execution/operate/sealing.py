"""Stages of operation: the engine collects, the notebook shows, the engine judges and seals."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...policy import gates, tiers, tracks
from ...policy.criteria import Criterion, Policy
from ...policy.gates import GateResult
from ...record.store import Record, Store
from .. import bundle, capture, gating, isolation, preflight, runner
from ..bundle import Candidate
from ..inputs import from_path, resolve
from ..pipeline import Pipeline, actor
from ..project import Project
from ..stages import Stage, stages_for

Collected = Mapping[str, tuple[Path, str]]
"""Name of an input -> the file, and where it came from, such as `ledger:release`."""
Judged = Callable[[Path], list[GateResult]]


def seal(
    project: Project, store: Store, stage_name: str, collected: Collected, candidate: Candidate,
    judged: Judged, outputs: Mapping[str, Path] | None = None,
) -> Record:  # fmt: skip
    """Run a stage that is no part of a run over what the engine collected, and seal it.

    `outputs` (path in the record's outputs -> file) replace what the kernel left under those names;
    `judged` gives the verdicts from the outputs. InputError names what the track asks besides,
    RunError a notebook that broke; the kernel starts only when all is in order.
    """
    stage = stage_of(project, stage_name)
    level = isolation_level(project, store, stage)
    needed = {one.stage: one for one in bundle.lineage(store, candidate)} if stage.needs() else {}
    records = {name: one for name, one in needed.items() if name in stage.needs()}
    pipeline, parameters = Pipeline(project, store), stage.schema.check({})
    inputs = resolve(project, stage, records, store)
    inputs |= {name: from_path(name, *place) for name, place in collected.items()}

    def judge_outputs(folder: Path) -> list[GateResult]:
        for name, path in (outputs or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).unlink(missing_ok=True)
            shutil.copyfile(path, folder / name)
        return judged(folder)

    return runner.run(runner.Job(
        project=project, stage=stage, store=store, parameters=parameters, inputs=inputs,
        key=pipeline.key_for(stage, parameters, inputs), level=level, who=actor(project.root),
        records=records, judged=judge_outputs,
    ))  # fmt: skip


def stage_of(project: Project, name: str) -> Stage:
    """The stage of this name. InputError where the use case has none."""
    known = {one.name: one for one in stages_for(project.root, project.usecase)}
    if name not in known:
        raise InputError("The use case has no such stage.", expected=", ".join(known), given=name)
    return known[name]


def isolation_level(project: Project, store: Store, stage: Stage) -> str:
    """The isolation to run with; InputError names what the governed track asks besides."""
    level, lacking = isolation.available()
    facts: dict[str, Any] = preflight.approvals_asked(project, store, [stage], None)
    found = tracks.refusals(store.track, tracks.Facts(
        plan=tiers.control_plan(project.usecase), isolation=level, lacking=lacking, environment=(),
        dirty=capture.repository(project.root).get("dirty"), **facts,
    ))  # fmt: skip
    if found:
        raise InputError(f"{stage.name} can't be sealed yet.", where=project.root,
                         given="\n            ".join(map(str, found)),
                         next_step="Each clears what is theirs; then try again.")  # fmt: skip
    return level


def judge(
    criteria: Sequence[Criterion], stage_name: str, outputs: Path, version: int
) -> list[GateResult]:
    """Verdicts of criteria of `operations.yaml` over the tables in `outputs`; never raises."""
    policy = Policy(version=version, criteria=list(criteria))
    return gates.judge(policy, stage_name, gating.reader(outputs))
