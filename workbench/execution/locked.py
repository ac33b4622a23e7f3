"""What was locked is what counts: expected answers and cases from the sealed set, not the table's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..policy.criteria import Policy
from ..record.store import Store
from .inputs import Input, lay_out
from .stages import Stage

INPUT = "locked"
SET = "locked"
WHOLE = {"model", "set", "task"}
"""A gate that filters by no other column is about every locked row."""
NAMES = {"reason": "rule"}
"""Task -> column, where they differ; label and queue are the column that the data calls its label."""


@dataclass(frozen=True)
class Locked:
    """Rows of the locked set by id, and the column that is the answer to the main task."""

    rows: dict[str, dict[str, Any]]
    label: str

    def examined(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with the answers that the sealed set expects.

        InputError for rows that it does not hold. A task that is none of its columns stays as it is.
        """
        strange = sorted(
            {str(row["case_id"]) for row in found if self._named(row)} - set(self.rows)
        )
        if strange:
            raise InputError(f"cases that nobody locked: {', '.join(strange[:5])}")
        return [row | self._expected(row) for row in found]

    def _named(self, row: dict[str, Any]) -> bool:
        return row.get("set", SET) == SET

    def _expected(self, row: dict[str, Any]) -> dict[str, str]:
        task = row.get("task", "label")
        column = self.label if task in ("label", "queue") else NAMES.get(task, task)
        truth = self.rows.get(str(row["case_id"]), {}) if self._named(row) else {}
        return {"expected": str(truth[column])} if column in truth else {}

    def owed(self, policy: Policy, stage: str, table: str) -> dict[str, set[str]]:
        """Gate -> ids that must have a row in `table`, for gates over the whole set."""
        gates = [gate for gate in policy.of(stage) if gate.table == table]
        return {gate.id: set(self.rows) for gate in gates if set(gate.where) <= WHOLE}


def of(
    stage: Stage, inputs: dict[str, Input], folder: Path, store: Store, limit: int
) -> Locked | None:
    """The locked set that a stage examined, read again from its seal; None for any other stage.

    `folder` takes the decrypted rows and goes with the run; `limit` is the stage's parameter.
    """
    item, facts = inputs.get(INPUT), inputs.get("facts")
    if not item or not item.locked or not facts:
        return None
    import pyarrow.parquet as parquet

    place = lay_out({INPUT: item}, folder, store)[INPUT]
    found = parquet.read_table(place).to_pylist()
    label = json.loads(facts.path.read_text(encoding="utf-8")).get("label", "label")
    return Locked({str(row["row_id"]): row for row in (found[:limit] if limit else found)}, label)
