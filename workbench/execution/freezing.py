"""Freeze a candidate: the engine writes the bundle, outside the kernel, from sealed records only.

The same records give the same bytes, wherever and whenever: every time in it is a record's.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError, RunError
from ..policy.bom import Run, candidate
from ..policy.cards import annex_iv, brief, model_card
from ..policy.cards.facts import CardFacts, Source
from ..record.digest import canonical, digest, file_digest, tree
from ..record.statement import SEALS
from . import bom, bundle, capture, facts
from .facts import Sealed
from .inputs import OUTPUTS
from .isolation import PACKAGE

if TYPE_CHECKING:
    from .runner import Job

BILL, PROGRAM, POLICY = "data-bom.cdx.json", "methods/predict.py", "41_policy"
SAID = ("usecase", "plan", "criteria", "base", "operations")
COPIED = {f"{name}.json": facts.PLACES[name] for name in SAID}
COPIED |= {"DATA_CARD.md": (facts.DATASET, bom.CARD), "bom.data.json": (facts.DATASET, BILL)}
"""File of the bundle -> the stage and the output that it is, where the stage left it."""
MANIFEST = f"{OUTPUTS}{bundle.FOLDER}/{bundle.MANIFEST}"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can say


def freeze(job: Job, verdicts: Sequence[dict[str, Any]], folder: Path) -> str:
    """Write the bundle into the new `folder`; returns its digest.

    `verdicts` are all that decided. RunError where a record lacks what a bundle is made of,
    IntegrityError where a sealed file, or the code that validated, is not what it was.
    """
    sealed, known = Sealed(job.records), bundle.candidates(job.store, job.project.usecase.id)
    before = known[-1] if known else None
    identity = {"name": job.parameters.get("name", "candidate"), "number": len(known) + 1,
                "parent": before and before.digest}  # fmt: skip
    parent = before and Source(before.record.digest, before.record.ref, MANIFEST, before.digest)
    plain = json.loads(canonical(sorted(verdicts, key=lambda verdict: verdict["stage"])))
    card = facts.card_facts(sealed, plain, identity, parent)
    for path, data in chain(
        _copies(sealed), _adapter(job), _inference(job, sealed), _evidence(sealed), _written(card),
        _model_bill(job, card, sealed),
    ):  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, Path):  # weights may be larger than memory
            shutil.copyfile(data, folder / path)
        else:
            (folder / path).write_bytes(data)
    manifest = {
        "version": bundle.VERSION, "usecase": card.usecase.id, **identity,
        "files": [{"path": e.path, "size": e.size, "sha256": e.sha256} for e in tree(folder)],
        "records": [{n: one[n] for n in ("ref", "stage", "digest")} for one in card.records],
        "made_from": {name: item.told for name, item in sorted(job.inputs.items())},
    }  # fmt: skip
    (folder / bundle.MANIFEST).write_bytes(canonical(manifest))
    return bundle.digest_of(folder)


Files = Iterator[tuple[str, bytes | Path]]


def _copies(sealed: Sealed) -> Files:
    found = {path: sealed.bytes(*place) for path, place in COPIED.items()}
    yield from ((path, data) for path, data in found.items() if data is not None)


def _adapter(job: Job) -> Files:
    """What was trained, file by file as it was sealed. RunError where it could speak of persons."""
    item = job.inputs.get("adapter")
    if item is None or item.record is None or item.snapshot:
        raise RunError(
            "The deciding stage has no adapter that a bundle may hold.",
            where=f"{job.stage.name}: input `adapter`",
            expected="a folder that a stage sealed, and that holds no rows of persons",
        )
    made = next(record for record in job.records.values() if record.digest == item.record)
    for name, sha256 in item.files:
        if file_digest(made.path / name) != sha256:
            raise IntegrityError("a sealed file was changed", where=made.path / name)
        yield "adapter/" + name.removeprefix(OUTPUTS).partition("/")[2], made.path / name


def _inference(job: Job, sealed: Sealed) -> Files:
    """The program that answers, the code that validated, and how it was asked."""
    asked = sealed.parameters(POLICY) | sealed.parameters(facts.FUNCTIONAL)
    settings = {n: asked[n] for n in ("threads", "dtype", "reply_tokens") if n in asked}
    settings["temperatures"] = {
        one["task"]: one["temperature"]
        for one in sealed.json(facts.CALIBRATION, "temperature.json", [])
        if one["model"] == "candidate"
    }
    settings["thresholds"] = {
        task: one["threshold"]
        for task, one in sealed.json(facts.CALIBRATION, "threshold.json", {}).items()
        if one["threshold"] is not None
    }
    yield "inference/settings.json", canonical(settings)
    yield "inference/workbench.zip", archive(job.key["parts"]["workbench"])
    yield "inference/predict.py", (PACKAGE / PROGRAM).read_bytes()


def archive(expected: str) -> bytes:
    """This package's source as a zip file that Python imports from; stored, not deflated, as
    compressors differ. IntegrityError unless it is the code with this digest."""
    files = {
        path.relative_to(PACKAGE).as_posix(): path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = digest({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    if found != expected:
        what = "The workbench's code changed while the candidate was decided; run again."
        raise IntegrityError(what, where=PACKAGE, expected=expected, given=found)
    held = BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as file:
        for name, data in files.items():
            about = zipfile.ZipInfo(f"{PACKAGE.name}/{name}", EPOCH)
            about.create_system, about.external_attr = 3, 0o644 << 16  # as on Unix, everywhere
            file.writestr(about, data)
    return held.getvalue()


def _evidence(sealed: Sealed) -> Files:
    """Of each record its seal, and what it shows: figures and verdicts."""
    for stage, record in sealed.records.items():
        yield from ((f"evidence/{stage}/{n}", (record.path / n).read_bytes()) for n in SEALS)
        shown = {name: sealed.bytes(stage, name) for name in (facts.FIGURES, facts.VERDICTS)}
        yield from ((f"evidence/{stage}/{n}", data) for n, data in shown.items() if data)


def _written(card: CardFacts) -> Files:
    """For machines and for people. The briefs show no signature: nobody has signed yet."""
    answers = annex_iv.build(card)
    found = {"verdicts": card.verdicts, "figures": card.figures, "validation": card.validation}
    yield "environment.json", canonical(card.environment)
    yield "evaluation.json", canonical(found)
    yield "annex-iv.json", canonical(answers)
    yield "annex-iv.md", annex_iv.render(answers).encode()
    yield "MODEL_CARD.md", model_card.render(card).encode()
    yield "briefs/risk.html", brief.risk(card).encode()
    yield "briefs/engineer.html", brief.engineer(card).encode()


def _model_bill(job: Job, card: CardFacts, sealed: Sealed) -> Files:
    """The training's signed bill with a model card, where the training left one."""
    source = sealed.source(facts.ADAPTATION, BILL)
    if source:
        path = sealed.records[facts.ADAPTATION].path / source.path
        last = max(one["finished"] for one in card.records)
        name = f"{card.identity['name']}-{card.identity['number']}"
        run = Run(card.usecase, job.stage.name, name, last, capture.package_version())
        bill = bom.read(path, job.store.public_keys)
        yield "bom.model.json", canonical(candidate(bill, run, card))
