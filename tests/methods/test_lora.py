from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from workbench.errors import InputError, RunError
from workbench.methods.adapt import lora
from workbench.methods.adapt.base import base_facts, load_model
from workbench.methods.adapt.causal import CausalOptions
from workbench.methods.adapt.classifier import ClassifierOptions


@pytest.fixture
def small(minilm):
    options = ClassifierOptions(rank=2, last_layers=1)
    lora.deterministic(1, 2)
    return lora.adapted(load_model(minilm, "encoder"), options, base_facts(minilm)["weights"])


def test_options_list_every_wrong_field():
    """Unknown names, wrong types and values out of bounds come in one message."""
    with pytest.raises(InputError) as caught:
        lora.checked(CausalOptions, {"rank": 0, "epochs": "many", "lerning_rate": 1e-3})
    assert all(name in caught.value.given for name in ("rank", "epochs", "lerning_rate"))


def test_only_the_update_is_trainable(small):
    """The base's own weights are frozen; the share of what learns is stated."""
    learns = [name for name, p in small.named_parameters() if p.requires_grad]
    assert learns and all("lora_" in name for name in learns)
    assert all("layer.5." in name for name in learns)  # last_layers=1
    share = lora.trainable(small)
    assert share["trainable"] < share["total"] * 0.01


def test_a_module_that_does_not_exist_is_refused(minilm):
    """A misspelt target would otherwise train nothing, or something else."""
    options = ClassifierOptions(target_modules=("query", "kez"))
    with pytest.raises(InputError) as caught:
        lora.adapted(load_model(minilm, "encoder"), options, "0" * 64)
    assert caught.value.given == "kez" and "query" in caught.value.expected


def test_adapter_files_are_stable_and_name_the_base_by_digest(small, minilm, tmp_path):
    """Sorted names and sets, no path of this host: the same state gives the same bytes."""
    state = lora.adapter_state(small)
    for name in ("one", "two"):
        lora.save_adapter(small, state, tmp_path / name)
    for name in (lora.ADAPTER, lora.ADAPTER_CONFIG):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    config = json.loads((tmp_path / "one" / lora.ADAPTER_CONFIG).read_text())
    assert config["target_modules"] == ["dense", "key", "query", "value"]
    assert config["base_model_name_or_path"] == f"sha256:{base_facts(minilm)['weights']}"
    assert str(minilm) not in json.dumps(config)
    assert set(load_file(tmp_path / "one" / lora.ADAPTER)) == set(state)


def test_saved_adapter_is_one_that_peft_loads(small, minilm, tmp_path):
    """The files are plain peft: merged, they give what the trained model gave."""
    with torch.no_grad():
        for name, parameter in small.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    ids = torch.tensor([[101, 2026, 4003, 102]])
    with torch.no_grad():
        expected = small.eval()(input_ids=ids).last_hidden_state
        lora.save_adapter(small, lora.adapter_state(small), tmp_path)
        digest = base_facts(minilm)["weights"]
        merged = lora.load_adapter(load_model(minilm, "encoder"), tmp_path, digest)
        assert torch.allclose(merged(input_ids=ids).last_hidden_state, expected, atol=1e-4)


def test_adapter_of_another_base_is_refused(small, minilm, tmp_path):
    """An adapter means nothing on weights that it was not trained on."""
    lora.save_adapter(small, lora.adapter_state(small), tmp_path)
    with pytest.raises(InputError, match="another base"):
        lora.load_adapter(load_model(minilm, "encoder"), tmp_path, "f" * 64)
    with pytest.raises(InputError, match="no adapter"):
        lora.load_adapter(load_model(minilm, "encoder"), minilm, "f" * 64)


def test_batches_hold_every_row_once_and_rows_of_like_length():
    """Bucketing loses no row, depends on the seed alone, and pads less than chance order."""
    lengths = [n % 37 + 1 for n in range(500)]

    def made(seed: int) -> list[list[int]]:
        return list(lora.length_batches(lengths, 16, torch.Generator().manual_seed(seed)))

    assert sorted(row for batch in made(1) for row in batch) == list(range(500))
    assert made(1) == made(1) != made(2)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in made(1))
    assert padded < sum(lengths) * 1.25


def test_a_loss_that_is_not_finite_stops_the_run():
    """A diverged run ends as broken; it does not save a model of NaN."""
    with pytest.raises(RunError, match="diverged"):
        lora.step(torch.tensor(float("nan")), None, None, 1.0)
