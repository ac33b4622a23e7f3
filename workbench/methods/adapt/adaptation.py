"""What the adaptation stage does, for classifiers and generative models alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError
from ..stage import Stage, sealed
from . import canaries, causal, classifier
from .base import load_tokenizer
from .form import Form, rows_to_learn
from .options import CausalOptions, ClassifierOptions, checked
from .training import require_device

Options = ClassifierOptions | CausalOptions
TRAINING = "training.json"  # what was chosen, and the share that learned


def options(stage: Stage, **given: Any) -> Options:
    """Checked hyperparameters of this use case's kind.

    InputError names the field, the device that is not there, or the rule of the control plan by
    which not every weight may be changed.
    """
    facts = stage.read_json("facts")
    kind = CausalOptions if facts["kind"] == "generative" else ClassifierOptions
    options = checked(kind, given)
    require_device(options)
    if options.method == "full" and not facts.get("full_fine_tuning"):
        raise InputError(
            "The control plan of this use case does not allow to change every weight.",
            where="30_adapt.method",
            expected="an adapter or a frozen base; full fine-tuning is for the tier low only",
            given="full",
        )
    return options


def options_table(options: Options) -> pd.DataFrame:
    """One row an option that the method reads: value and meaning."""
    kinds = [one.model_fields for one in type(options).__mro__ if hasattr(one, "model_fields")]
    said = {n: next(k[n].description for k in kinds if k[n].description) for n in options.read}
    rows = {
        name: {"value": str(getattr(options, name)), "meaning": " ".join(said[name].split())}
        for name in options.read
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("option")


def rows_for(stage: Stage, name: str) -> pd.DataFrame:
    """Rows of a set with the columns that the trainers read: `text` and `label`, or all of a
    generative pack's (`text`, `queue`, `person`, `rule`, `reply`)."""
    facts, table = stage.read_json("facts"), stage.read_table(name)
    target = "queue" if facts["kind"] == "generative" else "label"
    return table.rename(columns={facts["text"]: "text", facts["label"]: target})


def _trained(stage: Stage, *_: Any, **__: Any) -> dict[str, Any]:
    history = pd.read_csv(stage.sealed("loss.csv"), float_precision="round_trip")
    return json.loads(stage.sealed(TRAINING).read_bytes()) | {"history": history, "resumed": None}


@sealed(_trained, leaves=["adapter/*", "reference/*", "options.json", canaries.TABLE, TRAINING])
def train(
    stage: Stage, options: Options, *, rows: int = 0, canary_count: int = 0
) -> dict[str, Any]:
    """Train the adapter into the outputs; for a classifier also the reference.

    `rows` > 0 uses the first so many training rows (of a set whose order the split fixed), to which
    so many canaries are added; these and their controls are written down.
    Returns history (a row an epoch), chosen, trainable, and resumed: the step at which a killed
    training was taken up again, or None. Time is in none of them, so that the sealed outputs of
    a replay are the same.
    """
    train = rows_for(stage, "train")
    train = train.head(rows) if rows else train
    stage.write_json("options.json", {"options": options.model_dump(mode="json"), "rows": rows})
    if canary_count:
        facts, labels = stage.read_json("facts"), stage.read_json("labels")
        drawn = canaries.draw(canary_count, options.seed, facts, train, labels)
        stage.write_table(canaries.TABLE, drawn)
        train = canaries.among(train, drawn)
    found = fit(stage, train, options, stage.output("adapter"), stage.checkpoints)
    stage.write_json(TRAINING, {name: found[name] for name in ("chosen", "trainable")})
    return found


def fit(
    stage: Stage, train: pd.DataFrame, options: Options, out: Path, checkpoints: Path | None = None
) -> dict[str, Any]:
    """Train on these rows into `out`, a classifier's reference beside it; choices on the dev rows."""
    base, dev, kept = stage.input("base"), rows_for(stage, "dev"), {"checkpoints": checkpoints}
    if isinstance(options, CausalOptions):
        form, tokenizer = Form.of(stage.read_json("facts")), load_tokenizer(base)
        sets = (rows_to_learn(tokenizer, part, form) for part in (train, dev))
        return causal.train_causal(base, *sets, options, out, Progress(), **kept)
    kept["reference"] = out.with_name("reference")
    labels = stage.read_json("labels")
    return classifier.train_classifier(base, train, dev, labels, options, out, Progress(), **kept)


class Progress:
    """A line about every tenth of the steps, so that a person sees it move."""

    def __init__(self) -> None:
        self.shown = -1

    def __call__(self, facts: dict[str, Any]) -> None:
        tenth = 10 * facts["step"] // max(1, facts["steps"])
        if tenth > self.shown:
            self.shown = tenth
            print(f"step {facts['step']}/{facts['steps']}  loss {facts['loss']:.3f}", flush=True)
