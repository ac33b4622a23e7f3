"""Text to one vector: an encoder's mean-pooled, length-normalised states, adapted or not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional

from workbench.methods.adapt import adapters
from workbench.methods.adapt.base import base_facts, load_model, load_tokenizer
from workbench.methods.adapt.options import TrainingOptions


class Encoder:
    """A base encoder and its tokenizer. `model` is the transformers or the peft model."""

    def __init__(self, base: Path, max_length: int) -> None:
        self.digest = base_facts(base)["weights"]
        self.tokenizer = load_tokenizer(base)
        self.model = load_model(base, "encoder")
        self.width = self.model.config.hidden_size
        self.max_length = max_length

    def adapt(self, options: TrainingOptions) -> None:
        """Make trainable what the method may change."""
        self.model = adapters.adapted(self.model, options, self.digest)

    def load(self, adapter: Path) -> None:
        """Merge a trained adapter in."""
        self.model = adapters.load_adapter(self.model, adapter, self.digest)

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Token numbers of each text, cut at `max_length`."""
        return self.tokenizer(list(texts), truncation=True, max_length=self.max_length)["input_ids"]

    def vectors(self, tokens: list[list[int]]) -> torch.Tensor:
        """(n, width) unit vectors of a batch of token lists."""
        width = max(map(len, tokens))
        ids = torch.full((len(tokens), width), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(tokens), width), dtype=torch.long)
        for row, numbers in enumerate(tokens):
            ids[row, : len(numbers)] = torch.tensor(numbers)
            mask[row, : len(numbers)] = 1
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1)
        return functional.normalize(mean, dim=-1)

    @torch.no_grad()
    def encode(self, tokens: list[list[int]], batch_size: int = 64) -> torch.Tensor:
        """(n, width) unit vectors without gradients, computed in batches of like length."""
        was_training = self.model.training
        self.model.eval()
        order = sorted(range(len(tokens)), key=lambda row: (len(tokens[row]), row))
        found = torch.empty((len(tokens), self.width))
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            found[rows] = self.vectors([tokens[row] for row in rows]).cpu()
        self.model.train(was_training)
        return found
