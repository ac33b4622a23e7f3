"""The live monitor: it sees what the log says, takes back by itself, and never goes quiet (M1)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Lab, copied
from tests.execution.operate.fault_runs import TINY
from workbench.errors import InputError, IntegrityError
from workbench.execution import bundle
from workbench.execution.operate import machines, places
from workbench.execution.operate import monitor as monitoring
from workbench.execution.operate.service import Service
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.methods.operate.journal import Journal

PLACE = "production"
OLGA = "Olga Owner"


def said(entry: int | None, arm: str = "stable", **changes) -> dict:
    """What a gateway writes of one decision, all but the chain."""
    plain = {
        "time": "2026-01-01T00:00:00.000000Z", "environment": PLACE, "arm": arm, "bundle": "b" * 64,
        "entry": entry, "request": "0" * 64, "subject": "0" * 64, "caller": "test",
        "kind": "traffic", "shape": {"chars": 20, "words": 4, "language": "en", "ascii": 1.0,
                                     "missing": 0},
        "answer": {"label": "cards"}, "confidence": {"label": 0.9}, "outcome": "answered",
        "status": 200, "latency_ms": 3.0,
    }  # fmt: skip
    return plain | changes


class Desk:
    """A governed use case in whose environment a release serves, and the gateway's own journal."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.project = lab, Project.load(lab.usecase)
        self.store = self.project.store("governed", create=False)
        self.key = lab.home / "persons" / "Olga"
        self.folder = places.served(self.project, PLACE)
        self.journal = Journal(self.folder / places.DECISIONS, lines=40)
        self.told: list[str] = []

    def deploy(self, action: str = "start", number: int = -1, **more):
        candidate = bundle.candidates(self.store, self.project.usecase.id)[number]
        return registry.deploy(self.project, self.store, candidate, PLACE, action=action, by=OLGA,
                               sign_with=self.key, **more)  # fmt: skip

    def write(self, n: int, entry: int | None, **changes) -> None:
        for _ in range(n):
            self.journal.write(**said(entry, **changes))

    def monitor(self, **signing) -> monitoring.Monitor:
        signing = signing or {"by": OLGA, "sign_with": self.key}
        return monitoring.Monitor(self.project, self.store, PLACE, say=self.told.append, **signing)

    @property
    def state(self):
        return registry.state(self.store, self.project.usecase.id, PLACE)


@pytest.fixture
def desk(registered: Path, tmp_path: Path) -> Iterator[Desk]:
    with copied(registered, tmp_path) as lab:
        found = Desk(lab)
        yield found
        found.journal.close()


def test_failures_in_the_log_take_back_what_serves_and_the_ledger_says_why(desk):
    """Signal, share and evidence stand in the entry, in the name that signed it."""
    entry = desk.deploy().entry
    desk.write(100, entry)
    monitor = desk.monitor()
    assert monitor.look() == []
    desk.write(100, entry, outcome="fallback", reason="timeout")
    began = time.monotonic()
    ((_, alarm),) = monitor.look()
    assert time.monotonic() - began < 5
    assert alarm.signal == "errors"
    assert desk.state.stable is None
    last = list(desk.store.ledger.entries("deployment"))[-1].body["envelope"]["statement"]
    assert last["action"] == "stop"
    assert "errors (error)" in last["reason"] and "log e-value" in last["reason"]
    assert monitor.look() == [], "what no longer serves is watched no more"


def test_a_sound_release_serves_on(desk):
    """Seen, and nothing done."""
    desk.write(300, desk.deploy().entry)
    monitor = desk.monitor()
    assert monitor.look() == []
    assert desk.state.stable is not None
    assert monitor.report()[0]["lines"] == 300


def test_after_a_restart_the_log_tells_all_again(desk):
    """A monitor that died between the alarm and the ledger acts when it is back."""
    entry = desk.deploy().entry
    desk.write(60, entry, outcome="fallback", reason="worker")
    without = monitoring.Monitor(desk.project, desk.store, PLACE, say=desk.told.append)
    assert len(without.look()) == 1, "without a key it says so"
    assert desk.state.stable is not None
    assert len(desk.monitor().look()) == 1
    assert desk.state.stable is None


def test_lines_of_what_does_not_serve_count_against_nobody(desk):
    """Neither those of an earlier entry nor those that no release was asked."""
    desk.write(200, 3, outcome="fallback", reason="worker")
    entry = desk.deploy().entry
    desk.write(200, None, arm=None, bundle=None, outcome="refused", reason="no lease")
    assert desk.monitor().look() == []
    assert desk.state.stable.entry == entry


