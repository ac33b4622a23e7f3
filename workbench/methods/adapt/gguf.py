"""A GGUF file becomes plain fp32 safetensors, exactly: every dequantised value is kept as it is.

The values are those of the GGUF specification's block formats (ggml, ``dequantize_row_*``), which
are fp32 by definition, so that nothing is rounded on the way.
"""

from __future__ import annotations

from pathlib import Path

from workbench.errors import InputError


def header(file: Path) -> dict[str, object]:
    """The key-value header, without the long token lists. InputError when it is not GGUF."""
    import gguf

    try:
        fields = gguf.GGUFReader(str(file)).fields
    except (ValueError, OSError, IndexError) as cause:
        raise InputError("base model: not a GGUF file", where=file, given=cause) from cause
    return {
        name: field.contents()
        for name, field in fields.items()
        if not name.startswith("tokenizer.ggml.") or name == "tokenizer.ggml.pre"
    }


def convert(file: Path, to: Path) -> list[str]:
    """Write config, fp32 weights and tokenizer of `file` into the folder `to`; returns notes."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    facts = header(file)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    )
    forget_quantization(model)
    model.config._name_or_path = str(facts.get("general.name", file.stem))
    model.save_pretrained(to, safe_serialization=True)
    tokenizer = AutoTokenizer.from_pretrained(
        file.parent, gguf_file=file.name, trust_remote_code=False
    )
    notes = [f"dequantised exactly to float32 from {file.name}"]
    notes += restore_pre_tokenizer(tokenizer, facts.get("tokenizer.ggml.pre"))
    tokenizer.model_max_length = model.config.max_position_embeddings
    for name in ("name_or_path", "vocab_file"):  # a path of this host is no part of the model
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(to)
    return notes


def forget_quantization(model) -> None:
    """Remove the marks by which `save_pretrained` takes a dequantised model for a quantised one."""
    model.is_quantized = False
    for owner, name in [
        (model, "hf_quantizer"),
        (model, "quantization_method"),
        (model.config, "quantization_config"),
        (model.config, "_is_quantized"),
    ]:
        if hasattr(owner, name):
            delattr(owner, name)


def restore_pre_tokenizer(tokenizer, pre: object) -> list[str]:
    """Give back the digit splitting that transformers drops for GGUF's ``smollm`` pre-tokenizer.

    llama.cpp (``LLAMA_VOCAB_PRE_TYPE_SMOLLM``) splits off every single digit before the GPT-2
    pattern; without that, two spaces before a number are cut differently from how the model
    was trained.
    """
    if pre != "smollm":
        return []
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    return ["pre-tokenizer: single digits are split off, as the GGUF header's 'smollm' asks"]
