"""What a kernel that tries to break out reaches, by its own word and by the engine's count."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from workbench.execution import isolation as sandboxes
from workbench.execution import probes
from workbench.execution.gating import reader
from workbench.execution.isolation import Mount, Sandbox
from workbench.policy import isolation
from workbench.policy.gates import GateResult, GateVerdict
from workbench.record.digest import canonical, file_digest
from workbench.record.store import Store

from .conftest import needs_namespace

HOST = [isolation.TCP, isolation.UDP, isolation.SOCKET]


class Tried(NamedTuple):
    verdict: GateResult
    rows: dict[str, dict[str, Any]]
    seen: dict[str, int]
    outputs: Path


@pytest.fixture
def place(tmp_path):
    """A store as far as it is worth reaching: keys, records, a run's scratch, a base, a table."""
    for name in ("keys", "records/20_dataset", "base", "scratch/20260101T000000Z-0123abcd/work"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "keys" / "engine.pem").write_text("a key")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")
    weights = file_digest(tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "base.json").write_bytes(canonical({"weights": weights}))
    (tmp_path / "rows.parquet").write_text("rows")
    return tmp_path


@pytest.fixture
def attempt(place, run):
    """attempt(notebook, level) -> what came of it, with bait laid around a real kernel."""

    def start(notebook: str, level: str) -> Tried:
        folder = place / "scratch" / "20260101T000000Z-0123abcd"
        work, sources = folder / "work", {"base": place / "base", "train": place / "rows.parquet"}
        mounts = {name: work / "inputs" / name for name in sources}
        mounts["train"] /= "rows.parquet"
        known = {
            name: {"path": str(at.relative_to(work)), "digest": "0" * 64, "uri": "file:x"}
            for name, at in mounts.items()
        }
        sandbox = Sandbox(
            level, work, inputs=tuple(Mount(sources[name], mounts[name]) for name in sources)
        )
        key, records = place / "keys" / "engine.pem", place / "records"
        with probes.bait(True, folder, level, key, records, sources) as laid:
            facts = {"stage": "x", "outputs": "outputs", "inputs": known, "probes": laid.told}
            assert "a key" not in json.dumps(facts)
            (work / "stage.json").write_bytes(canonical(facts))
            ran = run(notebook, level=level, sandbox=sandbox, cwd=work)
        assert ran.execution.succeeded, ran.text()
        [verdict] = probes.judge(laid, work / "outputs", level, "x")
        table = reader(work / "outputs")(isolation.TABLE)
        rows = {row["attempt"]: row for row in table}
        return Tried(verdict, rows, laid.seen, work / "outputs")

    return start


@needs_namespace
def test_at_level_namespace_every_attempt_is_held(attempt):
    """Honest attempts at network, host, inputs, key, store, engine: none reaches anything, and the
    engine, which watched, saw nobody."""
    tried = attempt("breaks_out", "namespace")
    assert {n: (r["outcome"], r["detail"]) for n, r in tried.rows.items()
            if r["outcome"] != isolation.HELD and n != isolation.PROCESS} == {}  # fmt: skip
    assert tried.seen == dict.fromkeys(isolation.WATCHED, 0)
    assert tried.verdict.verdict == GateVerdict.PASSED and tried.verdict.blocking


@needs_namespace
def test_the_table_is_the_same_on_each_run(attempt, place):
    """It is sealed, and a replay must leave the same bytes: no port, path, number or time."""
    tables = []
    for _ in range(2):
        outputs = attempt("breaks_out", "namespace").outputs
        tables.append((outputs / isolation.TABLE).read_bytes())
    assert tables[0] == tables[1] and str(place).encode() not in tables[0]


@needs_namespace
def test_a_sandbox_that_shares_the_hosts_network_is_found_out(attempt, monkeypatch):
    """The proof of the proof: take one option from the sandbox, and the gate blocks and names it."""
    without = tuple(one for one in sandboxes.UNSHARE if one != "--unshare-net")
    monkeypatch.setattr(sandboxes, "UNSHARE", without)
    tried = attempt("breaks_out", "namespace")
    assert [tried.seen[name] for name in HOST] == [1, 1, 1]
    assert [tried.rows[name]["outcome"] for name in HOST] == [isolation.REACHED] * 3
    assert tried.verdict.verdict == GateVerdict.FAILED and tried.verdict.blocking
    assert all(name in tried.verdict.reason for name in HOST)
    assert tried.rows["write to an input"]["outcome"] == isolation.HELD


@needs_namespace
def test_a_sandbox_that_can_write_is_found_out(attempt, monkeypatch):
    """Inputs mounted for writing: every kind of change to them is named, and none was made."""
    command = Sandbox.command

    def writable(*given):
        return ["--bind" if one == "--ro-bind" else one for one in command(*given)]

    monkeypatch.setattr(Sandbox, "command", writable)
    tried = attempt("breaks_out", "namespace")
    reached = {name for name, row in tried.rows.items() if row["outcome"] == isolation.REACHED}
    assert {"write to an input", "change an input's mode", "remount an input"} <= reached
    assert tried.verdict.verdict == GateVerdict.FAILED


def test_at_level_none_the_notebook_says_so_and_nothing_is_harmed(attempt, place):
    """What nothing stops is reached, the engine counts it too, and the gate does not block; what
    can't be undone on the host's own files is not tried."""
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode)
              for p in (place / "base").iterdir()}  # fmt: skip
    tried = attempt("breaks_out", "none")
    assert [tried.rows[name]["outcome"] for name in HOST] == [isolation.REACHED] * 3
    assert [tried.seen[name] for name in HOST] == [1, 1, 1]
    for name in ("read the signing key", "read the store", "attach to the engine"):
        assert tried.rows[name]["outcome"] == isolation.REACHED
    assert tried.rows["remount an input"]["outcome"] == isolation.NOT_TRIED
    assert tried.verdict.verdict == GateVerdict.FAILED and not tried.verdict.blocking
    assert tried.verdict.reason.startswith("level none isolates nothing")
    assert tried.seen[isolation.PROCESS] == tried.seen[isolation.SCRATCH] == 0
    assert before == {p: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_mode) for p in before}


