"""Filter: rows leave by conditions on their columns, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal

import pandas as pd

from ....errors import InputError
from ....policy.documents import Document
from ..lineage import changes
from .interface import Context, Result, Transformation


class Condition(Document):
    """One test of one column. A missing value meets no test but `filled: false`."""

    column: str
    """The column that is tested."""
    test: Literal[
        "equals", "not_equals", "one_of", "not_one_of", "matches", "at_least", "at_most", "before",
        "after", "longer_than", "shorter_than", "filled",
    ]  # fmt: skip
    """`matches` searches a regular expression, `longer_than` counts characters, times are ISO 8601."""
    value: Any
    """What is compared with; a list for `one_of`, true or false for `filled`."""
    reason: str = ""
    """Why rows leave by it; the test in words when absent."""


class Arguments(Document):
    """Which rows stay."""

    keep: list[Condition] = []
    """A row that fails one of these leaves."""
    drop: list[Condition] = []
    """A row that meets one of these leaves."""


def numbers(column: pd.Series) -> pd.Series:
    """The column as numbers, missing where empty; InputError when it holds anything else."""
    return _read(column, "numbers", pd.to_numeric(column, errors="coerce"))


def times(column: pd.Series) -> pd.Series:
    """The column as UTC times, missing where empty; InputError when it holds no ISO 8601."""
    read = pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)
    return _read(column, "times (ISO 8601)", read)


def _read(column: pd.Series, kind: str, read: pd.Series) -> pd.Series:
    wrong = int((read.isna() & filled(column)).sum())
    if wrong:
        raise InputError(f"{wrong} values can't be read as {kind}.", where=f"column {column.name}")
    return read


def filled(column: pd.Series) -> pd.Series:
    """Where there is a value that is not blank."""
    return column.notna() & (column.astype(str).str.strip() != "")


def _same(column: pd.Series, values: list) -> pd.Series:
    """Equal as written, or as numbers: a CSV holds text, and YAML reads 3 as a number."""
    return column.astype(str).isin([str(value) for value in values]) | column.isin(values)


def _time(value: str) -> pd.Timestamp:
    return times(pd.Series([value], name="`value` of the condition")).iloc[0]


TESTS: dict[str, Callable[[pd.Series, Any], pd.Series]] = {
    "equals": lambda column, value: _same(column, [value]),
    "not_equals": lambda column, value: ~_same(column, [value]),
    "one_of": _same,
    "not_one_of": lambda column, values: ~_same(column, values),
    "matches": lambda column, pattern: column.astype(str).str.contains(pattern, regex=True),
    "at_least": lambda column, value: numbers(column) >= value,
    "at_most": lambda column, value: numbers(column) <= value,
    "before": lambda column, value: times(column) < _time(value),
    "after": lambda column, value: times(column) > _time(value),
    "longer_than": lambda column, value: column.astype(str).str.len() > value,
    "shorter_than": lambda column, value: column.astype(str).str.len() < value,
    "filled": lambda column, value: {True: filled(column), False: ~filled(column)}[value],
}


def met(table: pd.DataFrame, condition: Condition) -> pd.Series:
    """Which rows meet the condition. InputError when column and value do not suit the test."""
    try:
        column = table[condition.column]
        found = TESTS[condition.test](column, condition.value)
    except (KeyError, TypeError, ValueError, OverflowError, re.error) as error:
        raise InputError(
            "A condition does not suit the rows.",
            where=f"filter: {condition.column} {condition.test} {condition.value!r}",
            given=type(error).__name__,
        ) from None
    return found & (column.notna() | (condition.test == "filled"))


def apply(table: pd.DataFrame, arguments: Arguments, context: Context) -> Result:
    """The rows that stay; one that leaves names the first condition by which it does."""
    reason = pd.Series("", index=table.index)
    tests = [(one, False, "not: ") for one in arguments.keep]
    for one, leaves, how in tests + [(one, True, "") for one in arguments.drop]:
        words = one.reason or f"{how}{one.column} {one.test} {one.value}"
        reason = reason.mask((met(table, one) == leaves) & (reason == ""), words)
    gone = reason != ""
    return Result(table[~gone], changes(table.loc[gone, "row_id"], "removed", reason[gone]))


TRANSFORMATION = Transformation("filter", "1.0.0", Arguments, apply)
