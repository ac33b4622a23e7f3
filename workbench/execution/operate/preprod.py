"""`workbench preprod`: a place to rehearse in, made for one release and gone after its time (E2).

::

    RUNS/served/preproduction/USECASE/     as every place that serves (`places`), and
        place.json      release, store, from when until when
        store/          a ledger of its own: up, rehearsed, down; its keys lie with all engine keys
        run/            home and temporary files of the server, all that it may write but its log

1. What serves there is a registered release whose gates pass now, under a lease as everywhere.
2. The server runs in namespaces of its own: no network but its loopback, nothing to be seen but
   the release, its base, the package and its folder without the keys that sign.
3. When its time is over it ends by itself, and with whoever keeps it: a place without its keeper
   is dead, and the next `up` clears it away. What was observed of it then fails parity.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import GateNotPassed, InputError, RunError, WorkbenchError
from ...policy.deployment import START, Deployment, State
from ...policy.environment import Environment
from ...policy.parity import Finding, Rules, judge
from ...record import clock, durable, person
from ...record.store import Store
from .. import bundle, environment, isolation
from ..project import Project, load_yaml
from ..release import register
from ..release.register import Release
from . import authority, observe, places

ENVIRONMENT, KIND, FACTS, OWN_STORE = "preproduction", "preproduction", "place.json", "store"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 7 * UNITS["d"]
PARITY = "environments/parity.yaml"
LOG = "keeper.log"
LOOK_S, END_S, READY_S, SAID = 0.2, 15.0, 150.0, 1000
"""Seconds until the server must be ready; a large base takes its time to load."""


def lifetime(text: str) -> int:
    """Seconds of `90s`, `30m`, `2h` or `1d`. InputError for another form, none, or over a week."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if not 0 < seconds <= LONGEST_S:
        raise InputError("Not a lifetime.", expected="such as 90s, 30m, 2h or 1d; a week at most",
                         given=text)  # fmt: skip
    return seconds


@dataclass(frozen=True)
class Place:
    """A pre-production environment that is up."""

    project: Project
    folder: Path
    facts: dict[str, Any]
    """What `place.json` says."""

    @property
    def uds(self) -> str:
        return str(places.read(self.folder / places.STATE)["uds"])

    def observe(self) -> Environment:
        """What really runs there now; it is also signed and kept."""
        ends = clock.parse(self.facts["expires"])
        found = observe.server(self.folder, ENVIRONMENT, expires=ends)
        observe.signed(self.folder, self.project.usecase.id, found)
        return found

    def parity(self) -> list[Finding]:
        """The declaration against what runs. InputError where the use case declares no such place.

        Production is observed when it serves; until then what was seen here stands in its place.
        """
        declared, rules = (
            environment.declared(self.project, ENVIRONMENT),
            self.project.root / PARITY,
        )
        if declared is None:
            raise InputError("The use case declares no pre-production.", where=self.project.root,
                             next_step=f"workbench environment declare {ENVIRONMENT}")  # fmt: skip
        known = Rules.parse(load_yaml(rules), where=rules) if rules.is_file() else Rules()
        found = self.observe()
        return judge(declared, found, found, known, clock.parse(clock.now()))

    def rehearsed(self, about: dict[str, Any]) -> dict[str, Any]:
        """Enter a rehearsal into the place's own ledger; its facts, and the head after it."""
        ledger = Store.open(self.folder / OWN_STORE).ledger
        ledger.append(KIND, {"act": "rehearsed"} | about)
        head = ledger.head()
        kept = {name: value for name, value in self.facts.items() if name != "worker"}
        return kept | about | {"ledger": {"size": head.size, "root": head.root.hex()}}


# ---- up, status, down ----------------------------------------------------------------------------


def up(
    project: Project, store: Store, seconds: int, ref: str | None = None, worker: Sequence[str] = ()
) -> Place:
    """Make the place, serve the release REF (the newest) in it, and wait until it answers.

    GateNotPassed where there is no such release or it may not serve now. InputError where one is
    up, or where this machine has no namespaces; RunError when it does not get ready. `worker` is
    a command in place of the real worker's.
    """
    isolation.require("namespace")
    release, folder = _release(project, store, ref), places.served(project, ENVIRONMENT)
    lock = _hold(folder)
    if lock is None:
        raise InputError("A pre-production environment is up.", where=folder,
                         next_step="workbench preprod status, or down")  # fmt: skip
    try:
        _clear(folder)
        asked = {"bundle": release.bundle, "entry": release.entry, "worker": list(worker)}
        asked["server_key"] = person.public_line(places.prepare(folder) / places.SERVER_KEY)
        places.write(folder / FACTS, asked | {"seconds": seconds})
        keeper = _start(project, folder, lock)
        try:
            found = Place(project, folder, _begun(keeper, folder))
            found.observe()
        except BaseException:
            keeper.kill()  # what it keeps dies with it
            keeper.wait()
            raise
    finally:
        os.close(lock)
    return found


