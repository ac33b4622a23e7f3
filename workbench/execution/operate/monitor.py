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
SOURCE = "ledger:monitor"
ASK = "Find out who wrote there; what can't be read is taken for unsafe."
REASON = 400  # characters of a reason in the ledger
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
                yield from self._lines(path)
            except FileNotFoundError as error:
                what = "A file of the decision log is missing."
                raise IntegrityError(what, where=path, next_step=ASK) from error
            if not later:
                return
            self._file, self._offset, self._number = self._file + 1, 0, 0

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        with path.open("rb") as file:
            file.seek(self._offset)
            for raw in file:
                if not raw.endswith(b"\n"):  # its writer is not done with it, or died over it
                    return
                where = f"{path}:{self._number}"
                said = Decision.parse(json.loads(raw), where=where).model_dump(mode="json")
                if (said["number"], said["previous"]) != (self._number, self._previous):
                    what = "A line of the decision log was changed, taken out or put in."
                    raise IntegrityError(what, where=where, next_step=ASK)
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
    known, profile = store.listed(), EMPTY
    for record in store.records(REHEARSAL):  # the newest of this candidate counts
        of = {item.annotations.get("record") for item in record.statement.inputs}
        if record.digest in known and candidate.record.digest in of:
            profile = Sealed({REHEARSAL: record}).json(REHEARSAL, "profile.json")
    return Stream(one, candidate, asked, profile, Watch(asked, profile, seed=one.entry))


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
        self._head, self._due = "", dict[int, Alarm]()

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
        self.streams = {one.entry: self.streams.get(one.entry)
                        or stream(self.project, self.store, one) for one in held.serving}  # fmt: skip
        self._head = head

    def take_back(self, entry: int, reason: str) -> None:
        """Until what this entry made serve does not serve: a canary beside it is halted first."""
        while entry in self.serving:
            done = registry.take_back(self.project, self.store, self.environment, by=self.by,
                                      reason=reason[:REASON], sign_with=self.sign_with)  # fmt: skip
            self.say(f"✗ {done.action}, ledger entry {done.entry}: {reason}")
            self.refresh()

    def report(self) -> list[dict[str, Any]]:
        """A row a signal of each release that serves."""
        return [{"arm": arm, "entry": entry, "bundle": self.streams[entry].deployment.bundle} | row
                for entry, arm in self.serving.items() if entry in self.streams
                for row in self.streams[entry].watch.report()]  # fmt: skip

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Whatever goes wrong is said, and after `BLIND_S` it is an alarm."""
        threading.Thread(target=ask, args=(self, stop), daemon=True).start()
        well, told = time.monotonic(), 0.0
        while not stop.wait(LOOK_S):
            why, now = _fault(self.look), time.monotonic()
            if why and now - well > BLIND_S:
                why, well = _fault(lambda w=why: self.blind(w)) or why, now
            well = well if why else now
            if now - told > STATUS_S:
                told = now
                self.say(f"{clock.now()[:19]} {f'? {why}' if why else self.status()}")

    def blind(self, why: str) -> None:
        """Take back what nobody can watch."""
        self._head = ""
        _fault(self.refresh)  # what serves is known even where it can't be watched
        for _ in [*self.serving]:
            done = registry.take_back(self.project, self.store, self.environment, by=self.by,
                                      reason=f"blind: {why}"[:REASON], sign_with=self.sign_with)  # fmt: skip
            self.say(f"✗ {done.action}, ledger entry {done.entry}: blind")

    def status(self) -> str:
        """In a line: what serves, how much of it was seen, and what is an alarm."""
        said = []
        for entry, arm in self.serving.items():
            watch = self.streams[entry].watch
            alarms = ", ".join(one.signal for one in watch.alarms) or "quiet"
            lines = max(one.lines for one in watch.signals)
            said.append(
                f"{arm} {self.streams[entry].deployment.bundle[:12]}: {lines} lines, {alarms}"
            )
        return "; ".join(said) or "nothing serves"


def _fault(do: Callable[[], Any]) -> str:
    """What went wrong, in a line; empty when nothing did. A monitor that ends is watched by nobody,
    so it outlives whatever is raised."""
    try:
        do()
    except Exception as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


# -- sentinels -------------------------------------------------------------------------------------


def ask(monitor: Monitor, stop: threading.Event) -> None:
    """Until `stop`: a sentinel case at a time of every release that serves, drawn by chance."""
    chance, texts = random.SystemRandom(), dict[int, dict[str, str]]()

    def once() -> None:
        state = places.read(monitor.folder / places.STATE)
        token = places.own_token(monitor.folder)
        with Client(state.get("url"), state.get("uds"), token) as client:
            for entry, one in [*monitor.streams.items()]:
                if entry not in texts:
                    texts[entry] = _texts(monitor, one)
                arm = monitor.serving.get(entry)
                if arm and texts[entry]:
                    case = chance.choice(sorted(texts[entry]))
                    client.predict(texts[entry][case], kind="sentinel", case=case, arm=arm)

    while not stop.wait(min([one.asked.sentinel_every_s for one in monitor.streams.values()],
                            default=LOOK_S)):  # fmt: skip
        if monitor.streams and (why := _fault(once)):
            monitor.say(f"? sentinel: {why}")


def _texts(monitor: Monitor, one: Stream) -> dict[str, str]:
    """Sentinel case -> text, as 42_scenarios asked it."""
    from . import rehearsal

    names = set(sentinels(one.profile, one.asked.sentinels))
    held = rehearsal.Sealed(monitor.store, one.candidate, actor(monitor.project.root)["name"])
    rows = held.table(held.records.get(rehearsal.SCENARIOS), "scenarios.parquet") if names else ()
    return {row["case_id"]: row["text"] for row in rows or () if row["case_id"] in names}


# -- what verbs call -------------------------------------------------------------------------------


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


def seal(monitor: Monitor) -> list[Record]:
    """Seal what was seen of each release that serves, a record of 80_monitor each; the verdict is
    computed from the served lines, outside the notebook."""
    lines = list(Tail(monitor.folder / places.DECISIONS).new())
    return [_seal(monitor, one, [line for line in lines if line["entry"] == entry])
            for entry, one in monitor.streams.items()]  # fmt: skip


def _seal(monitor: Monitor, one: Stream, lines: list[dict[str, Any]]) -> Record:
    import pandas as pd

    facts = {"environment": monitor.environment, "arm": monitor.serving[one.deployment.entry],
             "deployment": one.deployment._asdict(), "profile": one.profile,
             "monitor": one.asked.model_dump(mode="json")}  # fmt: skip
    watch = Watch(one.asked, one.profile, seed=one.deployment.entry)
    tables = {"windows": pd.DataFrame(windows(watch, lines)),
              "alarms": pd.DataFrame(watch.alarms, columns=Alarm._fields)}  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        (folder / "stream.json").write_bytes(canonical(facts))
        (folder / "lines.jsonl").write_bytes(b"".join(canonical(line) + b"\n" for line in lines))
        for name, table in tables.items():
            table.to_parquet(folder / f"{name}.parquet", index=False)
        held = {path.stem: (path, SOURCE) for path in folder.iterdir() if path.suffix != ".parquet"}
        outputs = {path.name: path for path in folder.iterdir() if path.suffix != ".jsonl"}
        return sealing.seal(monitor.project, monitor.store, STAGE, held, one.candidate,
                            lambda _: [gate(watch.alarms, len(lines))], outputs)  # fmt: skip
