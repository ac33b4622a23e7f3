"""What the adaptation stage does, for classifiers and generative models alike."""

from __future__ import annotations

import socket
from typing import Any

import pandas as pd

from ...errors import InputError
from ...record.digest import file_digest
from ..stage import Stage
from . import causal, classifier, lora
from .base import base_facts, load_tokenizer
from .form import Form, rows_to_learn

Options = classifier.ClassifierOptions | causal.CausalOptions


def options(stage: Stage, **given: Any) -> Options:
    """Checked hyperparameters of this use case's kind. InputError names the field."""
    generative = stage.read_json("facts")["kind"] == "generative"
    kind = causal.CausalOptions if generative else classifier.ClassifierOptions
    return lora.checked(kind, given)


def options_table(options: Options) -> pd.DataFrame:
    """One row an option: value and meaning."""
    described = type(options).model_fields
    rows = {name: {"value": str(value)} for name, value in options.model_dump().items()}
    assert rows.keys() <= described.keys()
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("option")


def rows_for(stage: Stage, name: str) -> pd.DataFrame:
    """Rows of a set with the columns that the trainers read: `text` and `label`, or all of a
    generative pack's (`text`, `queue`, `person`, `rule`, `reply`)."""
    facts, table = stage.read_json("facts"), stage.read_table(name)
    target = "queue" if facts["kind"] == "generative" else "label"
    return table.rename(columns={facts["text"]: "text", facts["label"]: target})


def train(stage: Stage, options: Options, *, rows: int = 0) -> dict[str, Any]:
    """Train the adapter into the outputs; for a classifier also the frozen reference.

    `rows` > 0 uses the first so many training rows (of a set whose order the split fixed).
    Returns history (a row an epoch), chosen and trainable; time is left out, so that the
    sealed outputs of a replay are the same.
    """
    trained = _train(stage, options, rows)
    trained["history"] = trained["history"].drop(columns="seconds")
    return trained


def _train(stage: Stage, options: Options, rows: int) -> dict[str, Any]:
    train, dev = rows_for(stage, "train"), rows_for(stage, "dev")
    train = train.head(rows) if rows else train
    base, out, labels = stage.input("base"), stage.output("adapter"), stage.read_json("labels")
    progress = Progress()
    if isinstance(options, causal.CausalOptions):
        form, tokenizer = Form.of(stage.read_json("facts")), load_tokenizer(base)
        train, dev = (rows_to_learn(tokenizer, part, form) for part in (train, dev))
        return causal.train_causal(base, train, dev, options, out, progress)
    reference = stage.output("reference")
    classifier.frozen_reference(base, train, dev, labels, reference, options)
    return classifier.train_classifier(base, train, dev, labels, options, out, progress)


class Progress:
    """A line about every tenth of the steps, so that a person sees it move."""

    def __init__(self) -> None:
        self.shown = -1

    def __call__(self, facts: dict[str, Any]) -> None:
        tenth = 10 * facts["step"] // max(1, facts["steps"])
        if tenth > self.shown:
            self.shown = tenth
            print(f"step {facts['step']}/{facts['steps']}  loss {facts['loss']:.3f}", flush=True)


def summary(stage: Stage, trained: dict[str, Any]) -> pd.DataFrame:
    """Trainable share, what was chosen on dev, seconds."""
    learns = trained["trainable"]
    chosen = {f"chosen: {name}": value for name, value in trained["chosen"].items()}
    stage.figure("trainable_share", float(learns["share"]))
    facts = {
        "parameters that learned": f"{learns['trainable']:,} of {learns['total']:,}",
        "share": f"{learns['share']:.2%}",
        **{name: str(value) for name, value in chosen.items()},
    }
    # Seconds differ from run to run, so they are shown and not part of any sealed output.
    return pd.DataFrame({"value": facts}).rename_axis("what")


def controls(stage: Stage) -> pd.DataFrame:
    """Three things that must be impossible, tried."""
    outcomes = {
        "open the locked set": _locked(stage),
        "change the base's bytes": _base(stage),
        "reach the network": _network(),
    }
    return pd.DataFrame({"outcome": outcomes}).rename_axis("tried")


def _locked(stage: Stage) -> str:
    try:
        stage.input("locked")
    except InputError as refusal:
        return f"✓ refused: {refusal.what}"
    raise AssertionError("the training stage was given the locked set")


def _base(stage: Stage) -> str:
    weights = stage.input("base") / "model.safetensors"
    sealed, now = base_facts(stage.input("base"))["weights"], file_digest(weights)
    if sealed != now:
        raise AssertionError("the base model's weights changed while training")
    return f"✓ unchanged: sha256 {now[:16]}…"


def _network() -> str:
    try:
        with socket.create_connection(("192.0.2.1", 443), timeout=0.5):  # RFC 5737, a test network
            pass
    except TimeoutError:
        return "· no answer, but a network is there (isolation level none)"
    except OSError as error:
        return f"✓ refused: {error.strerror or error}"
    return "✗ possible"
