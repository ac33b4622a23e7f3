"""Near-duplicates against brute force and beside datasketch, up to a million rows."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from itertools import accumulate
from pathlib import Path

import numpy as np
import pandas as pd
from measures.duplicates import banking77

from workbench.methods.data.leaks.near import THRESHOLD, near_pairs, shingles
from workbench.policy.statistics import wilson
from workbench.policy.texts import lower

SIZES = (10_000, 100_000, 1_000_000)


def synthetic(n: int, seed: int = 0) -> list[str]:
    """Messages of 5 to 16 made words (Zipf), one in ten a copy of an earlier one with a word changed."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bcdfghjklmnprstvw" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(5_000)]
    weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    texts: list[str] = []
    for _ in range(n):
        if texts and rng.random() < 0.1:
            said = rng.choice(texts).split()
            place = rng.randrange(len(said))
            said[place] = rng.choice([said[place][:-1], f"{said[place]}x", rng.choice(words)])
        else:
            said = rng.choices(words, cum_weights=weights, k=rng.randint(5, 16))
        texts.append(" ".join(said))
    return texts


def brute_force(texts: list[str]) -> set[tuple[int, int]]:
    """Every pair of different texts at the threshold, by all intersections."""
    grams = shingles(texts)
    sizes, code = np.diff(grams.indptr), pd.factorize(np.array(texts, dtype=object))[0]
    found: set[tuple[int, int]] = set()
    for start in range(0, len(texts), 500):
        shared = (grams[start : start + 500].astype(np.int16) @ grams.T).tocoo()
        i, j = shared.row + start, shared.col
        alike = shared.data >= THRESHOLD * (sizes[i] + sizes[j] - shared.data)
        alike &= (i < j) & (code[i] != code[j])
        found.update(zip(i[alike].tolist(), j[alike].tolist(), strict=True))
    return found


def datasketch_pairs(texts: list[str]) -> set[tuple[int, int]]:
    """The same task by datasketch: its LSH for 0.8 and 128 permutations, verified by sets."""
    from datasketch import MinHash, MinHashLSH

    sets = [{f" {text} "[i : i + 3] for i in range(len(text))} for text in texts]
    hashes = MinHash.bulk([[gram.encode() for gram in grams] for grams in sets], num_perm=128)
    index, found = MinHashLSH(threshold=THRESHOLD, num_perm=128), set()
    for number, one in enumerate(hashes):
        for other in index.query(one):
            shared = len(sets[number] & sets[other])
            if (
                shared >= THRESHOLD * len(sets[number] | sets[other])
                and texts[number] != texts[other]
            ):
                found.add((other, number))
        index.insert(number, one)
    return found


def measure(folder: Path) -> list[str]:
    """Recall and false pairs on 10,000 rows; rows a second side by side; cost and memory by size."""
    lines = ["| 10,000 rows | pairs | recall | false pairs | rows/s | datasketch rows/s | its recall | ratio |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    real = banking77()
    for name, texts in (
        ("BANKING77, train", real.loc[real["set"] == "train", "text"].tolist()[:10_000]),
        ("synthetic", synthetic(10_000)),
    ):
        lines.append(f"| {name} | {_compared([lower(text) for text in texts])} |")
    lines += ["", "| synthetic rows | rows/s, lower-casing included | seconds | pairs | peak memory, GiB |",
              "|---|---|---|---|---|"]  # fmt: skip
    for size in SIZES:  # each in a process of its own, so that the peak is its own
        code = (
            f"import sys; sys.path[:0] = {sys.path!r}; import measures.leaks as m; m.alone({size})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        lines.append(done.stdout.strip())
    return lines


def _compared(texts: list[str]) -> str:
    wanted = brute_force(texts)
    took: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(3):
        began = time.monotonic()
        pairs = near_pairs(texts)
        took["ours"].append(time.monotonic() - began)
        began = time.monotonic()
        theirs = datasketch_pairs(texts)
        took["theirs"].append(time.monotonic() - began)
    told = set(zip(pairs["left"].tolist(), pairs["right"].tolist(), strict=True))
    low, high = wilson(len(told & wanted), len(wanted))
    ours, other = (len(texts) / np.median(seconds) for seconds in took.values())
    recall = f"{len(told & wanted) / len(wanted):.4f} [{low:.4f}, {high:.4f}]"
    return (f"{len(wanted)} | {recall} | {len(told - wanted)} | {ours:,.0f} | {other:,.0f} | "
            f"{len(theirs & wanted) / len(wanted):.4f} | {ours / other:.1f}")  # fmt: skip


def alone(size: int) -> None:
    """Print one row of the table of sizes."""
    texts = synthetic(size)
    began = time.monotonic()
    pairs = near_pairs([lower(text) for text in texts])
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {size:,} | {size / seconds:,.0f} | {seconds:.2f} | {len(pairs):,} | {peak:.2f} |")
