"""Leaks that no text shows: one group in two sets, and a training row from the judges' time."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from ....errors import InputError
from .findings import as_pairs, equal, side_by_side, strength


def shared_group(table: pd.DataFrame, text: str, group: str) -> pd.DataFrame:
    """Rows of one group (a customer, a patient) in two sets."""
    return side_by_side(table, text, equal(table, table[group].astype(str)), f"group ({group})")


def temporal(table: pd.DataFrame, text: str, time: str) -> pd.DataFrame:
    """Rows of a weaker set that are not earlier than every row of a stronger one.

    Each is shown beside the earliest row of that set; the score is how much later it is, in days,
    or in the column's own unit where it holds numbers.
    """
    when = moments(table, time).reset_index(drop=True)
    sets = {rank: some for rank, some in when.groupby(strength(table))}
    found = []
    for weak, strong in combinations(sets, 2):
        earliest = sets[strong].idxmin()
        late = sets[weak][sets[weak] >= when[earliest]] - when[earliest]
        found.append({"left": late.index, "right": earliest, "score": late})
    return side_by_side(table, text, as_pairs(found), "temporal")


def moments(table: pd.DataFrame, time: str) -> pd.Series:
    """The column as numbers: as they are, or days since 1970 (UTC) of ISO 8601 times.

    InputError names rows without a time that can be read: they could be from any time.
    """
    given = table[time].astype(str)
    found = pd.to_numeric(given, errors="coerce").astype(float)
    if found.isna().any():
        read = pd.to_datetime(given, errors="coerce", utc=True, format="ISO8601")
        found = (read - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    unread = table.loc[found.isna(), "row_id"]
    if len(unread):
        where = f"column `{time}`, rows {', '.join(unread.head(5))}"
        raise InputError(f"{len(unread)} rows do not say when they are from.", where=where,
                         expected="numbers in every row, or ISO 8601 times in every row")  # fmt: skip
    return found
