"""A bundle signed in the format of OpenSSF model-signing, so that other tools verify it too.

A Sigstore bundle v0.3 around a DSSE envelope, whose in-toto statement lists every file by digest
(predicate ``https://model_signing/signature/v1.0``, method ``files``). That format has no Ed25519,
so a store gets a P-256 key beside its engine key; the ledger, which the engine key signs, says
that it is the store's.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from ...errors import InputError, IntegrityError
from ...record import durable
from ...record.digest import Entry, canonical
from ...record.signing import STATEMENT_PAYLOAD
from ...record.store import Store

KIND, PURPOSE = "identity", "model-signing"
PREDICATE = "https://model_signing/signature/v1.0"
MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
UNSEEN = {".git", ".gitattributes", ".github", ".gitignore"}
"""What `model_signing verify` passes over at the top of a model unless told otherwise."""


def sign(store: Store, name: str, files: Sequence[Entry]) -> tuple[bytes, str]:
    """The signature over these files, as ``model.sig`` holds it, and the public key (PEM).

    InputError for a file that the other tools would not look at.
    """
    unseen = sorted({one.path.split("/")[0] for one in files} & UNSEEN)
    if unseen:
        raise InputError("Not signed: model-signing passes over this name.", given=unseen[0],
                         next_step="Leave it out of the bundle, or rename it.")  # fmt: skip
    private = _key(store)
    payload = canonical(_statement(name, files))
    pae = b"DSSEv1 %d %b %d %b" % (
        len(STATEMENT_PAYLOAD), STATEMENT_PAYLOAD.encode(), len(payload), payload,
    )  # fmt: skip
    signature = private.sign(pae, ec.ECDSA(hashes.SHA256()))
    public = _pem(private)
    bundle = {
        "mediaType": MEDIA,
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public.encode()).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": b64encode(payload).decode(),
            "payloadType": STATEMENT_PAYLOAD,
            "signatures": [{"sig": b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return canonical(bundle), public


def _statement(name: str, files: Sequence[Entry]) -> dict[str, Any]:
    """in-toto Statement v1; the subject's digest is over the resources' digests in their order."""
    ordered = sorted(files, key=lambda one: PurePosixPath(one.path))
    whole = hashlib.sha256(b"".join(bytes.fromhex(one.sha256) for one in ordered)).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [
                {"name": one.path, "algorithm": "sha256", "digest": one.sha256} for one in ordered
            ],
        },
    }


def _key(store: Store) -> ec.EllipticCurvePrivateKey:
    """The store's P-256 key, made when there is none; IntegrityError unless the ledger knows it."""
    _ = store.key  # only the host that may sign for the store gets a second key
    path = store.keys / "model-signing.pem"
    with store.making():
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
            )
            durable.create(path, made, 0o600)
        private = form.load_pem_private_key(path.read_bytes(), password=None)
        known = [e.body.get("public_key") for e in store.ledger.entries(KIND)]
        if not known:
            store.ledger.append(KIND, {"purpose": PURPOSE, "public_key": _pem(private)})
        elif _pem(private) not in known:
            raise IntegrityError("The key for model-signing is not the one in the ledger.",
                                 where=path, next_step="Find out who replaced it.")  # fmt: skip
    return private


def _pem(private: ec.EllipticCurvePrivateKey) -> str:
    public = private.public_key()
    return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
