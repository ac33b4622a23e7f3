"""Packs: records travel with proofs; hostile or damaged ones are refused whole."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
import zstandard

from workbench.errors import InputError, IntegrityError
from workbench.record import person as signing
from workbench.record.lineage import Graph
from workbench.record.pack import Carried, import_pack, pack, unpack, verify_pack
from workbench.record.signing import EngineKey
from workbench.record.store import Store
from workbench.record.verify import verify_store


@pytest.fixture
def chain(store, seal):
    """Three linked records and one that stands alone."""
    a = seal(store)
    b = seal(store, "20_dataset", inputs=[a.as_input("notebook.ipynb")])
    c = seal(store, "30_adapt", inputs=[b.as_input("notebook.ipynb")])
    return a, b, c, seal(store, "99_other")


@pytest.fixture
def other(tmp_path):
    return Store.create(tmp_path / "other", "research")


@pytest.fixture
def packed(store, chain, tmp_path):
    pack(store, [chain[2].id], tmp_path / "p.tar.zst")
    return tmp_path / "p.tar.zst"


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst"])
def test_a_record_travels_with_all_it_stands_on(store, chain, other, tmp_path, tool, suffix):
    """Packed with ancestors, imported, verified in the other store by both verifiers."""
    path = tmp_path / f"p{suffix}"
    pack(store, [chain[2].id], path)
    taken = import_pack(other, path)
    assert {r.digest for r in taken} == {r.digest for r in chain[:3]}
    assert Graph.from_store(other).ancestors(chain[2].digest) == {r.digest for r in chain[:2]}
    assert verify_store(other).problems == []
    assert tool.check(other.path, {})[1] == []
    body = other.ledger.entries("import")[0].body
    assert body["store"] == store.id
    assert body["public_keys"] == store.public_keys


def test_importing_twice_changes_nothing(packed, other):
    """What the store lists already is not taken again."""
    assert len(import_pack(other, packed)) == 3
    assert import_pack(other, packed) == []
    assert len(other.ledger.entries()) == 2


def test_only_the_records_asked_for(store, chain, tmp_path):
    """Without ancestors, one record."""
    assert len(pack(store, [chain[2].id], tmp_path / "p.tar", ancestors=False)) == 1


def test_imported_records_can_be_packed_again(packed, other, tmp_path, chain):
    """Lineage crosses more than two stores: the foreign key travels along."""
    import_pack(other, packed)
    pack(other, [chain[2].digest], tmp_path / "again.tar.zst")
    third = Store.create(tmp_path / "third", "research")
    assert len(import_pack(third, tmp_path / "again.tar.zst")) == 3
    assert verify_store(third).problems == []


def test_a_pack_verifies_by_itself(packed, tmp_path, store, tool):
    """Unpacked, with the public key alone, by both verifiers."""
    unpack(packed, tmp_path / "out")
    assert verify_pack(tmp_path / "out", store.public_keys) == []
    keys = tool.load_keys(store.public_keys)
    assert tool.check(tmp_path / "out", keys) == ("pack", [])


def test_what_people_said_about_a_record_travels_along(
    store, chain, ring, ssh_keys, other, tmp_path, tool
):
    """Signed statements that name a packed record, and the keyring to check them; no others."""
    store.update_keyring(ring, ssh_keys["ada"])
    for digest in (chain[2].digest, chain[3].digest):
        envelope = signing.sign({"approves": digest}, "approve@workbench", ssh_keys["ada"])
        store.ledger.append("approval", {"envelope": envelope})
    pack(store, [chain[2].id], tmp_path / "p.tar")
    unpack(tmp_path / "p.tar", tmp_path / "out")
    about = json.loads((tmp_path / "out/pack.json").read_text())
    kinds = [json.loads(item["line"])["kind"] for item in about["entries"]]
    assert (kinds.count("approval"), kinds.count("keyring"), kinds.count("record")) == (1, 1, 3)
    assert tool.check(tmp_path / "out", {})[1] == []


def test_every_single_byte_of_a_pack_counts(packed, tmp_path, unlock, tool):
    """Any byte of the pack's own files and a sample of the rest: both verifiers refuse."""
    folder = tmp_path / "out"
    unpack(packed, folder)
    unlock(folder)
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        for at in range(0, len(data), max(1, len(data) // 12)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert verify_pack(folder)
            assert tool.check(folder, {})[1]
        path.write_bytes(data)
    assert verify_pack(folder) == []


@pytest.mark.parametrize("spoil", ["add", "remove", "record", "top"])
def test_a_spoiled_pack_is_refused_whole(packed, other, tmp_path, unlock, tool, spoil):
    """A file added or removed, a record removed, a file beside: nothing is imported."""
    folder = tmp_path / "out"
    unpack(packed, folder)
    unlock(folder)
    record = sorted((folder / "records").glob("*/*"))[0]
    if spoil == "add":
        (record / "more").write_text("x")
    elif spoil == "remove":
        (record / "notebook.ipynb").unlink()
    elif spoil == "record":
        record.rename(tmp_path / "gone")
    else:
        (folder / "more").write_text("x")
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            tar.add(path, str(path.relative_to(folder)))
    with pytest.raises(IntegrityError, match="does not verify"):
        import_pack(other, tmp_path / "bad.tar")
    assert tool.check(folder, {})[1]
    assert other.records() == []
    assert len(other.ledger.entries()) == 1
    assert list((other.path / "scratch").iterdir()) == []


def test_a_pack_of_another_store_than_trusted(packed, other, tmp_path):
    """With the origin's key known, another store's pack is refused."""
    key = EngineKey.create(tmp_path / "other.pem")
    with pytest.raises(IntegrityError):
        import_pack(other, packed, [key.public_pem])
    assert other.records() == []


def _member(name="x", kind=tarfile.REGTYPE, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        _member("/etc/evil"),
        _member("../evil"),
        _member("records/../../evil"),
        _member("./pack.json"),
        _member("a//b"),
        _member("x", tarfile.SYMTYPE, "/etc/passwd"),
        _member("x", tarfile.LNKTYPE, "pack.json"),
        _member("x", tarfile.CHRTYPE),
        _member("x", tarfile.BLKTYPE),
        _member("x", tarfile.FIFOTYPE),
        _member("x", tarfile.GNUTYPE_SPARSE),
    ],
    ids=lambda m: f"{m.name}-{m.type.decode()}",
)
def test_hostile_members_are_refused(tmp_path, other, member):
    """Absolute, climbing or doubled paths, links, devices, pipes: IntegrityError, nothing left."""
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        tar.addfile(member)
    with pytest.raises(IntegrityError):
        import_pack(other, tmp_path / "bad.tar")
    assert not (tmp_path / "evil").exists()
    assert other.records() == []


def test_a_member_twice_is_refused(tmp_path, other):
    """The second could replace what the first was checked as."""
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        for _ in range(2):
            tar.addfile(_member("pack.json"), io.BytesIO())
    with pytest.raises(IntegrityError, match="damaged"):
        import_pack(other, tmp_path / "bad.tar")


def test_damaged_archives_are_refused(packed, other, tmp_path):
    """Cut short, flipped inside the compression, or no archive at all."""
    data = packed.read_bytes()
    for number, bad in enumerate((data[: len(data) // 2], data[:40] + b"\0" * 40, b"hello", b"")):
        path = tmp_path / f"bad{number}.tar.zst"
        path.write_bytes(bad)
        with pytest.raises(IntegrityError):
            import_pack(other, path)
    path.write_bytes(zstandard.ZstdCompressor().compress(b"no tar inside"))
    with pytest.raises(IntegrityError):
        import_pack(other, path)
    with pytest.raises(InputError, match="no pack"):
        import_pack(other, tmp_path / "nothing.tar")
    assert other.records() == []


def test_where_a_pack_can_be_written(store, chain, tmp_path):
    """A new file that ends in .tar or .tar.zst: else InputError."""
    (tmp_path / "there.tar").write_text("x")
    for name in ("there.tar", "p.zip"):
        with pytest.raises(InputError, match="can't pack"):
            pack(store, [chain[0].id], tmp_path / name)


def test_a_record_that_does_not_verify_is_not_packed(store, chain, tmp_path, unlock):
    """Packing checks first, and leaves no half pack."""
    unlock(chain[0].path)
    (chain[0].path / "notebook.ipynb").write_text("changed")
    with pytest.raises(IntegrityError, match="not packed"):
        pack(store, [chain[2].id], tmp_path / "p.tar")
    assert not list(tmp_path.glob("*p.tar*"))


def test_an_interrupted_import_is_completed_by_importing_again(packed, other, monkeypatch):
    """Moved in but not entered: verification says so; the second import enters it."""
    from workbench.record import durable

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "append", full)
    with pytest.raises(Exception, match="could not import"):
        import_pack(other, packed)
    monkeypatch.undo()
    import_pack(other, packed)
    assert verify_store(other).problems == []


# ---- what is carried besides records -------------------------------------------------------------


@pytest.fixture
def carrying(store, chain, tmp_path):
    """A pack that carries two files besides, one of them executable; and where they come from."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.sh").write_text("b")
    (tmp_path / "b.sh").chmod(0o755)
    files = {"x/a.txt": tmp_path / "a.txt", "b.sh": tmp_path / "b.sh"}
    told = []

    def carry(records):
        told.extend(records)
        return Carried({"why": "a test"}, files)

    pack(store, [chain[2].id], tmp_path / "c.tar", carry=carry)
    assert [r.digest for r in told] == sorted(r.digest for r in chain[:3])
    return tmp_path / "c.tar"


def test_what_is_carried_is_listed_by_digest_and_stays_out_of_the_store(carrying, other, tmp_path):
    """In the signed list with size and exec bit; an import takes the records and nothing else."""
    unpack(carrying, tmp_path / "out")
    carried = json.loads((tmp_path / "out/pack.json").read_text())["carried"]
    assert carried["facts"] == {"why": "a test"}
    assert [(f["path"], f["executable"]) for f in carried["files"]] == [
        ("b.sh", True), ("x/a.txt", False)]  # fmt: skip
    assert verify_pack(tmp_path / "out") == []
    assert len(import_pack(other, carrying)) == 3 and verify_store(other).problems == []
    assert not list(other.path.rglob("a.txt"))


@pytest.mark.parametrize("spoil", ["change", "add", "remove", "all", "exec", "link", "empty"])
def test_what_is_carried_must_be_what_was_signed(carrying, tmp_path, unlock, spoil):
    """Changed, added, removed, another exec bit, a link, an empty folder: named."""
    folder = tmp_path / "out"
    unpack(carrying, folder)
    unlock(folder)
    held = folder / "carried"
    if spoil == "change":
        (held / "b.sh").write_text("c")
    elif spoil == "add":
        (held / "more").write_text("x")
    elif spoil == "remove":
        (held / "b.sh").unlink()
    elif spoil == "all":
        held.rename(tmp_path / "gone")
    elif spoil == "exec":
        (held / "b.sh").chmod(0o644)
    elif spoil == "link":
        (held / "more").symlink_to("/etc/passwd")
    else:
        (held / "empty").mkdir()
    assert any(problem.where.startswith("carried") for problem in verify_pack(folder))


def test_nothing_can_be_carried_that_the_list_does_not_name(packed, tmp_path, unlock):
    """A folder of that name in a pack that carries nothing is a stranger."""
    folder = tmp_path / "out"
    unpack(packed, folder)
    unlock(folder)
    (folder / "carried").mkdir()
    (folder / "carried" / "x").write_text("x")
    assert verify_pack(folder)


def test_what_is_carried_has_one_order(store, chain, tmp_path):
    """The same records and files, whatever order they were named in: the same members."""
    names = []
    for order in (("a", "b"), ("b", "a")):
        files = {}
        for name in order:
            (tmp_path / name).write_text(name)
            files[name] = tmp_path / name
        path = tmp_path / f"{order[0]}.tar"
        pack(store, [chain[2].id], path, carry=lambda _, files=files: Carried({}, files))
        with tarfile.open(path) as tar:
            names.append(tar.getnames())
    assert names[0] == names[1]
