"""BANKING77's training messages that stand in its test set too: equal, and nearly equal."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from workbench.methods.data.leaks import find_leaks
from workbench.methods.data.read import read_rows
from workbench.policy.statistics import wilson
from workbench.policy.texts import NORMALISERS

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("WORKBENCH_REAL_DATA", ROOT.parent / "shared" / "data")) / "banking77"
SHOWN = 10


def banking77() -> pd.DataFrame:
    """Both published files as one table, with `set`; ids name the file and the row."""
    parts = [read_rows(DATA / f"{name}.csv").assign(set=part, file=name)
             for name, part in (("train", "train"), ("test", "locked"))]  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(row_id=rows["file"] + ":" + rows["row_id"]).drop(columns="file")


def measure(folder: Path) -> list[str]:
    """Pairs under each normaliser, each count including those before; the near ones row by row."""
    rows = banking77()
    found = find_leaks(rows, "text", jaccard=0.8)
    test = int((rows["set"] == "locked").sum())
    lines = ["| texts are the same when | pairs of a training and a test row |", "|---|---|"]
    count = 0
    for name in NORMALISERS:
        count += int((found["kind"] == f"exact ({name})").sum())
        lines.append(f"| {name} | {count} |")
    near = found[found["kind"] == "near (Jaccard)"].sort_values("score", ascending=False)
    at_fault = near["right_id"].nunique()
    interval = wilson(at_fault, test)
    lines += [
        "",
        f"Near-duplicates (character 3-grams, Jaccard at least 0.8): {len(near)} findings on "
        f"{at_fault} of {test} test rows, {at_fault / test:.3f} [{interval.low:.3f}, "
        f"{interval.high:.3f}]. The first {SHOWN}:",
        "",
        "| Jaccard | training row | test row |",
        "|---|---|---|",
    ]
    return lines + [
        f"| {one.score:.3f} | {one.left_id}: {one.left_text} | {one.right_id}: {one.right_text} |"
        for one in near.head(SHOWN).itertuples()
    ]
