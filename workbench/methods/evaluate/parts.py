"""Finished batches of an evaluation on disk, so that a killed run goes on instead of beginning anew.

Each is a Parquet file in the folder that the engine keeps for the stage. Rows of persons are
encrypted there (AES-256-GCM) with a key drawn from the snapshot's, and can be forgotten with it.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pandas as pd
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ...errors import IntegrityError
from ...record import durable
from ...record.digest import digest
from ..stage import Stage

NONCE = 12  # bytes


class Parts:
    """Parts by number; one without a folder keeps nothing and finds nothing."""

    def __init__(self, folder: Path | None = None, key: bytes | None = None) -> None:
        self.folder = folder
        self.box = AESGCM(_derived(key)) if key else None

    @classmethod
    def of(cls, stage: Stage, *facts: Any) -> Parts:
        """Those of one evaluation in a stage, told from others by `facts` (JSON)."""
        if stage.checkpoints is None:
            return cls()
        name = f"answers-{stage.digest_of(digest(list(facts)))[:32]}"
        return cls(stage.checkpoints / name, stage.key if stage.masked else None)

    def read(self, number: int) -> pd.DataFrame | None:
        """The rows of a part; None when it was not finished. IntegrityError for changed bytes."""
        path = self._path(number)
        if path is None or not path.is_file():
            return None
        data = path.read_bytes()
        try:
            if self.box:
                data = self.box.decrypt(data[:NONCE], data[NONCE:], path.name.encode())
            return pd.read_parquet(io.BytesIO(data))
        except (InvalidTag, ValueError, OSError) as cause:
            what, given = "a part of an unfinished evaluation can't be read", cause or "other bytes"
            step = "delete the checkpoint's folder, so that the evaluation begins anew"
            raise IntegrityError(what, where=path.name, given=given, next_step=step) from cause

    def write(self, number: int, rows: pd.DataFrame) -> None:
        """Keep a part; it is there whole or not at all."""
        path = self._path(number)
        if path is None:
            return
        data = rows.to_parquet(index=True)
        if self.box:
            nonce = os.urandom(NONCE)
            data = nonce + self.box.encrypt(nonce, data, path.name.encode())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.replace(path, data, 0o600)

    def _path(self, number: int) -> Path | None:
        return self.folder / f"{number:06d}.part" if self.folder else None


def _derived(key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"workbench parts").derive(key)
