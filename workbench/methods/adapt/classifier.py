"""A sequence classifier: mean-pooled encoder, adapted or not, with a linear head.

The head starts as a logistic regression on the frozen encoder (linear probe first, then
fine-tuning: Kumar et al. 2022, arXiv:2202.10054); the same probe alone is the reference that a
candidate is compared with. Choices (C, epoch, temperature) use the validation rows only.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from workbench.errors import InputError
from workbench.methods.adapt import adapters, training
from workbench.methods.adapt.encoder import Encoder
from workbench.methods.adapt.options import ClassifierOptions, checked

HEAD = "head.safetensors"
SETTINGS = "classifier.json"
PROBE = "probe"
"""The method of the reference: logistic regression on the base's vectors."""
INVERSE_PENALTIES = (5.0, 10.0, 20.0, 40.0)
"""Values of C tried for the linear probe, on the validation rows."""


def train_classifier(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    labels: list[str],
    options: ClassifierOptions | dict | None,
    out: Path,
    on_step: training.OnStep | None = None,
    *,
    reference: Path | None = None,
    checkpoints: Path | None = None,
) -> dict:
    """Adapt encoder and head on `train` (text, label); keep the epoch with the most right answers.

    Writes adapter, head and settings into `out`, and the head that it starts from, which is the
    base's own best, into `reference`. Returns what `training.run` does and raises what it does,
    InputError also for an empty split, one class only, or a label outside `labels`.
    """
    given = checked(ClassifierOptions, options)
    places = {"reference": reference, "checkpoints": checkpoints}
    work = training.Work(
        Classifier, Path(base), train, validation, given, Path(out), tuple(labels), **places
    )
    return training.run(work, on_step)


def predict_classifier(
    base: Path, adapter: Path, texts: list[str], *, threads: int = 2, batch_size: int = 64
) -> np.ndarray:
    """(n, k) probabilities in the order of the labels in the adapter's ``classifier.json``.

    `adapter` is the folder of a trained adapter or of a reference.
    """
    temperature = load_head(adapter)[1]["temperature"]
    found = logits(base, adapter, texts, threads=threads, batch_size=batch_size)
    return functional.softmax(found / temperature, dim=-1).numpy()


@torch.no_grad()
def logits(
    base: Path, adapter: Path, texts: list[str], *, threads: int = 2, batch_size: int = 64
) -> torch.Tensor:
    """(n, k) outputs of the head. InputError when it was fitted on another base."""
    training.deterministic(0, threads)
    encoder, head, _ = opened(base, adapter)
    return head(encoder.encode(encoder.tokens(texts), batch_size))


def opened(base: Path, adapter: Path) -> tuple[Encoder, torch.nn.Linear, dict]:
    """Encoder, head and settings of an adapter or a reference. InputError for another base."""
    head, settings = load_head(adapter)
    encoder = Encoder(Path(base), settings["max_length"])
    if settings["base"] != encoder.digest:
        raise InputError(
            "this head was fitted on another base model",
            where=adapter,
            expected=encoder.digest,
            given=settings["base"],
        )
    if settings["method"] != PROBE:
        encoder.load(Path(adapter))
    return encoder, head, settings


class Classifier:
    """The task: rows as tokens, encoder and head, cross entropy."""

    def __init__(self, work: training.Work) -> None:
        self.work, self.options = work, work.options
        self.encoder = Encoder(work.base, self.options.max_length)
        self.encoder.model.to(work.device)
        self.tokens = self.encoder.tokens(work.train["text"].tolist())
        self.known = numbers(work.train["label"], work.labels)
        self.held = self.encoder.tokens(work.validation["text"].tolist())
        self.expected = numbers(work.validation["label"], work.labels)
        self.vectors, held = self.encoder.encode(self.tokens), self.encoder.encode(self.held)
        # The probe is the reference that the candidate is held against: it never sees a canary.
        own = ~torch.tensor(list(work.train.get("canary", [False] * len(self.known))))
        fitted = self.vectors[own], self.known[own], held, self.expected
        head, self.start = probe(*fitted, len(work.labels))
        self.start["temperature"] = fit_temperature(head(held), self.expected)
        self.probe = copy.deepcopy(head.state_dict())
        self.head = head.to(work.device)
        self.encoder.adapt(self.options)
        self.lengths = [len(tokens) for tokens in self.tokens]
        self.parts = {
            "backbone": (self.encoder.model, self.options.learning_rate),
            "head": (self.head, self.options.head_rate),
        }

    @staticmethod
    def check(work: training.Work) -> None:
        """InputError for rows that can't be learned from."""
        check_rows(work.train, work.labels, "train")
        check_rows(work.validation, work.labels, "validation")

    def weight(self, rows: list[int]) -> float:
        """Every row weighs one."""
        return len(rows)

    def loss(self, rows: list[int]) -> torch.Tensor:
        """Summed cross entropy; where the encoder is frozen, its vectors are known already."""
        if self.options.method == "frozen":
            vectors = self.vectors[rows].to(self.work.device)
        else:
            vectors = self.encoder.vectors([self.tokens[row] for row in rows])
        return functional.cross_entropy(
            self.head(vectors),
            self.known[rows].to(self.work.device),
            label_smoothing=self.options.label_smoothing,
            reduction="sum",
        )

    def judge(self) -> tuple[float, dict[str, float]]:
        """Validation accuracy, and the loss."""
        found = self._held()
        accuracy = (found.argmax(-1) == self.expected).float().mean().item()
        loss = functional.cross_entropy(found, self.expected).item()
        return accuracy, {"validation_loss": loss, "validation_accuracy": accuracy}

    @torch.no_grad()
    def _held(self) -> torch.Tensor:
        return self.head(self.encoder.encode(self.held).to(self.work.device)).cpu()

    def save(self, figures: dict[str, float]) -> dict:
        """Adapter, head and settings; the probe as the reference."""
        work, method, digest = self.work, self.options.method, self.encoder.digest
        shared = {
            "labels": list(work.labels),
            "base": digest,
            "max_length": self.options.max_length,
        }
        if work.reference:
            save_head(work.reference, self.probe, shared | self.start | {"method": PROBE})
        chosen = {
            "validation_accuracy": figures["validation_accuracy"],
            "temperature": fit_temperature(self._held(), self.expected),
            "probe": self.start,
        }
        adapters.save_adapter(self.encoder.model, method, digest, work.out)
        settings = {"method": method, "temperature": chosen["temperature"]}
        save_head(work.out, self.head.state_dict(), shared | settings)
        return chosen


