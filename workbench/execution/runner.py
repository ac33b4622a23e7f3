"""Run one stage: scratch, inputs, kernel, verdicts, seal. A failure is a record too."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from ..errors import InputError, RunError, WorkbenchError
from ..policy import layers
from ..policy.envelope import GATE as CHANGE_ENVELOPE
from ..policy.environment import compare
from ..policy.gates import GateResult, GateVerdict
from ..policy.governance import GATES
from ..policy.isolation import GATE as ISOLATION
from ..policy.looks import Looks
from ..policy.tiers import control_plan
from ..record.digest import scan
from ..record.statement import ResourceDescriptor, build
from ..record.store import Record, Run, Store, disk
from . import (
    bom,
    capture,
    checkpoints,
    commitments,
    envelope,
    environment,
    freezing,
    gating,
    governance,
    kernel_run,
    locked,
    probes,
    secrets,
    zones,
)  # fmt: skip
from .engine import Execution
from .inputs import SEALED_SUFFIX, Input
from .isolation import Sandbox
from .project import Project
from .stages import Stage, stages_for

TRAINING = "training"  # the declared environment that stages run in
TEXT_SUFFIXES = {".json", ".csv", ".md", ".txt", ".yaml", ".html"}
SCANNED = 5 * 2**20  # bytes of a text file that are searched for secrets
OnEvent = Callable[..., None]


@dataclass(frozen=True)
class Job:
    """One stage, ready to run."""

    project: Project
    stage: Stage
    store: Store
    parameters: dict[str, Any]
    inputs: dict[str, Input]
    key: dict[str, Any]
    level: str
    who: dict[str, str]
    records: dict[str, Record] = field(default_factory=dict)
    profile: str | None = None
    development: bool = False
    """Is the development split examined in place of the locked set?"""
    on_event: OnEvent = lambda *a, **k: None
    judged: Callable[[Path], list[GateResult]] | None = None
    """Of a release: what seals what the engine collected, and judges by that alone."""

    @property
    def snapshot(self) -> str | None:
        """The snapshot whose key encrypts this stage's rows; one, or the stage is refused."""
        found = {item.snapshot for item in self.inputs.values() if item.snapshot}
        if len(found) > 1:
            raise InputError("The stage mixes rows of several snapshots.", where=self.stage.name)
        return found.pop() if found else None


@dataclass(frozen=True)
class _Ran:
    """What came of a run, before it is sealed."""

    execution: Execution
    sandbox: Sandbox
    looks: Looks
    resumed: list[ResourceDescriptor]
    """The checkpoints of a killed run that this one went on from."""
    laid: probes.Bait
    """What lay there to be reached, and whether it was."""


def run(job: Job) -> Record:
    """Run the stage and seal what came of it.

    Returns the record of a run that succeeded, whatever its verdicts. Raises InputError when the
    notebook refused its input and RunError when it broke; both name the record of the failure.
    """
    _refuse_undeclared(job)
    about = {"usecase": job.project.usecase.id, "key": job.key["digest"], "profile": job.profile}
    begun = job.store.begin(job.stage.name, job.who["name"], about)
    with disk(f"run {job.stage.name}", job.store.path):
        try:
            facts = {"run": begun.id, "stage": job.stage.name, "who": job.who["name"]}
            looks = commitments.look(
                job.store, job.inputs, _budget(job), why=job.stage.facts.get("question"), **facts
            )
            if not job.stage.facts.get("anew"):
                looks = commitments.inherited(looks, job.inputs, job.records.values())
            ran = _execute(job, begun, looks)
            record = _seal(job, begun, ran)
        except BaseException as error:
            give_up(job.store, begun, error)
            raise
        commitments.commit(job.store, job.stage, record)
    if not ran.execution.succeeded:
        raise _broken(job, ran.execution, record)
    if _keeps(job):
        checkpoints.remove(job.store, job.key["digest"])
    return record


