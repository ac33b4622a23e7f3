"""One stage in one folder: inputs laid out, the kernel run, outputs left in the clear.

`runner` seals what comes of it, `replay` compares it with what was sealed before; both execute
here, so that a replay goes the same way as the run that it repeats.

    FOLDER/work       what the kernel may write: stage.json, inputs/, outputs/, checkpoints/
    FOLDER/private    rows of persons, decrypted; they go with the folder

A stage whose metadata says `checkpoints` finds a folder that outlives a killed run. It holds
weights and the optimiser's state, never rows. It is bound where it lies and not moved: what a
killed engine leaves is swept with the run's own folder, and the checkpoints are not in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError
from ..policy.domain import variables
from ..policy.looks import ONLY, Looks
from ..record.digest import canonical
from . import causes, claims, environment, probes
from .engine import Execution, execute
from .inputs import lay_out, unchanged
from .isolation import Mount, Sandbox

if TYPE_CHECKING:
    from .runner import Job

QUIET = {"PYTHONWARNINGS": "ignore::FutureWarning"}  # of libraries; no evidence for a reader


def execute_in(
    folder: Path, output: Path, job: Job, looks: Looks, *, checkpoints: Path | None = None,
    packages: tuple[Path, ...] = (), sealed: Path | None = None, told: dict[str, Any] | None = None,
    **place: Any,
) -> tuple[Execution, Sandbox, probes.Bait]:  # fmt: skip
    """Execute in `folder`; the executed notebook goes to `output`, outputs stay in work/outputs.

    From `packages` the kernel imports before anything else; `place` are fields of its `Sandbox`.
    `sealed` holds what the stage left before, to be recomputed from; `told` replaces facts.
    Where the stage probes its sandbox, bait is laid; it says what was reached. IntegrityError when
    an input changed meanwhile. A notebook that breaks is no exception.
    """
    work, steps = folder / "work", job.project.root / "steps"
    (work / "outputs").mkdir(parents=True)
    mounts = [
        Mount(path, work / "inputs" / name / (path.name if path.is_file() else ""))
        for name, path in lay_out(job.inputs, folder / "private", job.store).items()
    ]
    where = {m.place.relative_to(work).parts[1]: m.place.relative_to(work) for m in mounts}
    kept = [Mount(checkpoints, work / "checkpoints", writable=True)] if checkpoints else []
    kept += [Mount(sealed, work / "sealed")] if sealed else []
    paths = tuple(path for path in (steps, *packages) if path.is_dir())
    threads = int(job.parameters.get("threads", 1))
    caps = variables(job.parameters.get("domain", "native"), threads)
    sandbox = Sandbox(
        job.level, work, paths, (*mounts, *kept), threads=threads, variables=caps, **place
    )
    declared, sources = (
        bool(job.stage.facts.get("probes")),
        {n: i.path for n, i in job.inputs.items()},
    )
    key, records = job.store.keys / "engine.pem", job.store.path / "records"
    with probes.bait(declared, folder, job.level, key, records, sources) as laid:
        facts = stage_facts(job, where, looks) | ({"probes": laid.told} if declared else {})
        facts |= {"checkpoints": "checkpoints"} if checkpoints else {}
        facts |= ({"sealed": "sealed"} if sealed else {}) | (told or {})
        (work / "stage.json").write_bytes(canonical(facts))
        execution = execute(
            job.stage.notebook, output, job.parameters, sandbox=sandbox, limits=job.stage.limits,
            env=QUIET | ({"PYTHONPATH": ":".join(map(str, paths))} if paths else {}), cwd=work,
            on_event=job.on_event,
        )  # fmt: skip
    changed = unchanged(job.inputs)
    if changed:
        raise IntegrityError(
            "Inputs changed while the stage ran; its result is not kept.",
            where=", ".join(str(job.inputs[name].path) for name in changed),
            next_step="Find out what wrote there, and run again.",
        )
    claims.bind(output, work, job)
    return execution, sandbox, laid


def stage_facts(job: Job, where: dict[str, Path], looks: Looks) -> dict[str, Any]:
    """What the kernel is told: `stage.json`."""
    looked = looks != ONLY or any(item.locked for item in job.inputs.values())
    keyed = job.snapshot or job.stage.facts.get("governs")
    said = causes.told(job.stage, job.store, job.records.values())
    parts = job.key.get("parts", {})  # as the key has it, so that a replay is told the same
    said |= {name: parts[name] for name in ("acceptances",) if name in parts}
    return (
        ({"key": _row_key(job)} if keyed else {})
        | said
        | {
            "stage": job.stage.name,
            "outputs": "outputs",
            "looks": looks._asdict() if looked else None,
            "masked": job.snapshot is not None,
            "domain": environment.domain(job.parameters).model_dump(mode="json"),
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
    )


def _row_key(job: Job) -> str:
    """For pseudonyms and digests of rows: of the snapshot, so that it is forgotten with it."""
    if not job.snapshot:
        return job.inputs["data"].digest
    if not job.store.cipher.exists(job.snapshot):
        job.store.cipher.new_key(job.snapshot)
    return job.store.cipher.derive(job.snapshot, "pseudonyms")
