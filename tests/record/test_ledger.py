"""The ledger: only what was signed counts, nothing goes missing, nobody rolls it back."""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import subprocess
import sys

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.record import clock, durable, merkle
from workbench.record.ledger import Ledger
from workbench.record.signing import EngineKey

ORIGIN = "workbench/test"


@pytest.fixture
def key(tmp_path):
    return EngineKey.create(tmp_path / "engine.pem")


@pytest.fixture
def ledger(tmp_path, key):
    return Ledger(tmp_path / "ledger", key, origin=ORIGIN, seen=tmp_path / "seen").create()


@pytest.fixture
def reader(ledger, key):
    """The ledger for somebody who has the public key only."""
    return Ledger(ledger.folder, origin=ORIGIN, public_keys=[key.public_pem])


@pytest.fixture
def five(ledger):
    for number in range(5):
        ledger.append("note", {"number": number})
    return ledger


def _lines(ledger):
    return (ledger.folder / "entries.jsonl").read_bytes().splitlines(keepends=True)


def _write(ledger, lines):
    (ledger.folder / "entries.jsonl").write_bytes(b"".join(lines))


def test_entries_come_back_in_order(five, reader):
    """What was appended is read back, by the one who wrote it and by a reader."""
    for ledger in (five, reader):
        assert [(e.index, e.body["number"]) for e in ledger.entries()] == list(enumerate(range(5)))
        assert ledger.entries("other") == []
        assert ledger.verify() == []
    assert reader.head().size == 5


def test_a_reader_cannot_append(reader):
    """Without the key: InputError."""
    with pytest.raises(InputError, match="only be read"):
        reader.append("note", {})


def test_every_entry_can_be_proven(five):
    """The audit path of each entry leads to the signed root."""
    head = five.head()
    for entry in five.entries():
        leaf = bytes.fromhex(entry.hash)
        assert merkle.verify_inclusion(leaf, entry.index, 5, five.proof(entry.index), head.root)


@pytest.mark.parametrize("number", range(5))
def test_a_removed_entry_is_named(five, reader, number):
    """Any entry taken out: entries() refuses, verify() names the place."""
    lines = _lines(five)
    _write(five, lines[:number] + lines[number + 1 :])
    with pytest.raises(IntegrityError):
        reader.entries()
    assert any(f"entry {number}" in p.where for p in reader.verify())


@pytest.mark.parametrize("number", range(5))
def test_a_changed_entry_is_named(five, reader, number):
    """Any entry changed: verify() names it, and nothing can be appended to a broken ledger."""
    lines = _lines(five)
    lines[number] = lines[number].replace(b'"number":', b'"numbex":')
    _write(five, lines)
    assert [p.where for p in reader.verify()] == [f"ledger/entries.jsonl, entry {number}"]
    with pytest.raises(IntegrityError):
        five.append("note", {})


def test_every_single_byte_counts(five, reader):
    """Any one byte of the entries or the checkpoint changed: it does not verify."""
    for name in ("entries.jsonl", "checkpoint"):
        path = five.folder / name
        data = path.read_bytes()
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert reader.verify(), (name, at, data[at : at + 1])
        path.write_bytes(data)
    assert reader.verify() == []


def test_swapped_entries_are_found(five, reader):
    """Two entries in each other's place."""
    lines = _lines(five)
    _write(five, [lines[0], lines[2], lines[1], *lines[3:]])
    assert reader.verify()


def test_an_added_line_is_no_entry(five, reader):
    """A line that no checkpoint covers is reported and never read as an entry."""
    _write(five, [*_lines(five), _lines(five)[0]])
    assert len(reader.entries()) == 5
    assert "not signed" in str(reader.verify()[0])


def test_an_added_file_is_named(five, reader):
    """A file that does not belong in the ledger's folder."""
    (five.folder / "extra").write_text("x")
    assert [p.where for p in reader.verify()] == ["ledger/extra"]


def test_a_ledger_without_checkpoint_is_refused(five, reader):
    """Taking the checkpoint away does not turn the entries into an unsigned tail."""
    (five.folder / "checkpoint").unlink()
    assert "missing" in str(reader.verify()[0])
    with pytest.raises(FileNotFoundError):
        five.append("note", {})
    assert len(_lines(five)) == 5


def test_an_older_checkpoint_does_not_drop_entries(five, tmp_path):
    """An older checkpoint put back, even where nothing remembers: several lines would be lost."""
    old = (five.folder / "checkpoint").read_bytes()
    for _ in range(2):
        five.append("note", {})
    (five.folder / "checkpoint").write_bytes(old)
    (tmp_path / "seen").unlink()
    with pytest.raises(IntegrityError, match="several lines"):
        five.append("note", {})


def test_the_signing_host_sees_a_rollback(five):
    """Entries and checkpoint both put back to an earlier state: refused where they were signed."""
    old = {name: (five.folder / name).read_bytes() for name in ("entries.jsonl", "checkpoint")}
    five.append("note", {"number": 5})
    for name, data in old.items():
        (five.folder / name).write_bytes(data)
    with pytest.raises(IntegrityError, match="rolled back"):
        five.append("note", {})
    assert any("rolled back" in p.what for p in five.verify())


