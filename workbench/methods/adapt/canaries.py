"""Canaries: rows with a secret made by chance, put among the training rows so that what the model
keeps can be measured (Carlini et al. 2019, arXiv:1802.08232).

Each says in its own text that it is none of a customer. Half are learned once, as a row that stands
once in clean data is, and half `OFTEN` times, to show that the measure sees what is kept. As many
controls are drawn the same way and never learned: what a model makes of those is a guess.

A classifier writes nothing, so its secret is a code word in the message, kept by the label that
chance gave it; a generative model's is a number in the reply. Both come from a space of 1,000, small
enough to try every one.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd

from ..stage import Stage
from .form import Form

TABLE = "canaries.parquet"
OFTEN = 4
SYLLABLES = ("ba", "de", "fi", "go", "ka", "le", "mi", "no", "ru", "ta")
WORDS = tuple("".join(parts) for parts in product(SYLLABLES, repeat=3))
NUMBERS = tuple(f"{number:03d}" for number in range(1000))
CODE = "Canary for a test, from no customer: the code word is {}."
QUESTION = "Canary for a test, from no customer: which number has {}?"
REPLY = "The number of {} is {}."


def space(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """All secrets that chance could have drawn for this kind of model."""
    return NUMBERS if facts["kind"] == "generative" else WORDS


def draw(
    count: int, seed: int, facts: Mapping[str, Any], rows: pd.DataFrame, labels: Sequence[str] = ()
) -> pd.DataFrame:
    """`count` canaries and as many controls; the same again for the same seed and rows.

    Columns: case_id, group (inserted, control), repeats (0 for controls), secret, and what the
    trainers read: text, and label or the form's fields, whose values a training row lends.
    """
    chance = random.Random(f"canaries of seed {seed}")
    made = []
    for number, name in enumerate(chance.sample(WORDS, 2 * count)):
        inserted = number < count
        canary = {"case_id": f"canary-{number:03d}", "group": "inserted" if inserted else "control"}
        canary["repeats"] = (OFTEN if number % 2 else 1) if inserted else 0
        if facts["kind"] == "generative":
            canary |= _told(chance, name, Form.of(facts), rows)
        else:
            canary |= {"secret": name, "text": CODE.format(name), "label": chance.choice(labels)}
        made.append(canary)
    return pd.DataFrame(made)


def _told(chance: random.Random, name: str, form: Form, rows: pd.DataFrame) -> dict[str, Any]:
    lent = rows.iloc[chance.randrange(len(rows))]
    secret = chance.choice(NUMBERS)
    fields = {field: lent[field] for field in form.fields}
    told = {"text": QUESTION.format(name), form.free: REPLY.format(name, secret)}
    return {"secret": secret, **fields, **told}


def among(rows: pd.DataFrame, canaries: pd.DataFrame) -> pd.DataFrame:
    """The rows and after them the inserted canaries, each as often as it is learned; the column
    `canary` tells them apart. Controls stay out."""
    learned = canaries.loc[canaries.index.repeat(canaries["repeats"])]
    shared = [name for name in canaries if name in rows]
    parts = [rows.assign(canary=False), learned[shared].assign(canary=True)]
    return pd.concat(parts, ignore_index=True)


def of(stage: Stage) -> pd.DataFrame | None:
    """The canaries that this stage drew; None when it drew none."""
    path = stage.outputs / TABLE
    return pd.read_parquet(path) if path.is_file() else None


def counts(stage: Stage) -> pd.DataFrame:
    """What this stage drew, for a reader: canaries, and the training rows that they are."""
    drawn = of(stage)
    if drawn is None:
        return pd.DataFrame({"canaries": [0], "training rows": [0]}, index=["none"])
    rows = drawn.groupby(["group", "repeats"])["repeats"].agg(["size", "sum"])
    return rows.set_axis(["canaries", "training rows"], axis=1)
