"""LoRA on a causal language model, from prompts to completions.

Only the completion is learned: the loss leaves the prompt out, so that the model is not taught
to write customers' messages.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch.nn import functional

from workbench.errors import InputError
from workbench.methods.adapt import lora
from workbench.methods.adapt.base import base_facts, load_model, load_tokenizer


class CausalOptions(lora.AdapterOptions):
    """Hyperparameters of the causal trainer; float32 on CPU."""

    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )
    learning_rate: float = Field(1e-3, gt=0, le=1)
    batch_size: int = Field(8, ge=1, le=4096)
    max_length: int = Field(256, ge=16, le=8192)
    """Rows longer than this are refused, never cut: half an answer must not be learned."""


def train_causal(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    options: CausalOptions | dict | None,
    out: Path,
    on_step: lora.OnStep | None = None,
) -> dict:
    """Train LoRA on `train` (prompt, completion); keep the epoch with least validation loss.

    Writes the adapter into `out`; returns history (a row per epoch), chosen, trainable and
    seconds. Raises InputError for an empty split, identical completions, or rows too long.
    """
    options = lora.checked(CausalOptions, options)
    check_rows(train, "train")
    check_rows(validation, "validation")
    started = time.perf_counter()
    run = _Run(Path(base), train, validation, options)
    history = run.fit(on_step or (lambda facts: None))
    lora.save_adapter(run.model, run.best["adapter"], Path(out))
    return {
        "history": pd.DataFrame(history),
        "chosen": {"epoch": run.best["epoch"], "validation_loss": run.best["loss"]},
        "trainable": run.trainable,
        "seconds": time.perf_counter() - started,
    }


def load_causal(base: Path, adapter: Path | None = None, *, threads: int = 2):
    """(model, tokenizer) for evaluation, with the adapter merged in when one is given."""
    lora.deterministic(0, threads)
    model = load_model(Path(base), "causal")
    if adapter is not None:
        model = lora.load_adapter(model, Path(adapter), base_facts(base)["weights"])
    return model, load_tokenizer(base)


class _Run:
    """One training run: encoded rows, the adapted model and the best state so far."""

    def __init__(self, base, train, validation, options: CausalOptions) -> None:
        lora.deterministic(options.seed, options.threads)
        self.options = options
        tokenizer = load_tokenizer(base)
        self.rows = encoded(tokenizer, train, options.max_length, "train")
        self.held = encoded(tokenizer, validation, options.max_length, "validation")
        model = load_model(base, "causal")
        self.model = lora.adapted(model, options, base_facts(base)["weights"])
        self.trainable = lora.trainable(self.model)
        self.best: dict = {"loss": float("inf"), "epoch": -1}

    def fit(self, on_step: lora.OnStep) -> list[dict]:
        """Every epoch; a history row for each."""
        options, history = self.options, []
        self.batches = -(-len(self.rows) // options.batch_size)
        self.adamw, self.schedule = lora.optimiser(
            [(self.model, options.learning_rate)], options, self.batches * options.epochs
        )
        chance = torch.Generator().manual_seed(options.seed)
        for epoch in range(1, options.epochs + 1):
            started = time.perf_counter()
            loss, rate = self._epoch(epoch, chance, on_step)
            held = self._judge(epoch)
            seconds = time.perf_counter() - started
            row = {"epoch": epoch, "loss": loss, "learning_rate": rate, "validation_loss": held}
            history.append(row | {"seconds": seconds})
        return history

    def _epoch(self, epoch: int, chance, on_step) -> tuple[float, float]:
        options, losses, rate = self.options, [], 0.0
        self.model.train()
        lengths = [len(ids) for ids, _ in self.rows]
        for numbers in lora.length_batches(lengths, options.batch_size, chance):
            total, count = completion_loss(self.model, [self.rows[n] for n in numbers])
            rate = lora.step(total / count, self.adamw, self.schedule, options.max_grad_norm)
            losses.append(total.item() / count)
            done = (epoch - 1) * self.batches + len(losses)
            steps = self.batches * options.epochs
            on_step({"epoch": epoch, "step": done, "steps": steps, "loss": losses[-1]})
        return float(np.mean(losses)), rate

    @torch.no_grad()
    def _judge(self, epoch: int) -> float:
        """Loss per token on the validation rows; keeps the state if it is the best so far."""
        self.model.eval()
        order = sorted(range(len(self.held)), key=lambda row: (len(self.held[row][0]), row))
        sums, count = 0.0, 0
        for start in range(0, len(order), 16):
            batch = [self.held[row] for row in order[start : start + 16]]
            total, tokens = completion_loss(self.model, batch)
            sums, count = sums + total.item(), count + tokens
        if sums / count < self.best["loss"]:
            state = lora.adapter_state(self.model)
            self.best = {"loss": sums / count, "epoch": epoch, "adapter": state}
        return sums / count


def check_rows(rows: pd.DataFrame, split: str) -> None:
    """InputError when a split can't be learned from."""
    missing = {"prompt", "completion"} - set(rows.columns)
    if missing:
        raise InputError(
            "rows lack columns", where=split, expected="prompt, completion", given=missing
        )
    if rows.empty:
        raise InputError("this split has no rows", where=split, expected="at least one row")
    if rows["completion"].nunique() < 2:
        raise InputError(
            "every completion in this split is the same",
            where=split,
            expected="at least two different ones",
            given=rows["completion"].iloc[0],
        )


def encoded(tokenizer, rows: pd.DataFrame, longest: int, split: str) -> list[tuple[list[int], int]]:
    """(tokens, length of the prompt) per row; the end token closes each completion.

    Prompt and completion are encoded apart, as they are when the model answers.
    """
    prompts = tokenizer(rows["prompt"].tolist(), add_special_tokens=False)["input_ids"]
    answers = tokenizer(
        rows["completion"].tolist(), add_special_tokens=False, split_special_tokens=True
    )["input_ids"]
    found = [
        ([*prompt, *answer, tokenizer.eos_token_id], len(prompt))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    over = [number for number, (ids, _) in enumerate(found) if len(ids) > longest]
    if over:
        raise InputError(
            f"{len(over)} rows are longer than max_length",
            where=f"{split}, first at row {over[0]}",
            expected=f"at most {longest} tokens",
            given=max(len(found[number][0]) for number in over),
            next_step="raise max_length, or filter these rows in the dataset stage",
        )
    return found


def completion_loss(model, batch: list[tuple[list[int], int]]) -> tuple[torch.Tensor, int]:
    """(summed cross entropy, number of tokens) over the completions of a batch.

    The vocabulary projection, a fifth of the work, is done at completion tokens only.
    """
    width = max(len(ids) for ids, _ in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    learned = torch.zeros_like(ids, dtype=torch.bool)
    for row, (tokens, prompt) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        learned[row, prompt : len(tokens)] = True
    inner = model.get_base_model()
    states = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logits = inner.lm_head(states[:, :-1][learned[:, 1:]])
    loss = functional.cross_entropy(logits, ids[:, 1:][learned[:, 1:]], reduction="sum")
    return loss, int(learned[:, 1:].sum())