def live(project: Project) -> Place:
    """The place that is up. InputError when none is."""
    folder = places.served(project, ENVIRONMENT)
    if not status(project)["up"]:
        raise InputError("No pre-production environment is up.", where=folder,
                         next_step="workbench preprod up --ttl 2h")  # fmt: skip
    return Place(project, folder, places.read(folder / FACTS))


def status(project: Project) -> dict[str, Any]:
    """`up`, and of a place that is or was: its facts and the seconds that are left."""
    folder = places.served(project, ENVIRONMENT)
    facts = places.read(folder / FACTS) if (folder / FACTS).exists() else {}
    now, lock = clock.now(), _hold(folder)
    if lock is not None:
        os.close(lock)
    left = (clock.parse(facts.get("expires", now)) - clock.parse(now)).total_seconds()
    return {"up": left > 0 and lock is None, "left_s": max(0.0, left)} | facts


def down(project: Project) -> dict[str, Any]:
    """End the place and remove it with its keys; what it was. InputError where there is none."""
    folder = places.served(project, ENVIRONMENT)
    if not (folder / FACTS).exists():
        raise InputError("There is no pre-production environment.", where=folder)
    facts, waits = places.read(folder / FACTS), time.monotonic() + END_S
    while (lock := _hold(folder)) is None:
        with suppress(WorkbenchError, ProcessLookupError, KeyError):
            late = time.monotonic() > waits
            keeper = places.read(folder / places.STATE)["authority"]
            os.kill(keeper, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(LOOK_S)
    try:
        _clear(folder)
    finally:
        os.close(lock)
    return facts


def _release(project: Project, store: Store, ref: str | None) -> Release:
    """The release, when it may serve now. GateNotPassed says what stands against it."""
    held = register.releases(store, project.usecase.id)
    if ref is not None:
        wanted = bundle.find(store, ref, project.usecase.id).digest
        held = [one for one in held if one.bundle == wanted]
    if not held:
        raise GateNotPassed("There is no such registered release.", given=ref or "the newest",
                            next_step="workbench release status")  # fmt: skip
    salt = authority.salt(store, project.usecase.id, ENVIRONMENT)
    found = authority.lease(project, store, ENVIRONMENT, salt, held=serving(held[-1]))
    if found.stable is None:
        raise GateNotPassed("It may not serve in pre-production now.", given="; ".join(found.why),
                            next_step="workbench release status")  # fmt: skip
    return held[-1]


def serving(release: Release) -> State:
    """The place serves one release, by the entry that registered it; nobody deploys there."""
    return State(stable=Deployment(release.entry, release.time, release.usecase, ENVIRONMENT,
                                   release.bundle, release.record, START, ""))  # fmt: skip


def _clear(folder: Path) -> None:
    """Remove a place that nobody keeps any more, and the key that sealed for it."""
    with suppress(WorkbenchError):
        keys = Store.open(folder / OWN_STORE).keys
        if keys.is_dir():
            durable.remove_tree(keys)
    if folder.exists():
        durable.remove_tree(folder)


def _hold(folder: Path) -> int | None:
    """The lock of whoever keeps the place; None where somebody does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _start(project: Project, folder: Path, lock: int) -> subprocess.Popen:
    """The keeper, which takes over the lock and outlives us."""
    paths = [str(isolation.PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with (folder / LOG).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.keeper", str(project.root)], env=env,
            start_new_session=True, pass_fds=[lock], stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip


def _begun(keeper: subprocess.Popen, folder: Path) -> dict[str, Any]:
    """The facts of the place, once its keeper has written how long it lives."""
    end = time.monotonic() + READY_S
    while "expires" not in (facts := places.read(folder / FACTS)):
        if keeper.poll() is not None or time.monotonic() > end:
            logs = [folder / name for name in (LOG, "gateway.log") if (folder / name).exists()]
            last = [path.read_text(errors="replace")[-SAID:] for path in logs]
            raise RunError("The pre-production environment did not get ready.", where=folder,
                           given=" ".join(" ".join(last).split()))  # fmt: skip
        time.sleep(LOOK_S)
    return facts
