"""The share of BANKING77's labels that confident learning disputes."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from measures.duplicates import banking77

from workbench.execution import base_source
from workbench.methods.adapt.base import take_in
from workbench.methods.adapt.encoder import Encoder
from workbench.methods.data.labels import disputed, out_of_fold
from workbench.policy.statistics import wilson

SHOWN = 5


def measure(folder: Path) -> list[str]:
    """Five folds, logistic regression on MiniLM vectors; beside it how often it disagrees at all."""
    rows = banking77()
    rows = rows[rows["set"] == "train"].reset_index(drop=True)
    source = base_source.encoder()
    take_in(f"folder:{source}", folder / "minilm", licence="Apache-2.0")
    encoder = Encoder(folder / "minilm", 64)
    vectors = encoder.encode(encoder.tokens(rows["text"].tolist())).numpy()
    began = time.monotonic()
    found = disputed(rows, "text", "category", vectors=vectors)
    seconds = time.monotonic() - began
    p, labels = out_of_fold(rows["text"].tolist(), rows["category"], vectors, 5, 0)
    other = int((labels[p.argmax(axis=1)] != rows["category"].to_numpy()).sum())
    planted, hits = _planted(rows, vectors)
    lines = [f"{len(rows):,} training rows, {len(labels)} labels; {seconds:.1f} s without the vectors.", "",
             "| what | share | n |", "|---|---|---|"]  # fmt: skip
    for what, count, n in (
        ("labels disputed by confident learning (Northcutt et al. 2021)", len(found), len(rows)),
        ("rows where the model prefers any other label", other, len(rows)),
        ("of 300 labels changed by seed, disputed", hits, planted),
    ):
        low, high = wilson(count, n)
        lines.append(f"| {what} | {count / n:.4f} [{low:.4f}, {high:.4f}] | {n} |")
    lines += ["", "| margin | row | text | given | suggested |", "|---|---|---|---|---|"]
    return lines + [
        f"| {one.margin:.2f} | {one.row_id} | {one.text} | {one.given} | {one.suggested} |"
        for one in found.head(SHOWN).itertuples()
    ]


def _planted(rows, vectors) -> tuple[int, int]:
    """How many labels were given to other rows' labels at random, and how many of them are found."""
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(rows), 300, replace=False)
    changed = rows.copy()
    changed.loc[wrong, "category"] = rng.permutation(rows["category"].unique())[
        rng.integers(0, rows["category"].nunique(), 300)
    ]
    truly = wrong[(changed["category"] != rows["category"]).to_numpy()[wrong]]
    found = set(disputed(changed, "text", "category", vectors=vectors)["row_id"])
    return len(truly), len(found & set(rows.loc[truly, "row_id"]))
