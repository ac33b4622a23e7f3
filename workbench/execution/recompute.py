"""Recompute what a record shows from what it sealed, and name every figure that differs (N2).

The cells of the sealed notebook run again, isolated, with the inputs that the record names by
digest. Functions that ask or train a model give the sealed tables (`methods.stage.sealed`), so
that it takes seconds; all else is computed: every table, drawing, text and file, and the verdicts
by the engine. A replay asks the models as well.

    differs         something shown is not what the sealed data give
    unbound         figures are shown that stand on no artifact
    not recomputed  by its nature, or since only a model could say it; listed and never passed over

Nothing is written to the store: who can read it can check it.
"""

from __future__ import annotations

import io
import json
import re
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat

from ..errors import InputError, RunError, WorkbenchError
from ..policy import reproduction
from ..policy.looks import ONLY, Looks
from ..policy.reproduction import Tolerance
from ..record.digest import canonical, digest
from ..record.ledger import Ledger, listed
from ..record.lineage import Graph
from ..record.store import Record, Store
from . import bom, capture, claims, gating, isolation, kernel_run, replay, replayable, runner
from .pipeline import key_of
from .project import Project
from .stages import Stage, stages_for

DIFFERS, UNBOUND, LEFT = "differs", "unbound", "not recomputed"
SCRAP = "application/scrapbook.scrap.json+json"
STEPS = "steps"
WRITTEN = ("claims:", "outputs")


@dataclass(frozen=True)
class Finding:
    """One thing that a record shows: where, what stands there, and what its data give."""

    kind: str
    where: str
    output: str
    sealed: str = ""
    recomputed: str = ""

    def __str__(self) -> str:
        said = f": {self.sealed} → {self.recomputed}" if self.recomputed else f": {self.sealed}"
        return f"{self.kind}: {self.where}, {self.output}" + (said if self.sealed else "")


@dataclass(frozen=True)
class Report:
    """What came of it; `compared` counts outputs of cells, files and verdicts."""

    record: str
    compared: int
    findings: list[Finding]
    versions: list[str]
    """Ways in which today's workbench is another than the one that made the record."""
    seconds: float

    @property
    def bad(self) -> list[Finding]:
        return [one for one in self.findings if one.kind != LEFT]

    @property
    def left(self) -> list[Finding]:
        return [one for one in self.findings if one.kind == LEFT]


def recompute(store: Store, project: Project | None, ref: str) -> Report:
    """Recompute a record of a store. InputError where that can't be: its rows were erased, its run
    failed, or an input is gone; IntegrityError for what does not verify; RunError names the cell
    that can't be computed from what was sealed."""
    began, record = time.monotonic(), store.record(ref)
    _refuse(store, project, record)
    origin = replayable.of_store(_Then(store, record), project)
    origin.verified(record)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "recomputed-00000000"  # the bait lays another run's folder beside it
        sealed = {n: path for n, path in replay.originals(record, store, folder / "clear")}
        held = _held(sealed, folder / "sealed")
        stage = _stage(record, folder / "cells.ipynb")
        job = _job(origin, record, stage)
        looks = Looks(**_internal(record).get("looks", ONLY._asdict()))
        told = {"domain": _internal(record)["domain"]}
        execution, _, laid = kernel_run.execute_in(
            folder / "run", folder / "executed.ipynb", job, looks, sealed=held, told=told
        )
        if not execution.succeeded:
            raise _stopped(record, execution.error or {})
        touched = claims.touched(folder / "run" / "work")
        new = runner.take_out(folder / "run" / "work" / "outputs", folder / "new")
        ran = SimpleNamespace(looks=looks, laid=laid)
        unjudged = _judge(job, folder / "judged", new, ran)
        both = runner.executed(record), nbformat.read(folder / "executed.ipynb", as_version=4)
        found = [*_cells(*both, touched), *_files(stage, sealed, new, unjudged)]
        found += [] if unjudged else _verdicts(record, sealed, new)
    compared = len([one for one in found if one is None or one.kind == DIFFERS])
    said = [one for one in found if one]
    said += [Finding(UNBOUND, _title(both[0], i), "its figures") for i in _unbound(both[0], job)]
    said += [Finding(DIFFERS, "notebook", "its cells", *one) for one in _source(record, both[0])]
    versions = _versions(origin, record)
    return Report(record.ref, compared, said, versions, round(time.monotonic() - began, 1))


