"""JSON Signature Format (JSF 0.82), as CycloneDX embeds it: one Ed25519 signature in a document.

Signed are the RFC 8785 canonical bytes of the whole document, with a `signature` that holds all
its members but `value` (JSF section 7, https://cyberphone.github.io/doc/security/jsf.html).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from workbench.errors import InputError, IntegrityError
from workbench.record.digest import canonical
from workbench.record.signing import EngineKey, public_raw, verify_raw


def sign(document: dict[str, Any], key: EngineKey) -> dict[str, Any]:
    """A copy of the document with its signature; InputError when it has one already."""
    if "signature" in document:
        raise InputError("the document is signed already", expected="one signature")
    header = _header(key.public_pem)
    value = key.sign_raw(canonical(document | {"signature": header}))
    return document | {"signature": header | {"value": _text(value)}}


def verify(document: dict[str, Any], public_keys: Iterable[str]) -> None:
    """IntegrityError unless the document is signed, unchanged, by one of these keys (PEM).

    Lists of signers, `excludes` and whatever else JSF allows are refused: `sign` writes none.
    """
    signature = document.get("signature")
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "publicKey", "value"}:
        raise IntegrityError("the document is not signed as we sign", expected="one signature")
    header = {name: signature[name] for name in ("algorithm", "publicKey")}
    signer = next((pem for pem in public_keys if header == _header(pem)), None)
    if signer is None:
        raise IntegrityError("signed with a key that is not known here")
    try:
        value = urlsafe_b64decode(f"{signature['value']}==")
    except ValueError:
        value = b""
    data = canonical(document | {"signature": header})
    # a second spelling of the same value would be a second document
    if _text(value) != signature["value"] or not verify_raw(signer, value, data):
        raise IntegrityError("the document was changed after it was signed")


def _header(pem: str) -> dict[str, Any]:
    """All of a signature but its value; the key as RFC 8037 section 2 writes it."""
    key = {"kty": "OKP", "crv": "Ed25519", "x": _text(public_raw(pem))}
    return {"algorithm": "Ed25519", "publicKey": key}


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
