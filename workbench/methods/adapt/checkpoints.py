"""One file from which a killed training goes on: tensors as safetensors, all else as JSON in its
header. It is written beside itself and renamed, so that it is always whole; nothing is pickled."""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from workbench.errors import InputError, IntegrityError
from workbench.record.digest import digest, file_digest

FILE = "checkpoint.safetensors"
CODE = ("adapters", "base", "causal", "classifier", "encoder", "options", "training")
"""Modules of this package on which the bytes of an adapter depend."""
LIBRARIES = ("torch", "transformers", "peft", "accelerate")


class Checkpoint:
    """The last state of a training in `folder`, for runs with the same `facts`; without a folder
    it keeps nothing."""

    def __init__(self, folder: Path | None, facts: dict[str, Any], every_s: float) -> None:
        self.path = folder / FILE if folder else None
        self.facts = json.loads(json.dumps(facts))  # tuples become lists, as when read back
        self.every_s = every_s
        self.written = time.monotonic()

    @property
    def due(self) -> bool:
        """Has it been long enough since the last one?"""
        return self.path is not None and time.monotonic() - self.written >= self.every_s

    def write(self, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Replace the last one at once, on disk before it has the name."""
        from safetensors.torch import save_file

        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        header = {"facts": json.dumps(self.facts), "state": json.dumps(state)}
        save_file(plain, partial, metadata=header)
        _flush(partial)
        partial.replace(self.path)
        _flush(self.path.parent)
        self.written = time.monotonic()

    def read(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """(tensors, state) of the last one, None when there is none.

        Raises InputError naming each fact in which it differs from this run, and IntegrityError
        when it can't be read; neither is ever passed over.
        """
        from safetensors import SafetensorError, safe_open

        if self.path is None or not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                header = {name: json.loads(text) for name, text in file.metadata().items()}
                self._require_same(header["facts"])
                names = list(file.keys())
                return {name: file.get_tensor(name) for name in names}, header["state"]
        except (SafetensorError, ValueError, KeyError, AttributeError) as cause:
            raise IntegrityError(
                "the checkpoint can't be read",
                where=self.path,
                given=cause,
                next_step="delete the file, so that the training starts anew",
            ) from cause

    def _require_same(self, found: dict[str, Any]) -> None:
        names = [
            name for name in {**self.facts, **found} if self.facts.get(name) != found.get(name)
        ]
        if names:
            raise InputError(
                "the checkpoint belongs to another training",
                where=self.path,
                expected=", ".join(f"{name} {found.get(name)}" for name in names),
                given=", ".join(f"{name} {self.facts.get(name)}" for name in names),
                next_step="run with what it expects to go on, or delete the file to start anew",
            )

    def remove(self) -> None:
        """Forget it: the training it belonged to is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def code_digest() -> str:
    """Digest of the modules that train and the versions of the libraries that compute."""
    own = {name: file_digest(Path(__file__).with_name(f"{name}.py")) for name in CODE}
    return digest([own, {name: version(name) for name in LIBRARIES}])


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
