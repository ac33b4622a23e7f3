"""Keys and values of what was read, in buffers with room behind them.

The cache of transformers copies everything at each new token, which on a CPU costs as much as the
model's products. Here a token is written where there is room, and branches share what they began
with. Layers that forget (sliding windows) stay as transformers has them.
"""

from __future__ import annotations

import copy

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 48
"""Tokens of room that a new buffer has."""


class RoomyLayer(DynamicLayer):
    """(rows, heads, tokens, width) keys and values, each a view of the buffer in `room`."""

    room: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(self, key_states, value_states, *args, **kwargs):
        """Append; what was handed out before stays as it was."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        used, end = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self.room is None or self.room[0].shape[2] < end:
            self.room = (_grown(self.keys, end), _grown(self.values, end))
        for buffer, fresh in zip(self.room, (key_states, value_states), strict=True):
            buffer[:, :, used:end] = fresh
        self.keys, self.values = (buffer[:, :, :end] for buffer in self.room)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row so many times, in buffers of their own."""
        super().batch_repeat_interleave(repeats)
        self.room = None

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """These rows only, in buffers of their own."""
        super().batch_select_indices(indices)
        self.room = None


def _grown(kept: torch.Tensor, tokens: int) -> torch.Tensor:
    rows, heads, used, width = kept.shape
    buffer = kept.new_empty((rows, heads, tokens + ROOM, width))
    buffer[:, :, :used] = kept
    return buffer


def roomy_cache(config) -> DynamicCache:
    """An empty cache for a model of this configuration."""
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def branched(cache: DynamicCache) -> DynamicCache:
    """A cache that reads on from the same tokens, good until the first one reads on itself."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin
