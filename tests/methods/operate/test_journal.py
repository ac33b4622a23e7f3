"""The decision log: a line or no answer, chained, and every change of it named."""

from __future__ import annotations

import os
import resource

import pytest

from workbench.errors import InputError
from workbench.methods.operate.journal import Journal
from workbench.record import clock
from workbench.record.decisions import TORN, verify_log

LINE = {"time": clock.now(), "environment": "e", "arm": None, "bundle": None, "entry": None,
        "request": "r", "subject": "s", "caller": "c", "kind": "traffic", "shape": {},
        "outcome": "refused", "status": 503, "latency_ms": 0.5}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    """Two files of three lines and one of two, from two writers."""
    for lines in (3, 5):
        journal = Journal(tmp_path, lines=3)
        for _ in range(lines):
            journal.write(**LINE)
        journal.close()
    return tmp_path


def change(path, to):
    """Rewrite a file's lines by a function over them."""
    path.write_bytes(b"".join(line + b"\n" for line in to(path.read_bytes().splitlines())))


def told(folder):
    return [(one.where, one.what.split(":")[0]) for one in verify_log(folder)]


def test_each_writer_begins_a_file_and_goes_on_from_the_line_before(written):
    """A file has as many lines as it may; the chain runs through all files and writers."""
    counts = [path.read_bytes().count(b"\n") for path in sorted(written.glob("*.jsonl"))]
    assert counts == [3, 3, 2] and verify_log(written) == []


def test_a_line_has_a_name(tmp_path):
    """The decision's name is its file and its number in it."""
    journal = Journal(tmp_path, lines=2)
    assert [journal.write(**LINE) for _ in range(3)] == ["000000:0", "000000:1", "000001:0"]


@pytest.mark.parametrize("file", ["000000.jsonl", "000001.jsonl"])
def test_a_changed_line_is_named(written, file):
    """Whatever was changed, the line after it does not fit: also across files."""
    change(written / file, lambda held: [*held[:2], held[2].replace(b"503", b"200")])
    assert told(written) == [(f"{file}:2", "changed or taken out after the next was written")]


@pytest.mark.parametrize(
    "to", [lambda held: [held[0], held[2]], lambda held: [held[1], held[0], held[2]],
           lambda held: [held[0], held[0], *held[1:]]],
    ids=["removed", "moved", "doubled"],
)  # fmt: skip
def test_a_line_that_was_removed_moved_or_doubled_is_named(written, to):
    """The first number that is out of its place is where it happened."""
    change(written / "000001.jsonl", to)
    where, what = told(written)[0]
    assert where in ("000001.jsonl:0", "000001.jsonl:1") and what == "not in its place"


def test_a_file_that_lost_its_end_is_named(written):
    """The next file's first line follows a line that is not there any more."""
    change(written / "000000.jsonl", lambda held: held[:2])
    assert told(written) == [("000000.jsonl:1", "changed or taken out after the next was written")]


def test_a_missing_file_is_named(written):
    """Files are numbered without a gap, from the first on."""
    (written / "000001.jsonl").unlink()
    assert told(written) == [("000002.jsonl", "a file before it is missing")]


def test_a_line_in_another_spelling_is_none(written):
    """Lines are canonical JSON, so that nothing can hide in a spelling."""
    change(written / "000000.jsonl", lambda held: [held[0].replace(b'":', b'": '), *held[1:]])
    assert told(written)[0] == ("000000.jsonl:0", "not a line of the log")


def test_a_torn_line_is_told_and_the_log_goes_on_from_the_line_before(written):
    """Who died while writing gave no answer; the next writer says so and loses nothing."""
    last = written / "000002.jsonl"
    last.write_bytes(last.read_bytes() + b'{"answer":{"lab')
    journal = Journal(written)
    assert journal.torn == last.name and journal.write(**LINE) == "000003:0"
    assert [(one.where, one.what) for one in verify_log(written)] == [(last.name, TORN)]


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path):
    """A line that does not fit is an OSError, no part of it stays, and the next one fits again."""
    journal = Journal(tmp_path)
    journal.write(**LINE)
    path = tmp_path / "000000.jsonl"
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, limit[1]))
    try:
        with pytest.raises(OSError):
            journal.write(**LINE)
        assert path.read_bytes() == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert journal.write(**LINE) == "000000:1" and verify_log(tmp_path) == []


def test_a_log_that_takes_nothing_is_an_error(tmp_path):
    """/dev/full takes no byte: no name is given for a line that is not there."""
    journal = Journal(tmp_path)
    journal.write(**LINE)
    kept, journal._file = journal._file, os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError):
        journal.write(**LINE)
    journal._file = kept
    assert journal.write(**LINE) == "000000:1" and verify_log(tmp_path) == []


def test_two_writers_are_one_too_many(tmp_path):
    """Or the chain would fork; a writer that is gone leaves the log to the next."""
    journal = Journal(tmp_path)
    with pytest.raises(InputError, match="Another gateway"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()
