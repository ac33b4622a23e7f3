from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from workbench.errors import InputError
from workbench.methods.adapt import adapters, training
from workbench.methods.adapt.base import base_facts, load_model
from workbench.methods.adapt.change import module_changes
from workbench.methods.adapt.options import CausalOptions


def adapted(base, out, method: str, by: float = 0.05, **given):
    """An adapter whose every learned parameter was moved by chance; its folder."""
    digest = base_facts(base)["weights"]
    training.deterministic(5, 1)
    options = CausalOptions(method=method, rank=2, last_layers=0, **given)
    model = adapters.adapted(load_model(base, "causal"), options, digest)
    with torch.no_grad():
        for parameter in adapters.trainable(model).values():
            parameter.add_(torch.randn(parameter.shape) * by)
    adapters.save_adapter(model, method, digest, out)
    return out


@pytest.mark.parametrize("method", ["lora", "dora", "ia3", "vera", "full"])
def test_norms_are_those_of_the_merged_weights(tiny_causal, tmp_path, method):
    """Each row is what evaluation would see: merged less base, for every method."""
    out = adapted(tiny_causal, tmp_path, method)
    table = module_changes(tiny_causal, out).set_index("module")
    base = load_model(tiny_causal, "causal")
    merged = adapters.load_adapter(
        load_model(tiny_causal, "causal"), out, base_facts(tiny_causal)["weights"]
    )
    then, now = (dict(model.named_parameters()) for model in (base, merged))
    changed = {name.rpartition(".")[0] for name in then if not torch.equal(then[name], now[name])}
    assert set(table.index) == changed and set(table["kind"]) == {method}
    for module, row in table.iterrows():
        before, after = then[f"{module}.weight"], now[f"{module}.weight"]
        assert row["norm_base"] == pytest.approx(before.norm().item(), rel=1e-5)
        assert row["norm_change"] == pytest.approx((after - before).norm().item(), rel=1e-3)
        assert row["relative"] == pytest.approx(row["norm_change"] / row["norm_base"])


def test_lora_change_is_the_scaled_product(tiny_causal, tmp_path):
    """B·A times alpha / rank, and as many parameters as the two matrices have."""
    out = adapted(tiny_causal, tmp_path, "lora", alpha=6.0, target_modules=("q_proj",))
    table = module_changes(tiny_causal, out).set_index("module")
    state = load_file(out / adapters.ADAPTER)
    assert len(table) == 2
    for module, row in table.iterrows():
        a, b = (state[f"base_model.model.{module}.lora_{x}.weight"].double() for x in "AB")
        assert row["norm_change"] == pytest.approx((3.0 * (b @ a)).norm().item(), rel=1e-9)
        assert row["parameters"] == a.numel() + b.numel()


def test_an_update_that_learned_nothing_changed_nothing(tiny_causal, tmp_path):
    """Fresh updates begin at the base: every norm is exactly zero."""
    table = module_changes(tiny_causal, adapted(tiny_causal, tmp_path, "lora", by=0.0))
    assert len(table) == 14 and (table["norm_change"] == 0).all() and (table["norm_base"] > 0).all()


def test_a_head_is_held_against_where_it_started(tiny_encoder, tmp_path):
    """A frozen base has one row, the head's; without the reference its norms are not numbers."""
    rows = [("a aa", "a"), ("b bb", "b"), ("aaa", "a"), ("bbb", "b")]
    import pandas as pd

    from workbench.methods.adapt.classifier import train_classifier

    table = pd.DataFrame(rows, columns=["text", "label"])
    out, options = tmp_path / "adapter", {"method": "frozen", "batch_size": 2, "epochs": 2}
    train_classifier(tiny_encoder, table, table, ["a", "b"], options, out,
                     reference=tmp_path / "reference")  # fmt: skip
    (row,) = module_changes(tiny_encoder, out).to_dict("records")
    assert (row["module"], row["kind"], row["parameters"]) == ("head", "head", 2 * 16 + 2)
    start, end = (load_file(tmp_path / d / "head.safetensors") for d in ("reference", "adapter"))
    moved = sum((end[name] - start[name]).square().sum().item() for name in end) ** 0.5
    assert row["norm_change"] == pytest.approx(moved, rel=1e-5) and moved > 0
    (row,) = module_changes(tiny_encoder, out, tmp_path / "nowhere").to_dict("records")
    assert row["norm_base"] != row["norm_base"] and row["norm_change"] != row["norm_change"]


def test_an_adapter_of_another_base_has_no_change_to_tell(tiny_causal, tmp_path):
    """Norms against the wrong base would be numbers without meaning."""
    out = adapted(tiny_causal, tmp_path, "lora")
    about = json.loads((out / adapters.ABOUT).read_text())
    (out / adapters.ABOUT).write_text(json.dumps(about | {"base": "sha256:" + "0" * 64}))
    with pytest.raises(InputError, match="another base"):
        module_changes(tiny_causal, out)
