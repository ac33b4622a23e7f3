"""Rows at rest: a key per snapshot, so that destroying the key deletes the rows everywhere.

A file is encrypted in chunks with AES-256-GCM in the STREAM construction (Hoang, Reyhanitabar,
Rogaway, Vizár 2015): the nonce holds the chunk's number and whether it is the last, so chunks
can't be reordered, dropped or cut off. Every file has a key of its own, HKDF-SHA256 of the
snapshot's key and a random salt, so nonces never repeat under one key.

``header = "WBSTREAM1" ‖ salt (16)``, then chunks of 1 MiB plaintext + 16 bytes tag.
``keyed_digest`` (HMAC-SHA256) lets replay and reuse compare plaintexts without a guessable hash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from workbench.errors import InputError, IntegrityError
from workbench.record import clock, durable
from workbench.record.digest import canonical

MAGIC = b"WBSTREAM1"
CHUNK = 1 << 20
_SALT, _TAG = 16, 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Cipher:
    """Encryption with the keys in a store's private key folder."""

    def __init__(self, keys: Path) -> None:
        self._keys = Path(keys)

    def new_key(self, snapshot: str) -> None:
        """Make the key of a snapshot; InputError when it has or had one."""
        path = self._path(snapshot)
        if path.exists() or self._tomb(snapshot).exists():
            raise InputError("the snapshot has a key already, or had one", given=snapshot)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.create(path, secrets.token_bytes(32), 0o600)

    def exists(self, snapshot: str) -> bool:
        """Whether the snapshot's rows can be read here."""
        return self._path(snapshot).exists()

    def destroy(self, snapshot: str, reason: str) -> None:
        """Overwrite and remove the key; a note keeps when and why. Backups of keys are yours.

        Doing it twice is no error: deletion that was interrupted must be able to finish.
        """
        if not self._tomb(snapshot).exists():
            self._key(snapshot)
            note = canonical({"snapshot": snapshot, "destroyed": clock.now(), "reason": reason})
            durable.create(self._tomb(snapshot), note, 0o600)
        path = self._path(snapshot)
        if path.exists():
            path.write_bytes(bytes(32))
            durable.sync(path)
            path.unlink()
            durable.sync(path.parent)

    def encrypt(self, source: Path, target: Path, snapshot: str) -> None:
        """Write the ciphertext of a file to a new file."""
        header = MAGIC + secrets.token_bytes(_SALT)
        box = self._box(snapshot, header)
        with open(source, "rb") as plain, _new_file(target, 0o644) as sealed:
            sealed.write(header)
            for nonce, chunk in _chunks(plain, CHUNK):
                sealed.write(box.encrypt(nonce, chunk, header))

    def decrypt(self, source: Path, target: Path, snapshot: str) -> None:
        """Write the plaintext to a new file, mode 0600.

        IntegrityError (and no file) when a single bit is not as it was encrypted; InputError when
        the key was destroyed or is not here.
        """
        with _new_file(target, 0o600) as plain:
            plain.writelines(self._opened(source, snapshot))

    def read(self, source: Path, snapshot: str) -> bytes:
        """The plaintext in memory only, so that a process that dies leaves none on a disk.

        Raises what `decrypt` raises.
        """
        return b"".join(self._opened(source, snapshot))

    def _opened(self, source: Path, snapshot: str) -> Iterator[bytes]:
        """The plaintext chunk by chunk; none of it counts before the last one came."""
        with open(source, "rb") as sealed:
            header = sealed.read(len(MAGIC) + _SALT)
            if not header.startswith(MAGIC) or len(header) != len(MAGIC) + _SALT:
                raise IntegrityError("not an encrypted file", where=source)
            box = self._box(snapshot, header)
            try:
                for nonce, chunk in _chunks(sealed, CHUNK + _TAG):
                    yield box.decrypt(nonce, chunk, header)
            except InvalidTag as error:
                what = "the encrypted rows were changed, or are of another snapshot"
                raise IntegrityError(what, where=source, given=snapshot) from error

    def derive(self, snapshot: str, purpose: str) -> str:
        """A secret of the snapshot for one purpose, 32 bytes in hex; it goes when the key goes."""
        kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"workbench " + purpose.encode())
        return kdf.derive(self._key(snapshot)).hex()

    def keyed_digest(self, path: Path) -> str:
        """HMAC-SHA256 in hex of a file's SHA-256, with a key that only this store has."""
        with open(path, "rb") as data:
            return self._keyed(hashlib.file_digest(data, "sha256").digest())

    def keyed(self, data: bytes) -> str:
        """The same of bytes: equal for equal bytes in this store, and not to be guessed outside."""
        return self._keyed(hashlib.sha256(data).digest())

    def _keyed(self, content: bytes) -> str:
        file = self._keys / "digest.key"
        if not file.exists():
            try:
                durable.create(file, secrets.token_bytes(32), 0o600)
            except FileExistsError:  # another run was first
                pass
        return hmac.new(file.read_bytes(), content, "sha256").hexdigest()

    def _path(self, snapshot: str) -> Path:
        if not _NAME.fullmatch(snapshot):
            raise InputError(
                "not a snapshot name", given=snapshot, expected="letters, digits, _ . -"
            )
        return self._keys / "rows" / f"{snapshot}.key"

    def _tomb(self, snapshot: str) -> Path:
        return self._path(snapshot).with_suffix(".destroyed")

    def _key(self, snapshot: str) -> bytes:
        if self._tomb(snapshot).exists():
            raise InputError(
                "the rows were deleted: their key was destroyed",
                given=snapshot,
                where=self._tomb(snapshot),
            )
        try:
            return self._path(snapshot).read_bytes()
        except FileNotFoundError as error:
            raise InputError(
                "the key to these rows is not on this host",
                given=snapshot,
                where=self._path(snapshot),
            ) from error

    def _box(self, snapshot: str, header: bytes) -> AESGCM:
        info = b"workbench rows " + snapshot.encode()
        kdf = HKDF(algorithm=SHA256(), length=32, salt=header[len(MAGIC) :], info=info)
        return AESGCM(kdf.derive(self._key(snapshot)))


@contextmanager
def _new_file(path: Path, mode: int) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
    except BaseException:
        path.unlink()
        raise


def _chunks(file: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """(nonce, chunk) with the last one marked; an empty file is one empty last chunk."""
    number, chunk = 0, file.read(size)
    while True:
        following = file.read(size)
        last = not following
        yield number.to_bytes(11, "big") + bytes([last]), chunk
        if last:
            return
        number, chunk = number + 1, following
