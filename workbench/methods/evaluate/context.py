"""A batch of rows inside a causal model: what each has read so far, with keys and values kept.

Rows have different lengths. Instead of moving tokens to the left, gaps are masked and every token
carries its own position, so that a row's numbers don't depend on which rows are beside it (up to
the rounding of float32 sums, see `tests/methods/test_likelihood.py`).
"""

from __future__ import annotations

import torch

from workbench.methods.evaluate.kv_cache import branched, roomy_cache
from workbench.methods.evaluate.onednn import by_onednn


class Context:
    """`size` rows; after `append`, `logits` are (size, vocabulary) at each row's last token."""

    def __init__(self, model: torch.nn.Module, size: int) -> None:
        self.model = by_onednn(model)
        self.cache = roomy_cache(model.config)
        self.mask = torch.zeros((size, 0), dtype=torch.long)
        self.lengths = torch.zeros(size, dtype=torch.long)
        self.logits = torch.empty((size, 0))

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.mask.shape[0]

    @torch.no_grad()
    def append(self, tokens: list[list[int]]) -> torch.Tensor:
        """Read at least one more token in every row; returns the new `logits`."""
        counts = torch.tensor([len(row) for row in tokens])
        width = int(counts.max())
        ids = torch.tensor([row + [0] * (width - len(row)) for row in tokens])
        steps = torch.arange(width)
        fresh = (steps < counts[:, None]).long()
        positions = self.lengths[:, None] + torch.minimum(steps, counts[:, None] - 1)
        self.mask = torch.cat([self.mask, fresh], dim=1)
        states = self.model.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
        ).last_hidden_state
        self.lengths = self.lengths + counts
        last = states[torch.arange(self.size), counts - 1]
        self.logits = self.model.lm_head(last)
        return self.logits

    def branch(self) -> Context:
        """A twin that can read on without changing this one, until this one reads on itself."""
        twin = Context.__new__(Context)
        twin.__dict__ = self.__dict__ | {"cache": branched(self.cache)}
        return twin

    def spread(self, size: int) -> Context:
        """This one-row context repeated as `size` rows: a shared prefix is read only once."""
        twin = self.branch()
        twin.cache.batch_repeat_interleave(size)
        twin.mask = self.mask.repeat(size, 1)
        twin.lengths = self.lengths.repeat(size)
        twin.logits = self.logits.repeat(size, 1)
        return twin

    def keep(self, rows: list[int]) -> None:
        """Drop all but `rows`, in that order: finished rows cost nothing more."""
        self.cache.batch_select_indices(torch.tensor(rows))
        self.mask, self.lengths = self.mask[rows], self.lengths[rows]
        self.logits = self.logits[rows]


PADDED = 8192
"""Tokens of a batch at most, padding included."""


def batches(
    rows: list[list[int]], batch_size: int, tokens: int = PADDED, *, by_length: bool = True
) -> list[list[int]]:
    """Row numbers in batches of like length, so that little is padded; or in the given order.

    A row that alone has more than `tokens` is a batch of its own.
    """
    order = list(range(len(rows)))
    found: list[list[int]] = []
    for row in sorted(order, key=lambda row: (len(rows[row]), row)) if by_length else order:
        last = found[-1] if found else []
        width = max(len(rows[one]) for one in [*last, row])
        if last and len(last) < batch_size and width * (len(last) + 1) <= tokens:
            last.append(row)
        else:
            found.append([row])
    return found


def shared_prefix(rows: list[list[int]]) -> int:
    """How many first tokens all rows share, leaving at least one token to each row."""
    shortest = min(map(len, rows))
    for place in range(shortest - 1):
        if len({row[place] for row in rows}) > 1:
            return place
    return shortest - 1


def opened(model: torch.nn.Module, rows: list[list[int]], prefix: Context | None) -> Context:
    """A context in which every row has been read, starting from the shared `prefix` if any."""
    if prefix is None:
        context = Context(model, len(rows))
        context.append(rows)
        return context
    done = int(prefix.lengths[0])
    context = prefix.spread(len(rows))
    context.append([row[done:] for row in rows])
    return context


def prefix_of(model: torch.nn.Module, rows: list[list[int]]) -> Context | None:
    """The shared first tokens of all rows, read once; None when there are too few to matter."""
    count = shared_prefix(rows)
    if len(rows) < 2 or count < 4:
        return None
    prefix = Context(model, 1)
    prefix.append([rows[0][:count]])
    return prefix
