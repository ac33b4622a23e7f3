"""Rows at rest: exact restoration, tamper evidence, deletion by destroying the key."""

from __future__ import annotations

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.record import cipher
from workbench.record.cipher import Cipher


@pytest.fixture
def box(tmp_path):
    (tmp_path / "keys").mkdir()
    found = Cipher(tmp_path / "keys")
    found.new_key("snap")
    return found


@pytest.fixture
def sealed(box, tmp_path, monkeypatch):
    """A file of several chunks, encrypted."""
    monkeypatch.setattr(cipher, "CHUNK", 64)
    (tmp_path / "rows").write_bytes(bytes(range(200)))
    box.encrypt(tmp_path / "rows", tmp_path / "rows.enc", "snap")
    return tmp_path / "rows.enc"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 128, 1000])
def test_bytes_are_restored_exactly(box, tmp_path, monkeypatch, size):
    """Any size, chunk borders included."""
    monkeypatch.setattr(cipher, "CHUNK", 64)
    plain = bytes(i % 251 for i in range(size))
    (tmp_path / "plain").write_bytes(plain)
    box.encrypt(tmp_path / "plain", tmp_path / "sealed", "snap")
    box.decrypt(tmp_path / "sealed", tmp_path / "again", "snap")
    assert (tmp_path / "again").read_bytes() == plain
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o600


def test_the_ciphertext_says_nothing_twice(box, tmp_path):
    """The same plaintext never gives the same ciphertext, and no plaintext shows."""
    (tmp_path / "plain").write_bytes(b"Mrs Example " * 50)
    box.encrypt(tmp_path / "plain", tmp_path / "a", "snap")
    box.encrypt(tmp_path / "plain", tmp_path / "b", "snap")
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()
    assert b"Example" not in (tmp_path / "a").read_bytes()


def _refused(box, sealed, tmp_path):
    with pytest.raises(IntegrityError):
        box.decrypt(sealed, tmp_path / "out", "snap")
    assert not (tmp_path / "out").exists()


def test_any_changed_byte_is_refused(box, sealed, tmp_path):
    """IntegrityError, and no plaintext is left behind."""
    data = sealed.read_bytes()
    for at in range(len(data)):
        sealed.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        _refused(box, sealed, tmp_path)


def test_dropped_swapped_and_added_chunks_are_refused(box, sealed, tmp_path):
    """STREAM: cut at a chunk's end, reordered, repeated, or lengthened."""
    data = sealed.read_bytes()
    head, body = data[:25], data[25:]
    chunks = [body[i : i + 80] for i in range(0, len(body), 80)]
    for changed in (
        chunks[:-1],
        chunks[1:],
        [chunks[1], chunks[0], *chunks[2:]],
        [*chunks, chunks[-1]],
        [],
    ):
        sealed.write_bytes(head + b"".join(changed))
        _refused(box, sealed, tmp_path)


def test_another_snapshot_does_not_open_it(box, sealed, tmp_path):
    """The key of one snapshot is of no use for another's rows."""
    box.new_key("other")
    with pytest.raises(IntegrityError):
        box.decrypt(sealed, tmp_path / "out", "other")


def test_destroying_the_key_deletes_the_rows(box, sealed, tmp_path):
    """Afterwards nothing opens them, the reason is kept, and the key can't be made anew."""
    box.destroy("snap", "asked by the person")
    assert not box.exists("snap")
    with pytest.raises(InputError, match="deleted"):
        box.decrypt(sealed, tmp_path / "out", "snap")
    with pytest.raises(InputError, match="had one"):
        box.new_key("snap")
    assert "asked by the person" in (tmp_path / "keys/rows/snap.destroyed").read_text()
    box.destroy("snap", "again")


def test_a_deletion_that_was_interrupted_can_finish(box, tmp_path, monkeypatch):
    """The note was written, the key not yet removed: doing it again removes it."""
    (tmp_path / "keys/rows/snap.destroyed").write_text("{}")
    box.destroy("snap", "x")
    assert not (tmp_path / "keys/rows/snap.key").exists()


@pytest.mark.parametrize("name", ["", "../engine", "a/b", ".hidden", "a b"])
def test_a_snapshot_name_cannot_leave_its_folder(box, name):
    """Names are letters, digits, _ . - only: InputError."""
    with pytest.raises(InputError):
        box.new_key(name)


def test_keys_are_for_their_owner_only(box, tmp_path):
    """Folder 0700, key 0600."""
    assert (tmp_path / "keys/rows").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys/rows/snap.key").stat().st_mode & 0o777 == 0o600


def test_a_missing_key_is_said(box, tmp_path):
    """No key and no note of its destruction: InputError that names where it should be."""
    (tmp_path / "plain").write_text("x")
    with pytest.raises(InputError, match="not on this host"):
        box.encrypt(tmp_path / "plain", tmp_path / "out", "unknown")
    assert not (tmp_path / "out").exists()


def test_keyed_digests_compare_within_a_store_only(box, tmp_path):
    """Same bytes, same digest in one store; another store's digest tells nothing."""
    (tmp_path / "a").write_text("rows")
    (tmp_path / "b").write_text("rows")
    assert box.keyed_digest(tmp_path / "a") == box.keyed_digest(tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    other = Cipher(tmp_path / "elsewhere")
    assert other.keyed_digest(tmp_path / "a") != box.keyed_digest(tmp_path / "a")


def test_rows_can_be_read_without_a_file(box, sealed, tmp_path):
    """In memory: the same bytes, the same refusals, and nothing is left beside the ciphertext."""
    box.decrypt(sealed, tmp_path / "out", "snap")
    before = sorted(tmp_path.rglob("*"))
    assert box.read(sealed, "snap") == (tmp_path / "out").read_bytes()
    assert sorted(tmp_path.rglob("*")) == before
    sealed.chmod(0o644)
    sealed.write_bytes(sealed.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError):
        box.read(sealed, "snap")
    box.destroy("snap", "x")
    with pytest.raises(InputError, match="deleted"):
        box.read(sealed, "snap")


def test_the_keyed_digest_of_bytes_is_that_of_a_file_that_holds_them(box, tmp_path):
    """One meaning, so that either can be looked up by the other."""
    (tmp_path / "a").write_bytes(b"rows")
    assert box.keyed(b"rows") == box.keyed_digest(tmp_path / "a") != box.keyed(b"row")
