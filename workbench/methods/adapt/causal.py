"""A causal language model, adapted from prompts to completions.

Only the completion is learned: the loss leaves the prompt out, so that the model is not taught
to write customers' messages.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import torch
from torch.nn import functional

from workbench.errors import InputError
from workbench.methods.adapt import adapters, training
from workbench.methods.adapt.base import (
    base_facts,
    load_model,
    load_tokenizer,
    require_chat_template,
)
from workbench.methods.adapt.options import CausalOptions, checked

Row = tuple[list[int], int, int]
"""Tokens, place of the first completion token, place of the first token of its free text."""
JUDGED_AT_ONCE = 16
"""Validation rows in a batch."""


def train_causal(
    base: Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    options: CausalOptions | dict | None,
    out: Path,
    on_step: training.OnStep | None = None,
    *,
    checkpoints: Path | None = None,
) -> dict:
    """Adapt on `train` (prompt, completion); keep the epoch with least validation loss.

    An optional column ``free`` is the text with which the completion ends; see `free_weight`.
    Writes the adapter into `out`. Returns what `training.run` does and raises what it does,
    InputError also for an empty split, identical completions, rows too long, or a chat template
    that is not the one which was taken in.
    """
    given = checked(CausalOptions, options)
    places = {"checkpoints": checkpoints}
    work = training.Work(Causal, Path(base), train, validation, given, Path(out), **places)
    return training.run(work, on_step)


def load_causal(base: Path, adapter: Path | None = None, *, threads: int = 2):
    """(model, tokenizer) for evaluation, with the adapter merged in when one is given."""
    training.deterministic(0, threads)
    model = load_model(Path(base), "causal")
    if adapter is not None:
        model = adapters.load_adapter(model, Path(adapter), base_facts(base)["weights"])
    return model, load_tokenizer(base)


class Causal:
    """The task: encoded rows, the adapted model, cross entropy of completions."""

    def __init__(self, work: training.Work) -> None:
        self.work, self.options = work, work.options
        self.rows, self.held = self._encoded(work)
        self.digest = base_facts(work.base)["weights"]
        model = adapters.adapted(load_model(work.base, "causal"), self.options, self.digest)
        self.model = model.to(work.device)
        self.lengths = [len(row[0]) for row in self.rows]
        self.parts = {"backbone": (self.model, self.options.learning_rate)}

    @staticmethod
    def _encoded(work: training.Work) -> list[list[Row]]:
        tokenizer, longest = load_tokenizer(work.base), work.options.max_length
        require_chat_template(work.base, tokenizer)
        sets = {"train": work.train, "validation": work.validation}
        return [encoded(tokenizer, rows, longest, name) for name, rows in sets.items()]

    @staticmethod
    def check(work: training.Work) -> None:
        """InputError for rows that can't be learned from."""
        check_rows(work.train, "train")
        check_rows(work.validation, "validation")
        Causal._encoded(work)

    def weight(self, rows: list[int]) -> float:
        """Weights of the completion tokens."""
        free = self.options.free_weight
        return sum(end - start + free * (len(ids) - end) for ids, start, end in self._of(rows))

    def _of(self, rows: list[int]) -> list[Row]:
        return [self.rows[row] for row in rows]

    def loss(self, rows: list[int]) -> torch.Tensor:
        """Weighted sum of cross entropies."""
        return completion_loss(self.model, self._of(rows), self.options.free_weight)[0]

    @torch.no_grad()
    def judge(self) -> tuple[float, dict[str, float]]:
        """Weighted loss per token on the validation rows; less is better."""
        order = sorted(range(len(self.held)), key=lambda row: (len(self.held[row][0]), row))
        sums, count = 0.0, 0.0
        for start in range(0, len(order), JUDGED_AT_ONCE):
            batch = [self.held[row] for row in order[start : start + JUDGED_AT_ONCE]]
            total, weight = completion_loss(self.model, batch, self.options.free_weight)
            sums, count = sums + total.item(), count + weight
        return -sums / count, {"validation_loss": sums / count}

    def save(self, figures: dict[str, float]) -> dict:
        """The adapter."""
        adapters.save_adapter(self.model, self.options.method, self.digest, self.work.out)
        return {"validation_loss": figures["validation_loss"]}


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
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    ids, mask, weights = (tensor.to(inner.device) for tensor in (ids, mask, weights))
    states = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    learned = weights[:, 1:] > 0
    logits = inner.lm_head(states[:, :-1][learned])
    losses = functional.cross_entropy(logits, ids[:, 1:][learned], reduction="none")
    weights = weights[:, 1:][learned]
    return (losses * weights).sum(), weights.sum().item()
