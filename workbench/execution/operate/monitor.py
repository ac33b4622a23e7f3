"""The monitor: reads the log of what is served, asks sentinel cases, and takes back (M1).

1. All that it knows of behaviour is in the decision log; it is read line by line, held against its
   chain, and after a restart from the first line again, so that nothing is forgotten by dying.
2. Only what serves now is watched; each ledger entry that made a release serve is a stream.
3. An unsafe alarm is acted on at once, under the machine's own name: a canary is halted, a stable
   release rolled back. The reason, with its numbers, is in the ledger.
4. A monitor that can't read, or not judge, what it reads is blind. After `BLIND_S` that is an alarm.
5. Sentinel cases are drawn by the system's chance: a release can't know which one is next.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError, IntegrityError
from ...policy.deployment import Deployment
from ...policy.monitoring.detect import STAGE, Watch, gate, windows
from ...policy.monitoring.profile import EMPTY, sentinels
from ...policy.monitoring.watched import Alarm
from ...policy.operations import Monitor as Asked
from ...policy.operations import Operations
from ...policy.rehearsal import STAGE as REHEARSAL
from ...policy.serving import Decision
from ...record import clock, decisions
from ...record.digest import canonical
from ...record.store import Record, Store
from .. import bundle
from ..bundle import Candidate
from ..facts import Sealed
from ..pipeline import actor
from ..project import Project
from ..release import registry
from . import machines, places, sealing
from .client import Client

LOOK_S, STATUS_S, BLIND_S = 0.2, 10.0, 30.0
WATCHED, SOURCE = "watched.json", "ledger:monitor"
ASK = "Find out who wrote there; what can't be read is taken for unsafe."
Say = Callable[[str], None]


class Tail:
    """The lines of a decision log that are new since it was last read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file, self._offset = folder, 0, 0
        self._number, self._previous = 0, decisions.FIRST

    def new(self) -> Iterator[dict[str, Any]]:
        """Each whole line once, in order. IntegrityError at a line that its chain does not hold,
        and where a file is missing; it is met again the next time."""
        while True:
            path = self.folder / f"{self._file:06d}.jsonl"
            # Asked first: once there is a later file, nothing is written to this one any more.
            later = any(one.name > path.name for one in decisions.files(self.folder))
            if not (path.exists() or later or self._offset):
                return
            try:
                with path.open("rb") as file:
                    file.seek(self._offset)
                    yield from self._lines(file, path)
            except FileNotFoundError as error:
                what = "A file of the decision log is missing."
                raise IntegrityError(what, where=path, next_step=ASK) from error
            if not later:
                return
            self._file, self._offset, self._number = self._file + 1, 0, 0

    def _lines(self, file: Any, path: Path) -> Iterator[dict[str, Any]]:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            where = f"{path}:{self._number}"
            said = Decision.parse(json.loads(raw), where=where).model_dump(mode="json")
            if (said["number"], said["previous"]) != (self._number, self._previous):
                raise IntegrityError("A line of the decision log was changed, taken out or put in.",
                                     where=where, next_step=ASK)  # fmt: skip
            self._offset, self._number = self._offset + len(raw), self._number + 1
            self._previous = decisions.head(raw[:-1])
            yield said


class Stream(NamedTuple):
    """What one entry made serve, and what watches it."""

    deployment: Deployment
    candidate: Candidate
    asked: Asked
    profile: dict[str, Any]
    watch: Watch


def stream(project: Project, store: Store, one: Deployment) -> Stream:
    """InputError for a release without `operations.json`, or whose rehearsal lacks what is watched."""
    candidate = bundle.find(store, one.bundle, project.usecase.id)
    asked = Operations.parse(candidate.read("operations.json")).monitor
    profile = profile_of(store, candidate)
    return Stream(one, candidate, asked, profile, Watch(asked, profile, seed=one.entry))


def profile_of(store: Store, candidate: Candidate) -> dict[str, Any]:
    """Of the newest rehearsal of this candidate; an empty one without any."""
    known, found = store.listed(), EMPTY
    for record in store.records(REHEARSAL):
        of = {item.annotations.get("record") for item in record.statement.inputs}
        if record.digest in known and candidate.record.digest in of:
            found = Sealed({REHEARSAL: record}).json(REHEARSAL, "profile.json")
    return found


