"""Divide the rows into sets, and take out of each what stands in one that judges it."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pandas as pd

from ...errors import InputError
from .leaks import SETS, find_leaks
from .leaks.findings import STRENGTH
from .leaks.structure import moments

LEFT_OUT = "left out"
"""In place of a set: a later row of a group that stands in an earlier set."""
GIVEN = {"train": "train", "training": "train", "locked": "locked", "test": "locked",
         "dev": "dev", "validation": "dev", "valid": "dev", "val": "dev"}  # fmt: skip
"""What a column that already names sets may say, in any case."""


def split(
    table: pd.DataFrame, label: str, *, group: str | None = None, given: str | None = None,
    dev: float = 0.15, locked: float = 0.25, seed: int = 0, time: str | None = None,
) -> pd.Series:  # fmt: skip
    """A set (train, dev or locked) for every row, stratified by label, groups never divided.

    A class of at least three groups (rows, without `group`) stands in every set, wherever one
    group holds one class. `given` names a column that already says which rows are for what
    (`GIVEN`): it is followed, and where it names no dev rows, the share `dev` of its training rows
    becomes them. `time` names a column by which to divide instead: train before dev before locked,
    rows of one moment never divided, so that shares are met as closely as ties allow and classes
    not balanced. With `group` too, a group belongs to the set of its first row, and what it has
    after that set's end is `LEFT_OUT`: neither learned from nor judged by.
    InputError when `given` says anything else, or a set comes out empty.
    """
    shares = {"train": 1 - dev - locked, "dev": dev, "locked": locked}
    assigned = pd.Series("train", index=table.index)
    if given:
        assigned, shares = _said(table, given), {"train": 1 - dev, "dev": dev}
    if not (assigned == "dev").any():
        free = assigned == "train"
        rows = table[free]
        owner = rows[group].astype(str) if group else rows["row_id"]
        if time:
            assigned[free] = _in_time(moments(rows, time), owner, shares)
        else:
            assigned[free] = _assign(rows[label].tolist(), owner.tolist(), shares, seed)
    empty = [name for name in SETS if not (assigned == name).any()]
    if empty:
        raise InputError(
            f"The split leaves no row for: {', '.join(empty)}.", where="20_dataset",
            expected="rows in train, dev and locked", next_step="Bring more rows, or other shares.",
            given=f"{len(table)} rows, shares dev={dev}, locked={locked}",
        )  # fmt: skip
    return assigned


def _said(table: pd.DataFrame, given: str) -> pd.Series:
    """The set that the column names for each row; a slip of the pen must not train on the test."""
    said = table[given].astype(str).str.strip().str.lower()
    unknown = ~said.isin(list(GIVEN))
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum())} rows do not say which set they belong to.",
            where=f"column `{given}`, rows {', '.join(table.loc[unknown, 'row_id'].head(5))}",
            expected=", ".join(GIVEN), given=repr(table.loc[unknown, given].iloc[0]),
        )  # fmt: skip
    return said.map(GIVEN)


def _in_time(when: pd.Series, owner: pd.Series, shares: dict[str, float]) -> pd.Series:
    """Each row's set by its moment; `LEFT_OUT` where its group began in an earlier one."""
    ordered, names = when.sort_values(ignore_index=True), list(shares)
    ends = np.cumsum([shares[name] for name in names])[:-1] * len(when)
    # A moment that lies across a cut goes to the later set whole.
    cuts = ordered[ends.round().astype(int).clip(max=len(when) - 1)]
    number = pd.Series(np.searchsorted(cuts, when, side="right"), when.index)
    began = number.groupby(owner).transform("min")
    return number.map(dict(enumerate(names))).where(number == began, LEFT_OUT)


def _assign(labels: list, owners: list[str], shares: dict[str, float], seed: int) -> list[str]:
    """A set for every row, by iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011).

    The class with the fewest groups left goes first, so that a rare one is not used up by others;
    each of its groups goes where that class lacks most rows.
    """
    of_group: dict[str, Counter] = {}
    for owner, label in zip(owners, labels, strict=True):
        of_group.setdefault(owner, Counter())[label] += 1
    groups_of: dict[object, list[str]] = {}
    for owner, held in of_group.items():
        for label in held:
            groups_of.setdefault(label, []).append(owner)
    counts = Counter(labels).items()
    wanted = {name: Counter({one: p * n for one, n in counts}) for name, p in shares.items()}
    placed: dict[str, str] = {}
    chance = random.Random(seed)
    for label in sorted(groups_of, key=lambda one: (len(groups_of[one]), str(one))):
        waiting = [owner for owner in groups_of[label] if owner not in placed]
        chance.shuffle(waiting)
        waiting.sort(key=lambda owner: -of_group[owner][label])
        seen = {placed[owner] for owner in groups_of[label] if owner in placed}
        for left, owner in zip(range(len(waiting), 0, -1), waiting, strict=True):
            name = _needing(label, wanted, seen, left)
            placed[owner] = name
            seen.add(name)
            wanted[name].subtract(of_group[owner])
    return [placed[owner] for owner in owners]


def _needing(label: object, wanted: dict[str, Counter], seen: set[str], left: int) -> str:
    """The set that lacks most rows of the class; one without any comes first when few are left."""
    lacking = [name for name in ("train", "locked", "dev") if name in wanted and name not in seen]
    if lacking and left <= len(lacking):
        return lacking[0]
    return max(wanted, key=lambda name: (wanted[name][label], wanted[name].total()))


def unleak(
    table: pd.DataFrame, text: str, label: str, found: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop the weaker row of every finding of `found`; without it, of equal normalised texts.

    Returns (kept, removed); removed rows have row_id, text, label, the reason and, in `same_as`,
    the row of the strongest set that each was found beside.
    """
    found = find_leaks(table, text) if found is None else found
    order = found["right_set"].map(STRENGTH.index).sort_values(ascending=False, kind="stable")
    worst = found.loc[order.index].drop_duplicates("left_id").set_index("left_id")
    leaks = table["row_id"].isin(worst.index)
    removed = table.loc[leaks, list(dict.fromkeys(["row_id", text, label]))].copy()
    removed["same_as"] = removed["row_id"].map(worst["right_id"])
    removed["reason"] = "stands in a set that judges it"
    return table[~leaks].reset_index(drop=True), removed.reset_index(drop=True)
