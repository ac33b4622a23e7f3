"""Synthesise: rows made from the user's own rows, for thin classes and cases that are rare.

Every made row is marked, names the row that it was made from, and stays where that row learns
(`fit_sets`). Measured here, judged in `policy.acceptance`: how far each is from the closest
original, and how the words of a class differ between made and real rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from ....errors import InputError
from ....policy.documents import Document
from ....policy.texts import bare, lower
from ..leaks.near import THRESHOLD, shingles
from ..lineage import changes
from ..read import read_rows
from .interface import MARK, Context, Result, Transformation

TRIES = 20  # for each row that is wanted, before a class is left thin
BLOCK = 64  # made rows that are compared with all originals at once


class Template(Document):
    """A text with `{slot}` places."""

    label: str
    """Its class."""
    text: str
    """What is filled."""
    edge_case: str = "template"
    """The rare case that it stands for."""
    rows: int = Field(default=1, ge=1)
    """How many are made."""


class Arguments(Document):
    """What is made, and of what."""

    per_class: int = 0
    """A class with fewer rows is filled up to so many by the operators."""
    operators: list[Literal["typo", "synonyms", "swap"]] = []
    """Letters change places; words of `synonyms` are replaced; values of `slots` change places with
    those of other rows of the class."""
    synonyms: dict[str, list[str]] = {}
    """Word -> words that say the same."""
    slots: dict[str, list[str]] = {}
    """Slot -> its values."""
    templates: list[Template] = []
    """Made beside what the classes need."""
    file: str | None = None
    """Rows made elsewhere, JSON lines: text, parent (a row_id), label, edge_case."""


class Made(NamedTuple):
    """A row to be."""

    parent: str
    text: str
    edge_case: str
    label: str


def apply(table: pd.DataFrame, arguments: Arguments, context: Context) -> Result:
    """The rows, and after them the made ones; each has the other columns of its parent.

    InputError when a row of the file names no parent among the rows.
    """
    real = table[~table[MARK].eq(True)] if MARK in table else table
    known = real.set_index("row_id", drop=False)
    seen, found = set(table[context.text].map(bare)), []
    try:
        for one in _wanted(known, arguments, context, Random(context.seed), seen):
            if bare(one.text) not in seen:
                seen.add(bare(one.text))
                found.append(one)
        made = known.loc[[one.parent for one in found]].reset_index(drop=True)
    except (KeyError, IndexError) as error:
        expected = "parents, labels, slots and operators that there are"
        raise InputError("Rows can't be made so.", expected=expected, given=str(error)) from None
    made[context.text] = [one.text for one in found]
    made[context.label] = [one.label for one in found]
    parent = made["row_id"]
    made["row_id"] = [f"s{context.digest('row_id', f'{one}')[:16]}" for one in found]
    edge = pd.Series([one.edge_case for one in found], dtype=object)
    whole = pd.concat([table.assign(**{MARK: table.get(MARK, False)}), made.assign(**{MARK: True})])
    marked = made["row_id"].isin(whole.loc[whole[MARK].eq(True), "row_id"])
    rows = made[["row_id"]].assign(parent=parent, marked=marked, edge_case=edge)
    rows = rows.join(nearest(made[context.text], real[context.text], real["row_id"]))
    rows["near_copy"] = rows["distance"] <= 1 - THRESHOLD
    tables = {"synthesis.parquet": rows, "synthesis_classes.parquet": by_class(real, made, context)}
    said = changes(made["row_id"], "created", "synthetic: " + edge, parent)
    return Result(whole, said, tables, {"edge_cases": dict(sorted(Counter(edge).items()))})


def _wanted(
    known: pd.DataFrame, arguments: Arguments, context: Context, chance: Random, seen: set[str]
) -> Iterator[Made]:
    """Rows of the file, then of templates, then by operators until a class is full or gives no more."""
    if arguments.file:
        rows = read_rows(context.read(arguments.file), "jsonl").to_dict("records")
        yield from (Made(*(str(row[name]) for name in Made._fields)) for row in rows)
    ids = {str(label): part.index.tolist() for label, part in known.groupby(context.label)}
    for one in arguments.templates:
        for _ in range(one.rows):
            text = re.sub(r"\{(\w+)\}", lambda m: chance.choice(arguments.slots[m[1]]), one.text)
            yield Made(chance.choice(ids[one.label]), text, one.edge_case, one.label)
    for label, rows in ids.items():
        texts = known.loc[rows, context.text].tolist()
        missing = max(0, arguments.per_class - len(rows))
        for _ in range(TRIES * missing):
            before = len(seen)
            parent, operator = chance.choice(rows), chance.choice(arguments.operators)
            text = OPERATORS[operator](known.at[parent, context.text], texts, arguments, chance)
            yield Made(parent, text, operator, label)
            missing -= len(seen) > before
            if not missing:
                break


def _typo(text: str, texts: Sequence[str], arguments: Arguments, chance: Random) -> str:
    """In every fourth word of four letters or more, two inner letters change places."""
    words = re.split(r"(\s+)", text)
    long = [i for i, word in enumerate(words) if len(word) > 3]
    for i in chance.sample(long, -(-len(long) // 4)):
        at = chance.randrange(1, len(words[i]) - 2)
        words[i] = words[i][:at] + words[i][at + 1] + words[i][at] + words[i][at + 2 :]
    return "".join(words)


def _synonyms(text: str, texts: Sequence[str], arguments: Arguments, chance: Random) -> str:
    """Every known word becomes one that says the same."""
    say = {lower(word): others for word, others in arguments.synonyms.items()}
    return re.sub(r"\w+", lambda m: chance.choice(say.get(lower(m[0]), [m[0]])), text)


def _swap(text: str, texts: Sequence[str], arguments: Arguments, chance: Random) -> str:
    """Each slot's value becomes one that another row of the class has."""
    for values in arguments.slots.values():
        others = [v for v in values if any(v in other for other in texts)]
        for value in [v for v in others if v in text][:1]:
            text = text.replace(value, chance.choice(others))
    return text


