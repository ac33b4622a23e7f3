"""Canonical JSON and trees."""

from __future__ import annotations

import json
import os
import socket
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import InputError, IntegrityError
from workbench.record.digest import (
    Entry,
    canonical,
    digest,
    file_digest,
    read_canonical,
    tree,
    tree_digest,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_rfc8785_example_of_section_3_2_2():
    """RFC 8785 §3.2.2: the sample object has exactly the bytes that §3.2.4 lists."""
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(sample) == bytes.fromhex(
        "7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72"
        "75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a"
        "5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31"
        "65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37"
        "5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30"
        "30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d"
    )


def test_rfc8785_sorting_of_section_3_2_3():
    """RFC 8785 §3.2.3: keys are sorted by UTF-16 code units, not by code points."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    expected = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical(dict.fromkeys(keys, 0)))) == expected


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_rfc8785_number_samples_of_appendix_b(bits, text):
    """RFC 8785 Appendix B: each IEEE 754 sample is written as the table says."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number).decode() == text


@given(JSON)
def test_canonical_json_reads_back_and_is_a_fixed_point(value):
    """Canonical bytes read back as the same value, and canonicalizing again changes nothing."""
    once = canonical(value)
    assert read_canonical(once) == value
    assert canonical(read_canonical(once)) == once


@given(st.dictionaries(st.text(), st.integers(0, 9), min_size=2, max_size=6), st.randoms())
def test_order_of_keys_never_matters(value, random):
    """The same object in any key order has the same digest."""
    items = list(value.items())
    random.shuffle(items)
    assert digest(dict(items)) == digest(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, b"x", {1: 2}, "\ud800"])
def test_what_json_cannot_hold_is_refused(value):
    """NaN, infinities, integers beyond 2**53 - 1, bytes, keys that are no text: InputError."""
    with pytest.raises(InputError, match="not canonical JSON"):
        canonical({"value": value})


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(files=st.dictionaries(names, st.tuples(st.binary(max_size=40), st.booleans()), min_size=1))
def test_a_tree_is_every_file_with_bytes_and_exec_bit(tmp_path_factory, files):
    """Tree law: paths, sizes, exec bits and digests are those of the files, sorted by path."""
    root = tmp_path_factory.mktemp("tree")
    for name, (data, executable) in files.items():
        (root / name).write_bytes(data)
        (root / name).chmod(0o755 if executable else 0o644)
    found = tree(root)
    assert [(e.path, e.size, e.executable) for e in found] == sorted(
        (name, len(data), executable) for name, (data, executable) in files.items()
    )
    assert all(e.sha256 == file_digest(root / e.path) for e in found)


entry_lists = st.lists(
    st.builds(Entry, names, st.just("0" * 64), st.integers(0, 9), st.booleans()),
    unique_by=lambda e: e.path,
    min_size=1,
    max_size=6,
)


@given(entry_lists, st.randoms(), st.integers(0, 5))
def test_tree_digest_depends_on_entries_only(found, random, which):
    """Tree law: any order gives the same digest; any changed field gives another."""
    shuffled = list(found)
    random.shuffle(shuffled)
    assert tree_digest(shuffled) == tree_digest(found)
    old = found[which % len(found)]
    rest = [e for e in found if e is not old]
    for new in (
        Entry(old.path + "x", old.sha256, old.size, old.executable),
        Entry(old.path, "1" * 64, old.size, old.executable),
        Entry(old.path, old.sha256, old.size + 1, old.executable),
        Entry(old.path, old.sha256, old.size, not old.executable),
    ):
        assert tree_digest([*rest, new]) != tree_digest(found)
    assert tree_digest(rest) != tree_digest(found)


def _link(path):
    path.symlink_to("/etc/passwd")


def _link_to_folder(path):
    path.symlink_to("/etc")


def _socket(path):
    socket.socket(socket.AF_UNIX).bind(str(path))


def _awkward(path):
    path.with_name("a\nb").write_text("x")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link, "a link"),
        (_link_to_folder, "a link"),
        (os.mkfifo, "a special file"),
        (_socket, "a special file"),
        (os.mkdir, "an empty folder"),
        (_awkward, "a name"),
    ],
)
def test_what_a_digest_cannot_cover_is_refused_by_name(tmp_path, make, reason):
    """Links, pipes, sockets, empty folders, control characters in names: IntegrityError."""
    (tmp_path / "plain").write_text("x")
    make(tmp_path / "odd")
    with pytest.raises(IntegrityError, match=reason) as error:
        tree(tmp_path)
    assert "odd" in str(error.value) or "a\nb" in str(error.value)


def test_file_digest_does_not_follow_a_link(tmp_path):
    """A link in place of a file is never read through."""
    (tmp_path / "link").symlink_to(__file__)
    with pytest.raises(OSError):
        file_digest(tmp_path / "link")


@pytest.mark.parametrize(
    "data", [b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a":1.0}', b"{", b"NaN", b'"\xff"']
)
def test_only_the_canonical_spelling_is_read(data):
    """Spaces, other order, doubled keys, other number forms, broken JSON: IntegrityError."""
    with pytest.raises(IntegrityError, match="not canonical JSON"):
        read_canonical(data)