def test_a_log_that_goes_on_in_new_files_is_read_once_line_by_line(desk):
    """The journal begins a file at 40 lines here; a half-written line waits."""
    entry = desk.deploy().entry
    tail = monitoring.Tail(desk.folder / places.DECISIONS)
    numbers = []
    for n in (1, 39, 1, 60, 0):
        desk.write(n, entry)
        numbers.append(len(list(tail.new())))
    assert numbers == [1, 39, 1, 60, 0]
    path = sorted((desk.folder / places.DECISIONS).glob("*.jsonl"))[-1]
    line = path.read_bytes().splitlines()[-1]
    path.write_bytes(path.read_bytes() + line[:30])
    assert list(tail.new()) == []


@pytest.mark.parametrize("harm", ["changed", "taken out", "file gone"])
def test_a_log_that_does_not_fit_together_is_not_read_over(desk, harm):
    """It is met again each time, until somebody has looked."""
    desk.write(90, desk.deploy().entry)
    path = desk.folder / places.DECISIONS / "000001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    if harm == "changed":
        path.write_bytes(b"".join(lines).replace(b'"cards"', b'"other"', 1))
    elif harm == "taken out":
        path.write_bytes(b"".join(lines[:4] + lines[5:]))
    else:
        path.unlink()
    tail = monitoring.Tail(desk.folder / places.DECISIONS)
    for _ in range(2):
        with pytest.raises(IntegrityError, match="decision log"):
            list(tail.new())


def test_a_monitor_that_can_read_nothing_is_an_alarm(desk, monkeypatch):
    """After a while; until then it says that it is blind. The loop does not end."""
    desk.write(50, desk.deploy().entry)
    path = desk.folder / places.DECISIONS / "000000.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"cards"', b'"other"', 1))
    monkeypatch.setattr(monitoring, "BLIND_S", 0.5)
    monkeypatch.setattr(monitoring, "STATUS_S", 0.1)
    stop, monitor = threading.Event(), desk.monitor()
    thread = threading.Thread(target=monitor.run, args=(stop,))
    thread.start()
    until = time.monotonic() + 20
    while desk.state.serving and time.monotonic() < until:
        time.sleep(0.1)
    alive = thread.is_alive()
    stop.set()
    thread.join()
    assert alive and not desk.state.serving
    last = list(desk.store.ledger.entries("deployment"))[-1].body["envelope"]["statement"]
    assert last["reason"].startswith("blind: ")
    assert any("decision log" in line for line in desk.told)


def test_what_it_can_not_take_back_it_tries_again(desk, monkeypatch):
    """The alarm is not forgotten because the ledger was busy."""
    entry = desk.deploy().entry
    desk.write(60, entry, outcome="fallback", reason="worker")
    monitor, real = desk.monitor(), registry.take_back
    monkeypatch.setattr(registry, "take_back", lambda *a, **k: (_ for _ in ()).throw(OSError("no")))
    with pytest.raises(OSError):
        monitor.look()
    monkeypatch.setattr(registry, "take_back", real)
    monitor.look()
    assert desk.state.stable is None


def test_watching_once_takes_nothing_back_and_exits_3(desk):
    """A person looks; what serves is theirs to end."""
    entry = desk.deploy().entry
    desk.write(60, entry, outcome="fallback", reason="worker")
    told = desk.lab.cli("monitor", "-e", PLACE, "--once", "--json")
    assert told.code == 3, told.err
    rows = json.loads(told.out)
    assert [(row["signal"], row["state"]) for row in rows] == [("errors", "alarm")]
    assert desk.state.stable is not None


def test_where_nothing_serves_there_is_nothing_to_watch(desk):
    """Not a quiet success."""
    with pytest.raises(InputError, match="Nothing serves"):
        monitoring.once(desk.project, desk.store, PLACE)


def test_without_the_monitors_own_key_it_does_not_start(desk):
    """It could say what it sees and end nothing."""
    desk.deploy()
    with pytest.raises(InputError, match="no key of its own"):
        monitoring.watch(desk.project, desk.store, PLACE, threading.Event())


@pytest.fixture
def two(paired) -> Iterator[Desk]:
    """A desk with two releases, and the monitor's own key."""
    found = Desk(paired)
    machines.create(found.project, found.store, PLACE, "monitor", name="monitor-production",
                    by="Dora Data", sign_with=paired.keys / "Dora")  # fmt: skip
    yield found
    found.journal.close()


def signing(desk: Desk) -> dict:
    by, path = machines.key(desk.project, desk.store, PLACE, "monitor")
    return {"by": by, "sign_with": path}


def test_an_unsafe_canary_is_halted_and_the_stable_release_serves_on(two):
    """Each arm is watched apart; the machine's own name stands in the ledger."""
    stable = two.deploy(number=0).entry
    canary = two.deploy("canary", number=1, share=0.5).entry
    two.write(150, stable)
    two.write(80, canary, arm="canary", outcome="fallback", reason="timeout")
    assert [one.entry for one, _ in two.monitor(**signing(two)).look()] == [canary]
    assert two.state.canary is None and two.state.stable.entry == stable
    last = list(two.store.ledger.entries("deployment"))[-1].body["envelope"]["statement"]
    assert (last["action"], last["by"]) == ("halt", "monitor-production (machine)")


