"""What the standing gates over a dataset rest on, collected outside the kernel."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WorkbenchError
from ..policy import governance
from ..policy.gates import GateResult
from ..policy.governance import Evidence
from ..policy.never_learn import Review
from ..policy.usecase import Data
from ..record import clock, keyring, person
from ..record.store import Store
from . import gating

if TYPE_CHECKING:
    from .runner import Job

REVIEW = "privacy-review"
REVIEW_NAMESPACE = "accept@workbench"
MANIFEST = "outputs/manifest.json"


def judge(job: Job, outputs: Path) -> list[GateResult]:
    """The standing gates of a stage that governs a dataset; none for any other."""
    if job.stage.facts.get("governs") != "data":
        return []
    data = Data.frozen(json.loads(job.inputs["facts"].path.read_text(encoding="utf-8")))
    source = job.inputs["data"].path
    found = Evidence(
        data=data,
        table=gating.reader(outputs),
        manifest=_document(outputs / "manifest.json"),
        raw_ids=[f"r{i:07d}" for i in range(1, count_rows(source, data.format) + 1)],
        proposals=_document(job.inputs["proposals"].path) if "proposals" in job.inputs else None,
        reviews=list(reviews(job.store, job.project.usecase.id)),
        history=history(job.store, job.stage.name, job.project.usecase.id),
        now=clock.now(),
    )
    return governance.judge(found)


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def count_rows(path: Path, format: str = "auto") -> int:
    """Rows of a data file, by the rules of its reader: a blank line is none."""
    kind = path.suffix.lower().lstrip(".") if format == "auto" else format
    if kind == "parquet":
        import pyarrow.parquet as parquet

        return parquet.read_metadata(path).num_rows
    with path.open(encoding="utf-8-sig", newline="") as lines:
        if kind == "csv":
            return max(0, sum(1 for row in csv.reader(lines) if row) - 1)
        return sum(1 for line in lines if line.strip())


def reviews(store: Store, usecase: str) -> Iterator[Review]:
    """The privacy reviews of a use case whose signature counted when they were entered."""
    versions = keyring.versions(store.ledger.entries("keyring"))
    for entry in store.ledger.entries(REVIEW):
        try:
            keyring.signer(versions, entry, REVIEW_NAMESPACE)
            review = Review.parse(entry.body["envelope"]["statement"])
        except WorkbenchError:  # `verify` names it; here it excuses nothing
            continue
        if review.usecase == usecase:
            yield review


def enter_review(store: Store, review: Review, sign_with: Path) -> None:
    """Sign a privacy review and enter it; IntegrityError when the key is not in the keyring."""
    stated = review.model_dump(mode="json")
    envelope = person.sign_as(
        review.reviewed_by, stated, REVIEW_NAMESPACE, sign_with, store.keyring()
    )
    store.ledger.append(REVIEW, {"envelope": envelope})


def history(store: Store, stage: str, usecase: str) -> dict[tuple[str, str], str]:
    """(step, version) -> digest of its code, as the earlier records of this use case hold it."""
    found: dict[tuple[str, str], str] = {}
    for record in store.records(stage):
        outer = record.statement.predicate.buildDefinition.externalParameters
        if outer.get("usecase") == usecase and record.outcome == "succeeded":
            for step in _document(record.path / MANIFEST) or []:
                if {"use", "version", "code_sha256"} <= set(step):  # else its own gate named it
                    found.setdefault((step["use"], step["version"]), step["code_sha256"])
    return found
