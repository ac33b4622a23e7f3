"""The engine's key is rotated by a verb with a record; a key that nobody introduced is none (E7).

Both verifiers look at every store here. Deaths are real: kill -9 of a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal

import pytest

from workbench.errors import InputError, IntegrityError, RunError
from workbench.record import durable, pack, person, rotation
from workbench.record.digest import canonical
from workbench.record.keyring import NAMESPACE
from workbench.record.ledger import Ledger
from workbench.record.signing import EngineKey
from workbench.record.store import Store
from workbench.record.verify import verify_store


@pytest.fixture
def kept(store, seal, ring, person, ssh_keys):
    """A store with Ada as keyholder, Eve as nobody in particular, and a record."""
    store.update_keyring(ring.add(person("eve", roles=("engineer",))), ssh_keys["ada"])
    seal(store)
    return store


@pytest.fixture
def rotate(ssh_keys):
    return lambda store, **more: rotation.rotate(
        store, "a year is over", "Ada", ssh_keys["ada"], **more
    )


def entry(at, old, new, ssh_key, **said):
    """The body of a rotation by a keyholder's signature and the key `old`."""
    said = {"kind": rotation.KIND, "store": at.id, "old": old.public_pem, "by": "Ada",
            "new": new.public_pem, "reason": "r", "time": "2026-01-01T00:00:00Z"} | said  # fmt: skip
    envelope = person.sign(said, NAMESPACE, ssh_key)
    return {"envelope": envelope, "seal": old.sign(canonical(envelope), rotation.PAYLOAD)}


def raw(store, key):
    """The ledger as whoever holds this key would write it."""
    return Ledger(store.path / "ledger", key, origin=store.ledger.origin,
                  public_keys=store.first_keys)  # fmt: skip


def test_old_records_verify_new_ones_are_sealed_by_the_new_key(kept, seal, rotate, both):
    """The entry names old and new, why and by whom; either key alone vouches for the whole."""
    before = kept.records()[0]
    new = rotate(kept)
    after = seal(kept, "20_dataset")
    said = kept.ledger.entries("key-rotation")[0].body["envelope"]["statement"]
    assert (said["old"], said["new"]) == (*kept.first_keys, new)
    assert (said["reason"], said["by"]) == ("a year is over", "Ada")
    assert kept.public_keys == [*kept.first_keys, new] and kept.key.public_pem == new
    assert both(kept.path) == ([], [])
    for trusted in (kept.first_keys, [new]):
        assert verify_store(kept, trusted).ok and verify_store(kept, trusted).records == 2
    assert before.digest != after.digest and len(kept.records()) == 2


def test_the_old_private_key_is_gone_or_put_aside(kept, rotate):
    """And nothing else lies in the folder of the keys."""
    first = kept.key
    rotate(kept, keep=True)
    aside = kept.keys / "retired" / f"{first.keyid[:16]}.pem"
    assert EngineKey.load(aside).public_pem == first.public_pem
    second = kept.key
    rotate(kept)
    assert {path.name for path in kept.keys.iterdir()} == {"engine.pem", "seen", "retired"}
    assert [path.name for path in aside.parent.iterdir()] == [aside.name]
    assert kept.public_keys[1:] == [second.public_pem, kept.key.public_pem]
    assert verify_store(kept).ok


def test_only_a_keyholder_rotates(kept, ssh_keys, tmp_path):
    """Nobody else, in nobody else's name, with no key that the keyring lacks."""
    for by, key, error in (
        ("Eve", ssh_keys["eve"], InputError), ("Ada", ssh_keys["eve"], InputError),
        ("Nobody", tmp_path / "missing", InputError),
    ):  # fmt: skip
        with pytest.raises(error):
            rotation.rotate(kept, "r", by, key)
    assert kept.public_keys == kept.first_keys and kept.ledger.entries("key-rotation") == []


