"""What the base stage shows: the model taken in as declared, its facts, and what is refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError
from ..stage import Stage
from .base import take_in


def take_in_declared(stage: Stage) -> dict[str, Any]:
    """Bring the source that the engine laid out into `outputs/model`; the facts of `base.json`."""
    declared = stage.read_json("usecase")
    source = stage.input("source")
    folder = source if source.is_dir() else source.parent
    facts = take_in(
        f"folder:{folder}",
        stage.outputs / "model",
        revision=declared["revision"],
        licence=declared["licence"],
    )
    facts |= {"name": declared["name"], "source": declared["source"]}
    stage.write_json("model/base.json", facts)
    stage.figure("parameters", int(facts["parameters"]))
    return facts


def facts_table(facts: dict[str, Any]) -> pd.DataFrame:
    """One row a fact; the notes are shown apart."""
    shown = {name: value for name, value in facts.items() if name != "notes"}
    return pd.DataFrame({"value": shown}).rename_axis("fact")


def refusals(stage: Stage) -> list[str]:
    """The refusal of a copy with a pickle file, and of one that asks to run remote code."""
    config = json.loads((stage.outputs / "model" / "config.json").read_text(encoding="utf-8"))
    remote = config | {"auto_map": {"AutoModel": "modeling.Custom"}}
    return [
        _refused({"config.json": json.dumps(config), "pytorch_model.bin": "pickle"}),
        _refused({"config.json": json.dumps(remote)}),
    ]


def _refused(files: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.mkdir()
        for name, content in files.items():
            (source / name).write_text(content, encoding="utf-8")
        try:
            take_in(f"folder:{source}", Path(folder, "out"), licence="none")
        except InputError as refusal:
            return f"✓ refused: {refusal.what} ({refusal.given})"
    raise AssertionError(f"{', '.join(files)} was taken in")
