"""The engine's signature: DSSE v1 envelopes, Ed25519, one key per store.

A key is named by the SHA-256 of its SubjectPublicKeyInfo (DER), which
``openssl pkey -pubin -outform DER | sha256sum`` prints as well. Public keys travel as PEM text.
"""

from __future__ import annotations

import copy
import hashlib
import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import CryptoSigner, SSlibKey

from workbench.errors import InputError, IntegrityError
from workbench.record import durable
from workbench.record.digest import read_canonical

STATEMENT_PAYLOAD = "application/vnd.in-toto+json"


class EngineKey:
    """The private key of one store; it never enters a kernel."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        public = private.public_key()
        self.public_pem = _pem(public)
        self.keyid = keyid(self.public_pem)
        self._private = private
        self._signer = CryptoSigner(private, SSlibKey.from_crypto(public, keyid=self.keyid))

    @classmethod
    def create(cls, path: Path) -> EngineKey:
        """Make a key and keep it in a new file, mode 0600; InputError when there is one."""
        key = cls.generate()
        key.keep(path)
        return key

    @classmethod
    def generate(cls) -> EngineKey:
        """A new key that no file holds yet."""
        return cls(Ed25519PrivateKey.generate())

    def keep(self, path: Path) -> None:
        """Write it to a new file, mode 0600; InputError when there is one."""
        try:
            durable.create(path, self._signer.private_bytes, 0o600)
        except FileExistsError as error:
            raise InputError("there is a key already, it is never replaced", where=path) from error

    @classmethod
    def load(cls, path: Path) -> EngineKey:
        """Read a key; InputError when it is missing, not Ed25519, or open to others."""
        try:
            data = path.read_bytes()
            mode = stat.S_IMODE(os.stat(path).st_mode)
        except OSError as error:
            raise InputError(
                "no private key of this store here: it can be read, but nothing can be recorded",
                where=path,
                expected="the key folder of whoever made the store",
                next_step="set WORKBENCH_KEYS, or make a store of your own",
            ) from error
        if mode & 0o077:
            raise InputError(
                "others can read the engine's private key",
                where=path,
                expected="mode 0600",
                given=f"mode {mode:04o}",
                next_step=f"chmod 600 {path}, and ask whether it was copied",
            )
        return cls(_private(data, path))

    def sign(self, payload: bytes, payload_type: str = STATEMENT_PAYLOAD) -> dict[str, Any]:
        """A DSSE envelope around a payload, as plain JSON data."""
        envelope = Envelope(payload, payload_type, {})
        envelope.sign(self._signer)
        return envelope.to_dict()

    def sign_raw(self, data: bytes) -> bytes:
        """A bare Ed25519 signature (64 bytes), for the ledger's checkpoints."""
        return self._private.sign(data)


def _private(data: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError("not a private key", where=path, expected="PKCS#8 PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError("not an Ed25519 key", where=path)
    return key


def _pem(public: Ed25519PublicKey) -> str:
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@lru_cache(maxsize=256)
def _public(pem: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("not a public key", given=pem[:60], expected="PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError("not an Ed25519 key", given=pem[:60])
    return key


def public_raw(pem: str) -> bytes:
    """The 32 bytes of an Ed25519 public key."""
    return _public(pem).public_bytes(Encoding.Raw, PublicFormat.Raw)


def keyid(pem: str) -> str:
    """The name of a public key: SHA-256 in hex of its SubjectPublicKeyInfo."""
    spki = _public(pem).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def verify_raw(pem: str, signature: bytes, data: bytes) -> bool:
    """Whether a bare Ed25519 signature over these bytes is of this key."""
    try:
        _public(pem).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def parse_envelope(data: bytes) -> dict[str, Any]:
    """A DSSE envelope from a file, which holds one canonical spelling: a byte more is refused."""
    envelope = read_canonical(data)
    try:
        if Envelope.from_dict(copy.deepcopy(envelope)).to_dict() == envelope:
            return envelope
    except (ValueError, KeyError, TypeError, AttributeError, SigningError) as error:
        raise IntegrityError("not a DSSE envelope", given=str(error).split("\n")[0]) from error
    raise IntegrityError("not the canonical spelling of a DSSE envelope")


def verify(
    envelope: dict[str, Any], public_keys: Iterable[str], payload_type: str = STATEMENT_PAYLOAD
) -> bytes:
    """The payload, when every signature of the envelope is of one of these keys.

    DSSE v1 asks for one good signature; here a signature nobody can check is refused too.
    """
    given = Envelope.from_dict(copy.deepcopy(envelope))
    if given.payload_type != payload_type:
        raise IntegrityError(
            "a signature for another use", expected=payload_type, given=given.payload_type
        )
    keys = [SSlibKey.from_crypto(_public(pem), keyid=keyid(pem)) for pem in public_keys]
    known = {key.keyid for key in keys}
    if not given.signatures or not set(given.signatures) <= known:
        raise IntegrityError(
            "signed with a key that is not known here",
            expected=" or ".join(sorted(name[:16] for name in known)) or "a public key",
            given=", ".join(name[:16] for name in given.signatures) or "no signature",
        )
    try:
        given.verify(keys, threshold=len(given.signatures))
    except SigningError as error:
        raise IntegrityError("the signature is not of these bytes") from error
    return given.payload
