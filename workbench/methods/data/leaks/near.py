"""Near-duplicates: MinHash candidates (Broder 1997), each verified by its exact Jaccard similarity.

A text is the set of its character 3-grams, lower-cased, white space collapsed, one space added at
either end. In messages of a dozen words a longer shingle punishes one slip too hard: a wrong letter
spoils three 3-grams, but five 5-grams and five word 5-grams. Three code points of 21 bits fill one
64-bit integer, so that a shingle is its own name and no hash can make two texts alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from ....policy.texts import lower
from .findings import as_pairs, closest, side_by_side, strength

THRESHOLD = 0.8
BANDS, ROWS = 20, 6
"""A pair of similarity s is a candidate with 1 - (1 - s^6)^20: 0.998 at 0.8, 0.014 at 0.3."""
BUCKET, ENOUGH = 32, 64
"""In a bucket of more than 32 a row is compared with 32 neighbours only, and with its first; a row
with 64 near-copies looks for no more. So a huge cluster of like texts costs no square."""
BLOCK = 50_000  # texts that become shingles, and pairs that are verified, at once
CACHED = 2_000  # rows whose shingles the processor's cache holds while all permutations pass
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio: Knuth, TAOCP 3, 6.4


def near(table: pd.DataFrame, text: str, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Findings of near-duplicate texts in two sets: each row with its closest in the other set."""
    rank = strength(table)
    folded = table[text].map(lower).reset_index(drop=True)
    first = folded.index.to_series().groupby([folded, rank]).transform("first")
    chosen = first.index[first == first.index].to_numpy()
    pairs = near_pairs(folded[chosen].tolist(), threshold, rank[chosen].to_numpy())
    pairs[["left", "right"]] = chosen[pairs[["left", "right"]]]
    pairs, rows = closest(table, pairs), first.index.to_series().groupby(first).agg(list)
    every = [pairs.assign(**{end: pairs[end].map(rows)}).explode(end) for end in ("left", "right")]
    return side_by_side(table, text, as_pairs(every), "near (Jaccard)")


def near_copies(texts: Sequence[str], threshold: float = THRESHOLD) -> np.ndarray:
    """For each text the position of the earlier one that it copies, or its own where it stays.

    What is named stays itself and is similar enough to every copy: no chain of small steps joins
    two texts that are far apart.
    """
    folded = pd.Series([lower(text) for text in texts])
    same = folded.index.to_series().groupby(folded).transform("first").to_numpy().copy()
    chosen = np.flatnonzero(same == np.arange(len(same)))
    pairs = near_pairs(folded[chosen].tolist(), threshold).sort_values(["right", "left"])
    for left, right in chosen[pairs[["left", "right"]].to_numpy()]:
        if same[left] == left and same[right] == right:
            same[right] = left
    return same[same]


def near_pairs(texts: Sequence[str], threshold: float = THRESHOLD, sets=None) -> pd.DataFrame:
    """Pairs of positions (left < right) of different texts with Jaccard >= threshold, the score.

    `texts` are lower-cased already. `sets` (a small number a text) asks only for pairs of two sets.
    """
    held = np.flatnonzero([bool(text) for text in texts])
    found = [(np.empty(0, int), np.empty(0, int), np.empty(0))]
    if len(held) > 1:
        code = pd.factorize(np.array(texts, dtype=object)[held])[0]
        side = np.full(len(held), -1) if sets is None else np.asarray(sets)[held]
        found += _verified(shingles([texts[place] for place in held]), code, side, threshold)
    left, right, score = (np.concatenate(part) for part in zip(*found, strict=True))
    pairs = pd.DataFrame({"left": held[left], "right": held[right], "score": score})
    return pairs.sort_values(["left", "right"], ignore_index=True)


