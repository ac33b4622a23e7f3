"""The engine's key and DSSE envelopes."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workbench.errors import InputError, IntegrityError
from workbench.record import signing
from workbench.record.digest import canonical
from workbench.record.signing import EngineKey


@pytest.fixture
def key(tmp_path):
    return EngineKey.create(tmp_path / "engine.pem")


def test_rfc8032_test_1(tmp_path):
    """RFC 8032 §7.1 test 1: our bare signature over nothing is the published one."""
    secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    key = EngineKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    assert signing.public_raw(key.public_pem).hex() == (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    )
    assert key.sign_raw(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb88215"
        "90a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_the_envelope_signs_the_pre_authentication_encoding(key):
    """DSSE v1: the signature is over PAE(type, payload), with lengths in bytes."""
    envelope = key.sign(b"hello world", "http://example.com/HelloWorld")
    pae = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert signing.verify_raw(key.public_pem, signature, pae)


def test_a_signed_payload_comes_back(key):
    """What was signed is what verification returns."""
    assert signing.verify(key.sign(b"payload"), [key.public_pem]) == b"payload"


def test_key_id_is_what_openssl_computes(key):
    """The id of a key is SHA-256 of its SubjectPublicKeyInfo."""
    der = base64.b64decode("".join(key.public_pem.split("\n")[1:-2]))
    assert key.keyid == hashlib.sha256(der).hexdigest()


def test_the_private_key_is_for_its_owner_only(key, tmp_path):
    """Mode 0600 when made; a key that others can read is refused when loaded."""
    path = tmp_path / "engine.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert EngineKey.load(path).public_pem == key.public_pem
    path.chmod(0o640)
    with pytest.raises(InputError, match="others can read"):
        EngineKey.load(path)


def test_a_key_is_never_replaced(key, tmp_path):
    """Making a key where there is one: InputError, and the old one stays."""
    with pytest.raises(InputError, match="a key already"):
        EngineKey.create(tmp_path / "engine.pem")
    assert EngineKey.load(tmp_path / "engine.pem").keyid == key.keyid


def test_only_an_ed25519_key_is_loaded(tmp_path):
    """A missing file, no PEM, or a key of another kind: InputError."""
    other = tmp_path / "other.pem"
    with pytest.raises(InputError, match="no private key"):
        EngineKey.load(other)
    other.write_text("nonsense")
    other.chmod(0o600)
    with pytest.raises(InputError, match="not a private key"):
        EngineKey.load(other)
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    other.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    with pytest.raises(InputError, match="not an Ed25519 key"):
        EngineKey.load(other)


def _other_payload(envelope):
    envelope["payload"] = base64.b64encode(b"other").decode()


def _other_type(envelope):
    envelope["payloadType"] = "text/plain"


def _other_id(envelope):
    envelope["signatures"][0]["keyid"] = "0" * 64


def _no_signature(envelope):
    envelope["signatures"] = []


def _second_unknown(envelope):
    envelope["signatures"].append({**envelope["signatures"][0], "keyid": "0" * 64})


@pytest.mark.parametrize(
    "change", [_other_payload, _other_type, _other_id, _no_signature, _second_unknown]
)
def test_a_changed_envelope_is_refused(key, change):
    """Another payload, type or key id, no signature, or one that nobody can check."""
    envelope = key.sign(b"payload")
    change(envelope)
    with pytest.raises(IntegrityError):
        signing.verify(envelope, [key.public_pem])


def test_another_key_does_not_verify(key, tmp_path):
    """A good signature of a key that is not trusted: IntegrityError."""
    other = EngineKey.create(tmp_path / "other.pem")
    with pytest.raises(IntegrityError, match="not known here"):
        signing.verify(other.sign(b"payload"), [key.public_pem])
    with pytest.raises(IntegrityError, match="not known here"):
        signing.verify(key.sign(b"payload"), [])


def test_an_envelope_has_one_spelling(key):
    """A file with a space, an extra field or loose base64 is refused before any cryptography."""
    good = canonical(key.sign(b"payload"))
    assert signing.parse_envelope(good)
    envelope = key.sign(b"payload")
    envelope["signatures"][0]["sig"] = _loose(envelope["signatures"][0]["sig"])
    loose = canonical(envelope)
    extra = canonical({**key.sign(b"payload"), "extra": 1})
    for bad in (good + b" ", loose, extra, good[:-1], b"[]", b"{}", b"1"):
        with pytest.raises(IntegrityError):
            signing.parse_envelope(bad)


def _loose(text):
    """The same 64 bytes in base64 with other unused bits."""
    last = text.rstrip("=")[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    changed = alphabet[alphabet.index(last) ^ 1]
    loose = text.rstrip("=")[:-1] + changed + "=" * (len(text) - len(text.rstrip("=")))
    assert base64.b64decode(loose) == base64.b64decode(text)
    return loose