def _refuse_undeclared(job: Job) -> None:
    """A stage that reads rows of persons must say which of its outputs hold such rows."""
    if job.snapshot and "rows" not in job.stage.facts:
        raise InputError(
            "The stage reads rows of persons and does not say which outputs hold such rows.",
            where=f"{job.stage.notebook.name}: metadata.workbench.rows",
            expected='globs such as ["*.parquet"], or [] where none does',
            next_step="Declare them; what is not declared would be stored in the clear.",
        )


def _budget(job: Job) -> int:
    """Looks that the frozen criteria allow; without criteria, one."""
    policy = gating.frozen_policy(job.stage, job.inputs, Path())
    return policy.look_budget if policy else 1


def give_up(store: Store, begun: Run, error: BaseException) -> None:
    """Say in the ledger why nothing was sealed; where not even that works, the next run does."""
    if begun.lock < 0:
        return  # it was published
    lines = str(error).splitlines()
    try:
        store.abandon(begun, lines[0] if lines else type(error).__name__)
    except (WorkbenchError, OSError):
        begun.close()


def _execute(job: Job, begun: Run, looks: Looks) -> _Ran:
    kept = checkpoints.place(job.store, job.key["digest"]) if _keeps(job) else None
    resumed = checkpoints.found_in(kept) if kept else []
    execution, sandbox, laid = kernel_run.execute_in(
        begun.folder, begun.record / "notebook.ipynb", job, looks, checkpoints=kept
    )
    take_out(begun.folder / "work" / "outputs", begun.record / "outputs")
    return _Ran(execution, sandbox, looks, resumed, laid)


def _keeps(job: Job) -> bool:
    return bool(job.stage.facts.get("checkpoints"))


def _seal(job: Job, begun: Run, ran: _Ran) -> Record:
    outputs, execution = begun.record / "outputs", ran.execution
    results: list[GateResult] = []
    odd: list[dict[str, Any]] = []
    if execution.succeeded:
        results, odd = judge(job, begun.folder / "sealed", outputs, ran)
    else:
        gating.withdraw(outputs)
    refuse_secrets(begun.record / "notebook.ipynb", outputs)
    encrypted = _encrypt(job, outputs)
    if execution.succeeded and "bom" in job.stage.facts:
        _bill(job, begun, execution, outputs, encrypted)
    if not os.listdir(outputs):
        outputs.rmdir()
    statement = build(
        stage=job.stage.name,
        parameters=job.parameters,
        usecase=job.project.usecase.id,
        track=job.store.track,
        started=execution.started.isoformat(timespec="seconds"),
        finished=execution.finished.isoformat(timespec="seconds"),
        outcome="succeeded" if execution.succeeded else "failed",
        inputs=[one for item in job.inputs.values() for one in item.dependencies()] + ran.resumed,
        isolation=job.level,
        environment=capture.environment(),
        internal={
            "key": job.key,
            "sandbox": ran.sandbox.describe(),
            "repository": capture.repository(job.project.root),
            "profile": job.profile,
            "actor": job.who,
            "cells": [asdict(cell) for cell in execution.cells],
            "looks": ran.looks._asdict(),
            "development": job.development,
            **_surroundings(job, ran.sandbox),
        },
        builder_version=capture.package_version(),
        error=None
        if execution.succeeded
        else {"outcome": execution.outcome, **(execution.error or {})},
        verdicts=[result.as_dict() for result in results],
        claims={"contradicted": odd} if odd else {},
        encrypted=encrypted,
    )
    return job.store.publish(begun, _plain(statement))


def _surroundings(job: Job, sandbox: Sandbox) -> dict[str, Any]:
    """The domain that the result is promised in, where the place is not as declared, and the
    strictest class that the record inherits."""
    wanted, held = environment.declared(job.project, TRAINING), zones.data_class(job)
    found = environment.observe(job.parameters, job.level, sandbox=sandbox)
    apart = compare(wanted, found) if wanted else []
    if "threads" not in job.parameters:  # such a stage computes on one, whatever is declared
        apart = [one for one in apart if "threads" not in one.field.lower()]
    return {
        "domain": environment.domain(job.parameters).model_dump(mode="json"),
        "declared_environment": wanted.model_dump(mode="json") if wanted else None,
        "environment_differences": [one._asdict() for one in apart],
        "data_class": held.value if held else None,
    }


