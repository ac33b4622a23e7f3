"""Intake of a base model: a folder, or a GGUF file in one, becomes safetensors and facts.

What comes out has one form whatever came in: ``config.json``, one ``model.safetensors`` in
float32, the tokenizer's files, and ``base.json`` with name, source, revision, licence and digests.
Training and evaluation read only such folders, offline, and never run code from them.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from pathlib import Path

from workbench.errors import InputError
from workbench.methods.adapt.sources import read_json, resolve
from workbench.record.digest import digest, file_digest

WEIGHTS = "model.safetensors"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
CONFIG_FILES = ("config.json", "generation_config.json")


def take_in(
    source: str, to: Path, *, revision: str | None = None, licence: str | None = None
) -> dict:
    """Bring ``folder:PATH`` into the new folder `to` and return the facts of its ``base.json``.

    The weights are widened or dequantised to float32 exactly, never rounded. Raises InputError
    for pickle weights, remote code, a missing licence, and weights that are already quantised in
    a way that is not understood.
    """
    path, stated = resolve(source, licence)
    to = Path(to)
    if to.exists() and any(to.iterdir()):
        raise InputError("base model: the target folder is not empty", where=to)
    to.mkdir(parents=True, exist_ok=True)
    notes = _from_gguf(path, to) if path.is_file() else _from_folder(path, to)
    # the folder's name, not its path: the same source gives the same facts on every host
    facts = {"name": path.name, "source": f"folder:{Path(source).name}"}
    facts |= {"revision": revision, "licence": stated}
    facts |= _facts(to, notes)
    (to / "base.json").write_text(
        json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return facts


def _from_gguf(file: Path, to: Path) -> list[str]:
    from workbench.methods.adapt.gguf import convert

    return convert(file, to)


def _from_folder(folder: Path, to: Path) -> list[str]:
    if not (folder / "config.json").is_file():
        raise InputError("base model: no config.json", where=folder)
    config = read_json(folder / "config.json")
    if "quantization_config" in config:
        raise InputError(
            "base model: quantised weights are taken only from GGUF",
            where=folder / "config.json",
            expected="float weights in safetensors",
            given=config["quantization_config"].get("quant_method", "quantization_config"),
        )
    notes = _widen(folder, to)
    config["dtype"] = "float32"
    config.pop("torch_dtype", None)  # the older name of the same field
    (to / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for name in (*CONFIG_FILES[1:], *TOKENIZER_FILES):
        if (folder / name).is_file():
            shutil.copyfile(folder / name, to / name)
    if not any((to / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise InputError("base model: no tokenizer files", where=folder, expected="tokenizer.json")
    return notes


def _widen(folder: Path, to: Path) -> list[str]:
    """Join the shards into one file, floats as float32 (exact for float16 and bfloat16)."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(folder.glob("*.safetensors")):
        try:
            tensors |= load_file(shard)
        except SafetensorError as cause:
            raise InputError(
                "base model: not a safetensors file", where=shard, given=cause
            ) from cause
    if not tensors:
        raise InputError(
            "base model: no weights", where=folder, expected="*.safetensors, or one *.gguf"
        )
    found = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    narrow = {torch.float16, torch.bfloat16}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.dtype not in {*narrow, torch.float32}:
            raise InputError(
                "base model: this weight type would not survive float32 exactly",
                where=f"{folder}: {name}",
                expected="float32, float16 or bfloat16",
                given=tensor.dtype,
            )
        tensors[name] = tensor.float() if tensor.dtype in narrow else tensor
    save_file(tensors, to / WEIGHTS, metadata={"format": "pt"})
    return [f"weights kept as they were ({', '.join(found)}), stored as float32"]


def _facts(to: Path, notes: list[str]) -> dict:
    from safetensors import safe_open

    tokenizer = load_tokenizer(to)
    with safe_open(to / WEIGHTS, framework="pt") as weights:
        slices = [weights.get_slice(name) for name in weights.keys()]  # noqa: SIM118
        sizes = [one.get_shape() for one in slices if one.get_dtype() == "F32"]  # no index buffers
    return {
        "architecture": read_json(to / "config.json").get("architectures", [None])[0],
        "weights": file_digest(to / WEIGHTS),
        "tokenizer": tokenizer_digest(to),
        "chat_template": template_digest(tokenizer),
        "parameters": sum(math.prod(size) for size in sizes),
        "dtype": "float32",
        "notes": notes + tokenizer_notes(tokenizer),
    }


def tokenizer_digest(base: Path) -> str:
    """Digest over the tokenizer's files as they lie in a base folder."""
    there = [name for name in TOKENIZER_FILES if (base / name).is_file()]
    return digest({name: file_digest(base / name) for name in there})


def tokenizer_notes(tokenizer) -> list[str]:
    """Traps of this tokenizer which training and evaluation must know of."""
    notes = []
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id:
        notes.append("pad and eos are the same token: padding is told apart by the mask alone")
    if tokenizer.chat_template:
        alone = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
        if "system" in alone:
            notes.append(
                "the chat template injects a system prompt where none is given: ours is explicit"
            )
    return notes


def base_facts(base: Path) -> dict:
    """The ``base.json`` of a folder that went through `take_in`; InputError otherwise."""
    file = Path(base) / "base.json"
    if not file.is_file():
        raise InputError(
            "this folder is not a base model that was taken in",
            where=base,
            expected="base.json beside model.safetensors",
            next_step="run the intake stage first",
        )
    return read_json(file)


def load_tokenizer(base: Path):
    """The tokenizer of a base folder; local files only, never remote code."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)


def template_digest(tokenizer) -> str | None:
    """SHA-256 of the chat template; None when there is none."""
    template = tokenizer.chat_template
    return hashlib.sha256(template.encode()).hexdigest() if template else None


def require_chat_template(base: Path, tokenizer) -> None:
    """InputError unless the tokenizer's chat template is the one that was taken in: prompts of
    another form are another input than the one which is validated and served."""
    expected, given = base_facts(base)["chat_template"], template_digest(tokenizer)
    if given != expected:
        raise InputError(
            "the tokenizer's chat template is not the one that was taken in",
            where=base,
            expected=expected or "none",
            given=given or "none",
            next_step="take the base model in again",
        )


def load_model(base: Path, kind: str):
    """The base's weights in float32 as ``"encoder"`` or ``"causal"``, in evaluation mode."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar that moves is noise in a sealed notebook
    base_facts(base)
    loader = {"encoder": AutoModel, "causal": AutoModelForCausalLM}[kind]
    return loader.from_pretrained(
        base,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    ).eval()
