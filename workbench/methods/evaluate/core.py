"""One way in which models answer cases: batches of like length, base and candidate side by side.

A task knows how to ask; what is the same for all of them is here: which rows are computed
together, what is kept when the run is killed, and what a person sees meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch

from ...errors import InputError
from ..stage import Stage
from .context import PADDED, batches
from .parts import Parts

EVERY_S = 10.0
"""Seconds between two lines of progress."""
Say = Callable[[str], None]


class Task(Protocol):
    """How models are asked: a form to fill in, a label to choose."""

    models: Mapping[str, torch.nn.Module]
    """By name: base, candidate, or both."""
    needed: frozenset[str]
    """Columns that the items must have."""

    def read(self, items: pd.DataFrame) -> list[list[int]]:
        """Tokens of every item; the rows of later calls are numbers in this list."""

    def answer(self, model: str, rows: list[int]) -> pd.DataFrame:
        """Answers to these rows, in their order."""


class Evaluator:
    """Asks a task's models about items.

    `tokens` bounds a batch with its padding, so that memory does not grow with the longest row.
    Rows answer independently of their batch in float32 only.
    """

    def __init__(
        self, task: Task, *, batch_size: int = 32, tokens: int = PADDED,
        by_length: bool = True, say: Say | None = None,
    ) -> None:  # fmt: skip
        self.task, self.batch_size, self.tokens = task, batch_size, tokens
        self.by_length, self.say = by_length, say

    def answers(self, items: pd.DataFrame, parts: Parts | None = None) -> pd.DataFrame:
        """The items with a column ``model`` and the task's answers: model by model, in order.

        Batches in `parts` are not asked again. Raises InputError for missing columns, no items or
        a repeated case_id.
        """
        check_items(items, self.task.needed)
        parts, rows = parts or Parts(), self.task.read(items)
        grouped = batches(rows, self.batch_size, self.tokens, by_length=self.by_length)
        progress, found = Progress(len(rows), self.say), []
        for number, group in enumerate(grouped):
            known = parts.read(number)
            found.append(self._asked(group) if known is None else known)
            if known is None:
                parts.write(number, found[-1])
            progress(len(group), fresh=known is None)
        return self._joined(items.reset_index(drop=True), pd.concat(found))

    @torch.no_grad()
    def _asked(self, rows: list[int]) -> pd.DataFrame:
        frames = []
        for name in self.task.models:
            started = time.perf_counter()
            frame = self.task.answer(name, rows).set_index(pd.Index(rows))
            frame["seconds"] = (time.perf_counter() - started) / len(rows)
            frame.insert(0, "model", name)
            frames.append(frame)
        return pd.concat(frames)

    def _joined(self, items: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
        each = [answers[answers["model"] == name].sort_index() for name in self.task.models]
        return pd.concat([pd.concat([items, one], axis=1) for one in each], ignore_index=True)


class Progress:
    """A line now and then: cases done, cases a second, time left."""

    def __init__(self, total: int, say: Say | None) -> None:
        self.total, self.say = total, say
        self.done = self.fresh = 0
        self.began = self.told = time.monotonic()

    def __call__(self, count: int, fresh: bool = True) -> None:
        """So many more; not `fresh` are those that an earlier run had finished."""
        self.done, self.fresh = self.done + count, self.fresh + count * fresh
        now = time.monotonic()
        if self.say and (now - self.told >= EVERY_S or self.done == self.total):
            self.told, rate = now, max(self.fresh, 1) / max(now - self.began, 1e-9)
            left = (self.total - self.done) / rate
            self.say(f"{self.done}/{self.total} cases, {rate:.1f} a second, {left:.0f} s left")


Load = Callable[[Path | None], torch.nn.Module]


def open_models(
    load: Load, folders: Mapping[str, Path | None], dtype: str
) -> dict[str, torch.nn.Module]:
    """Models by name, in evaluation mode; what a change left as it was is held once.

    The change is merged, not switched on and off: peft's switch would multiply by the unmerged
    update at each token, and round otherwise than the model that is released. InputError for an
    arithmetic that is not known.
    """
    if dtype not in ("float32", "bfloat16"):
        raise InputError("No such arithmetic.", expected="float32 or bfloat16", given=dtype)
    found: dict[str, torch.nn.Module] = {}
    for name, folder in folders.items():
        found[name] = load(folder).to(getattr(torch, dtype)).eval()
        share(next(iter(found.values())), found[name])
    return found


def share(first: torch.nn.Module, second: torch.nn.Module) -> None:
    """Let `second` hold the very tensors of `first` wherever they are equal."""
    own = dict(first.named_parameters())
    for name, other in second.named_parameters():
        if name in own and own[name].shape == other.shape and torch.equal(own[name], other):
            other.data = own[name].data


def check_items(items: pd.DataFrame, needed: Iterable[str]) -> None:
    """InputError when columns are missing, no case is given, or a case id comes twice."""
    wanted, missing = ", ".join(sorted(needed)), ", ".join(sorted(set(needed) - set(items.columns)))
    if missing:
        raise InputError("cases lack columns", expected=wanted, given=f"missing {missing}")
    if items.empty:
        raise InputError("nothing to evaluate", expected=wanted, given="no rows")
    if items["case_id"].duplicated().any():
        twice = items.loc[items["case_id"].duplicated(), "case_id"].iloc[0]
        raise InputError("a case id comes twice", where="case_id", given=twice)


def answered(
    stage: Stage, task: Task, items: pd.DataFrame, *, batch_size: int, by_length: bool = True,
    **told: Any,
) -> pd.DataFrame:  # fmt: skip
    """The answers in a stage: with progress, and going on where a killed run of it stopped.

    `told` is what else decides the answers, so that no other evaluation's parts are taken.
    """
    facts = {"models": list(task.models), "batch_size": batch_size, "by_length": by_length, **told}
    parts = Parts.of(stage, facts, items["case_id"].tolist(), items["text"].tolist())
    evaluator = Evaluator(task, batch_size=batch_size, by_length=by_length, say=print)
    return evaluator.answers(items, parts)
