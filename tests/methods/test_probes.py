"""What a kernel tries, and that trying harms nothing. What comes of it in a real sandbox, and what
the engine sees of it, is in tests/execution/test_probes.py."""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path

import pandas as pd
import pytest

from workbench.methods.adapt import probes
from workbench.policy import isolation


@pytest.fixture
def told(tmp_path):
    """What an engine that laid no services would tell: closed ports, paths that are there."""
    (tmp_path / "engine.pem").write_text("a key")
    free = {}
    for name, kind in (("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_INET, kind) as line:
            line.bind(("127.0.0.1", 0))
            free[name] = line.getsockname()[1]
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    there = {name: str(tmp_path) for name in ("records", "scratch")}
    return free | there | {
        "level": "none", "socket": "nobody-listens", "key": str(tmp_path / "engine.pem"),
        "inputs": {"train": str(tmp_path / "origin")}, "pid": os.getpid(), "start": start,
    }  # fmt: skip


@pytest.fixture
def stage(staged, told):
    return staged("30_adapt", {"train": pd.DataFrame({"text": ["a"]})}, probes=told)


def test_without_bait_nothing_is_tried(staged):
    """In a notebook opened cell by cell nobody watches, and nobody's machine is probed."""
    table = probes.attempts(staged("30_adapt", {"train": pd.DataFrame({"text": ["a"]})}))
    assert set(table["outcome"]) == {isolation.NOT_TRIED}
    assert list(table["attempt"]) == list(isolation.ATTEMPTS)


def test_every_attempt_that_the_gate_asks_for_is_made_and_no_other(stage, told):
    """Else the gate could never pass, or an attempt would go unjudged."""
    assert set(probes._tries(stage, told)) == set(isolation.ATTEMPTS)


def test_at_level_none_it_takes_five_seconds_at_most_and_leaves_everything_as_it_was(stage, told):
    """Bytes, modes, names and times of writing; what can't be undone is not tried."""
    file = stage.input("train")
    before = (
        file.read_bytes(),
        file.stat().st_mode,
        file.stat().st_mtime_ns,
        os.listdir(file.parent),
    )
    started = time.monotonic()
    rows = probes.attempts(stage).set_index("attempt")
    assert time.monotonic() - started < 5
    after = file.read_bytes(), file.stat().st_mode, file.stat().st_mtime_ns, os.listdir(file.parent)
    assert before == after
    assert rows.loc["remount an input", "outcome"] == isolation.NOT_TRIED
    assert rows.loc["read the signing key", "outcome"] == isolation.REACHED
    assert rows.loc["write to an input", "detail"] == "1 of 1"
    for name in (isolation.TCP, isolation.UDP, isolation.SOCKET):
        assert tuple(rows.loc[name, ["outcome", "detail"]]) == ("held", "Connection refused")
    assert rows.loc["open the locked set", "outcome"] == isolation.HELD
    assert rows.loc[isolation.PROCESS, "outcome"] == isolation.LEFT


def test_no_word_of_the_table_differs_from_run_to_run(stage, told, tmp_path):
    """Sealed, it must be the same on each replay: no path, port, process number or content."""
    table = probes.attempts(stage)
    text = table.to_csv()
    assert str(tmp_path) not in text and "a key" not in text
    assert not {str(told["tcp"]), str(told["udp"]), str(told["pid"])} & set(
        re.findall(r"\d+", text)
    )
    assert table.equals(probes.attempts(stage))


def test_a_locked_set_among_the_inputs_is_reached(staged, told):
    """The one thing that a training must not have been given."""
    stage = staged("30_adapt", {"locked": pd.DataFrame({"text": ["a"]})}, probes=told)
    rows = probes.attempts(stage).set_index("attempt")
    assert rows.loc["open the locked set", "outcome"] == isolation.REACHED


def test_other_bytes_of_the_base_are_noticed(staged, told, tmp_path):
    """Its weights are hashed now and held against what the intake of the base sealed."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"other weights")
    (tmp_path / "base" / "base.json").write_text('{"weights": "0000"}')
    stage = staged("30_adapt", {"base": tmp_path / "base"}, probes=told)
    rows = probes.attempts(stage).set_index("attempt")
    assert rows.loc["change the base", "outcome"] == isolation.REACHED


def test_an_engine_of_the_same_number_but_another_start_is_another_process(told):
    """A sandbox counts its processes from one, and may well have that number itself."""
    with pytest.raises(ProcessLookupError):
        probes._attach((told["pid"], "1"))
    probes._attach((told["pid"], told["start"]))


def test_an_attempt_that_breaks_is_no_refusal():
    """Else a mistake in an attempt would read as proof of isolation."""
    with pytest.raises(probes.subprocess.CalledProcessError):
        probes._run(("raise ValueError",))
    with pytest.raises(OSError, match="Permission denied"):
        probes._run(("raise PermissionError(13, 'Permission denied')",))


def test_what_hangs_without_an_answer_counts_as_reached():
    """Nobody refused it: what left has left."""
    started = time.monotonic()
    assert probes._refusal(probes._run, ("import time; time.sleep(9)",)) is None
    assert time.monotonic() - started < 3