def shingles(texts: Sequence[str]) -> sparse.csr_matrix:
    """(texts, distinct 3-grams): 1 where the text, lower-cased already, has it."""
    blocks = []
    for start in range(0, len(texts), BLOCK):
        part = texts[start : start + BLOCK]
        points = np.frombuffer(f" {'  '.join(part)} ".encode("utf-32-le"), np.uint32).astype(int)
        ends = np.cumsum([len(text) + 2 for text in part])
        inside = np.ones(len(points), bool)
        inside[np.r_[ends - 1, ends - 2]] = False  # their 3-grams reach into the next text
        grams = points[:-2] << 42 | points[1:-1] << 21 | points[2:]
        codes, known = pd.factorize(grams[inside[:-2]])
        blocks.append((codes, known, np.r_[0, ends - 2 * np.arange(1, len(part) + 1)]))
    columns, vocabulary = pd.factorize(np.concatenate([known for _, known, _ in blocks]))
    made, columns = [], columns.astype(np.int32)
    for codes, known, rows in blocks:
        numbers, columns = columns[: len(known)], columns[len(known) :]
        ones, size = np.ones(len(codes), np.int8), (len(rows) - 1, len(vocabulary))
        made.append(sparse.csr_matrix((ones, numbers[codes], rows), shape=size))
        made[-1].sum_duplicates()
        made[-1].data[:] = 1
    return sparse.vstack(made, format="csr")


def _verified(grams, code, side, threshold: float) -> Iterator[tuple]:
    """(left, right, Jaccard) of the candidates that hold, each pair once, band by band."""
    sizes, n = np.diff(grams.indptr), grams.shape[0]
    degree, known = np.zeros(n, int), np.empty(0, int)
    for key in _keys(grams):
        held = [known]
        for pair in _candidates(key, side):
            left, right = np.sort(pair, axis=0)
            small, large = np.sort([sizes[left], sizes[right]], axis=0)
            fits = small >= threshold * large  # Jaccard can't exceed the ratio of the sizes
            fits &= (code[left] != code[right]) & (np.minimum(degree[left], degree[right]) < ENOUGH)
            fits &= (side[left] != side[right]) | (side[left] < 0)  # -1: in no set
            asked = left[fits] * n + right[fits]
            fits[fits] = np.searchsorted(known, asked) == np.searchsorted(known, asked, "right")
            for part in np.array_split(np.flatnonzero(fits), 1 + fits.sum() // BLOCK):
                i, j = left[part], right[part]
                shared = np.asarray(grams[i].multiply(grams[j]).sum(axis=1)).ravel()
                score = shared / (sizes[i] + sizes[j] - shared)
                i, j, score = (one[score >= threshold] for one in (i, j, score))
                degree += np.bincount(np.r_[i, j], minlength=n)
                held.append(i * n + j)
                yield i, j, score
        known = np.sort(np.concatenate(held))


def _keys(grams: sparse.csr_matrix) -> np.ndarray:
    """(bands, rows): a hash of each row's MinHashes under the permutations of a band."""
    chance = np.random.default_rng(0)
    places = [chance.permutation(grams.shape[1]).astype(np.int32) for _ in range(BANDS * ROWS)]
    keys = np.zeros((BANDS, grams.shape[0]), np.uint64)
    for start in range(0, grams.shape[0], CACHED):
        ends = grams.indptr[start : start + CACHED + 1]
        columns = grams.indices[ends[0] : ends[-1]].astype(np.intp)
        for number, place in enumerate(places):
            key = keys[number // ROWS, start : start + CACHED]
            key ^= np.minimum.reduceat(place[columns], ends[:-1] - ends[0]).astype(np.uint64)
            key *= _ODD
    return keys


def _candidates(key: np.ndarray, rank: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows with one key: neighbours in a bucket, and all with its first.

    The strongest set leads a bucket, so that even in a huge one each weaker row meets a judge; the
    rest is shuffled, so that in every band others meet.
    """
    n = len(key)
    order = np.lexsort((np.random.default_rng(key[:1]).random(n), -rank, key))
    key = key[order]
    first = np.maximum.accumulate(np.where(np.r_[True, key[1:] != key[:-1]], np.arange(n), 0))
    for step in range(1, BUCKET + 1):
        same = np.flatnonzero(key[step:] == key[:-step])
        yield order[same], order[same + step]
    far = np.flatnonzero(np.arange(n) - first > BUCKET)
    yield order[first[far]], order[far]
