"""Free replies to a chat, with the system prompt that the caller names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.methods.adapt.causal import load_causal
from workbench.methods.adapt.form import plain
from workbench.methods.evaluate.core import open_models
from workbench.methods.evaluate.generate import generate


def replies(
    model_folder: Path, adapter: Path | None, prompts: Sequence[str], *, system: str | None = None,
    max_new_tokens: int = 64, batch_size: int = 32, threads: int = 2, dtype: str = "float32",
) -> list[str]:  # fmt: skip
    """The greedy reply to each prompt, in order; markers inside a prompt become plain text.

    Without `system` the model's own chat template decides, and some inject one of theirs.
    InputError for an arithmetic that is not known.
    """
    model, tokenizer = load_causal(model_folder, adapter, threads=threads)
    model = open_models(lambda _: model, {"chat": adapter}, dtype)["chat"]
    chats = [chat(tokenizer, prompt, system) for prompt in prompts]
    return generate(model, tokenizer, chats, max_new_tokens, batch_size=batch_size)


def chat(tokenizer, prompt: str, system: str | None) -> str:
    """One turn of a user, up to where the model answers."""
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": plain(prompt, tokenizer.get_added_vocab())})
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
