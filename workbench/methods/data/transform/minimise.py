"""Minimise: columns that nobody needs leave, values are cut or made coarse, rare people suppressed.

k-anonymity: every combination of the quasi-identifiers is shared by at least k persons (Samarati
and Sweeney 1998). It bounds who can be singled out by these columns, and says nothing of what the
text itself tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from ....errors import InputError
from ....policy.documents import Document
from ..lineage import changes
from .filter import numbers, times
from .interface import Context, Result, Transformation


class Arguments(Document):
    """What is not needed."""

    drop: list[str] = []
    """Columns that leave."""
    truncate: dict[str, PositiveInt] = {}
    """Column -> characters that stay."""
    dates: dict[str, Literal["month", "year"]] = {}
    """Column of ISO 8601 times -> how much of each stays."""
    bins: dict[str, PositiveFloat] = {}
    """Column of numbers -> width of the bins that they become."""
    quasi: list[str] = []
    """Columns by which a person could be singled out, taken together."""
    k: int = Field(default=1, ge=1)
    """Persons (groups, or rows where the use case names no group) that share every combination."""
    too_few: Literal["remove", "refuse"] = "remove"
    """What becomes of rows that fewer than k persons share."""

    @model_validator(mode="after")
    def _together(self) -> Arguments:
        if bool(self.quasi) != (self.k > 1):
            raise ValueError("quasi together with a k of 2 or more")
        return self


def apply(table: pd.DataFrame, arguments: Arguments, context: Context) -> Result:
    """Coarsen, then suppress what is still too rare, then drop columns."""
    coarser = _coarser(arguments)
    needed = {"row_id", context.text, context.label, context.group, context.time, context.split}
    wrong = {*coarser, *arguments.quasi, *arguments.drop} - set(table.columns)
    wrong |= needed & set(arguments.drop) | {"row_id", context.label, context.group} & set(coarser)
    if wrong:
        expected = "columns of the rows, and none that the use case needs as it is"
        raise InputError("A step can't minimise so.", expected=expected, given=sorted(wrong))
    made, detail = table.copy(), pd.Series("", index=table.index)
    for name, change in coarser.items():
        made[name] = change(table[name]).where(table[name].notna(), None)
        differs = (made[name].astype(str) != table[name].astype(str)) & table[name].notna()
        detail = detail.mask(differs, detail + f"; {name} made coarse")
    for name in arguments.drop:
        detail = detail.mask(table[name].notna(), detail + f"; {name} dropped")
    rare, facts = _rare(made, arguments, context)
    changed = (detail != "") & ~rare
    left = changes(table.loc[rare, "row_id"], "removed", f"fewer than {arguments.k} alike")
    said = [changes(table.loc[changed, "row_id"], "changed", detail[changed].str[2:]), left]
    return Result(made[~rare].drop(columns=arguments.drop), pd.concat(said), facts=facts)


def _coarser(arguments: Arguments) -> dict[str, Callable[[pd.Series], pd.Series]]:
    """Column -> what becomes of it. A bin is written `[30, 40)`."""

    def binned(column: pd.Series, width: float) -> pd.Series:
        low = np.floor(numbers(column) / width) * width
        return low.map(lambda at: f"[{at:.12g}, {at + width:.12g})", na_action="ignore")

    def cut(column: pd.Series, n: int) -> pd.Series:
        return column.where(column.astype(str).str.len() <= n, column.astype(str).str[:n])

    form = {"month": "%Y-%m", "year": "%Y"}
    found = {name: lambda c, n=n: cut(c, n) for name, n in arguments.truncate.items()}
    found |= {n: lambda c, u=u: times(c).dt.strftime(form[u]) for n, u in arguments.dates.items()}
    return found | {name: lambda c, w=w: binned(c, w) for name, w in arguments.bins.items()}


def _rare(table: pd.DataFrame, arguments: Arguments, context: Context) -> tuple[pd.Series, dict]:
    """Rows in a cell of fewer than k persons, and how many persons the smallest other cell has.

    InputError when such rows are to be refused.
    """
    if not arguments.quasi:
        return pd.Series(False, index=table.index), {}
    cells = table.groupby([table[name].astype(str) for name in arguments.quasi], sort=False)
    persons = cells[context.group or "row_id"].transform("nunique")
    rare = persons < arguments.k
    if rare.any() and arguments.too_few == "refuse":
        raise InputError(
            f"{int(rare.sum())} rows are shared by fewer than {arguments.k} persons.",
            where=f"minimise, columns {', '.join(arguments.quasi)}",
            next_step="Make the columns coarser, or say `too_few: remove`.",
        )
    return rare, {"persons_in_smallest_cell": int(persons[~rare].min()) if (~rare).any() else 0}


TRANSFORMATION = Transformation("minimise", "1.0.0", Arguments, apply)