def test_a_notebook_that_lies_is_contradicted_by_the_engines_count(attempt):
    """It says that all was held, and had reached three services and another run's folder."""
    tried = attempt("lies_about_isolation", "none")
    assert {row["outcome"] for row in tried.rows.values()} == {isolation.HELD}
    assert tried.verdict.verdict == GateVerdict.FAILED
    for name in (*HOST, isolation.SCRATCH):
        assert f"{name}: the engine counted 1, the notebook says held" in tried.verdict.failing


@needs_namespace
def test_a_lie_costs_nothing_where_nothing_was_reached(attempt):
    """At level namespace the same notebook finds no folder to touch and no service to reach."""
    tried = attempt("lies_about_isolation", "namespace")
    assert tried.seen == dict.fromkeys(isolation.WATCHED, 0)
    assert tried.verdict.verdict == GateVerdict.PASSED


def test_a_process_that_outlives_its_kernel_is_found_and_named(attempt, place):
    """It kills the parent that would have ended it; the engine finds it by what it inherited."""
    tried = attempt("outlives_its_kernel", "none")
    folder = place / "scratch" / "20260101T000000Z-0123abcd"
    for number in probes.left_behind(folder, 0):
        os.kill(number, signal.SIGKILL)
    assert tried.seen[isolation.PROCESS] >= 1
    assert any(
        one.startswith(f"{isolation.PROCESS}: the engine counted") for one in tried.verdict.failing
    )


@needs_namespace
def test_inside_a_namespace_nothing_outlives_the_kernel(attempt):
    """The same notebook there: its process goes with the namespace, whatever it killed."""
    tried = attempt("outlives_its_kernel", "namespace")
    assert tried.seen[isolation.PROCESS] == 0 and tried.verdict.verdict == GateVerdict.PASSED


@needs_namespace
def test_a_process_that_drops_its_environment_is_found_by_its_mounts(tmp_path):
    """What a sandboxed process can't drop: the mounts that it lives in."""
    work = tmp_path / "a run" / "work"
    work.mkdir(parents=True)
    bare = [
        "bwrap",
        "--clearenv",
        "--ro-bind",
        "/",
        "/",
        "--bind",
        str(work),
        str(work),
        "sleep",
        "9",
    ]
    child = subprocess.Popen(bare, env={"PATH": os.environ["PATH"]}, cwd="/")
    try:
        until = time.monotonic() + 5
        while not probes.left_behind(tmp_path / "a run", 0) and time.monotonic() < until:
            time.sleep(0.05)
        assert probes.left_behind(tmp_path / "a run", 0)
        assert not probes.left_behind(tmp_path / "a", 0)
    finally:
        child.kill()
        child.wait()


def test_a_stage_that_declares_no_probes_gets_no_bait_and_no_gate(tmp_path):
    """Nothing is opened, told or judged."""
    with probes.bait(False, tmp_path, "none", tmp_path, tmp_path, {}) as laid:
        assert laid.told is None and not list(tmp_path.iterdir())
    assert probes.judge(laid, tmp_path, "none", "x") == []


def test_a_stage_that_leaves_no_rows_is_not_evaluated(tmp_path):
    """A notebook that keeps silent proves nothing, nor does a file that is no table."""
    (tmp_path / "outputs").mkdir()
    for content in (None, b"no table"):
        if content:
            (tmp_path / "outputs" / isolation.TABLE).write_bytes(content)
        laid = probes.Bait({}, dict.fromkeys(isolation.WATCHED, 0))
        [verdict] = probes.judge(laid, tmp_path / "outputs", "namespace", "x")
        assert verdict.verdict == GateVerdict.NOT_EVALUATED and verdict.blocking


def test_a_caller_that_hangs_up_is_counted_and_the_next_one_too(tmp_path):
    """A service that a caller could break would stop counting."""
    with probes.bait(True, tmp_path, "none", tmp_path, tmp_path, {}) as laid:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", laid.told["tcp"])) as line:
                reset = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    assert laid.seen[isolation.TCP] == 3


def test_the_bait_is_cleared_away_when_the_run_breaks(tmp_path):
    """No folder, no socket stays; the error goes on."""
    folder = tmp_path / "20260101T000000Z-0123abcd"
    folder.mkdir()
    with pytest.raises(ZeroDivisionError):
        with probes.bait(True, folder, "none", tmp_path, tmp_path, {}) as laid:
            assert Path(laid.told["scratch"]).is_dir()
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [folder] and not list(folder.iterdir())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", laid.told["tcp"]), 1)


def test_the_next_run_takes_the_bait_for_a_living_run_and_clears_a_dead_ones(tmp_path, monkeypatch):
    """A store that cleans up while bait lies there leaves it; after a crash it takes it away."""
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    store = Store.create(tmp_path / "store", "research")
    begun = store.begin("30_adapt", "Ada")
    records = store.path / "records"
    with probes.bait(True, begun.folder, "none", store.keys, records, {}) as laid:
        other = Path(laid.told["scratch"])
        store.recover()
        assert other.is_dir()
        kept = other.with_name(other.name[:-1] + "0")
        shutil.copytree(other, kept)
        store.recover()
        assert not kept.exists()
    assert laid.seen[isolation.SCRATCH] == 0
