"""Support cases: the model fills in the form for each message, one table row per case and model.

Closed fields are chosen by label likelihood, each given the choices before it; the reply is
written greedily. Nothing is parsed out of free text, so that no answer is ever malformed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.methods.adapt.base import load_tokenizer
from workbench.methods.adapt.causal import load_causal
from workbench.methods.adapt.form import RENAMED, Form
from workbench.methods.evaluate.context import Context, opened, prefix_of
from workbench.methods.evaluate.core import open_models
from workbench.methods.evaluate.generate import continue_greedily
from workbench.methods.evaluate.likelihood import Tree, table
from workbench.methods.stage import Stage


class Filling:
    """The task of filling in a form: closed fields by likelihood, then the reply.

    Adds queue, person, reason, reply, p_queue_card … one probability per option, tokens (read and
    written) and tokens_out (written) to each item.
    """

    needed = frozenset({"case_id", "text"})

    def __init__(
        self, base: Path, folders: Mapping[str, Path | None], form: Form, max_new_tokens: int,
        *, threads: int = 2, dtype: str = "float32",
    ) -> None:  # fmt: skip
        self.tokenizer = load_tokenizer(base)
        self.models = open_models(
            lambda folder: load_causal(base, folder, threads=threads)[0], folders, dtype
        )
        self.form, self.max_new_tokens = form, max_new_tokens
        self.trees = {
            name: Tree([self._ids(option) for option in options])
            for name, _, options in form.steps()
        }

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def read(self, items: pd.DataFrame) -> list[list[int]]:
        """Tokens of each prompt with the name of the first field."""
        first = self._ids(self.form.steps()[0][1])
        self.rows = [
            self._ids(self.form.prompt(self.tokenizer, text)) + first for text in items["text"]
        ]
        self.prefixes: dict[str, Context | None] = {}
        return self.rows

    def answer(self, model: str, rows: list[int]) -> pd.DataFrame:
        """Fields, probabilities, reply and tokens of these rows."""
        if model not in self.prefixes:
            self.prefixes[model] = prefix_of(self.models[model], self.rows)
        tokens = [self.rows[row] for row in rows]
        context = opened(self.models[model], tokens, self.prefixes[model])
        frames, steps = [], self.form.steps()
        after = [lead for _, lead, _ in steps[1:]] + [f"\n{self.form.free}:"]
        for (name, _, options), lead in zip(steps, after, strict=True):
            found = table(self.trees[name].probabilities(context), options)
            frames.append(_named(found, RENAMED.get(name, name)))
            context.append([self._ids(choice) + self._ids(lead) for choice in found["choice"]])
        read = context.lengths.tolist()
        written = continue_greedily(context, self.tokenizer.eos_token_id, self.max_new_tokens)
        answer = pd.concat(frames, axis=1)
        answer[self.form.free] = [
            self.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in written
        ]
        answer["tokens"] = [n + len(ids) for n, ids in zip(read, written, strict=True)]
        answer["tokens_out"] = [len(ids) for ids in written]
        return answer


def filling(stage: Stage, models: Iterable[str], max_new_tokens: int, **how: Any) -> Filling:
    """The task for a stage's own base, adapter and form, its models opened once."""
    folders = {name: stage.input("adapter") if name == "candidate" else None for name in models}
    form, base = Form.of(stage.read_json("facts")), stage.input("base")
    key = ("filling", *folders, *sorted(how.items()))
    task = stage.once(key, lambda: Filling(base, folders, form, max_new_tokens, **how))
    task.max_new_tokens = max_new_tokens
    return task


def _named(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """`choice` becomes the field, each option ``p_<field>_<value>``."""
    frame = found.rename(columns={c: f"p_{name}_{c.strip()}" for c in found.columns[1:]})
    frame.insert(0, name, found["choice"].str.strip())
    return frame.drop(columns="choice")