class Monitor:
    """Watches one environment. `sign_with` is the key of `by`; without it nothing is taken back."""

    def __init__(
        self, project: Project, store: Store, environment: str, *, by: str = "",
        sign_with: Path | None = None, say: Say = print,
    ) -> None:  # fmt: skip
        self.project, self.store, self.environment, self.say = project, store, environment, say
        self.by, self.sign_with = by, sign_with
        self.folder = places.served(project, environment)
        self.streams: dict[int, Stream] = {}
        self.serving: dict[int, str] = {}
        self._tail, self._pending = Tail(self.folder / places.DECISIONS), deque[dict[str, Any]]()
        self._head = ""
        self._due: dict[int, Alarm] = {}

    def look(self) -> list[tuple[Deployment, Alarm]]:
        """Read what is new, act on what is unsafe; returns the new alarms.

        What can't be read or taken back raises, and nothing of it is forgotten.
        """
        found: list[tuple[Deployment, Alarm]] = []
        for line in self._tail.new():
            self._pending.append(line)
        self.refresh()  # after the lines: an entry is in the ledger before it leads to one
        while self._pending:
            line = self._pending.popleft()
            if one := self.streams.get(line["entry"]):
                found += [(one.deployment, alarm) for alarm in one.watch.see(line)]
        for deployment, alarm in found:
            self.say(f"! {deployment.bundle[:12]}, {alarm}")
            if alarm.then == "roll_back":
                self._due.setdefault(deployment.entry, alarm)
        for entry in [*self._due] if self.sign_with else ():
            self.take_back(entry, str(self._due[entry]))
            self._due.pop(entry)
        return found

    def refresh(self) -> None:
        """What serves now, when the ledger has grown; what no longer does is watched no more."""
        head = self.store.ledger.head().root
        if head == self._head:
            return
        held = registry.state(self.store, self.project.usecase.id, self.environment)
        arms = {"stable": held.stable, "canary": held.canary}
        self.serving = {one.entry: arm for arm, one in arms.items() if one}
        known = self.streams
        self.streams = {one.entry: known.get(one.entry) or stream(self.project, self.store, one)
                        for one in held.serving}  # fmt: skip
        self._head = head

    def take_back(self, entry: int, reason: str) -> None:
        """Until what this entry made serve does not serve: a canary beside it is halted first."""
        while entry in self.serving:
            done = registry.take_back(self.project, self.store, self.environment, reason=reason,
                                      by=self.by, sign_with=self.sign_with)  # fmt: skip
            self.say(f"✗ {done.action}, ledger entry {done.entry}: {reason}")
            self._head = ""
            self.refresh()

    def report(self) -> list[dict[str, Any]]:
        """A row a signal of each release that serves."""
        return [{"arm": arm, "entry": entry, "bundle": self.streams[entry].deployment.bundle} | row
                for entry, arm in self.serving.items() if entry in self.streams
                for row in self.streams[entry].watch.report()]  # fmt: skip

    # -- the live loop ---------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Whatever goes wrong is said, and after `BLIND_S` it is an alarm."""
        well = told = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            asking = Asking(self, pool)
            while not stop.wait(LOOK_S):
                why = self._step(asking)
                now = time.monotonic()
                if not why or now - well > BLIND_S:
                    well = now
                    self.blind(why)
                if now - told > STATUS_S or told == well:
                    told = now
                    self.status(why)

    def _step(self, asking: Asking) -> str:
        """Look, and ask; why it could not, empty when it could."""
        try:
            self.look()
            asking.next()
        except Exception as error:  # a monitor that ends is watched by nobody
            return " ".join(str(error).split()) or type(error).__name__
        return ""

    def blind(self, why: str) -> None:
        """Take back what nobody can watch; what fails is said, and tried again later."""
        if not why:
            return
        self._head = ""
        with suppress(Exception):
            self.refresh()
        try:
            for entry in [*self.serving]:
                self.take_back(entry, f"blind: {why}"[:400])
        except Exception as error:
            self.say(f"✗ Blind, and nothing could be taken back: {error}")

    def status(self, why: str = "") -> None:
        """A line, and `watched.json` for other processes."""
        rows = self.report()
        said = [f"{arm} {self.streams[entry].deployment.bundle[:12]} {_told(rows, entry)}"
                for entry, arm in self.serving.items() if entry in self.streams]  # fmt: skip
        self.say(f"{clock.now()[:19]} {why or '; '.join(said) or 'nothing serves'}")
        with suppress(OSError):
            held = {"time": clock.now(), "fault": why, "signals": rows}
            places.write(self.folder / WATCHED, held)


def _told(rows: list[dict[str, Any]], entry: int) -> str:
    own = [row for row in rows if row["entry"] == entry]
    alarms = ", ".join(row["signal"] for row in own if row["state"] == "alarm")
    return f"{max(row['lines'] for row in own)} lines, {alarms or 'quiet'}"


