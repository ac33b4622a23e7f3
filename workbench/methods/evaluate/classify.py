"""Classifier cases: one table row per case and model, with the probability of every label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import torch

from workbench.methods.adapt import training
from workbench.methods.adapt.classifier import PROBE, load_head, opened
from workbench.methods.evaluate.core import Evaluator, check_items, open_models


def classifier_cases(
    base: Path, adapter: Path, items: pd.DataFrame, *, batch_size: int = 64, threads: int = 2
) -> pd.DataFrame:
    """Classify every item (case_id, text, label; more columns pass through).

    Adds model (``base`` for the reference, ``candidate`` for a trained adapter), expected,
    predicted, confidence, p_<label> for every label, tokens, and seconds per case. Raises
    InputError as `Evaluator.answers` does, and for a head that was fitted on another base.
    """
    check_items(items, Labelling.needed)
    name = "base" if load_head(adapter)[1]["method"] == PROBE else "candidate"
    task = Labelling(base, {name: adapter}, threads=threads)
    return Evaluator(task, batch_size=batch_size).answers(items).drop(columns="label")


class Labelling:
    """The task of choosing a label: encoder, head, temperature."""

    needed = frozenset({"case_id", "text", "label"})

    def __init__(
        self, base: Path, folders: Mapping[str, Path], *, threads: int = 2, dtype: str = "float32"
    ) -> None:
        training.deterministic(0, threads)
        self.parts = {name: opened(base, folder) for name, folder in folders.items()}
        networks = {folders[name]: encoder.model for name, (encoder, _, _) in self.parts.items()}
        self.models = open_models(networks.__getitem__, folders, dtype)

    def read(self, items: pd.DataFrame) -> list[list[int]]:
        """Tokens of each text, cut at the length that the model was trained with."""
        self.expected = items["label"].astype(str).to_numpy()
        texts = items["text"].tolist()
        self.rows = {name: encoder.tokens(texts) for name, (encoder, _, _) in self.parts.items()}
        return next(iter(self.rows.values()))

    def answer(self, model: str, rows: list[int]) -> pd.DataFrame:
        """Label, its probability and that of every label."""
        encoder, head, settings = self.parts[model]
        tokens, labels = [self.rows[model][row] for row in rows], settings["labels"]
        scores = head(encoder.encode(tokens, len(tokens))) / settings["temperature"]
        found = torch.softmax(scores, dim=-1).numpy()
        answers = pd.DataFrame(found, columns=[f"p_{label}" for label in labels])
        answers.insert(0, "expected", self.expected[rows])
        answers.insert(1, "predicted", [labels[number] for number in found.argmax(axis=1)])
        answers.insert(2, "confidence", found.max(axis=1))
        answers["tokens"], answers["tokens_out"] = [len(ids) for ids in tokens], 0
        return answers
