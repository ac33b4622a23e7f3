from __future__ import annotations

import torch

from workbench.methods.evaluate.generate import generate

QUESTIONS = ["What is the capital of France?", "Say hello.", "Count from one to five, please."]


def chats(tokenizer) -> list[str]:
    return [
        tokenizer.apply_chat_template(
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
            tokenize=False,
            add_generation_prompt=True,
        )
        for question in QUESTIONS
    ]


def test_greedy_text_is_that_of_transformers(loaded):
    """Batch, cache and shared prefix change no token: the same as `model.generate` row by row."""
    model, tokenizer = loaded
    found = generate(model, tokenizer, chats(tokenizer), max_new_tokens=12)
    for prompt, text in zip(chats(tokenizer), found, strict=True):
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        out = model.generate(**ids, max_new_tokens=12, do_sample=False)
        new = out[0, ids["input_ids"].shape[1] :]
        assert tokenizer.decode(new, skip_special_tokens=True).strip() == text
    assert "Paris" in found[0]


def test_text_does_not_depend_on_the_batch(loaded):
    """V5: alone or in a batch, whatever the order, the same reply."""
    model, tokenizer = loaded
    together = generate(model, tokenizer, chats(tokenizer), 10)
    assert generate(model, tokenizer, chats(tokenizer), 10, batch_size=1) == together
    assert generate(model, tokenizer, chats(tokenizer)[::-1], 10) == together[::-1]


def test_length_is_limited(loaded):
    """Never more than `max_new_tokens`, also where the model would go on."""
    model, tokenizer = loaded
    text = generate(model, tokenizer, ["One, two, three, four,"], max_new_tokens=3)[0]
    assert 0 < len(tokenizer(text)["input_ids"]) <= 3
    assert generate(model, tokenizer, [], 3) == []


def test_nothing_is_left_to_chance(loaded):
    """Another seed gives the same text."""
    model, tokenizer = loaded
    torch.manual_seed(1)
    first = generate(model, tokenizer, chats(tokenizer)[:1], 6)
    torch.manual_seed(2)
    assert generate(model, tokenizer, chats(tokenizer)[:1], 6) == first
