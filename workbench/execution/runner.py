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

from ..errors import InputError, IntegrityError, RunError, WorkbenchError
from ..policy.gates import GateResult, GateVerdict
from ..policy.looks import Looks
from ..record.digest import canonical, scan
from ..record.statement import build
from ..record.store import Record, Run, Store, disk
from . import bom, capture, commitments, gating, governance, secrets
from .engine import Execution, execute
from .inputs import SEALED_SUFFIX, Input, lay_out, unchanged
from .isolation import Mount, Sandbox
from .project import Project
from .stages import Stage

TEXT_SUFFIXES = {".json", ".csv", ".md", ".txt", ".yaml", ".html"}
QUIET = {"PYTHONWARNINGS": "ignore::FutureWarning"}  # of libraries; no evidence for a reader
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

    @property
    def threads(self) -> int:
        return int(self.parameters.get("threads", 1))

    @property
    def snapshot(self) -> str | None:
        """The snapshot whose key encrypts this stage's rows; one, or the stage is refused."""
        found = {item.snapshot for item in self.inputs.values() if item.snapshot}
        if len(found) > 1:
            raise InputError("The stage mixes rows of several snapshots.", where=self.stage.name)
        return found.pop() if found else None


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
            execution, sandbox = _execute(job, begun, looks)
            record = _seal(job, begun, execution, sandbox, looks)
        except BaseException as error:
            _give_up(job.store, begun, error)
            raise
        commitments.commit(job.store, job.stage, record)
    if not execution.succeeded:
        raise _broken(job, execution, record)
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


def _give_up(store: Store, begun: Run, error: BaseException) -> None:
    """Say in the ledger why nothing was sealed; where not even that works, the next run does."""
    if begun.lock < 0:
        return  # it was published
    lines = str(error).splitlines()
    try:
        store.abandon(begun, lines[0] if lines else type(error).__name__)
    except (WorkbenchError, OSError):
        begun.close()


def _execute(job: Job, begun: Run, looks: Looks) -> tuple[Execution, Sandbox]:
    work = begun.folder / "work"
    (work / "outputs").mkdir(parents=True)
    places = lay_out(job.inputs, begun.folder / "private", job.store)
    mounts = tuple(
        Mount(
            path, work / "inputs" / name / path.name if path.is_file() else work / "inputs" / name
        )
        for name, path in places.items()
    )
    code = job.project.root / "steps"
    sandbox = Sandbox(
        level=job.level,
        scratch=work,
        readable=(code,) if code.is_dir() else (),
        inputs=mounts,
        threads=job.threads,
    )
    where = {m.place.relative_to(work).parts[1]: m.place.relative_to(work) for m in mounts}
    (work / "stage.json").write_bytes(canonical(stage_facts(job, where, looks)))
    execution = execute(
        job.stage.notebook,
        begun.record / "notebook.ipynb",
        job.parameters,
        sandbox=sandbox,
        limits=job.stage.limits,
        env=QUIET | ({"PYTHONPATH": str(code)} if code.is_dir() else {}),
        cwd=work,
        on_event=job.on_event,
    )
    changed = unchanged(job.inputs)
    if changed:
        raise IntegrityError(
            "Inputs changed while the stage ran; its result is not kept.",
            where=", ".join(str(job.inputs[name].path) for name in changed),
            next_step="Find out what wrote there, and run again.",
        )
    _take_out(work / "outputs", begun.record / "outputs")
    return execution, sandbox


def stage_facts(job: Job, where: dict[str, Path], looks: Looks) -> dict[str, Any]:
    """What the kernel is told: `stage.json`."""
    keyed = {"key": _row_key(job)} if job.stage.facts.get("governs") else {}
    return keyed | {
        "stage": job.stage.name,
        "outputs": "outputs",
        "looks": looks._asdict() if any(i.locked for i in job.inputs.values()) else None,
        "masked": job.snapshot is not None,
        "rows": job.stage.facts.get("rows", []),
        "inputs": {
            name: {
                "path": path.as_posix(),
                "digest": job.inputs[name].told,
                "uri": job.inputs[name].uri,
            }
            for name, path in where.items()
        },
    }


def _row_key(job: Job) -> str:
    """For pseudonyms and digests of rows: of the snapshot, so that it is forgotten with it."""
    if not job.snapshot:
        return job.inputs["data"].digest
    if not job.store.cipher.exists(job.snapshot):
        job.store.cipher.new_key(job.snapshot)
    return job.store.cipher.derive(job.snapshot, "pseudonyms")


def _seal(job: Job, begun: Run, execution: Execution, sandbox: Sandbox, looks: Looks) -> Record:
    outputs = begun.record / "outputs"
    results: list[GateResult] = []
    odd: list[dict[str, Any]] = []
    if execution.succeeded:
        results, odd = _judge(job, outputs, looks)
    else:
        gating.withdraw(outputs)
    _refuse_secrets(job, execution, outputs)
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
        inputs=[one for item in job.inputs.values() for one in item.dependencies()],
        isolation=job.level,
        environment=capture.environment(),
        internal={
            "key": job.key,
            "sandbox": sandbox.describe(),
            "repository": capture.repository(job.project.root),
            "profile": job.profile,
            "actor": job.who,
            "cells": [asdict(cell) for cell in execution.cells],
            "looks": looks._asdict(),
            "development": job.development,
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


def _plain(statement: Any) -> Any:
    """Through JSON once, so that tuples and enums are what a reader of the file will see."""
    return type(statement).model_validate(json.loads(json.dumps(statement.data(), default=str)))


def _judge(job: Job, outputs: Path, looks: Looks) -> tuple[list[GateResult], list[dict[str, Any]]]:
    """Verdicts from the rows, and where the notebook claims what the rows do not give."""
    policy, late = gating.frozen_policy(job.stage, job.inputs, outputs), _late(job)
    if job.stage.facts.get("decides"):
        return [_decide(job, policy, outputs, late)], []
    found = gating.judge(job.stage, policy, job.inputs, outputs, job.parameters, looks=looks)
    results = found
    if late and policy:
        results = gating.unjudged(policy, job.stage, late)
    results = results + governance.judge(job, outputs)
    gating.write(outputs, results)
    return results, gating.contradictions(outputs, found)


def _late(job: Job) -> str | None:
    """Why the criteria may not judge this adapter: it was trained before they were fixed."""
    criteria, adapter = job.inputs.get("criteria"), job.inputs.get("adapter")
    if not criteria or not adapter:
        return None
    trained = next((r for r in job.records.values() if r.digest == adapter.record), None)
    return gating.late_criteria(job.store, criteria, trained)


def _decide(job: Job, policy: Any, outputs: Path, late: str | None) -> GateResult:
    verdicts = gating.given_under(job.inputs.get("criteria"), job.records.values())
    frozen = (outputs / gating.BUNDLE).is_dir()
    result = gating.decided(job.stage.name, policy, verdicts, frozen, late)
    if result.verdict != GateVerdict.PASSED:
        gating.withdraw(outputs)
    gating.write(outputs, [result])
    return result


def _refuse_secrets(job: Job, execution: Execution, outputs: Path) -> None:
    """Nothing that looks like a secret is sealed for ever."""
    found = secrets.scan_notebook(execution.notebook) if execution.notebook else []
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


def _take_out(outputs: Path, target: Path) -> None:
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
