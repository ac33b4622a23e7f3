"""Deduplicate, split by group, and look for leaks: the smallest honest form of each."""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

from ...errors import InputError

_PUNCTUATION = re.compile(r"[^\w\s]|_")
_SPACE = re.compile(r"\s+")

# Each weaker than the one before; a leak is reported under the first that finds it.
NORMALISERS: dict[str, Callable[[str], str]] = {
    "stripped": str.strip,
    "lower-cased": lambda text: text.strip().casefold(),
    "punctuation removed": lambda text: _bare(text),
}
SETS = ("train", "dev", "locked")


def _bare(text: str) -> str:
    return _SPACE.sub(" ", _PUNCTUATION.sub("", text.casefold())).strip()


def deduplicate(table: pd.DataFrame, text: str, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the first of rows whose text is equal but for case, punctuation and spaces.

    Returns (kept, removed); removed rows name the row they repeat, and whether the labels differ.
    """
    key = table[text].map(_bare)
    first = table.groupby(key, sort=False)["row_id"].transform("first")
    repeated = first != table["row_id"]
    label_of = table.set_index("row_id")[label]
    removed = table.loc[repeated, ["row_id", text, label]].copy()
    removed["same_as"] = first[repeated]
    removed["reason"] = [
        "duplicate" if label_of[same] == own else "duplicate with another label"
        for same, own in zip(removed["same_as"], removed[label], strict=True)
    ]
    return table[~repeated].reset_index(drop=True), removed.reset_index(drop=True)


def split(
    table: pd.DataFrame,
    label: str,
    *,
    group: str | None = None,
    given: str | None = None,
    dev: float = 0.15,
    locked: float = 0.25,
    seed: int = 0,
) -> pd.Series:
    """A set (train, dev or locked) for every row, stratified by label, groups never divided.

    `given` names a column that already says which rows are locked (`test` or `locked`) or held
    for choices (`dev` or `validation`); the rest is divided. InputError when a set comes out empty.
    """
    assigned = pd.Series("train", index=table.index)
    if given:
        said = table[given].astype(str).str.lower()
        assigned[said.isin(("test", "locked"))] = "locked"
        assigned[said.isin(("dev", "validation"))] = "dev"
    else:
        assigned = _part(table, assigned, label, group, "locked", locked, seed)
    if not (assigned == "dev").any():
        assigned = _part(table, assigned, label, group, "dev", dev / (1 - locked), seed + 1)
    empty = [name for name in SETS if not (assigned == name).any()]
    if empty:
        raise InputError(
            f"The split leaves no row for: {', '.join(empty)}.",
            where="20_dataset",
            expected="rows in train, dev and locked",
            given=f"{len(table)} rows, shares dev={dev}, locked={locked}",
            next_step="Bring more rows, or other shares.",
        )
    return assigned


def _part(
    table: pd.DataFrame,
    assigned: pd.Series,
    label: str,
    group: str | None,
    name: str,
    share: float,
    seed: int,
) -> pd.Series:
    """Move about `share` of the training rows to the set `name`."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = table[assigned == "train"]
    folds = max(2, round(1 / share)) if share > 0 else 0
    if not folds or len(rows) < folds:
        return assigned
    kind = StratifiedGroupKFold if group else StratifiedKFold
    # A class with fewer rows than folds is only warned about; the per-class counts show it.
    splitter = kind(n_splits=folds, shuffle=True, random_state=seed)
    groups = rows[group] if group else None
    _, chosen = next(splitter.split(rows, rows[label], groups))
    assigned = assigned.copy()
    assigned[rows.index[chosen]] = name
    return assigned


def unleak(table: pd.DataFrame, text: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop rows of train and dev whose normalised text stands in a set that judges them."""
    key = table[text].map(_bare)
    rank = table["set"].map({"train": 0, "dev": 1, "locked": 2})
    strongest = rank.groupby(key).transform("max")
    leaks = rank < strongest
    removed = table.loc[leaks].assign(reason="stands in a set that judges it", same_as="")
    return table[~leaks].reset_index(drop=True), removed.reset_index(drop=True)


def find_leaks(table: pd.DataFrame, text: str, group: str | None = None) -> pd.DataFrame:
    """Every pair of rows in different sets with equal text (per normaliser) or equal group.

    One row a finding: kind, left_id, right_id, left_set, right_set, left_text, right_text.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, normalise in NORMALISERS.items():
        _pairs(table, table[text].map(normalise), f"exact ({name})", text, found)
    if group:
        _pairs(table, table[group], f"group ({group})", text, found)
    columns = ["kind", "left_id", "right_id", "left_set", "right_set", "left_text", "right_text"]
    return pd.DataFrame(list(found.values()), columns=columns)


def _pairs(table: pd.DataFrame, key: pd.Series, kind: str, text: str, found: dict) -> None:
    crossing = table.groupby(key)["set"].transform("nunique") > 1
    for _, rows in table[crossing].groupby(key[crossing], sort=True):
        left = rows.iloc[0]
        for _, right in rows[rows["set"] != left["set"]].iterrows():
            found.setdefault(
                (left["row_id"], right["row_id"]),
                {
                    "kind": kind,
                    **{f"left_{k}": left[c] for k, c in _side(text)},
                    **{f"right_{k}": right[c] for k, c in _side(text)},
                },
            )


def _side(text: str) -> tuple[tuple[str, str], ...]:
    return (("id", "row_id"), ("set", "set"), ("text", text))
