"""Sentence vectors for the checks that compare meaning: MiniLM, as the stage was given it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

LENGTH = 64  # tokens; longer texts are cut


def embedder(folder: Path) -> Callable[[Sequence[str]], np.ndarray]:
    """texts -> (texts, width) unit vectors of the encoder in `folder` (safetensors, local only).

    Each distinct text is embedded once, however often it is asked for.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar that moves is noise in a sealed notebook
    local = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, **local).float().eval()
    known: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def embed(texts: Sequence[str]) -> np.ndarray:
        new = sorted({text for text in texts if text not in known}, key=lambda t: (len(t), t))
        for start in range(0, len(new), 64):
            batch = new[start : start + 64]
            given = tokenizer(batch, truncation=True, max_length=LENGTH, padding=True,
                              return_tensors="pt")  # fmt: skip
            states = model(**given).last_hidden_state
            weight = given["attention_mask"].unsqueeze(-1).to(states.dtype)
            mean = (states * weight).sum(1) / weight.sum(1)
            unit = torch.nn.functional.normalize(mean, dim=-1).numpy()
            known.update(zip(batch, unit, strict=True))
        return np.stack([known[text] for text in texts])

    return embed
