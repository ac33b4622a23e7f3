"""Classifier cases: one table row per case and model, with the probability of every label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
import torch

from workbench.methods.adapt import training
from workbench.methods.adapt.classifier import opened
from workbench.methods.evaluate.core import open_models
from workbench.methods.stage import Stage


class Labelling:
    """The task of choosing a label: encoder, head, temperature.

    Adds expected, predicted, confidence, p_<label> for every label and tokens to each item.
    InputError for a head that was fitted on another base.
    """

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


def labelling(
    stage: Stage, models: Iterable[str], *, threads: int, dtype: str = "float32"
) -> Labelling:
    """The task for a stage's own encoder and heads, opened once."""
    places = {"base": "reference", "candidate": "adapter"}
    folders = {model: stage.input(places[model]) for model in models}
    how = {"threads": threads, "dtype": dtype}
    key = ("labelling", *folders, threads, dtype)
    return stage.once(key, lambda: Labelling(stage.input("base"), folders, **how))