def _plain(statement: Any) -> Any:
    """Through JSON once, so that tuples and enums are what a reader of the file will see."""
    return type(statement).model_validate(json.loads(json.dumps(statement.data(), default=str)))


def judge(
    job: Job, folder: Path, outputs: Path, ran: _Ran
) -> tuple[list[GateResult], list[dict[str, Any]]]:
    """Verdicts from the rows, and where the notebook claims what the rows do not give."""
    if job.judged:
        results = job.judged(outputs)
        gating.write(outputs, results)
        return results, []
    policy, late = gating.frozen_policy(job.stage, job.inputs, outputs), _late(job)
    if job.stage.facts.get("decides"):
        return _decide(job, policy, outputs, late), []
    limit = job.parameters.get("limit", 0)
    answers = locked.of(job.stage, job.inputs, folder, job.store, limit)
    found = gating.judge(
        job.stage, policy, job.inputs, outputs, job.parameters, looks=ran.looks, answers=answers
    )
    results = found
    if late and policy:
        results = gating.unjudged(policy, job.stage, late)
    results = results + governance.judge(job, outputs) + envelope.judge(job, outputs)
    results += probes.judge(ran.laid, outputs, job.level, job.stage.name)
    gating.write(outputs, results)
    return results, gating.contradictions(outputs, found)


def _late(job: Job) -> str | None:
    """Why the criteria may not judge this adapter: it was trained before they were fixed."""
    criteria, adapter = job.inputs.get("criteria"), job.inputs.get("adapter")
    if not criteria or not adapter:
        return None
    trained = next((r for r in job.records.values() if r.digest == adapter.record), None)
    late = gating.late_criteria(job.store, criteria, trained)
    if late or job.store.track != "governed":  # research may ask the same model something new
        return late
    return gating.known_before(job.store, criteria, adapter)


def _decide(job: Job, policy: Any, outputs: Path, late: str | None) -> list[GateResult]:
    accepted = job.key.get("parts", {}).get("acceptances", ())
    verdicts = gating.given_under(job.inputs.get("criteria"), job.records.values(), accepted)
    shown = judge_layers(job, verdicts)
    verdicts.append(shown.as_dict())
    proposed = gating.proposed(outputs)
    result = gating.decided(job.stage.name, policy, verdicts, proposed, late, standing(job))
    gating.withdraw(outputs)  # what a kernel leaves as a bundle is none
    if result.verdict == GateVerdict.PASSED:
        freezing.freeze(job, [*verdicts, result.as_dict()], outputs / gating.BUNDLE)
    gating.write(outputs, [result, shown])
    return [result, shown]


def judge_layers(job: Job, verdicts: list[dict[str, Any]]) -> GateResult:
    """Is every layer that the plan asks for judged by a gate that blocks? Research is only told."""
    stages = stages_for(job.project.root, job.project.usecase)
    held = layers.shown({s.name: s.facts["layer"] for s in stages if "layer" in s.facts}, verdicts)
    plan = control_plan(job.project.usecase)
    return layers.judge(plan.layers, held, job.stage.name, job.store.track == "governed")


def standing(job: Job) -> set[str]:
    """Gates without which nothing is a candidate, whatever the stages declare; research need
    neither stay in an envelope, nor show that nothing got out, nor every layer of validation."""
    of_a_model = {CHANGE_ENVELOPE, ISOLATION, layers.GATE}
    return {*GATES, *of_a_model} if job.store.track == "governed" else {*GATES}


