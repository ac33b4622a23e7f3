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

Row = tuple[list[int], int, int]
"""Tokens, place of the first completion token, place of the first token of its free text."""


class CausalOptions(lora.AdapterOptions):
    """Hyperparameters of the causal trainer; float32 on CPU."""

    target_modules: tuple[str, ...] = Field(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"), min_length=1
    )
    learning_rate: float = Field(1.5e-3, gt=0, le=1)
    epochs: int = Field(2, ge=1, le=1000)
    dropout: float = Field(0.0, ge=0, lt=1)
    last_layers: int = Field(16, ge=0, le=1024)
    """Adapt only this many of the last layers; 0 adapts all. Below them nothing is kept for the
    backward pass, which saves a quarter of the time."""
    batch_size: int = Field(4, ge=1, le=4096)
    max_length: int = Field(256, ge=16, le=8192)
    """Rows longer than this are refused, never cut: half an answer must not be learned."""
    free_weight: float = Field(0.1, ge=0, le=1)
    """Weight of a token of the free text beside 1 for a decided one: a reply has six times as
    many tokens as the three decisions, and would otherwise be most of what is learned."""


def train_causal(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    options: CausalOptions | dict | None,
    out: Path,
    on_step: lora.OnStep | None = None,
) -> dict:
    """Train LoRA on `train` (prompt, completion); keep the epoch with least validation loss.

    An optional column ``free`` is the text with which the completion ends; see `free_weight`.
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
        lengths = [len(row[0]) for row in self.rows]
        for numbers in lora.length_batches(lengths, options.batch_size, chance):
            total, count = self._loss([self.rows[n] for n in numbers])
            rate = lora.step(total / count, self.adamw, self.schedule, options.max_grad_norm)
            losses.append(total.item() / count)
            done = (epoch - 1) * self.batches + len(losses)
            steps = self.batches * options.epochs
            on_step({"epoch": epoch, "step": done, "steps": steps, "loss": losses[-1]})
        return float(np.mean(losses)), rate

    def _loss(self, batch: list[Row]) -> tuple[torch.Tensor, float]:
        return completion_loss(self.model, batch, self.options.free_weight)

    @torch.no_grad()
    def _judge(self, epoch: int) -> float:
        """Weighted loss per token on the validation rows; keeps the best state so far."""
        self.model.eval()
        order = sorted(range(len(self.held)), key=lambda row: (len(self.held[row][0]), row))
        sums, count = 0.0, 0.0
        for start in range(0, len(order), 16):
            batch = [self.held[row] for row in order[start : start + 16]]
            total, weight = self._loss(batch)
            sums, count = sums + total.item(), count + weight
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


def encoded(tokenizer, rows: pd.DataFrame, longest: int, split: str) -> list[Row]:
    """(tokens, where the completion starts, where its free text starts) per row.

    The end token closes each completion. Parts are encoded apart, as when the model answers.
    InputError for rows longer than `longest`, or a completion that does not end with its `free`.
    """
    free = rows["free"] if "free" in rows else pd.Series("", index=rows.index)
    found = []
    for prompt, completion, end in zip(rows["prompt"], rows["completion"], free, strict=True):
        if not completion.endswith(end):
            raise InputError("a completion does not end with its free text", where=split, given=end)
        start = _ids(tokenizer, prompt)
        decided = _ids(tokenizer, completion.removesuffix(end), split_special_tokens=True)
        written = _ids(tokenizer, end, split_special_tokens=True)
        ids = [*start, *decided, *written, tokenizer.eos_token_id]
        found.append((ids, len(start), len(start) + len(decided) if end else len(ids)))
    over = [number for number, row in enumerate(found) if len(row[0]) > longest]
    if over:
        raise InputError(
            f"{len(over)} rows are longer than max_length",
            where=f"{split}, first at row {over[0]}",
            expected=f"at most {longest} tokens",
            given=max(len(found[number][0]) for number in over),
            next_step="raise max_length, or filter these rows in the dataset stage",
        )
    return found


def _ids(tokenizer, text: str, **how: bool) -> list[int]:
    return tokenizer(text, add_special_tokens=False, **how)["input_ids"]


def completion_loss(model, batch: list[Row], free_weight: float) -> tuple[torch.Tensor, float]:
    """(weighted sum of cross entropies, sum of weights) over the completions of a batch.

    The vocabulary projection, a fifth of the work, is done at completion tokens only.
    """
    width = max(len(row[0]) for row in batch)
    ids = torch.zeros((len(batch), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    weights = torch.zeros_like(ids, dtype=torch.float32)
    for row, (tokens, start, free) in enumerate(batch):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        weights[row, start:free] = 1.0
        weights[row, free : len(tokens)] = free_weight
    inner = model.get_base_model()
    states = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    learned = weights[:, 1:] > 0
    logits = inner.lm_head(states[:, :-1][learned])
    losses = functional.cross_entropy(logits, ids[:, 1:][learned], reduction="none")
    weights = weights[:, 1:][learned]
    return (losses * weights).sum(), weights.sum().item()
