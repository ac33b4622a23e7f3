"""A model as external suites see it: it goes on from a prompt, and it scores a continuation."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch.nn.functional import log_softmax

from workbench.errors import InputError
from workbench.methods.adapt.form import plain
from workbench.methods.evaluate.context import batches
from workbench.methods.evaluate.generate import generate
from workbench.methods.evaluate.onednn import by_onednn


class Loaded:
    """Base or candidate. Replies are greedy, so that asking again gives the same."""

    def __init__(self, model: torch.nn.Module, tokenizer: Any, batch_size: int) -> None:
        self.model, self.tokenizer, self.batch_size = by_onednn(model), tokenizer, batch_size
        self.longest = int(model.config.max_position_embeddings)

    def replies(self, prompts: list[str], max_new_tokens: int) -> list[str]:
        """One a prompt, in order."""
        size = self.batch_size
        return generate(self.model, self.tokenizer, prompts, max_new_tokens, batch_size=size)

    @torch.no_grad()
    def scores(self, pairs: list[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        """Log likelihood of each continuation after its context, and whether it is the greedy one.

        Options of one token share the reading of their context; the vocabulary is projected only
        where continuations stand. InputError for a case that is longer than the model can read.
        """
        asked = defaultdict(list)
        for number, (context, rest) in enumerate(pairs):
            asked[tuple(context + rest[:-1])].append(number)
        rows = [list(row) for row in asked]
        longest = max(map(len, rows), default=0)
        if longest > self.longest:
            expected = f"at most {self.longest} tokens"
            raise InputError("a suite's case is too long", expected=expected, given=longest)
        found: dict[int, tuple[float, bool]] = {}
        for numbers in batches(rows, self.batch_size):
            batch = [rows[number] for number in numbers]
            for row, states in zip(batch, self._states(batch), strict=True):
                for number in asked[tuple(row)]:
                    found[number] = self._scored(states[: len(row)], pairs[number][1])
        return [found[number] for number in range(len(pairs))]

    def _states(self, rows: list[list[int]]) -> torch.Tensor:
        """(rows, width, hidden) states; what stands right of a row's end is not to be read."""
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        found = self.model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        return found.last_hidden_state

    def _scored(self, states: torch.Tensor, rest: list[int]) -> tuple[float, bool]:
        logs = log_softmax(self.model.lm_head(states[-len(rest) :]).float(), dim=-1)
        target = torch.tensor(rest)
        greedy = bool((logs.argmax(dim=-1) == target).all())
        return logs.gather(1, target[:, None]).sum().item(), greedy


class Mute(Loaded):
    """Says nothing and prefers nothing: the negative control of a suite's own scoring."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.batch_size, self.longest = tokenizer, 64, 2**31

    def replies(self, prompts: list[str], max_new_tokens: int) -> list[str]:
        return [""] * len(prompts)

    def scores(self, pairs: list[tuple[list[int], list[int]]]) -> list[tuple[float, bool]]:
        return [(0.0, False)] * len(pairs)


def chat(tokenizer: Any, turns: list[tuple[str, str]], system: str) -> str:
    """The prompt of (role, text) turns; `system` where none says it, never the template's own."""
    turns = turns if turns[0][0] == "system" else [("system", system), *turns]
    markers = tokenizer.get_added_vocab()
    said = [{"role": role, "content": plain(text, markers)} for role, text in turns]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)


def cut(text: str, stops: list[str]) -> str:
    """`text` up to the first of `stops`."""
    return text[: min((text.find(stop) for stop in stops if stop and stop in text), default=None)]
