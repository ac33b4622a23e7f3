"""Choosing among labels by their likelihood as the next text, instead of parsing free text.

The probability of a label is that of the model continuing the prompt with it: the product over
its tokens (label scoring as in Brown et al. 2020, arXiv:2005.14165, section 2.4), normalised over
the options. Where one option begins another ("R1", "R10"), the shorter one stands for "begins with
it and does not go on to the longer one", so that options never overlap.
"""

from __future__ import annotations

import pandas as pd
import torch

from workbench.errors import InputError
from workbench.methods.evaluate.context import Context, batches, opened, prefix_of


def choose(
    model: torch.nn.Module,
    tokenizer,
    prompts: list[str],
    options: list[str],
    *,
    batch_size: int = 32,
) -> pd.DataFrame:
    """The likeliest of `options` after each prompt.

    Returns one row per prompt, in order: ``choice``, then one column per option with its
    probability (they sum to 1). Options carry their own leading space where the prompt has none.
    Raises InputError for fewer than two options, an empty or a repeated one.
    """
    tree = Tree([tokenizer(option, add_special_tokens=False)["input_ids"] for option in options])
    rows = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    if not rows:
        return pd.DataFrame(columns=["choice", *options])
    prefix = prefix_of(model, rows)
    found = torch.empty((len(rows), len(options)))
    for numbers in batches(rows, batch_size):
        context = opened(model, [rows[number] for number in numbers], prefix)
        found[numbers] = tree.probabilities(context)
    return table(found, options)


def table(probabilities: torch.Tensor, options: list[str]) -> pd.DataFrame:
    """(n, k) probabilities as columns, after ``choice``; on a tie the first option is taken."""
    frame = pd.DataFrame(probabilities.double().numpy(), columns=list(options))
    frame.insert(0, "choice", [options[n] for n in probabilities.argmax(dim=1).tolist()])
    return frame


class Tree:
    """The options as paths of tokens; only the places where paths part have to be read."""

    def __init__(self, paths: list[list[int]]) -> None:
        distinct = {tuple(path) for path in paths}
        if len(paths) < 2 or len(distinct) < len(paths) or () in distinct:
            raise InputError(
                "label likelihood needs at least two different, non-empty options",
                given=f"{len(paths)} options, {len(distinct)} different",
            )
        self.paths = [tuple(path) for path in paths]
        inner = {path[:n] for path in self.paths for n in range(len(path))}
        self.inner = inner | {path for path in self.paths if self._longer(path)}
        self.chains = [
            node
            for node in sorted(self.inner)
            if node and not any(o != node and o[: len(node)] == node for o in self.inner)
        ]

    def _longer(self, path: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [other for other in self.paths if other != path and other[: len(path)] == path]

    def probabilities(self, context: Context) -> torch.Tensor:
        """(rows, options) probabilities of going on from `context`, which stays as it was."""
        logs = self._read(context)
        score = torch.stack([self._log(path, logs) for path in self.paths], dim=1)
        return torch.softmax(score.double(), dim=1).float()

    def _read(self, context: Context) -> dict[tuple[int, ...], torch.Tensor]:
        """Log probabilities of the next token, (rows, vocabulary), at every inner node."""
        logs = {(): torch.log_softmax(context.logits, dim=-1)}
        for chain in self.chains:
            twin = context.branch()
            for depth, token in enumerate(chain, start=1):
                twin.append([[token]] * context.size)
                logs.setdefault(chain[:depth], torch.log_softmax(twin.logits, dim=-1))
        return logs

    def _log(self, path: tuple[int, ...], logs: dict) -> torch.Tensor:
        total = sum(logs[path[:n]][:, token] for n, token in enumerate(path))
        longer = {other[len(path)] for other in self._longer(path)}
        if longer:
            going_on = logs[path][:, sorted(longer)].exp().sum(dim=1)
            total = total + torch.log1p(-going_on.clamp(max=1 - 1e-7))
        return total
