"""BANKING77 as a user would bring it: one CSV with the published split, the whole life cycle, one look.

The locked set is the published test set. Nothing is chosen on it: learning rate, epochs, rank and
batch are the template's, C, epoch and temperature come from the development split.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measures.duplicates import DATA

WORKBENCH = Path(sys.executable).with_name("workbench")
BINS = 15
DRAWS = 2000


def measure(folder: Path) -> list[str]:
    """Gates of every stage with their figures; calibration error of base and candidate."""
    place, env = folder / "usecase", os.environ | {"WORKBENCH_RUNS": str(folder / "runs")}

    def workbench(*words: object) -> subprocess.CompletedProcess:
        return subprocess.run([WORKBENCH, *map(str, words)], env=env, text=True,
                              stdout=subprocess.PIPE)  # fmt: skip

    workbench("new", place, "--data", published(folder / "banking77.csv"), "--text", "text",
              "--label", "category", "--split", "split")  # fmt: skip
    workbench("classify", "-u", place, "--by", "measure", "--rest", "licensed",
              "--licence", "CC-BY-4.0")  # fmt: skip
    began = time.monotonic()
    done = workbench("run", "-u", place, "--json")
    seconds = time.monotonic() - began
    lines = [f"Whole life cycle: {seconds / 60:.1f} minutes, exit code {done.returncode}.", "",
             "| gate | verdict | figure | asked |", "|---|---|---|---|"]  # fmt: skip
    return lines + _gates(json.loads(done.stdout)) + ["", *_calibration(folder / "runs")]


def published(target: Path) -> Path:
    """One CSV of both published files, with a column that says which."""
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category", "split"])
        for name in ("train", "test"):
            with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
                rows = csv.DictReader(lines)
                writer.writerows([row["text"], row["category"], name] for row in rows)
    return target


def _gates(stages: list[dict]) -> list[str]:
    from workbench.evidence.tables import figure_text

    return [
        f"| {v['criterion']} | {v['verdict']} | {figure_text(v['figure'])} | {v['threshold']} |"
        for stage in stages
        for v in stage["verdicts"]
    ]


def _calibration(runs: Path) -> list[str]:
    """Expected calibration error on the locked rows (Naeini et al. 2015), bootstrap over rows."""
    cases = pd.read_parquet(next(runs.glob("*/records/40_functional/*/outputs/cases.parquet")))
    lines = [f"| model | ECE, {BINS} equal-mass bins, 95 % bootstrap of {DRAWS:,} | equal-width | n |",
             "|---|---|---|---|"]  # fmt: skip
    for model, rows in cases.groupby("model"):
        right = (rows["expected"] == rows["predicted"]).to_numpy()
        said = rows["probability"].to_numpy()
        rng, n = np.random.default_rng(0), len(rows)
        draws = [ece(said[i], right[i]) for i in (rng.integers(0, n, n) for _ in range(DRAWS))]
        low, high = np.quantile(draws, [0.025, 0.975])
        edges = np.digitize(said, np.linspace(0, 1, BINS + 1)[1:-1])
        lines.append(f"| {model} | {ece(said, right):.4f} [{low:.4f}, {high:.4f}] "
                     f"| {_error(said, right, edges):.4f} | {n:,} |")  # fmt: skip
    return lines


def ece(said: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of confidence and accuracy over bins of equal size, weighted by size."""
    order = np.argsort(said, kind="stable")
    bins = np.empty(len(said), dtype=int)
    bins[order] = np.arange(len(said)) * BINS // len(said)
    return _error(said, right, bins)


def _error(said: np.ndarray, right: np.ndarray, bins: np.ndarray) -> float:
    gaps = [
        abs(said[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
        for b in np.unique(bins)
    ]
    return float(sum(gaps))