class _Then(Store):
    """A store as its ledger stood before a record: what came later, its run couldn't know."""

    def __init__(self, store: Store, record: Record) -> None:
        super().__init__(store.path)
        self.keys = store.keys
        entries = store.ledger.entries()
        known = (one.index for one in entries if record.ref in listed([one]))
        self._end = next(known, len(entries))

    def ledger_for(self, public_keys: Sequence[str], key: Any = None) -> Ledger:
        found = super().ledger_for(public_keys)
        whole = found.entries
        found.entries = lambda kind=None: [one for one in whole(kind) if one.index < self._end]
        return found


def _refuse(store: Store, project: Project | None, record: Record) -> None:
    gone = sorted(s for s in replayable.snapshots(record) if not store.cipher.exists(s))
    problem = "its rows are erased, or their keys are elsewhere" if gone else None
    if record.outcome != "succeeded" or not key_of(record).get("parts"):
        problem = "it takes a stage's run that succeeded"
    if project is None:
        problem = "there is no usecase.yaml"
    if problem:
        state = "erased: can't be recomputed" if gone else "The record can't be recomputed"
        raise InputError(f"{state}: {problem}.", where=record.ref, given=", ".join(gone) or None)


def _internal(record: Record) -> dict[str, Any]:
    return record.statement.predicate.buildDefinition.internalParameters


def _held(sealed: dict[str, Path], folder: Path) -> Path:
    """The sealed outputs in the clear, in one folder, as the kernel will find them."""
    folder.mkdir(parents=True, mode=0o700)
    for name, path in sealed.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())
    return folder