class Asking:
    """Sentinel cases, one after the other, asked of every release that serves."""

    def __init__(self, monitor: Monitor, pool: ThreadPoolExecutor) -> None:
        self.monitor, self._pool, self._at = monitor, pool, 0.0
        self._texts: dict[int, dict[str, str]] = {}
        self._under_way: Future[None] | None = None
        self._chance = random.SystemRandom()

    def next(self) -> None:
        """Ask when it is time and none is under way; what went wrong with the last is said."""
        if self._under_way and self._under_way.done():
            if error := self._under_way.exception():
                self.monitor.say(f"? sentinel: {' '.join(str(error).split())}")
            self._under_way = None
        known = [self.monitor.streams[entry] for entry in self.monitor.serving]
        every = min((one.asked.sentinel_every_s for one in known), default=0.0)
        if known and not self._under_way and time.monotonic() - self._at >= every:
            self._at = time.monotonic()
            self._under_way = self._pool.submit(self._ask, known)

    def _ask(self, streams: list[Stream]) -> None:
        state = places.read(self.monitor.folder / places.STATE)
        token = places.own_token(self.monitor.folder)
        with Client(state.get("url"), state.get("uds"), token) as client:
            for one in streams:
                texts, arm = self._of(one), self.monitor.serving.get(one.deployment.entry)
                if texts and arm:
                    case = self._chance.choice(sorted(texts))
                    client.predict(texts[case], kind="sentinel", case=case, arm=arm)

    def _of(self, one: Stream) -> dict[str, str]:
        """Sentinel case -> text."""
        entry = one.deployment.entry
        if entry not in self._texts:
            from .rehearsal import SCENARIOS
            from .rehearsal import Sealed as Answers

            names = set(sentinels(one.profile, one.asked.sentinels))
            who = actor(self.monitor.project.root)["name"]
            held = Answers(self.monitor.store, one.candidate, who) if names else None
            rows = held.table(held.records.get(SCENARIOS), "scenarios.parquet") if held else ()
            self._texts[entry] = {r["case_id"]: r["text"] for r in rows or ()
                                  if r["case_id"] in names}  # fmt: skip
        return self._texts[entry]


def watch(
    project: Project, store: Store, environment: str, stop: threading.Event, *, by: str = "",
    sign_with: Path | None = None, say: Say = print,
) -> None:  # fmt: skip
    """Watch until `stop`, with the key of the environment's monitor unless another is given.

    InputError or IntegrityError where that key does not count, or what serves can't be watched.
    """
    if not sign_with:
        by, sign_with = machines.key(project, store, environment, "monitor")
    monitor = Monitor(project, store, environment, by=by, sign_with=sign_with, say=say)
    monitor.refresh()
    monitor.run(stop)


def once(project: Project, store: Store, environment: str) -> Monitor:
    """A monitor that has seen the log as it is, and takes nothing back. InputError where nothing
    serves."""
    monitor = Monitor(project, store, environment, say=lambda line: None)
    monitor.look()
    if not monitor.serving:
        raise InputError("Nothing serves there.", where=environment, next_step="workbench at -e …")
    return monitor


def seal(project: Project, store: Store, environment: str) -> list[Record]:
    """Seal what was seen of each release that serves, a record of 80_monitor each.

    The verdict is computed from the served lines, outside the notebook.
    """
    monitor, sealed = once(project, store, environment), []
    for entry, one in monitor.streams.items():
        lines = [line for line in Tail(monitor.folder / places.DECISIONS).new()
                 if line["entry"] == entry]  # fmt: skip
        sealed.append(_seal(monitor, one, lines))
    return sealed


def _seal(monitor: Monitor, one: Stream, lines: list[dict[str, Any]]) -> Record:
    import pandas as pd

    facts = {"environment": monitor.environment, "arm": monitor.serving[one.deployment.entry],
             "deployment": one.deployment._asdict(), "profile": one.profile,
             "monitor": one.asked.model_dump(mode="json")}  # fmt: skip
    watch = Watch(one.asked, one.profile, seed=one.deployment.entry)
    tables = {"windows": pd.DataFrame(windows(watch, lines)),
              "alarms": pd.DataFrame(watch.alarms, columns=Alarm._fields)}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        held = {"stream": Path(folder, "stream.json"), "lines": Path(folder, "lines.jsonl")}
        held["stream"].write_bytes(canonical(facts))
        held["lines"].write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
        outputs = {"stream.json": held["stream"]}
        for name, table in tables.items():
            outputs[f"{name}.parquet"] = Path(folder, f"{name}.parquet")
            table.to_parquet(outputs[f"{name}.parquet"], index=False)
        return sealing.seal(
            monitor.project, monitor.store, STAGE, {n: (p, SOURCE) for n, p in held.items()},
            one.candidate, lambda _: [gate(watch.alarms, len(lines))], outputs,
        )  # fmt: skip
