"""Deduplicate: of rows with the same text the first stays, and the others name it."""

from __future__ import annotations

from typing import Literal

import pandas as pd
from pydantic import Field

from ....errors import InputError
from ....policy.documents import Document
from ....policy.texts import NORMALISERS
from ..leaks.near import near_copies
from ..lineage import changes
from .interface import Context, Result, Transformation


class Arguments(Document):
    """When two texts are the same, and among which rows."""

    normaliser: Literal["stripped", "lower-cased", "punctuation removed"] = "punctuation removed"
    """What is taken off two texts before they are compared; each takes more than the one before."""
    within: str | None = None
    """Rows repeat only rows with the same value of this column; the split column when absent."""
    near: float | None = Field(default=None, gt=0, le=1)
    """Exact Jaccard similarity from which two texts are the same too; only equal ones if absent."""


def apply(table: pd.DataFrame, arguments: Arguments, context: Context) -> Result:
    """The first row of each text; InputError when `within` is no column."""
    within = arguments.within or context.split
    if within and within not in table:
        raise InputError("The rows have no such column.", where="deduplicate", given=within)
    part = table[within].astype(str) if within else pd.Series("", index=table.index)
    text = table[context.text].astype(str)
    keys = [text.map(NORMALISERS[arguments.normaliser]), part]
    first = table.groupby(keys, sort=False)["row_id"].transform("first")
    near: dict[str, str] = {}
    if arguments.near:
        for _, ids in table.loc[first == table["row_id"], "row_id"].groupby(part, sort=False):
            same = ids.to_numpy()[near_copies(text[ids.index].tolist(), arguments.near)]
            near |= {own: other for own, other in zip(ids, same, strict=True) if own != other}
    first = first.map(lambda row_id: near.get(row_id, row_id))
    gone = first != table["row_id"]
    label = table.set_index("row_id")[context.label]
    other = first.map(label) != table[context.label]
    detail = table["row_id"].isin(near.keys()).map({True: "near-duplicate", False: "duplicate"})
    detail = detail.mask(other, detail + " with another label")
    said = changes(table.loc[gone, "row_id"], "removed", detail[gone], first[gone])
    return Result(table[~gone], said, facts={"another_label": int((gone & other).sum())})


TRANSFORMATION = Transformation("deduplicate", "1.0.0", Arguments, apply)
