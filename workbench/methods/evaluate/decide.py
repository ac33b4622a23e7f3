"""Support cases: the model fills in the form for each message, one table row per case and model.

Closed fields are chosen by label likelihood, each given the choices before it; the reply is
written greedily. Nothing is parsed out of free text, so that no answer is ever malformed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from workbench.errors import InputError
from workbench.methods.adapt.causal import load_causal
from workbench.methods.adapt.form import Form
from workbench.methods.evaluate.context import batches, opened, prefix_of
from workbench.methods.evaluate.generate import continue_greedily
from workbench.methods.evaluate.likelihood import Tree, table

RENAMED = {"rule": "reason"}
"""In per-case tables `rule` is the policy rule under test; what the model cites is its reason."""


def support_cases(
    base: Path,
    adapter: Path | None,
    items: pd.DataFrame,
    *,
    form: Form | None = None,
    max_new_tokens: int = 32,
    batch_size: int = 32,
    threads: int = 2,
    on_step: Callable[[dict], None] | None = None,
) -> pd.DataFrame:
    """Decide every item (case_id, text, more columns pass through) with base or candidate.

    Adds model (``base`` without adapter, else ``candidate``), queue, person, reason, reply,
    p_queue_card … one probability per option, tokens (read and written) and seconds (the
    batch's time divided by its cases). Raises InputError for missing columns or repeated ids.
    """
    check_items(items, {"case_id", "text"})
    form = form or Form()
    model, tokenizer = load_causal(base, adapter, threads=threads)
    decider = _Decider(model, tokenizer, form, max_new_tokens)
    rows = [decider.read(text) for text in items["text"]]
    prefix = prefix_of(model, rows) if rows else None
    parts, done = [], 0
    for numbers in batches(rows, batch_size):
        parts.append(decider.batch([rows[n] for n in numbers], prefix).set_index(pd.Index(numbers)))
        done += len(numbers)
        (on_step or (lambda facts: None))({"step": done, "steps": len(rows)})
    answers = pd.concat(parts).sort_index()
    answers.insert(0, "model", "base" if adapter is None else "candidate")
    return pd.concat([items.reset_index(drop=True), answers], axis=1)


def check_items(items: pd.DataFrame, needed: set[str]) -> None:
    """InputError when columns are missing, no case is given, or a case id comes twice."""
    missing = sorted(needed - set(items.columns))
    if missing or items.empty:
        raise InputError(
            "nothing to evaluate" if not missing else "cases lack columns",
            expected=", ".join(sorted(needed)),
            given=f"missing {', '.join(missing)}" if missing else "no rows",
        )
    if items["case_id"].duplicated().any():
        twice = items.loc[items["case_id"].duplicated(), "case_id"].iloc[0]
        raise InputError("a case id comes twice", where="case_id", given=twice)


class _Decider:
    def __init__(self, model, tokenizer, form: Form, max_new_tokens: int) -> None:
        self.model, self.tokenizer, self.form = model, tokenizer, form
        self.max_new_tokens = max_new_tokens
        self.trees = {
            name: Tree([self._ids(option) for option in options])
            for name, _, options in form.steps()
        }

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def read(self, text: str) -> list[int]:
        """Tokens of the prompt with the name of the first field."""
        first = self.form.steps()[0][1]
        return self._ids(self.form.prompt(self.tokenizer, text)) + self._ids(first)

    def batch(self, rows: list[list[int]], prefix) -> pd.DataFrame:
        """Answers of one batch, in its order."""
        started = time.perf_counter()
        context = opened(self.model, rows, prefix)
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
        answer["seconds"] = (time.perf_counter() - started) / len(rows)
        return answer


def _named(found: pd.DataFrame, name: str) -> pd.DataFrame:
    """`choice` becomes the field, each option ``p_<field>_<value>``."""
    frame = found.rename(columns={c: f"p_{name}_{c.strip()}" for c in found.columns[1:]})
    frame.insert(0, name, found["choice"].str.strip())
    return frame.drop(columns="choice")