def test_an_unsafe_stable_release_takes_the_canary_beside_it_along(two):
    """What is behind the share can't be stepped back with a newer one in front."""
    two.deploy(number=0)
    entry = two.deploy(number=1).entry
    two.deploy("canary", number=0, share=0.5)
    two.write(80, entry, outcome="fallback", reason="timeout")
    two.monitor(**signing(two)).look()
    actions = [one.body["envelope"]["statement"]["action"]
               for one in two.store.ledger.entries("deployment")]  # fmt: skip
    assert actions[3:4] == ["halt"] and actions[4] in ("roll_back", "stop")
    assert entry not in [one.entry for one in two.state.serving]


def test_a_release_that_fails_live_is_rolled_back_within_five_seconds(two):
    """Real processes: callers, gateway, worker and monitor; only the traffic is altered."""
    two.journal.close()
    first = two.deploy(number=0)
    stop, said = threading.Event(), []
    uds = two.lab.home / "g"
    with Service(two.project, two.store, PLACE, uds=uds, worker=TINY, observed=False) as service:
        service.ready()
        second = two.deploy(number=1)
        watching = threading.Thread(
            target=monitoring.watch, args=(two.project, two.store, PLACE, stop),
            kwargs={"say": lambda line: said.append((time.monotonic(), line))},
        )  # fmt: skip
        watching.start()
        with service.client() as client:
            until = time.monotonic() + 60
            while client.predict("about my card").get("release") != second.bundle:
                assert time.monotonic() < until
            while (told := client.predict("break about my card")).get("release") == second.bundle:
                assert time.monotonic() < until, told
            while client.predict("about my card").get("release") != first.bundle:
                assert time.monotonic() < until
            back = time.monotonic()
        stop.set()
        watching.join()
    alarm = next(at for at, line in said if line.startswith("! "))
    print(f"from alarm to the release before: {back - alarm:.2f} s")
    assert back - alarm <= 5
    last = list(two.store.ledger.entries("deployment"))[-1].body["envelope"]["statement"]
    assert (last["action"], last["bundle"]) == ("roll_back", first.bundle)


def test_sentinel_cases_are_asked_of_both_arms_and_stand_in_the_log(two, monkeypatch):
    """By the monitor's own token, and by no caller's."""
    two.journal.close()
    stable = two.deploy(number=0).entry
    canary = two.deploy("canary", number=1, share=0.5).entry
    texts = {"c1": "about my card", "c2": "about my fee"}
    monkeypatch.setattr(monitoring, "_texts", lambda monitor, one: texts)
    uds = two.lab.home / "g"
    with Service(two.project, two.store, PLACE, uds=uds, worker=TINY, observed=False) as service:
        service.ready()
        monitor, stop = two.monitor(**signing(two)), threading.Event()
        monitor.refresh()
        for entry, one in monitor.streams.items():
            asked = one.asked.model_copy(update={"sentinel_every_s": 0.1})
            monitor.streams[entry] = one._replace(asked=asked)
        asking = threading.Thread(target=monitoring.ask, args=(monitor, stop))
        asking.start()
        until, found = time.monotonic() + 30, set()
        while found != {(stable, "c1"), (stable, "c2"), (canary, "c1"), (canary, "c2")}:
            assert time.monotonic() < until, (found, two.told)
            time.sleep(0.2)
            lines = list(monitoring.Tail(two.folder / places.DECISIONS).new())
            found = {(one["entry"], one["sentinel"]) for one in lines if one["kind"] == "sentinel"}
        stop.set()
        asking.join()
    assert {one["kind"] for one in lines} == {"sentinel"}


def test_what_was_seen_is_sealed_and_the_engines_verdict_is_from_the_lines(desk):
    """A record of 80_monitor: the notebook shows, the engine judges, and an alarm fails the gate."""
    entry = desk.deploy().entry
    desk.write(60, entry)
    desk.write(60, entry, outcome="fallback", reason="timeout")
    told = desk.lab.cli("monitor", "-e", PLACE, "--seal")
    assert told.code == 3, told.err
    [record] = desk.store.records("80_monitor")
    [verdict] = record.statement.predicate.workbench_verdicts
    assert (verdict["criterion"], verdict["verdict"]) == ("unsafe_drift", "failed")
    assert verdict["failing"] == ["errors"]
    alarms = pd.read_parquet(record.path / "outputs" / "alarms.parquet")
    assert alarms["signal"].tolist() == ["errors"]
    assert pd.read_parquet(record.path / "outputs" / "windows.parquet")["line"].tolist() == [
        50, 100, 120]  # fmt: skip
    assert {"stream.json", "evidence.png"} <= {
        one.name for one in (record.path / "outputs").iterdir()
    }
