"""Stages that don't need each other run at once; the order that they need is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from workbench.execution.side_by_side import carry_out, fitting


@dataclass(frozen=True)
class Fake:
    name: str
    wants: frozenset[str] = field(default_factory=frozenset)
    facts: dict = field(default_factory=dict, hash=False)

    def needs(self):
        return set(self.wants)


def diamond():
    return [Fake("a"), Fake("b", frozenset("a")), Fake("c", frozenset("a")),
            Fake("d", frozenset("bc"))]  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2, 8])
def test_nothing_starts_before_what_it_needs_has_ended(jobs):
    """Whatever the number of places."""
    ended, lock = [], threading.Lock()

    def do(stage):
        assert stage.wants <= set(ended)
        with lock:
            ended.append(stage.name)
        return stage.name

    assert sorted(carry_out(diamond(), do, jobs)) == ["a", "b", "c", "d"]


def test_two_that_do_not_need_each_other_are_under_way_at_once():
    """Each waits for the other here: one after the other they would never end."""
    met = threading.Barrier(2, timeout=10)

    def do(stage):
        if stage.name in "bc":
            met.wait()
        return stage.name

    assert list(carry_out(diamond(), do, 2))[-1] == "d"


def test_the_deciding_stage_waits_for_all():
    """It weighs every verdict, also of stages whose outputs it does not read."""
    ended = []

    def do(stage):
        time.sleep(0.05 if stage.name == "slow" else 0)
        ended.append(stage.name)

    list(carry_out([Fake("slow"), Fake("decides", facts={"decides": True})], do, 2))
    assert ended == ["slow", "decides"]


def test_places_are_a_limit():
    """Never more at once than were allowed."""
    under_way, most, lock = [], [], threading.Lock()

    def do(stage):
        with lock:
            under_way.append(stage.name)
            most.append(len(under_way))
        time.sleep(0.02)
        with lock:
            under_way.remove(stage.name)
        return stage.name

    list(carry_out([Fake(str(n)) for n in range(6)], do, 2))
    assert max(most) == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_a_failure_nothing_starts_and_what_runs_ends(jobs):
    """A stage under way is sealed whole; one that waits is not begun."""
    ended = []

    def do(stage):
        if stage.name == "bad":
            raise ValueError("broken")
        time.sleep(0.05)
        ended.append(stage.name)
        return stage.name

    stages = [Fake("long"), Fake("bad"), Fake("after", frozenset({"bad"})), Fake("never")]
    with pytest.raises(ValueError, match="broken"):
        list(carry_out(stages, do, jobs))
    assert ended == ["long"]


def test_who_stops_asking_waits_for_what_runs():
    """A gate that does not pass ends the run, in good order."""
    ended = []

    def do(stage):
        time.sleep(0.05 if stage.name == "slow" else 0)
        ended.append(stage.name)
        return stage.name

    with closing(carry_out([Fake("quick"), Fake("slow"), Fake("never")], do, 2)) as found:
        assert next(found) == "quick"
    assert ended == ["quick", "slow"]


def test_cores_decide_how_many_fit(monkeypatch):
    """Threads that a stage asks for are cores that others don't have; one fits always."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert fitting([{"threads": 2}, {}]) == 4
    assert fitting([{"threads": 16}]) == 1
    assert fitting([]) == 8


TWO = """
import sys
from pathlib import Path
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
project = Project.load(Path(sys.argv[1]))
Pipeline(project, project.store("research"), jobs=2).run()
"""


def slow_pair(lab):
    """Two stages of the lab that would sleep for a minute, and need nothing but the intake."""
    for name in ("43_calibration", "44_reproducibility"):
        lab.stage(name, "import time; time.sleep(60)", kinds=["classifier"], rows=[],
                  inputs={"criteria": "10_intake/criteria.json"})  # fmt: skip


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    assert condition()


def test_ctrl_c_stops_both_and_both_are_sealed_as_interrupted(done):
    """Real kernels in threads, which hear no signal themselves: no kernel is left, no run lost."""
    slow_pair(done)
    env = os.environ | {"WORKBENCH_RUNS": str(done.runs), "WORKBENCH_KEYS": str(done.home / "keys")}
    run = subprocess.Popen([sys.executable, "-c", TWO, done.usecase], env=env,
                           stderr=subprocess.PIPE, text=True)  # fmt: skip
    sleeping = "43_calibration", "44_reproducibility"
    wait_for(lambda: {e.body["stage"] for e in done.ledger("start")} >= set(sleeping))
    time.sleep(3)  # both kernels are at their cell
    run.send_signal(signal.SIGINT)
    said = run.communicate(timeout=60)[1]
    assert run.returncode != 0 and "interrupted" in said
    for name in sleeping:
        statement = json.loads((done.record(name).path / "statement.json").read_text())
        assert "interrupted" in json.dumps(statement["predicate"])


def test_side_by_side_gives_the_same_records(done):
    """The bytes of a stage do not depend on what ran beside it."""
    from workbench.execution.pipeline import Pipeline
    from workbench.execution.project import Project

    def outputs():
        record = done.record("40_functional")
        return {s.name: (record.encrypted(s.name) or s.digest)
                for s in record.statement.subject if s.name.startswith("outputs/")}  # fmt: skip

    before = {name: found.get("plaintext", found) for name, found in outputs().items()}
    project = Project.load(done.usecase)
    Pipeline(project, project.store("research"), fresh=True, jobs=3).run("40_functional")
    assert {name: found.get("plaintext", found) for name, found in outputs().items()} == before