OPERATORS: dict[str, Callable[..., str]] = {"typo": _typo, "synonyms": _synonyms, "swap": _swap}


def nearest(made: pd.Series, real: pd.Series, ids: pd.Series) -> pd.DataFrame:
    """nearest_id, distance (1 - exact Jaccard of character 3-grams, as `leaks.near` cuts them)."""
    grams = shingles([lower(text) or " " for text in [*real, *made]])
    sizes, n = np.diff(grams.indptr), len(real)
    originals, found = grams[:n].T.astype(np.int32).tocsc(), []
    for start in range(n, n + len(made), BLOCK):
        rows = slice(start, min(start + BLOCK, n + len(made)))
        shared = (grams[rows].astype(np.int32) @ originals).toarray()
        score = shared / (sizes[rows, None] + sizes[None, :n] - shared)
        best = score.argmax(axis=1)
        found += zip(ids.to_numpy()[best], 1 - score[np.arange(len(best)), best], strict=True)
    return pd.DataFrame(found, columns=["nearest_id", "distance"])


def by_class(real: pd.DataFrame, made: pd.DataFrame, context: Context) -> pd.DataFrame:
    """label, real and synthetic rows, and the Jensen-Shannon distance of their words (0 to 1).

    Square root of the divergence in bits (Endres and Schindelin 2003); of few rows it is large.
    """
    from scipy.spatial.distance import jensenshannon

    rows = []
    for label, part in made.groupby(context.label):
        own = real.loc[real[context.label].astype(str) == label, context.text]
        left, right = (Counter(" ".join(map(bare, t)).split()) for t in (own, part[context.text]))
        words = sorted(left | right)
        distance = jensenshannon([left[w] for w in words], [right[w] for w in words], 2)
        rows.append((str(label), len(own), len(part), float(distance)))
    return pd.DataFrame(rows, columns=["label", "real", "synthetic", "distance"])


def fit_sets(table: pd.DataFrame, lineage: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(kept, removed): made rows stay where their source is in train; elsewhere they would judge,
    or leak what judges. `table` has `set` for the other rows; removed: row_id, reason, same_as.
    """
    began = lineage[lineage["outcome"] == "created"].set_index("row_id")["source_id"]
    source = table["row_id"].map(began)
    of = source.map(table[source.isna()].set_index("row_id")["set"])
    kept = source.isna() | (of == "train")
    removed = pd.DataFrame({"row_id": table.loc[~kept, "row_id"], "same_as": source[~kept]})
    where = of[~kept].fillna("no set")
    table = table.assign(set=table["set"].where(source.isna(), "train"))
    return table[kept], removed.assign(reason="synthetic, and its source is in " + where)


TRANSFORMATION = Transformation("synthesise", "1.0.0", Arguments, apply)
