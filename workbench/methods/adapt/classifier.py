"""A sequence classifier: mean-pooled encoder with LoRA and a linear head.

The head starts as a logistic regression on the frozen encoder (linear probe first, then
fine-tuning: Kumar et al. 2022, arXiv:2202.10054); the same probe alone is the reference that a
candidate is compared with. Choices (C, epoch, temperature) use the validation rows only.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch.nn import functional

from workbench.errors import InputError
from workbench.methods.adapt import lora
from workbench.methods.adapt.encoder import Encoder

HEAD = "head.safetensors"
SETTINGS = "classifier.json"
INVERSE_PENALTIES = (5.0, 10.0, 20.0, 40.0)
"""Values of C tried for the linear probe, on the validation rows."""


class ClassifierOptions(lora.AdapterOptions):
    """Hyperparameters of the classifier; defaults were chosen on BANKING77's validation rows."""

    target_modules: tuple[str, ...] = Field(("query", "key", "value", "dense"), min_length=1)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    epochs: int = Field(5, ge=1, le=1000)
    dropout: float = Field(0.0, ge=0, lt=1)
    head_rate: float = Field(1e-2, gt=0, le=1)
    """Peak learning rate of the head."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of the target spread over all labels; guards against disputed labels."""
    patience: int = Field(3, ge=1)
    """Stop after so many epochs without a better validation accuracy."""


def train_classifier(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    labels: list[str],
    options: ClassifierOptions | dict | None,
    out: Path,
    on_step: lora.OnStep | None = None,
) -> dict:
    """Train LoRA and head on `train` (text, label); keep the best epoch on `validation`.

    Writes adapter, head and settings into `out`. Returns history (a row per epoch), chosen,
    trainable and seconds. Raises InputError for an empty split, one class only, or a label
    outside `labels`.
    """
    options = lora.checked(ClassifierOptions, options)
    check_rows(train, labels, "train")
    check_rows(validation, labels, "validation")
    started = time.perf_counter()
    run = _Run(Path(base), train, validation, labels, options)
    history = run.fit(on_step or (lambda facts: None))
    chosen = run.save(Path(out), labels)
    return {
        "history": pd.DataFrame(history),
        "chosen": chosen,
        "trainable": run.trainable,
        "seconds": time.perf_counter() - started,
    }


def frozen_reference(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    labels: list[str],
    out: Path,
    options: ClassifierOptions | dict | None = None,
) -> dict:
    """The base alone: logistic regression on its frozen vectors, C chosen on `validation`.

    Writes a head that `predict_classifier` reads; same errors as `train_classifier`.
    """
    options = lora.checked(ClassifierOptions, options)
    check_rows(train, labels, "train")
    check_rows(validation, labels, "validation")
    started = time.perf_counter()
    lora.deterministic(options.seed, options.threads)
    encoder = Encoder(Path(base), options.max_length)
    vectors, known = _encoded(encoder, train, labels)
    held, expected = _encoded(encoder, validation, labels)
    head, chosen = probe(vectors, known, held, expected, len(labels))
    chosen["temperature"] = fit_temperature(head(held), expected)
    settings = {"method": "frozen", "labels": list(labels), "base": encoder.digest, **chosen}
    save_head(Path(out), head.state_dict(), settings | {"max_length": options.max_length})
    return {"chosen": chosen, "seconds": time.perf_counter() - started}


def predict_classifier(
    base: Path, adapter: Path, texts: list[str], *, threads: int = 2, batch_size: int = 64
) -> np.ndarray:
    """(n, k) probabilities in the order of the labels in the adapter's ``classifier.json``.

    `adapter` is the folder of a trained adapter or of a frozen reference.
    """
    lora.deterministic(0, threads)
    head, settings = load_head(adapter)
    encoder = Encoder(Path(base), settings["max_length"])
    if settings["method"] == "lora":
        encoder.load(Path(adapter))
    elif settings["base"] != encoder.digest:
        raise InputError(
            "this head was fitted on another base model",
            where=adapter,
            expected=encoder.digest,
            given=settings["base"],
        )
    with torch.no_grad():
        logits = head(encoder.encode(encoder.tokens(texts), batch_size))
    return functional.softmax(logits / settings["temperature"], dim=-1).numpy()


