"""Greedy replies, batched: always the likeliest next token, so that nothing is left to chance."""

from __future__ import annotations

import torch

from workbench.methods.evaluate.context import Context, batches, opened, prefix_of


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

    `stop` holds more tokens that end a row. Rows that have ended leave the batch.
    """
    found: list[list[int]] = [[] for _ in range(context.size)]
    going = list(range(context.size))
    for count in range(max_new_tokens):
        chosen = context.logits.argmax(dim=-1).tolist()
        alive = [n for n, token in enumerate(chosen) if token != end and token not in stop]
        if not alive:
            break
        for n in alive:
            found[going[n]].append(chosen[n])
        if len(alive) < len(going):
            context.keep(alive)
        going = [going[n] for n in alive]
        if count + 1 < max_new_tokens:
            context.append([[chosen[n]] for n in alive])
    return found
