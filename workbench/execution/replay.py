"""Execute a record again, somewhere else, and say how well the result was reproduced (A4).

The replay sees what the record names by digest and nothing else: a fresh kernel in another folder,
where the machine gives namespaces under another host name and as another user, without checkpoints
and with the package index switched off. It is sealed in the replayer's own store as a record of the
stage `replay`, whose certificate an auditor reads. No stage takes such a record as its input.

A replay that reads a locked set spends no look: it repeats an examination of the same candidate,
and nobody can choose by it. The ledger and the certificate say that it did.

A pack verifies against the key that it brings along; whose key that is, the certificate lets you
check by its id. Where the machine gives no namespaces, a notebook runs with all your rights: replay
there only what comes from people whom you trust.

Bytes that the engine adds after the kernel (verdicts, the signed bill of materials, the bundle of a
candidate) are not compared: they follow from the outputs that are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import GateNotPassed, InputError
from ..policy import domain, reproduction
from ..policy.environment import Environment, compare
from ..policy.looks import ONLY, Looks
from ..policy.reproduction import Comparison, Tolerance
from ..record import person
from ..record.digest import canonical, file_digest, scan
from ..record.signing import keyid
from ..record.statement import build
from ..record.store import Record, Run, Store, disk
from . import capture, environment, gating, isolation, kernel_run, replayable, runner
from .inputs import OUTPUTS, SEALED_SUFFIX
from .pipeline import key_of
from .project import Project
from .replayable import Origin
from .stages import Stage

STAGE, CERTIFICATE, READABLE = "replay", "certificate.json", "CERTIFICATE.md"
NAMESPACE = "replay@workbench"
UID = 64_123  # neither root nor, likely, whoever ran the original


def replay(
    source: Store | Path, ref: str | None, *, into: Store, project: Project | None = None,
    at_least: str = "bitwise", tolerance: Tolerance | None = None, who: str, keys: Path | None = None,
    sign_with: Path | None = None, level: str | None = None,
    on_event: runner.OnEvent = lambda *a, **k: None,
) -> Record:  # fmt: skip
    """Replay a record of a store (with its use case) or of a pack; returns the certificate's record.

    `ref` may be None for a pack made for one record. InputError names what is missing, or the
    fields of another reproducibility domain where equal bits are asked; IntegrityError what does
    not verify; GateNotPassed comes with a certificate below `at_least`.
    """
    reproduction.reaches("bitwise", at_least)
    begun = into.begin(STAGE, who, {"source": getattr(source, "id", str(source)), "record": ref})
    with disk("replay", into.path):
        try:
            if isinstance(source, Store):
                origin = replayable.of_store(source, project)
            else:
                origin = replayable.of_pack(source, begun.folder / "pack", keys)
            record = origin.record(ref)
            job = _job(origin, record, level or isolation.available()[0], who, on_event)
            differing = _differences(origin, record, at_least)
            found = _run(origin, record, job, begun, tolerance or Tolerance())
            found |= {"asked": at_least, "by": who, "differences": differing}
            sealed = _seal(into, begun, record, found)
        except BaseException as error:
            runner.give_up(into, begun, error)
            raise
    _enter(into, sealed, found, who, sign_with)
    if not reproduction.reaches(found["grade"], at_least):
        raise _short(record, sealed, found)
    return sealed


def _job(
    origin: Origin, record: Record, level: str, who: str, on_event: runner.OnEvent
) -> runner.Job:
    stage, inputs = origin.material(record)
    return runner.Job(
        project=origin.project, stage=stage, store=origin.store, inputs=inputs, key=key_of(record),
        parameters=record.statement.parameters, level=level, who={"name": who}, on_event=on_event,
    )  # fmt: skip


def _internal(record: Record) -> dict[str, Any]:
    return record.statement.predicate.buildDefinition.internalParameters


def _differences(origin: Origin, record: Record, asked: str) -> list[dict[str, Any]]:
    """Domain, libraries and workbench that are not as in the record, each by name. InputError for
    another domain where equal bits are asked."""
    internal, here = _internal(record), environment.domain(record.statement.parameters)
    stated = domain.Domain.parse(internal.get("domain", {}), where=f"{record.ref}: domain")
    try:
        found = domain.differences(stated, here)
        if asked == "bitwise":
            domain.require_same(stated, here)
    except InputError as error:
        error.next_step = "--at-least tolerance compares figures within a stated distance."
        raise
    made, libraries = key_of(record)["parts"]["workbench"], internal["environment"]["libraries"]
    was = libraries | {"workbench": made}
    now = capture.libraries() | {"workbench": made if origin.packages else capture.package_digest()}
    known = {one.field.rpartition(".")[2] for one in found}
    names = [n for n in sorted(was | now) if n not in known and was.get(n) != now.get(n)]
    pairs = [*found, *((name, was.get(name), now.get(name)) for name in names)]
    return [{"field": field, "record": one, "replay": other} for field, one, other in pairs]


def _run(
    origin: Origin, record: Record, job: runner.Job, begun: Run, tolerance: Tolerance
) -> dict[str, Any]:
    """Execute and compare; what the certificate says of it."""
    place = {"hostname": f"replay-{begun.id[-8:]}", "user": UID} if job.level != "none" else {}
    internal, notebook = _internal(record), begun.record / "notebook.ipynb"
    execution, sandbox, _ = kernel_run.execute_in(
        begun.folder, notebook, job, Looks(**internal.get("looks", ONLY._asdict())),
        packages=origin.packages, **place,
    )  # fmt: skip
    found = _compared(record, job, begun, tolerance) if execution.succeeded else []
    sealed = file_digest(record.path / "notebook.ipynb")
    seen = environment.observe(job.parameters, job.level, sandbox=sandbox)
    return {
        "record": {"ref": record.ref, "digest": record.digest, "store": origin.store.id,
                   "key": keyid(origin.store.public_keys[0])},
        "grade": reproduction.worst(one.grade for one in found),
        "tolerance": asdict(tolerance),
        "outputs": [one.as_dict() for one in found],
        "error": execution.error,
        "not_compared": _volatile(job.stage),
        "notebook_same": file_digest(notebook) == sealed,
        "locked_set_read": any(item.locked for item in job.inputs.values()),
        "resumed": any("unfinished" in item.annotations for item in record.statement.inputs),
        "domain": environment.domain(job.parameters).model_dump(mode="json"),
        "environment": seen.model_dump(mode="json"),
        "declared": _declared(job.project, seen),
        "elsewhere": {"run": [record.statement.run_id, begun.id],
                      "isolation": [internal["isolation"], job.level], **place},
        "started": execution.started.isoformat(timespec="seconds"),
        "finished": execution.finished.isoformat(timespec="seconds"),
    }  # fmt: skip


def _declared(project: Project, seen: Environment) -> dict[str, list[str]]:
    """Each environment that the use case declares -> fields in which this place is not it."""
    wanted = {name: environment.declared(project, name) for name in project.usecase.environments}
    return {name: [one.field for one in compare(of, seen)] for name, of in wanted.items()}


# ---- comparing -----------------------------------------------------------------------------------


def _compared(record: Record, job: runner.Job, begun: Run, allowed: Tolerance) -> list[Comparison]:
    """Each output of the original with that of the replay, rows of persons in the clear."""
    outputs = runner.take_out(begun.folder / "work" / "outputs", begun.folder / "new")
    left_out = [gating.VERDICTS, job.stage.facts.get("bom", ""), *_volatile(job.stage)]
    if job.stage.facts.get("decides"):
        left_out.append(f"{gating.BUNDLE}/*")

    def compared(name: str) -> bool:
        return not any(fnmatch(name, pattern) for pattern in left_out)

    new = {name: outputs / name for name in scan(outputs)[0] if compared(name)}
    old = {name: path for name, path in originals(record, job.store, begun.folder / "original")
           if compared(name)}  # fmt: skip
    both = sorted(old.keys() & new.keys())
    found = [graded(name, old[name], new[name], allowed) for name in both]
    return reproduction.settled([*reproduction.unpaired(old, new), *found], allowed)


def _volatile(stage: Stage) -> list[str]:
    """Globs of outputs that differ with each run by their nature; the certificate names them."""
    return list(stage.facts.get("volatile", []))


def originals(record: Record, store: Store, folder: Path) -> Iterator[tuple[str, Path]]:
    """Outputs by name, those that are encrypted decrypted below `folder`."""
    for subject in record.statement.subject:
        name, sealed = subject.name, record.encrypted(subject.name)
        path = record.path / name
        if sealed:
            name = name.removesuffix(SEALED_SUFFIX)
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            store.cipher.decrypt(record.path / subject.name, path, sealed["snapshot"])
        if name.startswith(OUTPUTS):
            yield name[len(OUTPUTS) :], path


def graded(name: str, old: Path, new: Path, allowed: Tolerance) -> Comparison:
    if file_digest(old) == file_digest(new):
        return Comparison(name, "bitwise")
    try:
        if old.suffix == ".json":
            one, other = (json.loads(path.read_bytes()) for path in (old, new))
            return reproduction.values(name, one, other, allowed)
        if old.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return reproduction.arrays(name, load_file(old), load_file(new), allowed)
        if old.suffix == ".parquet":
            return _tables(name, old, new, allowed)
    except (ValueError, OSError, TypeError, KeyError) as error:
        return Comparison(name, "failed", why=f"can't be compared: {type(error).__name__}")
    return Comparison(name, "failed", why="other bytes, of a kind that is only compared whole")


def _tables(name: str, old: Path, new: Path, allowed: Tolerance) -> Comparison:
    """Columns as arrays; rows of cases that are no match are held against each other as outcomes."""
    import pyarrow.parquet as parquet

    tables = [parquet.read_table(path) for path in (old, new)]
    columns = [{n: t[n].to_numpy(zero_copy_only=False) for n in t.column_names} for t in tables]
    found = reproduction.arrays(name, *columns, allowed)
    if found.grade != "failed" or not {"case_id", "expected", "predicted"} <= set(columns[0]):
        return found
    outcomes = [{f"{row.get('model')}/{row['case_id']}/{row['expected']}":
                 row["expected"] == row["predicted"] for row in t.to_pylist()} for t in tables]  # fmt: skip
    return reproduction.cases(name, *outcomes, allowed)


# ---- the certificate -----------------------------------------------------------------------------


def _seal(into: Store, begun: Run, record: Record, found: dict[str, Any]) -> Record:
    outputs = begun.record / "outputs"
    outputs.mkdir()
    plain = json.loads(json.dumps(found, default=str))
    (outputs / CERTIFICATE).write_bytes(canonical(plain))
    (outputs / READABLE).write_text(readable(plain), encoding="utf-8")
    runner.refuse_secrets(begun.record / "notebook.ipynb", outputs)
    inputs = [record.as_input(subject.name) for subject in record.statement.subject]
    for item in inputs:
        item.annotations |= {"input": "original", "store": plain["record"]["store"]}
    about = record.statement.predicate.buildDefinition.externalParameters
    statement = build(
        stage=STAGE, track=into.track, inputs=inputs, isolation=plain["elsewhere"]["isolation"][1],
        parameters={"record": record.digest, "at_least": plain["asked"]},
        usecase=about.get("usecase"), started=plain["started"], finished=plain["finished"],
        outcome="succeeded", environment=capture.environment(),
        internal={"domain": plain["domain"]}, builder_version=capture.package_version(),
    )  # fmt: skip
    return into.publish(begun, statement)


def _enter(into: Store, sealed: Record, found: dict[str, Any], who: str, key: Path | None) -> None:
    """The ledger's word on the replay; with a key, the person's signature on the certificate."""
    said = {"certificate": sealed.digest, "record": found["record"]["digest"],
            "grade": found["grade"], "asked": found["asked"]}  # fmt: skip
    body = said | {"locked_set_read": found["locked_set_read"]}
    try:
        if key:
            body["envelope"] = person.sign_as(who, said, NAMESPACE, key, into.keyring())
    finally:  # signed or not, it happened
        into.ledger.append("replayed", body)


def certificate(sealed: Record) -> dict[str, Any]:
    """What a certificate's record says."""
    return json.loads(sealed.file(OUTPUTS + CERTIFICATE).read_bytes())


