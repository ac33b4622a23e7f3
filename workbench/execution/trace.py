"""`workbench show RECORD --row ID`: one row, from the model back to its source.

Answers, for a row that a model saw: from where, on which terms, under which class and legal basis,
through which code, decided by whom. Rows are encrypted, so the ledger says first that they are read.
"""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from ..errors import InputError
from ..policy import lineage_rows
from ..record.lineage import Graph
from ..record.store import Record, Store
from .inputs import OUTPUTS, SEALED_SUFFIX
from .retention import declaration

LINEAGE = "lineage.parquet"


def trace(store: Store, record: Record, row_id: str, who: str) -> dict[str, Any]:
    """What the records say about one row of the dataset that `record` is, or stands on.

    InputError when no dataset is among its ancestors, or the dataset knows no such row.
    """
    dataset = dataset_of(store, record)
    facts = declaration(Graph.from_store(store), dataset)
    if not facts:
        raise InputError("The dataset's intake is not in this store.", where=dataset.ref)
    rows = read_rows(store, dataset, LINEAGE, who)
    steps = lineage_rows.trace(rows, row_id)
    if not steps:
        raise InputError(
            "The dataset has no such row.",
            where=dataset.ref,
            expected="an id as in train.parquet, such as r0000001",
            given=row_id,
        )
    manifest = json.loads(dataset.file(f"{OUTPUTS}manifest.json").read_text(encoding="utf-8"))
    return {
        "row": row_id,
        "dataset": dataset.ref,
        "source": {"file": facts["path"], "registry": facts.get("sources", [])},
        "classified_by": facts["classified_by"],
        "columns": {
            name: {key: column.get(key) for key in ("class", "legal_basis", "purpose", "owner")}
            for name, column in facts["columns"].items()
        },
        "steps": _passed(steps, manifest),
    }


def _passed(steps: list[dict[str, Any]], manifest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every step that the row went through, also those that left it as it was; with why and code."""
    told, last = {step["step"] for step in steps}, max(step["step"] for step in steps)
    untouched = [
        {"step": one["step"], "use": one["use"], "version": one["version"], "detail": "",
         "outcome": "unchanged"}
        for one in manifest
        if one["step"] < last and one["step"] not in told
    ]  # fmt: skip
    code = {(m["step"], m["use"]): {"why": m["why"], "code": m["code_sha256"]} for m in manifest}
    found = sorted([*steps, *untouched], key=lambda step: step["step"])
    return [step | code.get((step["step"], step["use"]), {}) for step in found]


def dataset_of(store: Store, record: Record) -> Record:
    """The record with the rows: `record` itself, or the one that it stands on."""
    graph = Graph.from_store(store)
    for digest in [record.digest, *sorted(graph.ancestors(record.digest))]:
        found = graph.records.get(digest)
        names = {subject.name for subject in found.statement.subject} if found else set()
        if names & {OUTPUTS + LINEAGE, OUTPUTS + LINEAGE + SEALED_SUFFIX}:
            return found
    raise InputError(
        "The record stands on no dataset with row lineage.",
        where=record.ref,
        expected="a record of 20_dataset, or one that was made from it",
    )


def read_rows(store: Store, record: Record, table: str, who: str) -> list[dict[str, Any]]:
    """Rows of a record's table, decrypted after the ledger says that they are read."""
    import pyarrow.parquet as parquet

    sealed = OUTPUTS + table + SEALED_SUFFIX
    encrypted = record.encrypted(sealed)
    if not encrypted:
        return parquet.read_table(record.file(OUTPUTS + table)).to_pylist()
    body = {"record": record.digest, "files": [sealed], "who": who}
    store.ledger.append("rows-read", body)
    plain = store.cipher.read(record.file(sealed), encrypted["snapshot"])
    return parquet.read_table(BytesIO(plain)).to_pylist()