class _Run:
    """One training run: what is fixed before the first step, and the best state so far."""

    def __init__(self, base, train, validation, labels, options: ClassifierOptions) -> None:
        lora.deterministic(options.seed, options.threads)
        self.options = options
        self.encoder = Encoder(base, options.max_length)
        self.tokens = self.encoder.tokens(train["text"].tolist())
        self.known = numbers(train["label"], labels)
        self.held = self.encoder.tokens(validation["text"].tolist())
        self.expected = numbers(validation["label"], labels)
        frozen = self.encoder.encode(self.tokens), self.encoder.encode(self.held)
        self.head, self.start = probe(frozen[0], self.known, frozen[1], self.expected, len(labels))
        self.encoder.adapt(options)
        self.trainable = lora.trainable(self.encoder.model, self.head)
        self.best: dict = {"accuracy": -1.0, "epoch": -1}

    def fit(self, on_step: lora.OnStep) -> list[dict]:
        """Epochs until the last, or until patience ends; a history row for each."""
        options, history = self.options, []
        batches = -(-len(self.tokens) // options.batch_size)
        self.adamw, self.schedule = lora.optimiser(
            [(self.encoder.model, options.learning_rate), (self.head, options.head_rate)],
            options,
            batches * options.epochs,
        )
        chance = torch.Generator().manual_seed(options.seed)
        for epoch in range(1, options.epochs + 1):
            started = time.perf_counter()
            loss, rate = self._epoch(epoch, batches, chance, on_step)
            row = {"epoch": epoch, "loss": loss, "learning_rate": rate, **self._judge(epoch)}
            history.append(row | {"seconds": time.perf_counter() - started})
            if epoch - self.best["epoch"] >= options.patience:
                break
        return history

    def _epoch(self, epoch: int, batches: int, chance, on_step) -> tuple[float, float]:
        options, losses, rate = self.options, [], 0.0
        self.encoder.model.train()
        lengths = [len(tokens) for tokens in self.tokens]
        for rows in lora.length_batches(lengths, options.batch_size, chance):
            logits = self.head(self.encoder.vectors([self.tokens[row] for row in rows]))
            loss = functional.cross_entropy(
                logits, self.known[rows], label_smoothing=options.label_smoothing
            )
            rate = lora.step(loss, self.adamw, self.schedule, options.max_grad_norm)
            losses.append(loss.item())
            total = batches * options.epochs
            done = (epoch - 1) * batches + len(losses)
            on_step({"epoch": epoch, "step": done, "steps": total, "loss": losses[-1]})
        return float(np.mean(losses)), rate

    @torch.no_grad()
    def _judge(self, epoch: int) -> dict:
        """Figures on the validation rows; keeps the state if it is the best so far."""
        logits = self.head(self.encoder.encode(self.held))
        accuracy = (logits.argmax(-1) == self.expected).float().mean().item()
        if accuracy > self.best["accuracy"]:
            self.best = {
                "epoch": epoch,
                "accuracy": accuracy,
                "logits": logits,
                "adapter": lora.adapter_state(self.encoder.model),
                "head": {name: t.clone() for name, t in self.head.state_dict().items()},
            }
        loss = functional.cross_entropy(logits, self.expected).item()
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    def save(self, out: Path, labels: list[str]) -> dict:
        """Write the best epoch; returns what was chosen."""
        best = self.best
        chosen = {
            "epoch": best["epoch"],
            "validation_accuracy": best["accuracy"],
            "temperature": fit_temperature(best["logits"], self.expected),
            "probe": self.start,
        }
        lora.save_adapter(self.encoder.model, best["adapter"], out)
        settings = {"method": "lora", "labels": list(labels), "base": self.encoder.digest}
        settings |= {"temperature": chosen["temperature"], "max_length": self.options.max_length}
        save_head(out, best["head"], settings)
        return chosen


def check_rows(rows: pd.DataFrame, labels: list[str], split: str) -> None:
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


def numbers(labels_of_rows: pd.Series, labels: list[str]) -> torch.Tensor:
    """(n,) class numbers."""
    place = {label: number for number, label in enumerate(labels)}
    return torch.tensor([place[label] for label in labels_of_rows.astype(str)])


def _encoded(encoder: Encoder, rows: pd.DataFrame, labels: list[str]):
    return encoder.encode(encoder.tokens(rows["text"].tolist())), numbers(rows["label"], labels)


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
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    tensors = {name: state[name].detach().contiguous() for name in sorted(state)}
    save_file(tensors, out / HEAD, metadata={"format": "pt"})
    lora.write_json(out / SETTINGS, settings)


def load_head(adapter: Path) -> tuple[torch.nn.Linear, dict]:
    """Head and settings of a folder; InputError when it holds no classifier."""
    from safetensors.torch import load_file

    folder = Path(adapter)
    if not (folder / SETTINGS).is_file() or not (folder / HEAD).is_file():
        raise InputError("no classifier in this folder", where=adapter, expected=SETTINGS)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    state = load_file(folder / HEAD)
    head = torch.nn.Linear(state["weight"].shape[1], state["weight"].shape[0])
    head.load_state_dict(state)
    return head, settings