def _short(record: Record, sealed: Record, found: dict[str, Any]) -> GateNotPassed:
    worst = [o for o in found["outputs"] if o["grade"] == found["grade"]]
    error = GateNotPassed(
        f"{record.ref} was not reproduced: {found['grade']}.",
        where=f"certificate {sealed.ref}",
        expected=found["asked"],
        given="; ".join(f"{one['output']}: {one['why']}" for one in worst) or found["error"],
        next_step=f"workbench open {sealed.id}",
    )
    error.done = [sealed]
    return error


def readable(found: dict[str, Any]) -> str:
    """The certificate for an auditor, in Markdown."""
    record, error = found["record"], found["error"] or {}
    rows = [f"| {o['output']} | {o['grade']} | {shown(o['largest'])} | {o['where']} | {o['why']} |"
            for o in found["outputs"]]  # fmt: skip
    differing = [f"- {d['field']}: record {d['record']}, replay {d['replay']}"
                 for d in found["differences"]]  # fmt: skip
    parts = {
        f"# Replay certificate: {found['grade']}": True,
        f"Record `{record['ref']}` (sha256 `{record['digest']}`, store `{record['store']}`, key "
        f"`{record['key'][:16]}…`) was "
        f"executed again by {found['by']} (as they say) from {found['started']} to "
        f"{found['finished']}. Asked was at least **{found['asked']}**; the result is "
        f"**{found['grade']}**, the grade of the worst output.": True,
        "\n".join(["| output | grade | largest difference | where | why |", "|---|---|---|---|---|",
                   *rows]): rows,
        f"The run broke: {error.get('ename')}: {error.get('evalue')}": error,
        f"Not compared, since it differs with each run: {', '.join(found['not_compared'])}.":
            found["not_compared"],
        "The executed notebook is not the same.": not found["notebook_same"],
        f"Tolerance, fixed before the run: {found['tolerance']}.": True,
        "\n".join(["## What differed", "", *(differing or ["Nothing: the same domain, workbench and "
                                                           "libraries."])]): True,
        "\n".join(["## What was different on purpose", "",
                   *(f"- {name}: {value}" for name, value in found["elsewhere"].items())]): True,
        "The replay read the locked set. It spent no look: it repeats an examination.":
            found["locked_set_read"],
        "The original went on from checkpoints of a killed run; the replay began anew.":
            found["resumed"],
        "A replay shows that the record's inputs and code give its outputs. It does not show that "
        "inputs or code are right.": True,
    }  # fmt: skip
    return "\n\n".join(text for text, told in parts.items() if told) + "\n"


def shown(largest: float | None) -> str:
    return "—" if largest is None else f"{largest:.3g}"
