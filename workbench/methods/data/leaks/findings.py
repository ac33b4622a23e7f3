"""The table of findings that every leak check fills: two rows side by side, and why."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd

SETS = ("train", "dev", "locked")
STRENGTH = (*SETS, "benchmark")
"""From what is learned from to what judges; a leak is the weaker set's fault."""
COLUMNS = ["kind", *(f"{side}_{what}" for what in ("id", "set", "text") for side in ("left", "right")),
           "score"]  # fmt: skip


def strength(table: pd.DataFrame) -> pd.Series:
    """The place of each row's set in `STRENGTH`, by position."""
    return table["set"].map(STRENGTH.index).reset_index(drop=True)


def side_by_side(table: pd.DataFrame, text: str, pairs: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The findings for `pairs` of row positions (left, right, score); the weaker set goes left."""
    rank, ends = strength(table).to_numpy(), pairs[["left", "right"]].to_numpy()
    ends = np.where((rank[ends[:, 0]] > rank[ends[:, 1]])[:, None], ends[:, ::-1], ends)
    shown = {
        f"{side}_{what}": table[column].to_numpy()[ends[:, number]]
        for number, side in enumerate(("left", "right"))
        for what, column in (("id", "row_id"), ("set", "set"), ("text", text))
    }
    return pd.DataFrame({"kind": kind, **shown, "score": pairs["score"].to_numpy()})[COLUMNS]


def equal(table: pd.DataFrame, key: pd.Series) -> pd.DataFrame:
    """Pairs of rows of two sets with the same key.

    Where many are equal, each is paired with the first of the other set, so that every row at
    fault is named and the million pairs of two large groups are not.
    """
    rows = pd.DataFrame({"key": key.to_numpy(), "rank": strength(table)})
    held, found = dict(iter(rows.groupby("rank")["key"])), []
    for own, other in permutations(held, 2):
        first = held[other].drop_duplicates()
        like = pd.Series(first.index, first).reindex(held[own])
        found.append({"left": held[own].index, "right": like.to_numpy(), "score": 1.0})
    return as_pairs(found)


def closest(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Of scored `pairs`, each row's best in every other set: every row at fault stays named."""
    rank = strength(table).to_numpy()
    best = pairs.sort_values(["score", "left", "right"], ascending=[False, True, True])
    known = best.assign(left_set=rank[best["left"]], right_set=rank[best["right"]])
    again = known.duplicated(["left", "right_set"]) & known.duplicated(["right", "left_set"])
    return best[~again]


def as_pairs(found: list[dict]) -> pd.DataFrame:
    """One table (left < right, score) of many, also of none; each pair once, none without an end."""
    none = pd.DataFrame(columns=["left", "right", "score"], dtype=float)
    pairs = pd.concat([none, *map(pd.DataFrame, found)], ignore_index=True).dropna()
    pairs[["left", "right"]] = np.sort(pairs[["left", "right"]].to_numpy(int), axis=1)
    pairs = pairs.drop_duplicates(["left", "right"], ignore_index=True)
    return pairs.astype({"left": int, "right": int})
