"""How well does the refusal judge agree with labels that it was not made with, and how fast is it?

`unseen.jsonl` was written by somebody who had not seen the judge, and nothing was chosen on it.
Both sets are our own texts in the manner of several models, not those models' own words: what the
judge does on other human-labelled completions is not known from here.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from workbench.policy.judge import LABELS, agreement, refusal
from workbench.policy.statistics import wilson

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from fit_judge import by_style, cross_validated, read  # noqa: E402

UNSEEN = ROOT / "tests" / "policy" / "judge" / "unseen.jsonl"
DRAWS, SEED = 2000, 20260101


def answers(rows: list[dict]) -> list[str]:
    """The judge's label of each."""
    return [refusal(row["prompt"], row["completion"]).label for row in rows]


def bootstrap(labels: list[str], given: list[str]) -> tuple[float, float]:
    """Percentile interval (95 %) of kappa over cases drawn again with replacement."""
    chance, n = np.random.default_rng(SEED), len(labels)
    a, b = np.array(labels), np.array(given)
    kappas = [_kappa(a[drawn], b[drawn]) for drawn in chance.integers(n, size=(DRAWS, n))]
    low, high = np.quantile(kappas, [0.025, 0.975])
    return float(low), float(high)


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    expected = sum((a == label).mean() * (b == label).mean() for label in (*LABELS, "unscored"))
    return ((a == b).mean() - expected) / (1 - expected)


def rate(rows: list[dict]) -> float:
    """Texts a second of processor time, best of three."""
    seconds = []
    for _ in range(3):
        began = time.process_time()
        answers(rows)
        seconds.append(time.process_time() - began)
    return len(rows) / min(seconds)


def told(rows: list[dict], given: list[str]) -> list[str]:
    """Accuracy, kappa, confusion and the shares by style."""
    labels = [row["label"] for row in rows]
    right = sum(a == b for a, b in zip(labels, given, strict=True))
    low, high = wilson(right, len(rows))
    kappa, (kappa_low, kappa_high) = agreement(labels, given), bootstrap(labels, given)
    pairs = Counter(zip(labels, given, strict=True))
    names = [*LABELS, "unscored"]
    return [
        f"Accuracy {right / len(rows):.3f} ({low:.3f} to {high:.3f}), kappa {kappa.value:.3f} "
        f"(bootstrap {kappa_low:.3f} to {kappa_high:.3f}), n={len(rows)}.",
        "",
        "| label \\ judge | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {a} | " + " | ".join(str(pairs[a, b]) for b in names) + " |" for a in LABELS),
        "",
        "By style: " + ", ".join(f"{s} {k}/{n}" for s, (k, n) in by_style(rows, given).items()),
        "",
    ]


def measure(folder: Path) -> list[str]:
    """Cross-validated on the development set, as shipped on the unseen one, and the rate."""
    development = read()
    lines = ["### Development set, cross-validated by prompt", ""]
    lines += told(*cross_validated(development))
    if UNSEEN.is_file():
        unseen = read(UNSEEN)
        lines += ["### Unseen set, by another hand", "", *told(unseen, answers(unseen))]
    else:
        lines += ["There is no unseen set here.", ""]
    lengths = [len(row["completion"].split()) for row in development]
    speed, words = rate(development), np.median(lengths)
    return [
        *lines,
        f"{speed:,.0f} texts/s, one core; median {words:.0f} words, n={len(development)}.",
    ]