def test_a_record_that_the_old_key_sealed_later_is_refused_and_named(
    kept, seal, rotate, both, unlock
):
    """Though the new key entered it: it was not the key in force."""
    old = kept.key
    rotate(kept)
    late = seal(kept, "20_dataset")
    unlock(late.path)
    data = (late.path / "statement.json").read_bytes()
    (late.path / "statement.sigs.json").write_bytes(canonical(old.sign(data)))
    late.path.chmod(0o555)
    for found in both(kept.path):
        assert len(found) == 1 and late.ref in found[0], found


def test_a_checkpoint_by_the_old_key_over_more_is_refused(kept, rotate, both):
    """Who kept the old key adds nothing."""
    old = kept.key
    rotate(kept)
    with pytest.raises(RunError, match="rotated"):
        raw(kept, old).append("note", {})
    kept.ledger.append("note", {})
    (kept.keys / "seen").unlink()
    lines = (kept.path / "ledger" / "entries.jsonl").read_bytes().splitlines()
    durable.replace(kept.path / "ledger" / "checkpoint", raw(kept, old)._note(lines).encode())
    assert all(both(kept.path))


def test_the_entry_itself_stands_under_the_old_keys_checkpoint(kept, ssh_keys, both):
    """So that no reader needs the new key to know of it; who trusts the new one waits for its own."""
    old, new = kept.key, EngineKey.generate()
    kept.ledger.append(rotation.KIND, entry(kept, old, new, ssh_keys["ada"]))
    new.keep(kept.keys / "engine.next.pem")
    assert both(kept.path) == ([], [])
    assert not verify_store(kept, [new.public_pem]).ok
    assert kept.key.public_pem == new.public_pem  # and who writes next puts it in place
    kept.ledger.append("note", {})
    assert verify_store(kept, [new.public_pem]).ok and both(kept.path) == ([], [])


@pytest.mark.parametrize("spoil", ["by nobody's key", "of a key not in force", "edited"])
def test_a_key_that_the_one_before_did_not_introduce_is_refused(kept, ssh_keys, both, spoil):
    """A rotation without the old key's own signature, or of another key, is none."""
    first, other, new = kept.key, EngineKey.generate(), EngineKey.generate()
    body = entry(kept, first, new, ssh_keys["ada"])
    if spoil == "by nobody's key":
        body["seal"] = other.sign(canonical(body["envelope"]), rotation.PAYLOAD)
    if spoil == "of a key not in force":
        body = entry(kept, other, new, ssh_keys["ada"])
    if spoil == "edited":
        body["envelope"]["statement"]["new"] = other.public_pem
    kept.ledger.append(rotation.KIND, body)
    with pytest.raises(IntegrityError):
        kept.ledger.append("note", {})
    assert all(both(kept.path))
    assert kept.public_keys == kept.first_keys


@pytest.mark.parametrize("spoil", ["signed by no keyholder", "of another store"])
def test_the_engines_own_word_is_not_enough(kept, ssh_keys, both, spoil):
    """A keyholder must have signed, for this store."""
    who = "eve" if "keyholder" in spoil else "ada"
    said = {"store": "0" * 16} if "store" in spoil else {}
    new = EngineKey.generate()
    new.keep(kept.keys / "engine.next.pem")
    body = entry(kept, kept.key, new, ssh_keys[who], **said)
    kept.ledger.append(rotation.KIND, body)
    assert all(both(kept.path))


def test_a_store_sealed_anew_by_a_strangers_key_is_refused_after_a_rotation(kept, rotate, both):
    """Its chain begins with a key that store.json does not name, or the host does not hold."""
    rotate(kept)
    mine = EngineKey.generate()
    place = kept.path / "store.json"
    facts = canonical(json.loads(place.read_bytes()) | {"public_keys": [mine.public_pem]})
    place.chmod(0o644)
    place.write_bytes(facts)
    with pytest.raises(IntegrityError):
        _ = Store.open(kept.path).key
    assert all(both(kept.path))
    assert hashlib.sha256(facts).hexdigest() not in (kept.path / "ledger/entries.jsonl").read_text()