def refuse_secrets(notebook: Path, outputs: Path) -> None:
    """Nothing that looks like a secret is sealed for ever."""
    found = (
        secrets.scan_notebook(nbformat.read(notebook, as_version=4)) if notebook.exists() else []
    )
    for path in sorted(outputs.rglob("*")):
        if path.is_file() and path.suffix in TEXT_SUFFIXES:
            text = path.read_bytes()[:SCANNED].decode("utf-8", "replace")
            found += secrets.scan_text(text, path.relative_to(outputs).as_posix())
    if found:
        raise RunError(
            "The run left something that looks like a secret; it was not sealed.",
            where="; ".join(str(one) for one in found[:5]),
            next_step="Take it out of the notebook or the data, and replace the secret.",
        )


def _bill(job: Job, begun: Run, execution: Execution, outputs: Path, encrypted: dict) -> None:
    """The signed bill of materials of a stage that declares one; after encryption, so that it
    names the files as they are stored."""
    run = bom.Run(
        job.project.usecase,
        job.stage.name,
        begun.id,
        execution.started.isoformat(timespec="seconds"),
        capture.package_version(),
    )
    bom.write(outputs, job.stage.facts.get("bom"), run, job.inputs, encrypted, job.store.key)


def _encrypt(job: Job, outputs: Path) -> dict[str, dict[str, str]]:
    """Encrypt the rows of persons at rest; returns path -> snapshot and keyed plaintext digest."""
    snapshot, cipher = job.snapshot, job.store.cipher
    if not snapshot:
        return {}
    if not cipher.exists(snapshot):
        cipher.new_key(snapshot)
    sealed = {}
    for pattern in job.stage.facts.get("rows", []):
        for path in sorted(outputs.glob(pattern)):
            if path.suffix == SEALED_SUFFIX or not path.is_file():
                continue
            target = path.with_name(path.name + SEALED_SUFFIX)
            plaintext = cipher.keyed_digest(path)
            cipher.encrypt(path, target, snapshot)
            path.unlink()
            name = f"outputs/{target.relative_to(outputs).as_posix()}"
            sealed[name] = {"snapshot": snapshot, "plaintext": plaintext}
    return sealed


def take_out(outputs: Path, target: Path) -> Path:
    """Move what the kernel left to where it never was. RunError names what no record can hold:
    through a link the engine itself would read, encrypt or delete files of the host."""
    if not os.path.lexists(outputs):
        outputs.mkdir()
    if outputs.is_symlink() or not outputs.is_dir():
        refused = [("outputs", "a link or file in the place of a folder")]
    else:
        _drop_empty(outputs)
        refused = [one for one in scan(outputs)[1] if one[0] != "."]  # "." holds nothing yet
    for path, reason in refused:
        raise RunError(
            f"The stage left what a record can't hold: {reason}.",
            where=path,
            expected="plain files in folders",
            next_step="Correct the notebook; nothing was sealed.",
        )
    shutil.move(outputs, target)
    return target


def _drop_empty(outputs: Path) -> None:
    """A record holds no empty folder; one that the kernel left is no output."""
    for folder, _, _ in os.walk(outputs, topdown=False):  # follows no link
        if folder != str(outputs) and not os.listdir(folder):
            os.rmdir(folder)


def _broken(job: Job, execution: Execution, record: Record) -> InputError | RunError:
    error = execution.error or {}
    where = f"{job.stage.name}, cell {error.get('cell')}; record {record.ref}"
    if error.get("ename") == "InputError":  # the notebook refused its input, in our own words
        return InputError(error["evalue"], where=where)
    return RunError(
        f"{job.stage.name} {execution.outcome.replace('_', ' ')}: "
        f"{error.get('ename', '')} {error.get('evalue', '')}".strip(),
        where=where,
        next_step=f"workbench open {record.ref} shows the notebook at the failing cell.",
    )


def executed(record: Record) -> Any:
    """The executed notebook of a record."""
    return nbformat.read(record.file("notebook.ipynb"), as_version=4)
