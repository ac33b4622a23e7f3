"""Greedy replies, batched: always the likeliest next token, so that nothing is left to chance."""

from __future__ import annotations

import torch

from workbench.methods.evaluate.context import Context, batches, opened, prefix_of

STAYING = 0.8
"""Share of a batch that goes on, at or below which those that have ended are taken out."""


def generate(
    model: torch.nn.Module,
    tokenizer,
    prompts: list[str],
    max_new_tokens: int = 32,
    *,
    batch_size: int = 32,
) -> list[str]:
    """The continuation of each prompt, in order, up to the end token or `max_new_tokens`."""
    rows = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    replies = [""] * len(rows)
    if not rows:
        return replies
    prefix = prefix_of(model, rows)
    for numbers in batches(rows, batch_size):
        context = opened(model, [rows[number] for number in numbers], prefix)
        found = continue_greedily(context, tokenizer.eos_token_id, max_new_tokens)
        for number, tokens in zip(numbers, found, strict=True):
            replies[number] = tokenizer.decode(tokens, skip_special_tokens=True).strip()
    return replies


def continue_greedily(
    context: Context, end: int, max_new_tokens: int, stop: frozenset[int] = frozenset()
) -> list[list[int]]:
    """New tokens of each row, without the end token; `context` is used up.

    `stop` holds more tokens that end a row. Rows that have ended leave the batch when there are
    enough of them: each leaving copies what the others have read.
    """
    ends, found = {end, *stop}, [[] for _ in range(context.size)]
    going: list[int | None] = list(range(context.size))  # None: ended, and still in the batch
    for count in range(max_new_tokens):
        chosen = context.logits.argmax(dim=-1).tolist()
        going = [None if token in ends else row for row, token in zip(going, chosen, strict=True)]
        alive = [n for n, row in enumerate(going) if row is not None]
        for n in alive:
            found[going[n]].append(chosen[n])
        if not alive or count + 1 == max_new_tokens:
            break
        if len(alive) <= STAYING * len(going):
            context.keep(alive)
            going, chosen = ([kept[n] for n in alive] for kept in (going, chosen))
        context.append([[token] for token in chosen])
    return found
