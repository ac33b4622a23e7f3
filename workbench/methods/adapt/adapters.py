"""What a method changes in a model, and the files that hold the change.

Updates come from peft; every folder also has ``adaptation.json`` with the method and the digest of
the base. The same state gives the same bytes: keys and sets are sorted, no path of a host is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch

from workbench.errors import InputError
from workbench.methods.adapt.options import TrainingOptions

ABOUT = "adaptation.json"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
WHOLE = "model.safetensors"
UNUSED = r"(.*\.)?pooler\..*"
"""Modules whose output nobody reads (vectors are mean-pooled): an update there learns nothing."""
FEED_FORWARD = frozenset({"down_proj"})
"""Layers whose input IA3 scales; elsewhere it scales the output."""


def adapted(model: torch.nn.Module, options: TrainingOptions, base_digest: str) -> torch.nn.Module:
    """`model` with exactly that trainable which the method may change.

    Raises InputError when a target module does not exist in the model.
    """
    if options.method in ("frozen", "full"):
        for name, parameter in model.named_parameters():
            learns = options.method == "full" and not re.fullmatch(UNUSED, name)
            parameter.requires_grad_(learns)
        return model
    from peft import get_peft_model

    require_modules(model, options.target_modules)
    wrapped = get_peft_model(model, peft_config(model, options))
    # peft writes where the base was read from; its digest says the same on every machine
    wrapped.peft_config["default"].base_model_name_or_path = f"sha256:{base_digest}"
    return wrapped


def require_modules(model: torch.nn.Module, wanted: Iterable[str]) -> None:
    """InputError when a name is no module of the model: it would train nothing."""
    named = {name.rsplit(".", 1)[-1]: module for name, module in model.named_modules()}
    missing = sorted(set(wanted) - set(named))
    if missing:
        linear = [name for name, module in named.items() if isinstance(module, torch.nn.Linear)]
        raise InputError(
            "adaptation: the base model has no such modules",
            expected=", ".join(sorted(linear)),
            given=", ".join(missing),
        )


def peft_config(model: torch.nn.Module, options: TrainingOptions):
    """The method in peft's words."""
    from peft import IA3Config, LoraConfig, VeraConfig

    targets, layers = sorted(options.target_modules), range(model.config.num_hidden_layers)
    unused = any(re.fullmatch(UNUSED, name) for name, _ in model.named_modules())
    exclude = UNUSED if unused else None
    if options.method == "ia3":
        fed = sorted(FEED_FORWARD & set(targets))
        return IA3Config(target_modules=targets, feedforward_modules=fed, exclude_modules=exclude)
    last = list(layers)[-options.last_layers :] if options.last_layers else None
    if options.method == "vera":  # it knows no exclusion; naming all layers leaves out the pooler
        return VeraConfig(
            r=options.rank,
            vera_dropout=options.dropout,
            projection_prng_key=options.seed,
            target_modules=targets,
            layers_to_transform=last or list(layers),
        )
    return LoraConfig(
        r=options.rank,
        lora_alpha=options.alpha,
        lora_dropout=options.dropout,
        use_dora=options.method == "dora",
        target_modules=targets,
        exclude_modules=exclude,
        layers_to_transform=last,
    )


def trainable(module: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def share(module: torch.nn.Module) -> dict:
    """Number of trainable and of all parameters, and their ratio."""
    learns = sum(p.numel() for p in trainable(module).values())
    total = sum(p.numel() for p in module.parameters())
    return {"trainable": learns, "total": total, "share": learns / total}


def save_adapter(model: torch.nn.Module, method: str, base_digest: str, out: Path) -> None:
    """Write what the method changed: peft's two files, the whole model for ``full``, or nothing
    but ``adaptation.json`` where the base stayed as it was."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / ABOUT, {"method": method, "base": f"sha256:{base_digest}"})
    if method == "frozen":
        return
    if method == "full":
        write_tensors(out / WHOLE, dict(model.named_parameters()))
        write_json(out / "config.json", json.loads(model.config.to_json_string(use_diff=False)))
        return
    from peft import get_peft_model_state_dict

    # "auto" would look the base up on the hub by its name; embeddings are never adapted here
    write_tensors(out / ADAPTER, get_peft_model_state_dict(model, save_embedding_layers=False))
    config = model.peft_config["default"].to_dict()
    config = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    write_json(out / ADAPTER_CONFIG, config | {"inference_mode": True})


def load_adapter(model: torch.nn.Module, adapter: Path, base_digest: str) -> torch.nn.Module:
    """`model` with the change merged in; InputError when it was trained on another base."""
    method = about(adapter, base_digest)["method"]
    if method == "full":
        load_whole(model, Path(adapter) / WHOLE)
    elif method != "frozen":
        model = attached(model, adapter).merge_and_unload()
    return model.eval()


def load_whole(model: torch.nn.Module, file: Path) -> None:
    """Every weight from `file`; InputError when it holds those of another architecture."""
    state, names = read_tensors(file), set(dict(model.named_parameters()))
    if set(state) != names:
        differ = sorted(set(state) ^ names)
        raise InputError("these are not the weights of this model", where=file, given=differ[:5])
    model.load_state_dict(state, strict=False)  # of tied weights only one name is there


def attached(model: torch.nn.Module, adapter: Path):
    """The peft model of `model` and a saved adapter, not merged."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, adapter)


def about(adapter: Path, base_digest: str) -> dict:
    """The folder's ``adaptation.json``. InputError when there is none, or it names another base."""
    file = Path(adapter) / ABOUT
    if not file.is_file():
        raise InputError("no adapter in this folder", where=adapter, expected=ABOUT)
    facts = json.loads(file.read_text(encoding="utf-8"))
    if facts["base"] != f"sha256:{base_digest}":
        raise InputError(
            "this adapter was trained on another base model",
            where=adapter,
            expected=f"sha256:{base_digest}",
            given=facts["base"],
        )
    return facts


def write_tensors(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Safetensors in the order of the names."""
    from safetensors.torch import save_file

    plain = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    save_file(plain, file, metadata={"format": "pt"})


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file."""
    from safetensors.torch import load_file

    return load_file(file)


def write_json(file: Path, content: object) -> None:
    """Sorted keys, two-space indent, final newline: the same content gives the same bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str)
    file.write_text(text + "\n", encoding="utf-8")