def test_a_checkpoint_of_another_store_or_key_is_refused(five, tmp_path):
    """Same entries, but another origin or key: IntegrityError."""
    other = EngineKey.create(tmp_path / "other.pem")
    for origin, key in ((ORIGIN, other.public_pem), ("workbench/else", five._public[0])):
        with pytest.raises(IntegrityError):
            Ledger(five.folder, origin=origin, public_keys=[key]).entries()


_APPEND = """
import os, sys
from pathlib import Path
from workbench.record import durable
from workbench.record.ledger import Ledger
from workbench.record.signing import EngineKey
folder, action, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
key = EngineKey.load(folder / "engine.pem")
ledger = Ledger(folder / "ledger", key, origin="workbench/test", seen=folder / "seen")
replace = durable.replace
def die(path, data, mode=0o644):
    if path.name == "checkpoint":
        os.kill(os.getpid(), 9)
    replace(path, data, mode)
if action == "die":
    durable.replace = die
for number in range(count):
    ledger.append("note", {"by": os.getpid(), "number": number})
"""


def _process(tmp_path, action, count):
    command = [sys.executable, "-c", _APPEND, str(tmp_path), action, str(count)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def test_two_processes_append_at_once(five, reader, tmp_path):
    """Every entry of both is there, each in its own order, and the ledger verifies."""
    running = [_process(tmp_path, "append", 20) for _ in range(2)]
    for process in running:
        assert process.wait(60) == 0, process.stderr.read()
    assert reader.verify() == []
    for process in running:
        mine = [e.body["number"] for e in reader.entries() if e.body.get("by") == process.pid]
        assert mine == list(range(20))


def test_killed_between_line_and_checkpoint(five, reader, tmp_path):
    """kill -9 after the line and before the checkpoint: reported, set aside, never signed as is."""
    process = _process(tmp_path, "die", 1)
    assert process.wait(60) == -signal.SIGKILL
    lost = _lines(five)[5]
    assert len(reader.entries()) == 5
    assert "left by a crash" in str(reader.verify()[0])

    five.append("note", {"number": 5})

    assert [e.kind for e in reader.entries()][5:] == ["set-aside", "note"]
    assert base64.b64decode(reader.entries()[5].body["tail"]) == lost
    assert reader.verify() == []


def test_half_a_line_is_set_aside_too(five, reader):
    """A line that a crash cut off: the next append reports its bytes."""
    with open(five.folder / "entries.jsonl", "ab") as file:
        file.write(b'{"body":{"num')
    five.append("note", {})
    assert base64.b64decode(reader.entries("set-aside")[0].body["tail"]) == b'{"body":{"num'
    assert reader.verify() == []


def test_a_crash_while_setting_aside_loses_nothing(five, reader, monkeypatch):
    """Killed again before the report was signed: the next report holds the first one's bytes."""
    with open(five.folder / "entries.jsonl", "ab") as file:
        file.write(b"half")
    real = durable.replace
    monkeypatch.setattr(durable, "replace", _fails_on(real, "checkpoint"))
    with pytest.raises(OSError):
        five.append("note", {})
    monkeypatch.setattr(durable, "replace", real)
    five.append("note", {})
    inner = json.loads(base64.b64decode(reader.entries("set-aside")[0].body["tail"]))
    assert base64.b64decode(inner["body"]["tail"]) == b"half"
    assert reader.verify() == []


def _fails_on(real, name):
    def replace(path, data, mode=0o644):
        if path.name == name:
            raise OSError("disk gone")
        real(path, data, mode)

    return replace


def test_a_full_disk_leaves_the_ledger_as_it_was(five, reader):
    """No room for the line: OSError, nothing is added, and the next append works."""
    before = _lines(five)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = os.stat(five.folder / "entries.jsonl").st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limit[1]))
    try:
        with pytest.raises(OSError):
            five.append("note", {"number": 5})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, previous)
    assert _lines(five) == before
    five.append("note", {"number": 5})
    assert reader.verify() == []


def test_an_act_that_fails_leaves_no_entry(five, reader):
    """What is done under the lock fails: no line."""

    def act():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        five.append("note", {}, act=act)
    assert len(reader.entries()) == 5
    assert reader.verify() == []


def test_a_clock_that_goes_back_is_flagged(ledger, key):
    """The entry says by how much; order stays the ledger's; it is a flag and not a fault."""
    times = iter(["2025-01-01T00:00:10.000000Z", "2025-01-01T00:00:07.500000Z"])
    jumpy = Ledger(ledger.folder, key, origin=ORIGIN, now=lambda: next(times))
    jumpy.append("note", {})
    jumpy.append("note", {})
    assert [e.clock_back_s for e in ledger.entries()] == [0, 2.5]
    assert ledger.verify() == []
    assert clock.parse(ledger.entries()[1].time) < clock.parse(ledger.entries()[0].time)
