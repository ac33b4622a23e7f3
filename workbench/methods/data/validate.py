"""The rows against their schema, before anything is learned from them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...errors import InputError


def validate(
    table: pd.DataFrame, text: str, label: str, labels: Sequence[str] | None = None
) -> list[str]:
    """Check text and label of every row; return the label schema, sorted.

    InputError names column, rows and values: a missing column, an empty text, a label that the
    declared schema `labels` doesn't have, fewer than two classes.
    """
    import pandera.pandas as pa

    for column in (text, label):
        if column not in table:
            raise InputError(
                "The data has no such column.",
                where=f"usecase.yaml: data, `{column}`",
                expected=", ".join(map(str, table.columns.drop("row_id"))),
                given=column,
            )
    filled = pa.Check(lambda s: s.str.strip().str.len() > 0, element_wise=False, error="not empty")
    known = [pa.Check.isin(list(labels), error="a label of the schema")] if labels else []
    schema = pa.DataFrameSchema(
        {text: pa.Column(str, filled), label: pa.Column(str, [filled, *known])}, strict=False
    )
    try:
        schema.validate(table, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise _refusal(table, error.failure_cases) from None
    found = sorted(table[label].unique())
    if len(found) < 2:
        raise InputError(
            "All rows have the same label; there is nothing to tell apart.",
            where=f"column `{label}`",
            expected="at least two classes",
            given=found[0],
        )
    return list(labels) if labels else found


def _refusal(table: pd.DataFrame, cases: pd.DataFrame) -> InputError:
    first = cases.iloc[0]
    same = cases[(cases["column"] == first["column"]) & (cases["check"] == first["check"])]
    rows = table.loc[same["index"].dropna().astype(int).head(5), "row_id"]
    return InputError(
        f"{len(cases)} values do not fit the schema; nothing was taken in.",
        where=f"column `{first['column']}`, rows {', '.join(rows) or 'all'}",
        expected=first["check"],
        given=repr(first["failure_case"])[:80],
        next_step="Correct the rows, or the label schema in usecase.yaml.",
    )
