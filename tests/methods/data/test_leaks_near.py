"""Near-duplicates: all of them, no others, and never a million for one."""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.methods.data.leaks import find_leaks, near_copies
from workbench.methods.data.leaks.near import BUCKET, near_pairs, shingles
from workbench.methods.data.read import read_rows
from workbench.policy.texts import lower

REAL = Path(os.environ.get("WORKBENCH_REAL_DATA", Path(__file__).parents[4] / "shared/data"))
SENTENCE = "please tell me why the transfer to my landlord number {} was not paid out today"


def jaccard(one: str, other: str) -> float:
    """The definition, on sets of strings."""
    left, right = ({f" {t} "[i : i + 3] for i in range(len(t))} for t in (one, other))
    return len(left & right) / len(left | right)


def test_a_text_is_the_set_of_its_character_3_grams():
    """One space at either end, code points beyond 16 bits too, and none across two texts."""
    texts = ["hi", "a", "", "ababab", "é👍ß漢"]
    grams = shingles(texts)
    sizes = [len({f" {t} "[i : i + 3] for i in range(len(t))}) for t in texts]
    assert np.diff(grams.indptr).tolist() == sizes
    assert grams.max() == 1 and grams.shape[1] == len(
        {f" {t} "[i : i + 3] for t in texts for i in range(len(t))}
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(alphabet="abc é", max_size=9), max_size=12), st.floats(0.8, 1))
def test_what_is_told_is_true(texts, threshold):
    """No false pair: score and order hold for every finding by the definition itself."""
    texts = [lower(text) for text in texts]
    for pair in near_pairs(texts, threshold).itertuples():
        one, other = texts[pair.left], texts[pair.right]
        assert pair.left < pair.right and one != other
        assert pair.score == pytest.approx(jaccard(one, other)) and pair.score >= threshold


def found_share(texts: list[str]) -> tuple[float, int]:
    """Share of the pairs of brute force that are found, and how many there are."""
    grams = shingles(texts)
    sizes, code = np.diff(grams.indptr), pd.factorize(np.array(texts, dtype=object))[0]
    wanted = set()
    for start in range(0, len(texts), 500):
        shared = (grams[start : start + 500].astype(np.int16) @ grams.T).tocoo()
        i, j = shared.row + start, shared.col
        alike = shared.data / (sizes[i] + sizes[j] - shared.data) >= 0.8
        alike &= (i < j) & (code[i] != code[j])
        wanted |= set(zip(i[alike].tolist(), j[alike].tolist(), strict=True))
    pairs = near_pairs(texts)
    told = set(zip(pairs["left"].tolist(), pairs["right"].tolist(), strict=True))
    assert told <= wanted
    return len(told & wanted) / len(wanted), len(wanted)


def test_of_the_pairs_that_brute_force_finds_almost_all_are_found():
    """Recall at least 0.99 on 3,000 rows of real messages, none of them false."""
    source = REAL / "banking77" / "train.csv"
    if not source.is_file():
        pytest.skip(f"BANKING77 is not at {source.parent}; set WORKBENCH_REAL_DATA")
    texts = list(dict.fromkeys(read_rows(source)["text"].map(lower)))[:3_000]
    share, n = found_share(texts)
    assert share >= 0.99 and n > 50


@pytest.mark.parametrize("seed", range(3))
def test_pairs_just_above_the_threshold_are_found_too(seed):
    """Where MinHash is least sure: half a thousand pairs drawn between 0.8 and 0.9."""
    rng = np.random.default_rng(seed)
    texts = []
    while len(texts) < 1_000:
        letters = rng.choice(list("abcdefghijklmnoprstuvw "), 60)
        spoilt = letters.copy()
        spoilt[rng.choice(60, rng.integers(1, 3), replace=False)] = "z"
        pair = [lower("".join(letters)), lower("".join(spoilt))]
        if 0.8 <= jaccard(*pair) < 0.9:
            texts += pair
    pairs = near_pairs(texts)
    assert len(pairs) >= 0.99 * 500
    assert (pairs["right"] - pairs["left"] == 1).all() and (pairs["left"] % 2 == 0).all()


def test_a_huge_cluster_costs_no_square():
    """Every row of it is named, each with a few; the pairs would be 4.5 million."""
    texts = [SENTENCE.format(number) for number in range(10_000, 13_000)]
    pairs = near_pairs(texts)
    assert {*pairs["left"], *pairs["right"]} == set(range(len(texts)))
    assert len(pairs) < 130 * len(texts)
    copies = near_copies(texts)
    assert (copies != np.arange(len(texts))).mean() > 0.95


def test_in_a_huge_cluster_each_weaker_row_still_meets_a_judge():
    """One locked row among many like it: all of the training rows beside it are named."""
    n = 20 * BUCKET
    rows = pd.DataFrame({"row_id": [f"r{i}" for i in range(n)], "set": "train"})
    rows["text"] = [SENTENCE.format(1_000 + i) for i in range(n)]
    rows.loc[n // 2, "set"] = "locked"
    found = find_leaks(rows, "text", jaccard=0.8)
    assert len(found) >= 0.99 * (n - 1) and (found["right_id"] == f"r{n // 2}").all()


def test_a_copy_names_a_row_that_stays_and_is_like_it():
    """No chain of small steps takes away a text that is far from what is kept."""
    rng = np.random.default_rng(0)
    text, texts = SENTENCE.format("seven"), []
    for _ in range(60):
        place = rng.integers(len(text))
        text = f"{text[:place]}{rng.choice(list('qxyz'))}{text[place + 1 :]}"
        texts += [text, text.upper()]
    same = near_copies(texts)
    assert (same[same] == same).all() and (same <= np.arange(len(texts))).all()
    assert all(jaccard(lower(texts[a]), lower(texts[b])) >= 0.8 for a, b in enumerate(same))
    stay = np.unique(same)
    assert len(stay) > 3
    close = [jaccard(lower(texts[a]), lower(texts[b])) for a, b in combinations(stay, 2)]
    assert np.mean(np.array(close) >= 0.8) <= 0.01


def test_equal_rows_of_one_set_are_all_named():
    """Not only the first of them: whoever drops what is named is done."""
    one, other = SENTENCE.format(1), SENTENCE.format(2)
    rows = pd.DataFrame({"row_id": list("abcd"), "text": [one, one.upper(), other, other]})
    rows["set"] = ["train", "train", "locked", "locked"]
    found = find_leaks(rows, "text", jaccard=0.8)
    assert {*found["left_id"], *found["right_id"]} == set("abcd")
    assert set(found["left_id"]) == {"a", "b"} and set(found["kind"]) == {"near (Jaccard)"}


def test_nothing_to_compare_is_no_finding():
    """No rows, one row, empty texts."""
    for texts in ([], ["a"], ["", ""], ["", "alone"]):
        assert near_pairs(texts).empty and len(near_copies(texts)) == len(texts)
