"""People sign with SSH keys; the keyring says whose key, for what, and until when."""

from __future__ import annotations

import sys
import types

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.record import person as signing
from workbench.record.keyring import Keyring

NOW = "2025-06-01T00:00:00Z"
STATEMENT = {"approves": "0" * 64, "because": "ü"}


@pytest.fixture
def approval(ssh_keys):
    return signing.sign(STATEMENT, "approve@workbench", ssh_keys["ada"])


def test_a_signed_statement_names_the_person(approval, ring):
    """The signature leads to the person whose key it is."""
    assert signing.verify(approval, ring, "approve@workbench", NOW).name == "Ada"


def test_a_namespace_is_a_meaning(approval, ring):
    """What was signed to approve is refused as a classification, also when relabelled."""
    with pytest.raises(IntegrityError, match="another meaning"):
        signing.verify(approval, ring, "classify@workbench", NOW)
    relabelled = {**approval, "namespace": "classify@workbench"}
    with pytest.raises(IntegrityError, match="not of this statement"):
        signing.verify(relabelled, ring, "classify@workbench", NOW)


def test_another_statement_under_the_signature_is_refused(approval, ring):
    """A forged statement with somebody's real signature: IntegrityError."""
    forged = {**approval, "statement": {**STATEMENT, "approves": "1" * 64}}
    with pytest.raises(IntegrityError, match="not of this statement"):
        signing.verify(forged, ring, "approve@workbench", NOW)


def test_another_persons_name_on_a_signature_is_refused(approval, ring, ssh_keys):
    """Eve signs and claims Ada's key; or Eve is nobody here at all."""
    eve = signing.sign(STATEMENT, "approve@workbench", ssh_keys["eve"])
    with pytest.raises(IntegrityError, match="not in the keyring"):
        signing.verify(eve, ring, "approve@workbench", NOW)
    with pytest.raises(IntegrityError, match="not of this statement"):
        claimed = {**eve, "public_key": approval["public_key"]}
        signing.verify(claimed, ring, "approve@workbench", NOW)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ({"valid_from": "2025-07-01T00:00:00Z"}, "not valid before"),
        ({"valid_until": "2025-05-01T00:00:00Z"}, "expired"),
        ({"revoked": {"at": "2025-05-01T00:00:00Z", "reason": "lost laptop"}}, "lost laptop"),
        ({"namespaces": ("classify@workbench",)}, "not for approve@workbench"),
    ],
)
def test_a_key_that_does_not_count_is_refused_with_the_reason(approval, person, key, reason):
    """Not valid yet, expired, revoked, or not meant for this."""
    ring = Keyring().add(person(**key))
    with pytest.raises(IntegrityError, match=reason):
        signing.verify(approval, ring, "approve@workbench", NOW)


def test_revoking_acts_from_its_time_on(approval, person):
    """What was signed before the revocation stays signed."""
    revoked = {"at": "2025-05-01T00:00:00Z", "reason": "left"}
    ring = Keyring().add(person(revoked=revoked))
    before = "2025-04-30T23:59:59Z"
    assert signing.verify(approval, ring, "approve@workbench", before).id == "ada"


@pytest.mark.parametrize("field", ["statement", "namespace", "public_key", "signature"])
def test_a_part_missing_is_refused(approval, ring, field):
    """Half an envelope: IntegrityError, not a crash."""
    half = {k: v for k, v in approval.items() if k != field}
    with pytest.raises(IntegrityError):
        signing.verify(half, ring, "approve@workbench", NOW)


def test_unknown_namespaces_and_keys_are_refused(ssh_keys, tmp_path):
    """A meaning that does not exist, a key that is not there: InputError before anything is signed."""
    with pytest.raises(InputError, match="no such namespace"):
        signing.sign(STATEMENT, "everything@workbench", ssh_keys["ada"])
    with pytest.raises(InputError, match="no public key"):
        signing.sign(STATEMENT, "approve@workbench", tmp_path / "none")


def test_nobody_signs_in_a_kernel(ssh_keys, monkeypatch):
    """Inside a running kernel: InputError."""
    app = types.SimpleNamespace(IPKernelApp=types.SimpleNamespace(initialized=lambda: True))
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", app)
    with pytest.raises(InputError, match="terminal"):
        signing.sign(STATEMENT, "approve@workbench", ssh_keys["ada"])
