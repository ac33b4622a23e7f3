"""JSON Signature Format: one embedded Ed25519 signature over the whole document."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from workbench.errors import InputError, IntegrityError
from workbench.record import jsf
from workbench.record.signing import EngineKey

# JSF's published test vector ed25519#ed25519@jwk (github.com/cyberphone/openkeystore, testdata)
VECTOR = {
    "now": "2019-02-10T11:23:06Z",
    "name": "Joe",
    "id": 2200063,
    "signature": {
        "algorithm": "Ed25519",
        "publicKey": {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "_kms9bkrbpI1lPLoM2j2gKySS-k89TOuyvgC43dX-Mk",
        },
        "value": "UtN9-gMgTkfAdBJRX4gi0s6iKYiilO5EmXRD4KRSEnPKo5Og1ltbGYZecdJqKphCXkboIE_pecfszHEQXeqqDA",
    },
}


@pytest.fixture
def key(tmp_path):
    return EngineKey.create(tmp_path / "engine.pem")


def vector_key() -> str:
    raw = base64.urlsafe_b64decode(VECTOR["signature"]["publicKey"]["x"] + "=")
    public = Ed25519PublicKey.from_public_bytes(raw)
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def changed(document: dict, **members) -> dict:
    return document | {"signature": document["signature"] | members}


def test_the_published_vector_verifies():
    """What another implementation of JSF signed is accepted: our bytes are its bytes."""
    jsf.verify(VECTOR, [vector_key()])
    with pytest.raises(IntegrityError, match="changed"):
        jsf.verify(VECTOR | {"id": 2200064}, [vector_key()])


def test_a_signed_document_verifies_and_keeps_its_content(key):
    """Signing adds one member; the order of members is no content."""
    document = {"b": [1, 2.5, "ü"], "a": None}
    signed = jsf.sign(document, key)
    assert {name: signed[name] for name in document} == document
    jsf.verify(dict(reversed(signed.items())), [key.public_pem])


@pytest.mark.parametrize(
    "change", [{"n": 2}, {"more": 1}, {"n": "1"}], ids=["value", "member", "type"]
)
def test_a_changed_document_is_refused(key, change):
    """A value, a further member or another type: IntegrityError."""
    signed = jsf.sign({"n": 1}, key)
    with pytest.raises(IntegrityError, match="changed"):
        jsf.verify(signed | change, [key.public_pem])


def test_a_removed_signature_is_refused(key):
    """An unsigned document is not one that nobody objects to."""
    with pytest.raises(IntegrityError, match="not signed"):
        jsf.verify({"n": 1}, [key.public_pem])


def test_the_key_of_another_store_is_refused(key, tmp_path):
    """The key in the document is a claim; only a key that the reader holds counts."""
    other = EngineKey.create(tmp_path / "other.pem")
    with pytest.raises(IntegrityError, match="key that is not known"):
        jsf.verify(jsf.sign({"n": 1}, other), [key.public_pem])
    forged = changed(
        jsf.sign({"n": 1}, other), publicKey=jsf.sign({}, key)["signature"]["publicKey"]
    )
    with pytest.raises(IntegrityError):
        jsf.verify(forged, [key.public_pem])


@pytest.mark.parametrize("member", [{"excludes": ["n"]}, {"keyId": "x"}, {"algorithm": "HS256"}])
def test_what_would_leave_bytes_unsigned_is_refused(key, member):
    """`excludes`, further members and other algorithms are not ours."""
    with pytest.raises(IntegrityError):
        jsf.verify(changed(jsf.sign({"n": 1}, key), **member), [key.public_pem])


def test_a_signature_has_one_spelling(key):
    """Padding, other alphabets or other trailing bits: a second value for the same bytes."""
    signed = jsf.sign({"n": 1}, key)
    value = signed["signature"]["value"]
    other = chr(ord(value[-1]) + 1)
    for spelling in (value + "==", value[:-1] + other, "*" * 86, 5, "é"):
        with pytest.raises(IntegrityError):
            jsf.verify(changed(signed, value=spelling), [key.public_pem])


def test_a_document_is_signed_once(key):
    """Signing again would replace what somebody relied on."""
    with pytest.raises(InputError, match="signed already"):
        jsf.sign(jsf.sign({}, key), key)
