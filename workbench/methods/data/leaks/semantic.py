"""Paraphrases in two sets, by the cosine of sentence vectors, and the threshold that suits the data.

Short messages about one matter are close to each other whether or not one is made from the other,
so no threshold holds for every data set: `calibrate` sets it on the rows themselves.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
import pandas as pd

from ....errors import InputError
from ....policy.texts import bare
from .findings import SETS, as_pairs, closest, side_by_side

Embed = Callable[[Sequence[str]], np.ndarray]
"""Texts to (texts, width) vectors, such as those of MiniLM."""
BLOCK = 2_000  # rows compared with so many others at once: 16 MB of cosines
WORDS = dict(pair.split("=") for pair in (
    "i'm=i am,can't=cannot,don't=do not,didn't=did not,isn't=is not,won't=will not,it's=it is,"
    "hasn't=has not,what's=what is,help=assist,need=require,want=would like,get=receive,"
    "buy=purchase,wrong=incorrect,money=funds,tell=inform,show=display,start=begin,problem=issue"
).split(","))  # fmt: skip
"""Contractions and words with a plain synonym."""


def semantic(table: pd.DataFrame, text: str, embed: Embed, threshold: float) -> pd.DataFrame:
    """Findings of texts in two sets with a cosine of at least `threshold`: each row's closest."""
    vectors = unit_vectors(embed, table[text].tolist())
    held = [np.flatnonzero(table["set"] == name) for name in SETS]
    blocks = [np.split(rows, range(BLOCK, len(rows), BLOCK)) for rows in held if len(rows)]
    found = []
    for weak, strong in combinations(blocks, 2):
        for left, right in product(weak, strong):
            cosines = vectors[left] @ vectors[right].T
            i = np.r_[np.arange(len(left)), cosines.argmax(0)]
            j = np.r_[cosines.argmax(1), np.arange(len(right))]
            i, j = (places[cosines[i, j] >= threshold] for places in (i, j))
            found.append({"left": left[i], "right": right[j], "score": cosines[i, j]})
    return side_by_side(table, text, closest(table, as_pairs(found)), "semantic (cosine)")


def unit_vectors(embed: Embed, texts: Sequence[str]) -> np.ndarray:
    """(texts, width) vectors of length one; each distinct text is embedded once."""
    place, distinct = pd.factorize(np.array(texts, dtype=object))
    vectors = np.asarray(embed(list(distinct)), dtype=np.float32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[place]


class Calibration(NamedTuple):
    """A threshold, and the distributions that it was chosen on."""

    threshold: float
    table: pd.DataFrame
    """Per kind of pair: n, cosine at 5, 50 and 95 %, and the share that the threshold finds."""


def calibrate(
    embed: Embed, texts: Sequence[str], labels: Sequence[object], *,
    false_alarms: float = 0.1, sample: int = 500, seed: int = 0,
) -> Calibration:  # fmt: skip
    """The cosine that only this share of the rows exceeds without being made from each other.

    A row's false alarm is its closest other row of the same label: the check asks every row for
    its closest, so that a random pair says too little. Rows that already say the same count as
    false alarms, which makes the share an upper bound. Known paraphrases of the same rows show
    what the threshold finds. InputError when no label has two different texts.
    """
    chance = random.Random(seed)
    rows = pd.DataFrame({"text": list(texts), "label": list(labels)})
    rows = rows[~rows["text"].map(bare).duplicated()].reset_index(drop=True)
    vectors = unit_vectors(embed, rows["text"].tolist())
    picked = sorted(chance.sample(range(len(rows)), min(sample, len(rows))))
    of_label = rows.groupby("label").groups
    near = [vectors[of_label[rows["label"][i]].drop(i)] @ vectors[i] for i in picked]
    near = [cosines for cosines in near if len(cosines)]
    if not near:
        raise InputError("No label has two different texts, so there is nothing to calibrate on.")
    found = {
        "same label, at random": [chance.choice(cosines) for cosines in near],
        "same label, closest": [cosines.max() for cosines in near],
    }
    for kind, change in PARAPHRASES.items():
        told = {i: change(rows["text"][i], chance) for i in picked}
        told = {i: text for i, text in told.items() if bare(text) != bare(rows["text"][i])}
        if told:
            cosines = unit_vectors(embed, list(told.values())) * vectors[list(told)]
            found[f"paraphrase: {kind}"] = cosines.sum(axis=1)
    threshold = float(np.quantile(found["same label, closest"], 1 - false_alarms))
    told = {kind: _told(np.asarray(some), threshold) for kind, some in found.items()}
    table = pd.DataFrame.from_dict(told, "index", columns=["n", "5 %", "50 %", "95 %", "found"])
    return Calibration(threshold, table.rename_axis("pairs"))


def _told(cosines: np.ndarray, threshold: float) -> list[float]:
    return [len(cosines), *np.quantile(cosines, (0.05, 0.5, 0.95)), (cosines >= threshold).mean()]


def _reordered(text: str, chance: random.Random) -> str:
    """Two neighbouring words change places."""
    words = text.split()
    i = chance.randrange(max(len(words) - 1, 1))
    words[i : i + 2] = words[i : i + 2][::-1]
    return " ".join(words)


def _reworded(text: str, chance: random.Random) -> str:
    """Contractions written out, and known words replaced."""
    return re.sub(r"[\w']+", lambda word: WORDS.get(word[0].lower(), word[0]), text)


def _mistyped(text: str, chance: random.Random) -> str:
    """Two neighbouring letters change places, and the case is lost."""
    i = chance.randrange(max(len(text) - 1, 1))
    return (text[:i] + text[i : i + 2][::-1] + text[i + 2 :]).lower()


def _filled(text: str, chance: random.Random) -> str:
    """Courtesies before and after."""
    return f"{chance.choice(['Hello,', 'Hi there.', 'Sorry,'])} {text} {chance.choice(['Thanks.', ''])}"


PARAPHRASES: dict[str, Callable[[str, random.Random], str]] = {
    "word order": _reordered, "words": _reworded, "slips and case": _mistyped, "filler": _filled,
}  # fmt: skip
"""Ways to say a text again; one that has nothing to change returns it as it was."""
