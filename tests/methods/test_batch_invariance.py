"""V5: what a row gets does not depend on the rows beside it. Classifiers: see test_classifier."""

from __future__ import annotations

import pytest
import torch

from workbench.methods.adapt.form import Form
from workbench.methods.evaluate.context import opened

TEXTS = ["my card is gone", "who took money from my account and why", "fees?", "hello " * 12]


@pytest.fixture(scope="module")
def prompts(loaded) -> list[list[int]]:
    form, tokenizer = Form(), loaded[1]
    texts = [form.prompt(tokenizer, text) for text in TEXTS]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def read(model, prompts: list[list[int]], at_once: int) -> torch.Tensor:
    """(n, vocabulary) logits after each prompt, read in batches of a size."""
    batches = [prompts[at : at + at_once] for at in range(0, len(prompts), at_once)]
    return torch.cat([opened(model, batch, None).logits for batch in batches]).float()


@pytest.mark.parametrize("at_once", [2, 3, 4])
def test_logits_of_a_row_are_its_own_in_float32(loaded, prompts, at_once):
    """To 1e-5 of the largest logit (about 30, of which float32 holds seven digits), and to 1e-5 in
    every probability; the token that is chosen is the same."""
    alone, together = (read(loaded[0], prompts, size) for size in (1, at_once))
    assert not torch.equal(alone, together)  # the arithmetic was really another
    assert (alone - together).abs().max() < 1e-5 * alone.abs().max()
    assert (alone.softmax(-1) - together.softmax(-1)).abs().max() < 1e-5
    assert torch.equal(alone.argmax(-1), together.argmax(-1))


def test_bfloat16_would_not_have_this_property(loaded, prompts):
    """Why evaluation stays in float32: in bfloat16 the company of a row changes its numbers."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        alone, together = (read(loaded[0], prompts, size) for size in (1, 4))
    assert (alone - together).abs().max() > 100 * 1e-5 * alone.abs().max()