def test_a_pack_of_a_rotated_store_verifies_by_the_first_key_and_by_the_last(
    kept, seal, rotate, tool, tmp_path
):
    """It carries the rotations; what it brings verifies where it is taken in."""
    new = rotate(kept)
    seal(kept, "20_dataset")
    pack.pack(kept, [one.id for one in kept.records()], tmp_path / "p.tar")
    pack.unpack(tmp_path / "p.tar", tmp_path / "open")
    for trusted in (None, kept.first_keys, [new]):
        assert pack.verify_pack(tmp_path / "open", trusted) == []
        keys = tool.load_keys(trusted or [])
        assert tool.check(tmp_path / "open", keys)[1] == []
    stranger = EngineKey.generate().public_pem
    assert pack.verify_pack(tmp_path / "open", [stranger])
    other = Store.create(tmp_path / "other", "research")
    assert len(pack.import_pack(other, tmp_path / "p.tar")) == 2
    assert verify_store(other).ok and tool.check(other.path, {})[1] == []


def test_a_ledger_put_back_to_before_the_rotation_is_noticed_by_the_host(kept, rotate):
    """As every ledger that was rolled back; the new key writes nothing there either."""
    ledger = kept.path / "ledger"
    then = {path: path.read_bytes() for path in ledger.iterdir()}
    rotate(kept)
    for path, data in then.items():
        path.write_bytes(data)
    assert any("rolled back" in str(one) for one in verify_store(kept).problems)
    with pytest.raises(IntegrityError, match="not this store's"):
        kept.ledger.append("note", {})


def test_an_old_key_from_a_backup_is_refused(kept, rotate):
    """It says that it is an old one, and writes nothing."""
    backup = (kept.keys / "engine.pem").read_bytes()
    rotate(kept)
    (kept.keys / "engine.pem").write_bytes(backup)
    with pytest.raises(IntegrityError, match="no longer uses"):
        kept.ledger.append("note", {})
    assert verify_store(kept).ok


def test_a_run_under_way_is_sealed_by_the_new_key(kept, fill, about, rotate, both):
    """A process that had read the old key asks again."""
    run = kept.begin("10_intake", "tester")
    fill(run)
    assert kept.key.public_pem == kept.first_keys[0]
    new = rotate(Store.open(kept.path))
    record = kept.publish(run, about())
    signed = json.loads((record.path / "statement.sigs.json").read_bytes())["signatures"]
    assert [one["keyid"] for one in signed] == [kept.key.keyid] and kept.key.public_pem == new
    assert both(kept.path) == ([], [])


def die(*given, **named):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_at(name):
    """A `durable.replace` that dies at a file of this name."""
    real = durable.replace
    return lambda path, *more: die() if path.name == name else real(path, *more)


DEATHS = {
    "before the new key is on the disk": (EngineKey, "keep", die, False),
    "between key and entry": (EngineKey, "sign", die, False),
    "before the line": (durable, "append", die, False),
    "between entry and checkpoint": (durable, "replace", dies_at("checkpoint"), False),
    "before the host remembers": (durable, "replace", dies_at("seen"), True),
    "before the new key is in place": (rotation, "finish", die, True),
    "before its own checkpoint": (Ledger, "sign_again", die, True),
}


@pytest.mark.parametrize("moment", DEATHS)
def test_kill_9_at_any_moment_leaves_a_store_that_works(kept, seal, rotate, both, ssh_keys, moment):
    """With the old key or the new one, as the ledger says; rotating again works."""
    *place, dead, rotated = DEATHS[moment]
    child = os.fork()
    if not child:
        setattr(*place, dead)
        rotate(kept)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    seal(kept, "20_dataset")
    assert len(kept.public_keys) == 1 + rotated
    assert both(kept.path) == ([], [])
    rotate(kept)
    seal(kept, "30_adapt")
    assert len(kept.public_keys) == 2 + rotated
    assert both(kept.path) == ([], [])


def test_a_disk_that_fails_costs_the_rotation_and_nothing_else(kept, seal, rotate, monkeypatch):
    """RunError; the store works on with the old key, whose file is untouched."""

    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RunError, match="rotate"):
        patch.setattr(durable, "append", full)
        rotate(kept)
    assert kept.key.public_pem == kept.first_keys[0]
    seal(kept, "20_dataset")
    assert verify_store(kept).ok
