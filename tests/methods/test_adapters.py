from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from workbench.errors import InputError
from workbench.methods.adapt import adapters, options, training
from workbench.methods.adapt.base import base_facts, load_model
from workbench.methods.adapt.options import CausalOptions, ClassifierOptions


@pytest.fixture
def small(minilm):
    given = ClassifierOptions(rank=2, last_layers=1)
    training.deterministic(1, 2)
    return adapters.adapted(load_model(minilm, "encoder"), given, base_facts(minilm)["weights"])


def test_options_list_every_wrong_field():
    """Unknown names, wrong types and values out of bounds come in one message."""
    with pytest.raises(InputError) as caught:
        options.checked(CausalOptions, {"rank": 0, "epochs": "many", "lerning_rate": 1e-3})
    assert all(name in caught.value.given for name in ("rank", "epochs", "lerning_rate"))


def test_only_the_update_is_trainable(small):
    """The base's own weights are frozen; the share of what learns is stated."""
    learns = [name for name, p in small.named_parameters() if p.requires_grad]
    assert learns and all("lora_" in name for name in learns)
    assert all("layer.5." in name for name in learns)  # last_layers=1
    share = adapters.share(small)
    assert share["trainable"] < share["total"] * 0.01


def test_a_module_that_does_not_exist_is_refused(minilm):
    """A misspelt target would otherwise train nothing, or something else."""
    given = ClassifierOptions(target_modules=("query", "kez"))
    with pytest.raises(InputError) as caught:
        adapters.adapted(load_model(minilm, "encoder"), given, "0" * 64)
    assert caught.value.given == "kez" and "query" in caught.value.expected


def test_adapter_files_are_stable_and_name_the_base_by_digest(small, minilm, tmp_path):
    """Sorted names and sets, no path of this host: the same state gives the same bytes."""
    digest = base_facts(minilm)["weights"]
    for name in ("one", "two"):
        adapters.save_adapter(small, "lora", digest, tmp_path / name)
    for name in (adapters.ADAPTER, adapters.ADAPTER_CONFIG, adapters.ABOUT):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    config = json.loads((tmp_path / "one" / adapters.ADAPTER_CONFIG).read_text())
    assert config["target_modules"] == ["dense", "key", "query", "value"]
    assert config["base_model_name_or_path"] == f"sha256:{digest}"
    assert str(minilm) not in json.dumps(config)
    state = load_file(tmp_path / "one" / adapters.ADAPTER)
    assert state and all("lora_" in name for name in state)


def test_saved_adapter_is_one_that_peft_loads(small, minilm, tmp_path):
    """The files are plain peft: merged, they give what the trained model gave."""
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    ids = torch.tensor([[101, 2026, 4003, 102]])
    with torch.no_grad():
        expected = small.eval()(input_ids=ids).last_hidden_state
        digest = base_facts(minilm)["weights"]
        adapters.save_adapter(small, "lora", digest, tmp_path)
        merged = adapters.load_adapter(load_model(minilm, "encoder"), tmp_path, digest)
        assert torch.allclose(merged(input_ids=ids).last_hidden_state, expected, atol=1e-4)


def test_adapter_of_another_base_is_refused(small, minilm, tmp_path):
    """An adapter means nothing on weights that it was not trained on."""
    adapters.save_adapter(small, "lora", "0" * 64, tmp_path)
    with pytest.raises(InputError, match="another base"):
        adapters.load_adapter(load_model(minilm, "encoder"), tmp_path, "f" * 64)
    with pytest.raises(InputError, match="no adapter"):
        adapters.load_adapter(load_model(minilm, "encoder"), minilm, "f" * 64)


METHODS = {"lora": "lora_", "dora": "lora_", "ia3": "ia3_", "vera": "vera_lambda", "full": ""}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_saved_and_merged_back(tiny_encoder, tmp_path, method):
    """What was trained is what is evaluated: the merged model gives the trained model's vectors."""
    digest = base_facts(tiny_encoder)["weights"]
    given = ClassifierOptions(method=method, rank=4)
    training.deterministic(1, 1)
    base = load_model(tiny_encoder, "encoder")
    model = adapters.adapted(load_model(tiny_encoder, "encoder"), given, digest)
    learns = adapters.trainable(model)
    assert learns and all(METHODS[method] in name for name in learns)
    assert not any("pooler" in name for name in learns)
    ids = torch.tensor([[1, 5, 9, 2]])
    with torch.no_grad():
        for parameter in learns.values():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        expected = model.eval()(input_ids=ids).last_hidden_state
        adapters.save_adapter(model, method, digest, tmp_path)
        merged = adapters.load_adapter(load_model(tiny_encoder, "encoder"), tmp_path, digest)
        found = merged(input_ids=ids).last_hidden_state
        assert torch.allclose(found, expected, atol=1e-5)
        assert not torch.allclose(found, base(input_ids=ids).last_hidden_state, atol=1e-3)
    assert not any(hasattr(module, "lora_A") for module in merged.modules())


def test_whole_weights_of_another_architecture_are_refused(tiny_encoder, tmp_path):
    """A whole model must hold every weight and no other: none stays as the base's in silence."""
    digest, given = base_facts(tiny_encoder)["weights"], ClassifierOptions(method="full")
    model = adapters.adapted(load_model(tiny_encoder, "encoder"), given, digest)
    adapters.save_adapter(model, "full", digest, tmp_path)
    state = load_file(tmp_path / adapters.WHOLE)
    lost = sorted(state)[3]
    adapters.write_tensors(tmp_path / adapters.WHOLE, {n: state[n] for n in state if n != lost})
    with pytest.raises(InputError, match="not the weights") as caught:
        adapters.load_adapter(load_model(tiny_encoder, "encoder"), tmp_path, digest)
    assert caught.value.given == [lost]


def test_options_that_a_method_does_not_read_are_not_among_its_own():
    """IA3 has no rank, VeRA no alpha, a frozen base no rate of its own; LoRA reads all."""
    read = {m: set(ClassifierOptions(method=m).read) for m in options.READ}
    every = set(ClassifierOptions.model_fields)
    assert read["lora"] == read["dora"] == every
    assert every - read["vera"] == {"alpha"}
    assert every - read["ia3"] == {"rank", "alpha", "dropout", "last_layers"}
    assert every - read["full"] == options.UPDATE
    assert every - read["frozen"] == options.UPDATE | {"learning_rate"}


def test_a_frozen_base_without_a_head_is_no_method():
    """A causal model has no head: nothing would learn."""
    with pytest.raises(InputError) as caught:
        options.checked(CausalOptions, {"method": "frozen"})
    assert "method" in caught.value.given
