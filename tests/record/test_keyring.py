"""Keyring versions: signed by keyholders, in order, never back."""

from __future__ import annotations

import pytest

from workbench.errors import IntegrityError
from workbench.record import person as signing
from workbench.record.digest import digest
from workbench.record.verify import verify_store


@pytest.fixture
def held(store, ring, ssh_keys):
    """A store whose keyring has Ada as keyholder."""
    store.update_keyring(ring, ssh_keys["ada"])
    return store


def test_the_first_version_is_self_signed(held):
    """A keyholder of its own signs version 1."""
    found = held.keyring()
    assert (found.number, found.previous, found.persons[0].id) == (1, None, "ada")
    assert verify_store(held).ok


def test_versions_follow_each_other(held, person, ssh_keys):
    """Each names the digest of the one before."""
    first = held.keyring()
    second = held.update_keyring(first.add(person("eve", ("approver",))), ssh_keys["ada"])
    assert (second.number, second.previous) == (2, first.sha256)
    assert {p.id for p in held.keyring().persons} == {"ada", "eve"}
    assert verify_store(held).ok


def test_only_a_keyholder_signs_the_next(held, person, ssh_keys):
    """Eve may approve but not change the keyring, and can't make herself keyholder."""
    held.update_keyring(held.keyring().add(person("eve", ("approver",))), ssh_keys["ada"])
    with pytest.raises(IntegrityError, match="no keyholder"):
        held.update_keyring(held.keyring().add(person("eve", ("keyholder",))), ssh_keys["eve"])


def test_a_stranger_cannot_sign(held, person, ssh_keys):
    """A new version signed by a key that the version before doesn't know."""
    with pytest.raises(IntegrityError, match="not in the keyring"):
        held.update_keyring(held.keyring().add(person("eve", ("keyholder",))), ssh_keys["eve"])


def test_a_revoked_keyholder_cannot_sign(held, person, ssh_keys):
    """Nor when the next version claims a time before the revocation."""
    held.update_keyring(held.keyring().add(person("eve", ("keyholder",))), ssh_keys["ada"])
    eve = person("eve").keys[0].public
    held.update_keyring(held.keyring().revoke(eve, "left"), ssh_keys["ada"])
    early = held.keyring().add(person("eve")).model_copy(update={"issued": "2021-01-01T00:00:00Z"})
    for version in (held.keyring().add(person("eve")), early):
        with pytest.raises(IntegrityError, match="revoked|issued before"):
            held.update_keyring(version, ssh_keys["eve"])


def test_somebody_must_be_able_to_sign_the_next(held, person, ssh_keys):
    """Revoking the last keyholder's key would lock everybody out: refused."""
    with pytest.raises(IntegrityError, match="leaves nobody"):
        held.update_keyring(held.keyring().revoke(person().keys[0].public, "oops"), ssh_keys["ada"])


def test_an_old_version_cannot_come_back(held, person, ssh_keys):
    """Rolled back: entering version 1 again after 2, signed as it was, is refused."""
    first = held.keyring()
    held.update_keyring(first.add(person("eve", ("approver",))), ssh_keys["ada"])
    with pytest.raises(IntegrityError, match="does not follow"):
        held.update_keyring(first, ssh_keys["ada"])


def test_a_rolled_back_keyring_in_the_ledger_does_not_verify(held, person, ssh_keys):
    """Even the engine's own key can't put an old version back: readers refuse the keyring."""
    old = held.ledger.entries("keyring")[0].body
    held.update_keyring(held.keyring().add(person("eve", ("approver",))), ssh_keys["ada"])
    held.ledger.append("keyring", old)
    with pytest.raises(IntegrityError, match="does not follow"):
        assert held.keyring()
    assert "does not follow" in str(verify_store(held).problems[0])


def test_a_changed_version_does_not_verify(held, person):
    """A keyring entry whose statement is not what was signed."""
    envelope = held.ledger.entries("keyring")[0].body["envelope"]
    statement = held.keyring().add(person("eve")).data()
    held.ledger.append("keyring", {"envelope": {**envelope, "statement": statement}})
    with pytest.raises(IntegrityError, match="not of this statement"):
        assert held.keyring()


def test_signatures_count_by_the_keyring_of_their_time(held, person, ssh_keys, tool):
    """An approval before its key's revocation stands; one after it is named by both verifiers."""
    held.update_keyring(held.keyring().add(person("eve", ("approver",))), ssh_keys["ada"])
    approve = signing.sign({"x": 1}, "approve@workbench", ssh_keys["eve"])
    held.ledger.append("approval", {"envelope": approve})
    eve = person("eve").keys[0].public
    held.update_keyring(held.keyring().revoke(eve, "left"), ssh_keys["ada"])
    assert verify_store(held).ok
    assert tool.check(held.path, {})[1] == []
    held.ledger.append("approval", {"envelope": approve})
    assert [p.where for p in verify_store(held).problems] == ["ledger entry 5"]
    assert "ledger entry 5: " in tool.check(held.path, {})[1][0]


def test_unknown_fields_of_people_survive(held, person, ssh_keys):
    """A field of a later version stays through a read and a write."""
    someone = person("eve", ("approver",)).model_copy(update={"phone": "1"})
    held.update_keyring(held.keyring().add(someone), ssh_keys["ada"])
    envelope = held.ledger.entries("keyring")[-1].body["envelope"]
    assert digest(envelope) == held.keyring().sha256
    assert held.keyring().data()["persons"][1]["phone"] == "1"
