"""Tampering: whatever is changed, both verifiers say so and name it."""

from __future__ import annotations

import json
import shutil
import time

import pytest

from workbench.record import person as signing
from workbench.record.digest import canonical
from workbench.record.signing import EngineKey
from workbench.record.store import Store
from workbench.record.verify import verify_record, verify_store


@pytest.fixture
def two(store, seal, unlock):
    """A store with two linked records, unlocked as somebody who tampers would."""
    first = seal(store)
    seal(store, "20_dataset", inputs=[first.as_input("outputs/cases.csv")])
    unlock(store.path)
    return store


@pytest.fixture
def first(two):
    return two.records("10_intake")[0].path


def _named(both, store, *names):
    """Both verifiers find something, and one finding of each names the culprit."""
    for found in both(store.path):
        assert any(name in line for line in found for name in names), (names, found)


def test_an_untouched_store_verifies(two, both):
    """No false alarm."""
    assert both(two.path) == ([], [])


def test_every_single_byte_counts(two, both, tool):
    """Any one byte of any file changed: both verifiers name the file."""
    files = [p for p in two.path.rglob("*") if p.is_file() and "scratch" not in p.parts]
    for path in files:
        data = path.read_bytes()
        step = max(1, len(data) // 25)
        for at in range(0, len(data), step):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            name = "ledger" if path.parent.name == "ledger" else path.name.split(".")[0]
            if path.name == "store.json":
                name = ""  # its id and keys decide how all else is read
            _named(both, two, name)
        path.write_bytes(data)
    assert both(two.path) == ([], [])


def test_every_single_byte_of_a_seal_counts(two, first, tool):
    """All bytes of statement and signature, with the public key alone."""
    keys = tool.load_keys(two.public_keys)
    for name in ("statement.json", "statement.sigs.json"):
        path, data = first / name, (first / name).read_bytes()
        for at in range(0, len(data), 3):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert "/statement." in verify_record(first, two.public_keys)[0].where
            assert name in tool.check_record(first, keys)[0][0]
        path.write_bytes(data)


def test_a_renamed_file(two, first, both):
    """Both the old and the new name."""
    (first / "notebook.ipynb").rename(first / "other.ipynb")
    _named(both, two, "notebook.ipynb")
    _named(both, two, "other.ipynb")


def test_an_added_file(two, first, both):
    """A file that the statement doesn't know."""
    (first / "outputs" / "more.csv").write_text("x")
    _named(both, two, "outputs/more.csv")


def test_a_removed_file(two, first, both):
    """A file that the statement knows."""
    (first / "outputs" / "cases.csv").unlink()
    _named(both, two, "outputs/cases.csv")


@pytest.mark.parametrize(("name", "mode"), [("outputs/run.sh", 0o444), ("notebook.ipynb", 0o755)])
def test_a_changed_exec_bit(two, first, both, name, mode):
    """Taken away or added."""
    (first / name).chmod(mode)
    _named(both, two, name)


def test_a_link_in_place_of_a_file(two, first, both, tmp_path):
    """A link to the very same bytes is not the file."""
    shutil.move(first / "notebook.ipynb", tmp_path / "same")
    (first / "notebook.ipynb").symlink_to(tmp_path / "same")
    _named(both, two, "notebook.ipynb")


def test_a_link_in_place_of_a_record(two, first, both, tmp_path):
    """The same record elsewhere is not in the store."""
    shutil.move(first, tmp_path / "same")
    first.symlink_to(tmp_path / "same")
    _named(both, two, first.name)


@pytest.mark.parametrize("name", ["ledger", "ledger/checkpoint", "ledger/entries.jsonl", "records"])
def test_a_missing_part_of_the_store(two, both, name):
    """Taken away whole: named, no crash."""
    path = two.path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    _named(both, two, name.split("/")[0], "entries.jsonl")


def test_an_empty_folder(two, first, both):
    """Nothing may hide in a folder that no digest covers."""
    (first / "outputs" / "empty").mkdir()
    _named(both, two, "outputs/empty")


def test_a_removed_record(two, first, both):
    """The ledger lists it."""
    shutil.rmtree(first)
    _named(both, two, first.name)


def test_a_renamed_record(two, first, both):
    """Under another id or stage it is not what the ledger lists."""
    first.rename(first.with_name("20200101T000000Z-" + "0" * 12))
    _named(both, two, first.name)


def test_a_copied_record(two, first, both):
    """A true record in a place that the ledger doesn't list."""
    shutil.copytree(first, first.with_name("20200101T000000Z-" + "0" * 12))
    _named(both, two, "20200101T000000Z")


def test_a_swapped_signature(two, both):
    """The signature of one record under the statement of another."""
    a, b = (record.path / "statement.sigs.json" for record in two.records())
    shutil.copy(b, a)
    _named(both, two, f"{a.parent.name}/statement.sigs.json", f"{a.parent.name}/statement.json")


def test_a_swapped_record(two, both):
    """All of another true record's files in this one's place: only the ledger tells."""
    a, b = (record.path for record in two.records())
    shutil.rmtree(a)
    shutil.copytree(b, a)
    _named(both, two, a.name)


def test_a_record_signed_by_another_engine(two, first, both, tmp_path):
    """Consistent in itself, but of a key that is not this store's."""
    data = (first / "statement.json").read_bytes()
    other = EngineKey.create(tmp_path / "other.pem")
    (first / "statement.sigs.json").write_bytes(canonical(other.sign(data)))
    _named(both, two, "statement.sigs.json")


def test_a_removed_ledger_entry(two, both):
    """Any entry, also the last."""
    path = two.path / "ledger" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for number in range(len(lines)):
        path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
        _named(both, two, f"entry {number}")


def test_a_rolled_back_ledger_leaves_records_unlisted(two, about, both, keys):
    """Entries and checkpoint put back together, seen by somebody without the signing host."""
    old = {p: p.read_bytes() for p in (two.path / "ledger").iterdir()}
    run = two.begin("30_adapt", "tester")
    (run.record / "notebook.ipynb").write_text("{}")
    record = two.publish(run, about("30_adapt"))
    keys.rename(keys.with_name("elsewhere"))
    for path, data in old.items():
        path.write_bytes(data)
    _named(both, two, record.id)


@pytest.mark.parametrize(
    "name", ["extra", "records/extra", "records/10_intake/extra", "ledger/extra", "imports/extra"]
)
def test_a_file_that_is_no_part_of_a_store(two, both, name):
    """Added anywhere but in scratch: named."""
    (two.path / name).write_text("x")
    _named(both, two, name.removeprefix("records/"))


def test_a_store_file_that_was_replaced(two, both):
    """Another key in store.json, to make forged records verify."""
    facts = json.loads((two.path / "store.json").read_bytes())
    (two.path / "store.json").write_bytes(canonical({**facts, "track": "governed"}))
    _named(both, two, "store.json")


def test_an_input_that_its_source_never_held(store, seal):
    """A statement that claims to have read what the named record doesn't hold (ours only)."""
    lie = seal(store).as_input("outputs/cases.csv")
    lie.digest["sha256"] = "0" * 64
    second = seal(store, "20_dataset", inputs=[lie])
    assert [p.where for p in verify_store(store).problems] == [second.ref]


def test_a_forged_person_signature(store, ring, ssh_keys, both):
    """Entered by the engine's own key, but not signed by the person: named by its entry."""
    store.update_keyring(ring, ssh_keys["ada"])
    good = signing.sign({"approves": "a"}, "approve@workbench", ssh_keys["ada"])
    store.ledger.append("approval", {"envelope": good})
    assert both(store.path) == ([], [])
    store.ledger.append("approval", {"envelope": {**good, "statement": {"approves": "b"}}})
    _named(both, store, "ledger entry 3")


@pytest.mark.parametrize("change", ["namespace", "stranger", "unnamed"])
def test_a_person_signature_that_does_not_count(store, ring, ssh_keys, both, change):
    """Relabelled for another meaning, by nobody in the keyring, or before there was one."""
    if change != "unnamed":
        store.update_keyring(ring, ssh_keys["ada"])
    name = "eve" if change == "stranger" else "ada"
    envelope = signing.sign({"x": 1}, "approve@workbench", ssh_keys[name])
    if change == "namespace":
        envelope["namespace"] = "classify@workbench"
    entry = store.ledger.append("approval", {"envelope": envelope})
    _named(both, store, f"ledger entry {entry.index}")


def test_numbers_in_a_persons_statement(store, ring, ssh_keys, both):
    """Floats that JSON libraries spell differently: both verifiers read the signed bytes."""
    store.update_keyring(ring, ssh_keys["ada"])
    statement = {"bound": 1e-7, "many": 1e17, "note": "“ü”", "statement": {"a": 0.1}}
    envelope = signing.sign(statement, "accept@workbench", ssh_keys["ada"])
    store.ledger.append("acceptance", {"envelope": envelope})
    assert both(store.path) == ([], [])


def test_trusted_keys_decide_who_made_it(two, tool, tmp_path):
    """With another public key given, a store that is consistent in itself does not verify."""
    other = EngineKey.create(tmp_path / "other.pem")
    assert verify_store(two, [two.public_keys[0]]).ok
    assert not verify_store(two, [other.public_pem]).ok
    assert tool.check(two.path, tool.load_keys([other.public_pem]))[1]


def test_runs_that_never_ended_are_flagged(store, about):
    """No fault of integrity, but said."""
    run = store.begin("10_intake", "tester")
    report = verify_store(Store.open(store.path))
    assert report.ok
    assert "has not ended" in report.flags[0]
    store.abandon(run, "x")


@pytest.mark.parametrize("mebibytes", [200, pytest.param(1000, marks=pytest.mark.prove)])
def test_a_gigabyte_verifies_in_three_seconds(store, about, tool, mebibytes):
    """Both verifiers: 3 s for 1 GB of files, so a fifth of it for a fifth, plus the start."""
    run = store.begin("10_intake", "tester")
    block = bytes(range(256)) * 4096
    for number, share in enumerate((0.5, 0.25, 0.125, 0.125)):
        with open(run.record / f"{number}.bin", "wb") as file:
            for _ in range(int(mebibytes * share)):
                file.write(block)
    record = store.publish(run, about())
    for look in (lambda: verify_store(store).ok, lambda: not tool.check(store.path, {})[1]):
        start = time.perf_counter()
        assert look()
        assert time.perf_counter() - start < 0.4 + 2.6 * mebibytes / 1000
    shutil.rmtree(record.path)  # pytest would keep it
