"""A release in memory, answering as it did in its validation, batch after batch.

What is computed is what `predict` computes, by the same task. Several releases over one base hold
its tensors once. The sketch is read off what passes through the model anyway.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import IntegrityError, RunError
from ...record.digest import file_digest
from .. import predict
from ..adapt.base import WEIGHTS, tokenizer_digest
from ..evaluate.context import shared_prefix
from ..evaluate.core import share

SKETCH = 16
"""Numbers of a sketch."""
CANDIDATE = "candidate"
"""The one model of the task that `predict` opens."""


class Resident:
    """A bundle's adapter over its base. InputError for another base, IntegrityError for one whose
    bytes are not those that were taken in."""

    def __init__(self, folder: Path, base: Path, threads: int) -> None:
        require_base(folder, base)
        self.task, self.columns, self.settings = predict.opened(folder, base, threads=threads)
        self.kind = "generative" if hasattr(self.task, "form") else "classifier"
        self.seen: Pooled | Spoken = (Spoken if self.kind == "generative" else Pooled)(self.task)
        self.reply_tokens = getattr(self.task, "max_new_tokens", 0)

    @property
    def facts(self) -> dict[str, Any]:
        """Kind, and names of what it answers."""
        return {"kind": self.kind, "fields": [name for name, *_ in self.columns]}

    def settle(self, others: Iterable[Resident]) -> None:
        """Hold the tensors of the others wherever they are equal, and all else in memory of its own:
        mapped from the file that was checked, it would change when somebody writes to that."""
        model, theirs = self.task.models[CANDIDATE], [one.task.models[CANDIDATE] for one in others]
        for other in theirs:
            share(other, model)
        held = {tensor.data_ptr() for other in theirs for tensor in other.parameters()}
        for tensor in model.parameters():
            if tensor.data_ptr() not in held:
                tensor.data = tensor.data.clone()

    @torch.no_grad()
    def answers(self, texts: Sequence[str], reply_tokens: int | None = None) -> list[dict]:
        """Answer, confidence, raw confidence, sketch, tokens and seconds of each text.

        RunError where a confidence is not a number.
        """
        began = time.perf_counter()
        self.seen.calls.clear()
        self.task.max_new_tokens = reply_tokens or self.reply_tokens
        self.task.read(predict.items(texts))
        rows = self.task.answer(CANDIDATE, list(range(len(texts)))).to_dict("records")
        sketches = self.seen.vectors(len(texts)).double().numpy() @ self.seen.projection
        at, spent = self.settings["temperatures"], time.perf_counter() - began
        said = [self._parts(predict.said(row, self.columns, at)) for row in rows]
        return [
            one | {"sketch": sketch.round(3).tolist(), "tokens": row["tokens"], "seconds": spent}
            for one, row, sketch in zip(said, rows, sketches, strict=True)
        ]

    def _parts(self, said: dict[str, Any]) -> dict[str, dict[str, Any]]:
        names = [name for name, *_ in self.columns]
        raw = {n: said[f"{n}_confidence"] for n in names if f"{n}_confidence" in said}
        sure = {name: said.get(f"{name}_calibrated", value) for name, value in raw.items()}
        if not all(map(math.isfinite, [*raw.values(), *sure.values()])):
            raise RunError("A confidence is not a number.", given=raw)
        return {"answer": {name: said[name] for name in names}, "confidence": sure, "raw": raw}


def require_base(bundle: Path, base: Path) -> None:
    """IntegrityError unless weights and tokenizer are those that the bundle was made over."""
    told = json.loads((bundle / "base.json").read_bytes())
    found = {"weights": file_digest(base / WEIGHTS), "tokenizer": tokenizer_digest(base)}
    for name, given in found.items():
        if given != told[name]:
            raise IntegrityError(
                f"The base model's {name} are not those that this release was made over.",
                where=base, expected=told[name], given=given,
                next_step="take the base model from the record of 15_base",
            )  # fmt: skip


def projection(width: int) -> np.ndarray:
    """(width, 16) of a Gaussian; always the same."""
    return np.random.Generator(np.random.PCG64(0)).standard_normal((width, SKETCH))


class Pooled:
    """The vectors that a classifier's head reads, as they pass."""

    def __init__(self, task: Any) -> None:
        head = task.parts[CANDIDATE][1]
        self.calls: list[torch.Tensor] = []
        self.projection = projection(head.in_features)
        head.register_forward_pre_hook(lambda _, given: self.calls.append(given[0]))

    def vectors(self, count: int) -> torch.Tensor:
        """(count, width) in the order of the texts."""
        return self.calls[0]


class Spoken:
    """Of a generative model the last states over each text, as they pass: their mean from where
    prompts begin to differ, as what all prompts begin with says nothing of any."""

    def __init__(self, task: Any) -> None:
        self.skipped = shared_prefix(task.read(predict.items(["a", "b"])))
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []
        inner = task.models[CANDIDATE].model
        self.projection = projection(inner.config.hidden_size)
        inner.register_forward_hook(self._keep, with_kwargs=True)

    def _keep(self, _: Any, given: tuple, named: dict[str, Any], out: Any) -> None:
        if len(self.calls) < 2:  # a prefix that all share, and the prompts
            self.calls.append((out.last_hidden_state, named["attention_mask"]))

    def vectors(self, count: int) -> torch.Tensor:
        """(count, width) in the order of the texts."""
        states, mask = next(call for call in self.calls if len(call[0]) == count)
        before = mask.shape[1] - states.shape[1]
        fresh = mask[:, before:].clone()
        fresh[:, : max(0, self.skipped - before)] = 0
        total, tokens = (states * fresh[..., None]).sum(1), fresh.sum(1, keepdim=True)
        if before > self.skipped:
            own = self.calls[0][0][0, self.skipped :]
            total, tokens = total + own.sum(0), tokens + len(own)
        return total / tokens
