"""Deduplicate, split by group, and look for leaks: the smallest honest form of each."""

from __future__ import annotations

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

import pandas as pd

from ...errors import InputError

_MARK = re.compile(r"[^\w\s]|_")
_SPACE = re.compile(r"\s+")

SETS = ("train", "dev", "locked")
GIVEN = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "validation", "valid", "val"), "dev"),
    **dict.fromkeys(("locked", "test"), "locked"),
}
"""What a column that already names sets may say, in any case."""


def _lower(text: str) -> str:
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _bare(text: str) -> str:
    lower = _lower(text)
    # Emoji, currencies and the vowel signs of many scripts carry meaning and are no punctuation.
    return _SPACE.sub(" ", _MARK.sub(_unless_mark, lower)).strip() or lower


def _unless_mark(match: re.Match[str]) -> str:
    kind = unicodedata.category(match[0])
    return "" if kind.startswith("P") or kind == "Cf" else match[0]


# Each weaker than the one before; a leak is reported under the first that finds it.
NORMALISERS: dict[str, Callable[[str], str]] = {
    "stripped": str.strip,
    "lower-cased": _lower,  # and every run of white space is one space
    "punctuation removed": _bare,
}


def deduplicate(
    table: pd.DataFrame, text: str, label: str, within: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the first of rows whose text is equal but for case, punctuation and spaces.

    `within` names a column that already divides the rows: only rows of one part repeat each other.
    Returns (kept, removed); removed rows name the row they repeat, and whether the labels differ.
    """
    keys = [table[text].map(_bare)] + ([table[within]] if within else [])
    first = table.groupby(keys, sort=False, dropna=False)["row_id"].transform("first")
    repeated = first != table["row_id"]
    label_of = table.set_index("row_id")[label]
    removed = table.loc[repeated, list(dict.fromkeys(["row_id", text, label]))].copy()
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

    A class of at least three groups (rows, without `group`) stands in every set, wherever one
    group holds one class. `given` names a column that already says which rows are for what
    (`GIVEN`): it is followed, and where it names no dev rows, the share `dev` of its training rows
    becomes them. InputError when it says anything else, or a set comes out empty.
    """
    shares = {"train": 1 - dev - locked, "dev": dev, "locked": locked}
    said = _said(table, given) if given else pd.Series("train", index=table.index)
    if given:
        shares = {"train": 1 - dev, "dev": dev}
    assigned = said
    if not (said == "dev").any():
        free = said == "train"
        owner = table.loc[free, group].astype(str) if group else table.loc[free, "row_id"]
        places = _assign(table.loc[free, label].tolist(), owner.tolist(), shares, seed)
        assigned = said.copy()
        assigned[free] = places
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


def _said(table: pd.DataFrame, given: str) -> pd.Series:
    """The set that the column names for each row; a slip of the pen must not train on the test."""
    said = table[given].astype(str).str.strip().str.lower()
    unknown = ~said.isin(list(GIVEN))
    if unknown.any():
        raise InputError(
            f"{int(unknown.sum())} rows do not say which set they belong to.",
            where=f"column `{given}`, rows {', '.join(table.loc[unknown, 'row_id'].head(5))}",
            expected=", ".join(GIVEN),
            given=repr(table.loc[unknown, given].iloc[0]),
        )
    return said.map(GIVEN)


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
    wanted = {
        name: Counter({label: share * n for label, n in Counter(labels).items()})
        for name, share in shares.items()
    }
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


def unleak(table: pd.DataFrame, text: str, label: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop rows of train and dev whose normalised text stands in a set that judges them.

    Returns (kept, removed), removed as `deduplicate` gives it.
    """
    key = table[text].map(_bare)
    rank = table["set"].map({name: number for number, name in enumerate(SETS)})
    strongest = rank.groupby(key).transform("max")
    leaks = rank < strongest
    judge = table["row_id"].where(~leaks).groupby(key).transform("first")
    removed = table.loc[leaks, list(dict.fromkeys(["row_id", text, label]))].copy()
    removed["same_as"] = judge[leaks]
    removed["reason"] = "stands in a set that judges it"
    return table[~leaks].reset_index(drop=True), removed.reset_index(drop=True)


def find_leaks(table: pd.DataFrame, text: str, group: str | None = None) -> pd.DataFrame:
    """Pairs of rows in different sets with equal text (per normaliser) or equal group.

    One row a pair: kind, left_id, right_id, left_set, right_set, left_text, right_text; left is
    the weaker set. A pair is counted once, under the strictest normaliser that finds it, so the
    findings of one normaliser are those of its kind and all kinds before it. Where many rows are
    equal, each is paired with the first of the other set, so that every row at fault is named
    and a million pairs of two large groups are not.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name, normalise in NORMALISERS.items():
        _pairs(table, table[text].map(normalise), f"exact ({name})", text, found)
    if group:
        _pairs(table, table[group].astype(str), f"group ({group})", text, found)
    columns = ["kind", "left_id", "right_id", "left_set", "right_set", "left_text", "right_text"]
    return pd.DataFrame(list(found.values()), columns=columns)


def _pairs(table: pd.DataFrame, key: pd.Series, kind: str, text: str, found: dict) -> None:
    crossing = table.groupby(key)["set"].transform("nunique") > 1
    shown = {"row_id": "id", "set": "set", text: "text"}
    for _, rows in table[crossing].groupby(key[crossing], sort=False):
        sides = {name: rows[rows["set"] == name][list(shown)].to_dict("records") for name in SETS}
        for left, right in _crossed([sides[name] for name in SETS if sides[name]]):
            facts = {f"left_{to}": left[name] for name, to in shown.items()}
            facts |= {f"right_{to}": right[name] for name, to in shown.items()}
            found.setdefault((left["row_id"], right["row_id"]), {"kind": kind, **facts})


def _crossed(sides: list[list[dict]]) -> Iterator[tuple[dict, dict]]:
    """Each row of a side with the first of every other side, weaker side left."""
    for number, weaker in enumerate(sides):
        for stronger in sides[number + 1 :]:
            yield from ((weaker[0], right) for right in stronger)
            yield from ((left, stronger[0]) for left in weaker[1:])