def _stage(record: Record, place: Path) -> Stage:
    """The sealed notebook as a stage that can run: nothing injected, nothing shown."""
    nb = runner.executed(record)
    nb.cells = _written(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(nb, place)
    facts = {k: v for k, v in nb.metadata["workbench"].items() if k != "outcome"}
    return Stage(place, facts)


def _written(nb: Any) -> list[Any]:
    """The cells that somebody wrote; parameters are injected anew."""
    return [c for c in nb.cells if "injected-parameters" not in c.metadata.get("tags", [])]


def _job(origin: replayable.Origin, record: Record, stage: Stage) -> runner.Job:
    here, level = isolation.available()[0], _internal(record).get("isolation", "none")
    above = Graph.from_store(origin.store).ancestors(record.digest)
    records = {one.stage: one for one in origin.store.records() if one.digest in above}
    return runner.Job(
        project=origin.project, stage=stage, store=origin.store, key=key_of(record),
        inputs=origin.inputs(record, stage), parameters=record.statement.parameters,
        level=level if level in ("none", here) else here, who={"name": "recompute"}, records=records,
    )  # fmt: skip


def _judge(job: runner.Job, folder: Path, outputs: Path, ran: Any) -> str | None:
    """Let the engine judge the outputs, and freeze where it did; says why where it can't."""
    try:
        runner.judge(job, folder, outputs, ran)
    except WorkbenchError as error:
        return error.what
    return None


def _stopped(record: Record, error: dict[str, Any]) -> RunError:
    return RunError(
        "A cell can't be computed from what was sealed.",
        where=f"{record.ref}, cell {error.get('cell')}",
        given=f"{error.get('ename')}: {error.get('evalue')}",
        next_step="workbench replay executes the record with its models.",
    )


# ---- what the notebook shows ---------------------------------------------------------------------


def _cells(sealed: Any, again: Any, touched: claims.Touched) -> Iterator[Finding | None]:
    """None for an output that is as it was."""
    bound = any("claims" in cell.metadata.get("workbench", {}) for cell in sealed.cells)
    for (index, cell), (_, new) in zip(_code(sealed), _code(again), strict=True):
        new.metadata["workbench"] = new.metadata["workbench"] if bound else {}
        where, kinds = _title(sealed, index), touched[new.execution_count]
        one, other = (_shown(side, bool(kinds["sealed"])) for side in (cell, new))
        if kinds["sealed"]:  # a folder that was trained is taken over file by file
            both = one.get(WRITTEN, {}).keys() & other.get(WRITTEN, {}).keys()
            for side in (one, other):
                side[WRITTEN] = {name: side[WRITTEN][name] for name in sorted(both)}
        quiet = {"stderr"} | ({"stdout"} if kinds["sealed"] else set())
        loose = [name for name in {**one, **other} if name[0] in quiet]
        loose += [name for name in one if kinds["volatile"] and name[0] not in (*quiet, "claims:")]
        for output in loose:
            why = ", ".join(sorted(kinds["volatile"] | kinds["sealed"])) or "a library's own words"
            yield Finding(LEFT, where, " ".join(output), why)
            one.pop(output, None), other.pop(output, None)
        for output in {**one, **other}:
            apart = _apart(output[-1], one.get(output), other.get(output))
            yield Finding(DIFFERS, where, " ".join(output), *apart) if apart else None


def _code(nb: Any) -> list[tuple[int, Any]]:
    return [(i, cell) for i, cell in enumerate(nb.cells) if cell.cell_type == "code"]


def _title(nb: Any, index: int) -> str:
    return f"cell {index} ({capture.title_above(nb.cells, index)})"


def _shown(cell: Any, asks: bool) -> dict[tuple[str, ...], Any]:
    """(name of a stream,), (output number, kind) or (claims, kind) -> what stands there; what a
    cell that asks a model would have read is not read again."""
    said = cell.metadata.get("workbench", {}).get("claims", {})
    found: dict[tuple[str, ...], Any] = {
        ("claims:", kind): value for kind, value in said.items() if not (asks and kind == "inputs")
    }
    for output in (one for one in cell.outputs if one.output_type == "stream"):
        found[(output.name,)] = found.get((output.name,), "") + output.text
    for number, output in enumerate((one for one in cell.outputs if "data" in one), start=1):
        found |= {(f"output {number},", kind): value for kind, value in output.data.items()}
    return found


def _apart(kind: str, old: Any, new: Any) -> tuple[str, str] | None:
    """What stands first in the one and not in the other; None where both show the same."""
    if old is None or new is None:
        return ("nothing", "an output") if old is None else ("an output", "nothing")
    if kind == "image/png" and old != new:
        return _pixels(b64decode(old), b64decode(new))
    texts = [one if isinstance(one, str) else canonical(one).decode() for one in (old, new)]
    if kind == "image/svg+xml":
        texts = [_drawn(text) for text in texts]
    texts = [re.sub(r"\bat 0x[0-9a-f]+", "at …", text) for text in texts]
    return None if texts[0] == texts[1] else _first(*texts)


def _drawn(svg: str) -> str:
    """An SVG without when and with what it was drawn; the names in it, made by chance, by order."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    names = {name: f"n{i}" for i, name in enumerate(re.findall(r'\bid="([^"]+)"', svg))}
    return re.sub(r'(\bid="|#)([\w-]+)', lambda m: m[1] + names.get(m[2], m[2]), svg)


def _first(old: str, new: str) -> tuple[str, str]:
    parts = [re.findall(r"<[^>]*>|[^\s<]+", text) + [""] for text in (old, new)]
    for one, other in zip(*parts, strict=False):
        if one != other:
            return one[:80] or "nothing", other[:80] or "nothing"
    return "other spaces", "as computed"


def _pixels(old: bytes, new: bytes) -> tuple[str, str] | None:
    from PIL import Image, ImageChops

    try:
        one, other = (Image.open(io.BytesIO(data)).convert("RGBA") for data in (old, new))
    except OSError:
        return "no readable PNG", "a drawing"
    if one.size != other.size:
        return "{}×{} pixels".format(*one.size), "{}×{} pixels".format(*other.size)
    where = ImageChops.difference(one, other).getbbox(alpha_only=False)
    return ("other pixels", "in x {0}–{2}, y {1}–{3}".format(*where)) if where else None


def _unbound(nb: Any, job: runner.Job) -> Iterator[int]:
    steps = job.project.root / STEPS
    own = {path.stem for path in steps.glob("*")} if steps.is_dir() else set()
    return claims.unbound(nb.cells, {"workbench"} | own)


# ---- what lies beside it -------------------------------------------------------------------------


def _files(
    stage: Stage, sealed: dict[str, Path], new: Path, unjudged: str | None
) -> Iterator[Finding | None]:
    found = {path.relative_to(new).as_posix(): path for path in new.rglob("*") if path.is_file()}
    signed = [stage.facts["bom"], bom.CARD] if "bom" in stage.facts else []
    anew = [*stage.facts.get("volatile", []), *signed]
    for name in sorted({*sealed, *found} - {gating.VERDICTS}):
        if claims.matches(name, anew):
            yield Finding(LEFT, "outputs", name, "made anew, or signed, by each run")
        elif unjudged and name.startswith(gating.BUNDLE + "/"):
            yield Finding(LEFT, "outputs", name, unjudged)
        elif name not in found or name not in sealed:
            has = ("a file", "none") if name in sealed else ("none", "a file")
            yield Finding(DIFFERS, "outputs", name, *has)
        else:
            one = replay.graded(name, sealed[name], found[name], Tolerance())
            same = one.grade == "bitwise"
            yield None if same else Finding(DIFFERS, "outputs", name, one.where or one.why)


def _verdicts(record: Record, sealed: dict[str, Path], new: Path) -> Iterator[Finding | None]:
    """The engine's verdicts by gate, as verdicts.json and the statement have them."""
    stated = record.statement.predicate.workbench_verdicts
    again, file = (_read(one) for one in (new / gating.VERDICTS, sealed.get(gating.VERDICTS)))
    for place, said in ((gating.VERDICTS, file), ("statement", stated)):
        one, other = _by_gate(said), _by_gate(again)
        why = reproduction.values(place, one, other, Tolerance())
        yield None if one == other else Finding(DIFFERS, place, why.where or why.why)


def _read(path: Path | None) -> list[dict[str, Any]]:
    return json.loads(path.read_bytes()) if path and path.is_file() else []


def _by_gate(verdicts: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["criterion"]: one for one in json.loads(canonical(verdicts))}


def _source(record: Record, nb: Any) -> Iterator[tuple[str, str]]:
    """The cells that ran are those that the record's key names."""
    facts = {k: v for k, v in nb.metadata["workbench"].items() if k != "outcome"}
    cells = digest([facts, [[cell.cell_type, cell.source] for cell in _written(nb)]])
    if cells != key_of(record)["parts"]["template"]:
        yield cells, key_of(record)["parts"]["template"]


def _versions(origin: replayable.Origin, record: Record) -> list[str]:
    """What of today's is not what made the record."""
    parts = key_of(record)["parts"]
    stages = stages_for(origin.project.root, origin.project.usecase)
    notebook = next((one.source_digest for one in stages if one.name == record.stage), None)
    now = {"notebook": ("template", notebook), "workbench": ("workbench", capture.package_digest())}
    return [f"today's {what} is another" for what, (part, is_) in now.items() if parts[part] != is_]
