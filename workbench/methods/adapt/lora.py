"""What both trainers share: options with bounds, LoRA, determinism, and adapter files.

LoRA: Hu et al. 2021, arXiv:2106.09685. Same base, rows, options, seed and threads give the same
adapter bytes inside one reproducibility domain (machine type and libraries).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from workbench.errors import InputError, RunError

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
UNUSED = r"(.*\.)?pooler\..*"
"""Modules whose output nobody reads (vectors are mean-pooled): an update there learns nothing."""
OnStep = Callable[[dict], None]


class AdapterOptions(BaseModel):
    """Hyperparameters of a LoRA run; the change envelope bounds the same names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(7, ge=0, lt=2**31)
    """Seeds weights, dropout and the order of rows."""
    threads: int = Field(2, ge=1, le=256)
    """CPU threads; part of the reproducibility domain, sums depend on it."""
    rank: int = Field(16, ge=1, le=256)
    """Rank of the LoRA update."""
    alpha: float = Field(32.0, gt=0, le=1024)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapter's input while training."""
    target_modules: tuple[str, ...] = Field((), min_length=1)
    """Names of the linear layers that get an update."""
    last_layers: int = Field(0, ge=0, le=1024)
    """Adapt only this many of the last layers; 0 adapts all."""
    learning_rate: float = Field(1e-3, gt=0, le=1)
    """Peak learning rate of AdamW."""
    epochs: int = Field(3, ge=1, le=1000)
    """Passes over the training rows."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Rows per optimiser step."""
    warmup_share: float = Field(0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly; then it falls along a cosine."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """AdamW's decoupled decay."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients are clipped to this norm."""
    max_length: int = Field(64, ge=8, le=8192)
    """Longer rows are cut to this many tokens."""


Options = TypeVar("Options", bound=AdapterOptions)


def checked(kind: type[Options], given: Options | dict | None) -> Options:
    """`given` as options of `kind`; one InputError lists every field that is wrong."""
    if isinstance(given, kind):
        return given
    try:
        return kind(**(given or {}))
    except ValidationError as cause:
        wrong = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in cause.errors()]
        raise InputError(
            "training options are not valid",
            where=kind.__name__,
            expected=", ".join(kind.model_fields),
            given="; ".join(wrong),
        ) from cause


def deterministic(seed: int, threads: int) -> None:
    """Seed torch, fix the threads, and refuse kernels whose result can vary between runs."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS' own condition for it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def adapted(model: torch.nn.Module, options: AdapterOptions, base_digest: str):
    """`model` wrapped by peft with fresh LoRA updates; everything else is frozen.

    Raises InputError when a target module does not exist in the model.
    """
    from peft import LoraConfig, get_peft_model

    names = [name for name, _ in model.named_modules()]
    present = {name.rsplit(".", 1)[-1] for name in names}
    missing = sorted(set(options.target_modules) - present)
    if missing:
        raise InputError(
            "LoRA: the base model has no such modules",
            expected=", ".join(sorted(_linear_names(model))),
            given=", ".join(missing),
        )
    layers = model.config.num_hidden_layers
    config = LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        target_modules=sorted(options.target_modules),
        exclude_modules=UNUSED if any(re.fullmatch(UNUSED, name) for name in names) else None,
        layers_to_transform=list(range(layers))[-options.last_layers :]
        if options.last_layers
        else None,
    )
    wrapped = get_peft_model(model, config)
    # peft writes where the base was read from; its digest says the same on every machine
    wrapped.peft_config["default"].base_model_name_or_path = f"sha256:{base_digest}"
    return wrapped


def _linear_names(model: torch.nn.Module) -> set[str]:
    return {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def trainable(*modules: torch.nn.Module) -> dict:
    """Number of trainable and of all parameters, and their ratio."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    learns = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    return {"trainable": learns, "total": total, "share": learns / total}


def optimiser(groups: list[tuple[torch.nn.Module, float]], options: AdapterOptions, steps: int):
    """AdamW over what is trainable in each (module, peak rate), linear warm-up, cosine decay."""
    from transformers import get_cosine_schedule_with_warmup

    adamw = torch.optim.AdamW(
        [
            {"params": [p for p in module.parameters() if p.requires_grad], "lr": rate}
            for module, rate in groups
        ],
        weight_decay=options.weight_decay,
    )
    warmup = round(options.warmup_share * steps)
    return adamw, get_cosine_schedule_with_warmup(adamw, warmup, steps)


def step(loss: torch.Tensor, adamw, schedule, max_norm: float) -> float:
    """One update from `loss`, gradients clipped; returns the learning rate that was used.

    Raises RunError when the loss is not a finite number: such a run can't be saved.
    """
    if not torch.isfinite(loss):
        raise RunError(
            "training diverged: the loss is not a finite number",
            given=float(loss),
            next_step="lower learning_rate, or raise warmup_share",
        )
    loss.backward()
    learns = [p for group in adamw.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(learns, max_norm)
    rate = schedule.get_last_lr()[0]
    adamw.step()
    schedule.step()
    adamw.zero_grad(set_to_none=True)
    return rate


def length_batches(
    lengths: list[int], batch_size: int, generator: torch.Generator
) -> Iterator[list[int]]:
    """Row numbers in batches of like length: shuffled, sorted within chunks, batches shuffled.

    Padding is work without gain; chunks of 16 batches keep enough chance in the order.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    chunk = batch_size * 16
    batches = []
    for start in range(0, len(order), chunk):
        near = sorted(order[start : start + chunk], key=lambda row: (lengths[row], row))
        batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
    for number in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[number]


def adapter_state(peft_model) -> dict[str, torch.Tensor]:
    """A copy of the adapter's tensors, sorted by name."""
    from peft import get_peft_model_state_dict

    # "auto" would look the base up on the hub by its name; embeddings are never adapted here
    state = get_peft_model_state_dict(peft_model, save_embedding_layers=False)
    return {name: state[name].detach().cpu().clone().contiguous() for name in sorted(state)}


def save_adapter(peft_model, state: dict[str, torch.Tensor], out: Path) -> None:
    """Write adapter weights and configuration that peft can load, with stable bytes.

    peft writes sets in hash order; here every list that is a set is sorted, and keys too.
    """
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    save_file(state, out / ADAPTER, metadata={"format": "pt"})
    config = peft_model.peft_config["default"].to_dict()
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    config["inference_mode"] = True
    write_json(out / ADAPTER_CONFIG, config)


def load_adapter(model: torch.nn.Module, adapter: Path, base_digest: str) -> torch.nn.Module:
    """`model` with the adapter merged in; InputError when it was trained on another base."""
    from peft import PeftModel

    stated = read_config(adapter).get("base_model_name_or_path")
    if stated != f"sha256:{base_digest}":
        raise InputError(
            "this adapter was trained on another base model",
            where=adapter,
            expected=f"sha256:{base_digest}",
            given=stated,
        )
    return PeftModel.from_pretrained(model, adapter).merge_and_unload().eval()


def read_config(adapter: Path) -> dict:
    """The adapter's configuration; InputError when the folder holds none."""
    file = Path(adapter) / ADAPTER_CONFIG
    if not file.is_file():
        raise InputError("no adapter in this folder", where=adapter, expected=ADAPTER_CONFIG)
    return json.loads(file.read_text(encoding="utf-8"))


def write_json(file: Path, content: object) -> None:
    """Sorted keys, two-space indent, final newline: the same content gives the same bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    file.write_text(text + "\n", encoding="utf-8")
