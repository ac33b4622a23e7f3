"""Classifier cases: one table row per case and model, with the probability of every label."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from workbench.methods.adapt.classifier import PROBE, load_head, predict_classifier
from workbench.methods.evaluate.decide import check_items


def classifier_cases(
    base: Path,
    adapter: Path,
    items: pd.DataFrame,
    *,
    batch_size: int = 64,
    threads: int = 2,
) -> pd.DataFrame:
    """Classify every item (case_id, text, label; more columns pass through).

    Adds model (``base`` for the reference, ``candidate`` for a trained adapter), expected,
    predicted, confidence, p_<label> for every label, and seconds per case. Raises InputError for
    missing columns or repeated ids.
    """
    check_items(items, {"case_id", "text", "label"})
    started = time.perf_counter()
    found = predict_classifier(
        base, adapter, items["text"].tolist(), threads=threads, batch_size=batch_size
    )
    _, settings = load_head(adapter)
    labels = settings["labels"]
    answers = pd.DataFrame(found, columns=[f"p_{label}" for label in labels])
    answers.insert(0, "model", "base" if settings["method"] == PROBE else "candidate")
    answers.insert(1, "expected", items["label"].astype(str).to_numpy())
    answers.insert(2, "predicted", [labels[number] for number in found.argmax(axis=1)])
    answers.insert(3, "confidence", found.max(axis=1))
    answers["seconds"] = (time.perf_counter() - started) / len(items)
    return pd.concat([items.drop(columns="label").reset_index(drop=True), answers], axis=1)
