"""Bundles of tiny models, as the engine freezes them: a classifier's and a generative one's."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from workbench.methods.adapt.causal import train_causal
from workbench.methods.adapt.classifier import train_classifier
from workbench.record.digest import canonical, file_digest, tree

LABELS = ["access", "card", "fees"]
FORM = {"fields": [{"name": "queue", "values": ["a", "b"]}, {"name": "rule", "values": ["c", "d"]}],
        "free": "reply", "system": "s"}  # fmt: skip
QUICK = {"epochs": 1, "batch_size": 4, "rank": 2}


class Served(NamedTuple):
    """What a server is told to load."""

    folder: Path
    base: Path
    digest: str
    """SHA-256 of the manifest."""


def frozen(folder: Path, base: Path, usecase: dict, **settings: Any) -> Served:
    """The parts of a bundle that answering takes around the `adapter` in `folder`, and a
    manifest over them."""
    (folder / "inference").mkdir(exist_ok=True)
    (folder / "usecase.json").write_bytes(canonical({"id": "tiny", **usecase}))
    asked = {"threads": 1, "temperatures": {}} | settings
    (folder / "inference/settings.json").write_bytes(canonical(asked))
    shutil.copyfile(base / "base.json", folder / "base.json")
    manifest = {
        "version": 1, "usecase": "tiny", "name": "tiny", "number": 1, "parent": None,
        "files": [{"path": e.path, "size": e.size, "sha256": e.sha256} for e in tree(folder)],
        "records": [], "made_from": {},
    }  # fmt: skip
    (folder / "manifest.json").write_bytes(canonical(manifest))
    return Served(folder, base, file_digest(folder / "manifest.json"))


def router(folder: Path, base: Path, rows: pd.DataFrame, seed: int = 3) -> Served:
    """A tiny classifier with a temperature of 2."""
    options = QUICK | {"seed": seed, "target_modules": ["query"]}
    train_classifier(base, rows, rows, LABELS, options, folder / "adapter")
    return frozen(folder, base, {"kind": "classifier"}, temperatures={"label": 2.0})


def writer(folder: Path, base: Path, seed: int = 3) -> Served:
    """A tiny generative model that fills in a form of two fields and a reply of 3 tokens."""
    rows = pd.DataFrame({"prompt": ["x", "y"], "completion": ["a", "b"]})
    options = QUICK | {"seed": seed, "target_modules": ["q_proj"], "max_length": 16}
    train_causal(base, rows, rows, options, folder / "adapter")
    kind = {"kind": "generative", "form": FORM}
    return frozen(folder, base, kind, reply_tokens=3, temperatures={"reason": 5.0})


@pytest.fixture(scope="session")
def served_router(tiny_encoder, rows, tmp_path_factory) -> Served:
    return router(tmp_path_factory.mktemp("served_router"), tiny_encoder, rows)


@pytest.fixture(scope="session")
def served_writer(tiny_causal, tmp_path_factory) -> Served:
    return writer(tmp_path_factory.mktemp("served_writer"), tiny_causal)
