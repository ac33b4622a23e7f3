"""Row lineage as one table: each source row read, what every step did to it, the set it went to.

The rules over it (`trace`, `gaps`) are in `policy.lineage_rows`, where the engine computes them.
"""

from __future__ import annotations

import pandas as pd

COLUMNS = ["row_id", "source_id", "step", "use", "version", "outcome", "detail", "other"]
CHANGES = ["row_id", "outcome", "detail", "other"]


def changes(rows: pd.Series, outcome: str, detail: object = "", other: object = "") -> pd.DataFrame:
    """An account of rows with one outcome; `detail` and `other` are one value, or one a row."""
    made = pd.DataFrame({"row_id": rows, "outcome": outcome}).assign(detail=detail, other=other)
    return made[CHANGES].astype(str).reset_index(drop=True)


def begin(table: pd.DataFrame) -> pd.DataFrame:
    """The lineage of rows as they were read: outcome `read` at step 0, each its own source."""
    read = changes(table["row_id"], "read")
    return read.assign(source_id=read["row_id"], step=0, use="read", version="")[COLUMNS]


def extend(
    lineage: pd.DataFrame, done: pd.DataFrame, step: int, use: str, version: str
) -> pd.DataFrame:
    """The lineage and what one step did; a created row has the source of its parent (`other`)."""
    known = lineage[lineage["outcome"].isin(["read", "created"])]
    sources = dict(zip(known["row_id"], known["source_id"], strict=True))
    parent = done["row_id"].where(done["outcome"] != "created", done["other"])
    whole = done.assign(source_id=parent.map(sources), step=step, use=use, version=version)
    return pd.concat([lineage, whole[COLUMNS]], ignore_index=True)


def assigned(
    lineage: pd.DataFrame,
    table: pd.DataFrame,
    removed: pd.DataFrame | None = None,
    *,
    step: int = 1,
) -> pd.DataFrame:
    """The lineage with the sets, made in this `step`: `set` for each row of `table` (row_id, set), and what left.

    `removed` (row_id, reason, same_as) are rows that left while the sets were made. A row that is
    in neither gets no entry: `gaps` then names it.
    """
    done = [changes(table["row_id"], "set", table["set"])]
    if removed is not None and len(removed):
        same = removed["same_as"].fillna("")
        done.append(changes(removed["row_id"], "removed", removed["reason"], same))
    step = max(step, int(lineage["step"].max()) + 1)
    return extend(lineage, pd.concat(done, ignore_index=True), step, "split", "")