def check_rows(rows: pd.DataFrame, labels: Sequence[str], split: str) -> None:
    """InputError for missing columns, no rows, one class only, or labels outside the schema."""
    missing = {"text", "label"} - set(rows.columns)
    if missing:
        raise InputError("rows lack columns", where=split, expected="text, label", given=missing)
    if rows.empty:
        raise InputError("this split has no rows", where=split, expected="at least one row")
    unknown = sorted(set(rows["label"].astype(str)) - set(labels))
    if unknown:
        raise InputError(
            "labels that are not in the schema",
            where=split,
            expected=f"one of the {len(labels)} labels of the use case",
            given=", ".join(unknown[:5]),
            next_step="correct the rows, or add the label to `labels` in usecase.yaml",
        )
    if rows["label"].nunique() < 2:
        raise InputError(
            "only one class in this split",
            where=split,
            expected="at least two classes",
            given=rows["label"].iloc[0],
        )


def numbers(labels_of_rows: pd.Series, labels: Sequence[str]) -> torch.Tensor:
    """(n,) class numbers."""
    place = {label: number for number, label in enumerate(labels)}
    return torch.tensor([place[label] for label in labels_of_rows.astype(str)])


def probe(vectors, known, held, expected, classes: int) -> tuple[torch.nn.Linear, dict]:
    """Logistic regression on frozen vectors as a linear layer; C chosen on the held-out rows.

    A class without training rows keeps a bias low enough never to be predicted by chance.
    """
    from sklearn.linear_model import LogisticRegression

    best: tuple[float, float, LogisticRegression] | None = None
    for inverse in INVERSE_PENALTIES:
        fitted = LogisticRegression(C=inverse, max_iter=2000).fit(vectors.numpy(), known.numpy())
        accuracy = float(fitted.score(held.numpy(), expected.numpy()))
        if best is None or accuracy > best[0]:
            best = accuracy, inverse, fitted
    accuracy, inverse, fitted = best
    head = torch.nn.Linear(vectors.shape[1], classes)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-10.0)
        weight, bias = fitted.coef_, fitted.intercept_
        if len(fitted.classes_) == 2:  # scikit-learn keeps one row for the second of two classes
            weight, bias = np.vstack([-weight, weight]) / 2, np.hstack([-bias, bias]) / 2
        seen = torch.from_numpy(fitted.classes_)
        head.weight[seen] = torch.from_numpy(weight).float()
        head.bias[seen] = torch.from_numpy(bias).float()
    return head, {"C": inverse, "validation_accuracy": accuracy}


def fit_temperature(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """The temperature with the least validation loss (Guo et al. 2017, arXiv:1706.04599)."""
    from scipy.optimize import minimize_scalar

    fixed = logits.detach()

    def loss(log_temperature: float) -> float:
        scaled = fixed / float(np.exp(log_temperature))
        return functional.cross_entropy(scaled, expected).item()

    found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    return round(float(np.exp(found.x)), 4)


def save_head(out: Path, state: dict[str, torch.Tensor], settings: dict) -> None:
    """The head as safetensors, its settings as JSON."""
    out.mkdir(parents=True, exist_ok=True)
    adapters.write_tensors(out / HEAD, state)
    adapters.write_json(out / SETTINGS, settings)


def load_head(adapter: Path) -> tuple[torch.nn.Linear, dict]:
    """Head and settings of a folder; InputError when it holds no classifier."""
    folder = Path(adapter)
    if not (folder / SETTINGS).is_file() or not (folder / HEAD).is_file():
        raise InputError("no classifier in this folder", where=adapter, expected=SETTINGS)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    state = adapters.read_tensors(folder / HEAD)
    head = torch.nn.Linear(state["weight"].shape[1], state["weight"].shape[0])
    head.load_state_dict(state)
    return head, settings
