"""How much each module of a base was changed by an adaptation, whatever the method was."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch

from workbench.methods.adapt import adapters
from workbench.methods.adapt.base import base_facts, load_model
from workbench.methods.adapt.classifier import HEAD

Pair = tuple[torch.Tensor | None, torch.Tensor]
"""A tensor before, where it is known, and after."""


def module_changes(base: Path, adapter: Path, reference: Path | None = None) -> pd.DataFrame:
    """One row a module: module, kind (the method, or ``head``), parameters that learned there,
    norm_base, norm_change (Frobenius norm of the merged weight less the base's, scaling included)
    and relative (their ratio).

    Biases count where a method scales or learns them. A classifier's head has no base: it is held
    against the head of `reference` (by default the folder of that name beside `adapter`), from
    which the training started; without it its norms are NaN. One module is compared at a time, in
    float64. Raises InputError for an adapter of another base.
    """
    base, adapter = Path(base), Path(adapter)
    method = adapters.about(adapter, base_facts(base)["weights"])["method"]
    headed = (adapter / HEAD).is_file()
    rows: list[dict] = []
    if method != "frozen":
        model = load_model(base, "encoder" if headed else "causal")
        if method == "full":
            rows += _stored(dict(model.named_parameters()), adapter / adapters.WHOLE, method)
        else:
            rows += _updates(model, adapter, method)
    if headed:
        start = (reference or adapter.with_name("reference")) / HEAD
        before = adapters.read_tensors(start) if start.is_file() else {}
        rows += _stored(before, adapter / HEAD, "head")
    return pd.DataFrame(rows)


def _stored(before: Mapping[str, torch.Tensor], after: Path, kind: str) -> Iterator[dict]:
    """Module by module of a file whose tensors have the names of those before."""
    from safetensors import safe_open

    with safe_open(after, framework="pt") as file:
        modules: dict[str, list[str]] = {}
        for name in sorted(file.keys()):
            modules.setdefault(name.rpartition(".")[0] or kind, []).append(name)
        for module, names in modules.items():
            pairs = [(before.get(name), file.get_tensor(name)) for name in names]
            size = sum(tensor.numel() for _, tensor in pairs)
            yield _row(module, kind, size, pairs)


@torch.no_grad()
def _updates(model: torch.nn.Module, adapter: Path, method: str) -> Iterator[dict]:
    """Module by module of a peft model: its update is merged and compared."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from safetensors import safe_open

    with safe_open(adapter / adapters.ADAPTER, framework="pt") as file:
        sizes = {name: math.prod(file.get_slice(name).get_shape()) for name in sorted(file.keys())}
    wrapped = adapters.attached(model, adapter)
    for name, layer in wrapped.get_base_model().named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        base = layer.double().get_base_layer()
        before = [parameter.clone() for parameter in base.parameters()]
        layer.merge()
        own = [size for of, size in sizes.items() if of.startswith(f"base_model.model.{name}.")]
        yield _row(name, method, sum(own), list(zip(before, base.parameters(), strict=True)))
        layer.float()


def _row(module: str, kind: str, size: int, pairs: list[Pair]) -> dict:
    known = all(before is not None for before, _ in pairs)
    base = change = math.nan
    if known:
        base = _norm([before for before, _ in pairs])
        change = _norm([after.double() - before.double() for before, after in pairs])
    return {
        "module": module,
        "kind": kind,
        "parameters": size,
        "norm_base": base,
        "norm_change": change,
        "relative": change / base if base else math.nan,
    }


def _norm(tensors: list[torch.Tensor]) -> float:
    """Frobenius norm of all of them together."""
    return math.sqrt(sum(tensor.double().square().sum().item() for tensor in tensors))
