"""The second half of `make demo`: rehearse, serve, watch, and take back what becomes unsafe.

Nothing here sounds an alarm: traffic changes, the monitor reads what was served, and says what
follows. The released model is served and watched by processes of their own, as anybody would run
them: `workbench serve` and `workbench monitor`.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from workbench.errors import GateNotPassed, RunError, WorkbenchError
from workbench.evidence import tables
from workbench.execution import environment
from workbench.execution.operate import (
    deploying,
    incidents,
    machines,
    monitor,
    observe,
    places,
    preprod,
    rehearsal,
)
from workbench.execution.operate.client import Client
from workbench.execution.project import Project
from workbench.execution.release import registry, request
from workbench.policy.incidents import Opened
from workbench.record import clock
from workbench.record.store import Store

PLACE, QUIET, BUSY, SUBJECTS = "demo", 2.0, 12.0, 400
"""Environment; messages a second at night and by day; customers."""
FOREIGN = ("Wie wird das Wetter morgen in den Bergen?", "¿Dónde puedo comprar fruta fresca?",
           "Kannst du mir ein Gedicht über den Herbst schreiben?", "lorem ipsum dolor sit amet",
           "Combien de temps faut-il pour cuire un œuf ?", "The choir sang in the old chapel.",
           "zxqv 88 blorp??", "Il treno per Bologna parte dal binario nove.")  # fmt: skip
"""What nobody validated: other languages, other matters."""
STOLEN = ("Meine Geldbörse ist weg, die Karte war darin.",
          "Mi bolso ha desaparecido con la tarjeta dentro.",
          "Everything in my jacket's pocket is gone, the plastic too.",
          "Someone else is shopping with it right now, not me!",
          "Il mio portafoglio non c'è più.")  # fmt: skip
EXPECTED = {"label": "card_lost_or_stolen"}
"""Ways to say that a card is gone, as nobody wrote them into the data, and what must be answered."""


def declare(place: Path, name: str) -> Project:
    """Declare an environment as the server is that runs there, or would be, and commit it."""
    project = Project.load(place)
    if environment.declared(project, name) is None:
        environment.declare(project, name, observe.planned(project, name))
        git = ["git", "-C", str(place)]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", f"The environment {name}"], check=True)
    return Project.load(place)


class Traffic(threading.Thread):
    """Customers who write, `rate` times a second, each the same subject to the server every time."""

    def __init__(self, project: Project) -> None:
        super().__init__(daemon=True)
        folder = places.prepare(places.served(project, PLACE))
        self.state, self.token = folder / places.STATE, places.new_token(folder, "queue", "caller")
        lines = (project.root / project.usecase.data.path).read_text("utf-8").splitlines()
        self.usual = [json.loads(line)[project.usecase.data.text] for line in lines]
        self.foreign, self.ended, self.rate = threading.Event(), threading.Event(), BUSY
        self.told: dict[str, int] = {}

    def run(self) -> None:
        chance = random.Random(0)
        for number in itertools.count():
            if self.ended.wait(1 / self.rate):
                return
            texts = FOREIGN if self.foreign.is_set() else self.usual
            with Client(places.read(self.state).get("url"), token=self.token) as client:
                said = client.predict(chance.choice(texts), subject=f"customer {number % SUBJECTS}")
            outcome = said.get("outcome", str(said["status"]))
            self.told[outcome] = self.told.get(outcome, 0) + 1


@contextmanager
def command(place: Path, log: Path, *words: str) -> Iterator[subprocess.Popen]:
    """A verb of the workbench in a process of its own, until the block ends."""
    line = [sys.executable, "-m", "workbench.cli", words[0], "-u", str(place), *words[1:]]
    with log.open("ab") as out:
        process = subprocess.Popen(line, stdout=out, stderr=out, env=dict(os.environ))
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def until(what: str, found: Any, seconds: float = 120) -> Any:
    """The first truth that `found` gives. RunError when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if got := found():
            return got
        time.sleep(0.2)
    raise RunError(f"Waited {seconds:.0f} s for: {what}.")


class Operation:
    """A use case with a release, and the persons and machines that serve it."""

    def __init__(self, place: Path, store: Store, persons: dict[str, tuple[str, Path]]) -> None:
        self.place, self.store, self.persons = place, store, persons
        self.project, self.open = declare(place, PLACE), ExitStack()
        self.log = place.parent / f"{place.name}-operation.log"

    def state(self) -> Any:
        return registry.state(self.store, self.project.usecase.id, PLACE)

    def rehearse(self, bundle: str) -> None:
        """Serve it where nothing hangs on it, ask all that validation asked, compare."""
        preprod.up(self.project, self.store, 1800, bundle)
        try:
            self.project = declare(self.place, "preproduction")
            record = rehearsal.rehearse(self.project, self.store, None, lambda line: None)
        finally:
            preprod.down(self.project)
        verdicts = record.statement.predicate.workbench_verdicts
        tables.console().print(tables.verdicts(verdicts))
        bad = [one for one in verdicts if one["blocking"] and one["verdict"] != "passed"]
        if bad:
            raise GateNotPassed("The rehearsal did not pass.", where=record.ref,
                                given="; ".join(one["reason"] for one in bad))  # fmt: skip
        print(f"✓ rehearsed in pre-production: {record.ref}")

    def serve(self) -> None:
        """Start the server, its monitor and the customers; nothing is deployed yet."""
        by, key = self.persons["data_steward"]
        for role in ("server", "monitor"):
            told = {"name": f"{role}-{PLACE}", "by": by, "sign_with": key}
            try:
                machines.key(self.project, self.store, PLACE, role)
            except WorkbenchError:  # there is none yet
                machines.create(self.project, self.store, PLACE, role, **told)
        self.open.enter_context(command(self.place, self.log, "serve", "-e", PLACE, "--port", "0"))
        state = places.served(self.project, PLACE) / places.STATE
        until("the server", lambda: state.exists() and places.read(state).get("url"))
        observed = places.served(self.project, PLACE) / "observed.json"
        until("its observation", observed.exists)
        print(f"✓ serves, and grants nothing yet: {places.read(state)['url']}")

    def watch(self) -> Traffic:
        """Let customers write, and the monitor look."""
        traffic = Traffic(self.project)
        traffic.start()
        self.open.callback(traffic.ended.set)
        self.open.enter_context(command(self.place, self.log, "monitor", "-e", PLACE))
        return traffic

    def deploy(self, bundle: str, action: str) -> Any:
        by, key = self.persons["operator"]
        candidate = request.find(self.project, self.store, bundle)
        how = {"action": action, "by": by, "sign_with": key, "share": None}
        done = registry.deploy(self.project, self.store, candidate, PLACE, **how)
        print(f"✓ {action}: bundle {bundle[:12]}, ledger entry {done.entry}, signed by {by}")
        return done

    def grow(self, bundle: str) -> None:
        """A canary, and all of the traffic once it has answered enough of it."""
        if (canary := self.state().canary) is None or canary.bundle != bundle:
            self.deploy(bundle, "canary")
        asked = self.project.operations.deployments[PLACE].canary

        def enough() -> bool:
            rows = deploying.canary_rows(self.project, PLACE, self.state())
            return sum(row["arm"] == "canary" for row in rows) >= asked.requests

        until(f"{asked.requests} requests to the canary", enough, 300)
        time.sleep(asked.minutes * 60)
        self.deploy(bundle, "promote")

    def drift(self, traffic: Traffic, unsafe: str, safe: str) -> int:
        """Customers write about what nobody validated; returns the entry that took it back."""
        for record in monitor.seal(monitor.once(self.project, self.store, PLACE)):
            print(f"✓ what was served so far: {record.ref}")
        print("▸ from now on customers write about what nobody validated")
        began = time.monotonic()
        traffic.foreign.set()
        until("the monitor", lambda: self.state().stable.bundle != unsafe, 300)
        seconds = time.monotonic() - began
        traffic.foreign.clear()
        last = self.state().stable
        assert last.bundle == safe, last
        print(f"✓ taken back after {seconds:.0f} s by {last.by}, ledger entry {last.entry}:\n"
              f"  {last.reason}\n✓ {safe[:12]} serves again")  # fmt: skip
        return last.entry

    def wrong(self) -> str:
        """Of urgent messages as nobody wrote them into the data, one that is answered wrongly."""
        folder = places.served(self.project, PLACE)
        with Client(
            places.read(folder / places.STATE)["url"], token=places.own_token(folder)
        ) as asks:
            for text in STOLEN:
                asks.predict(text, subject="an agent who tries")
                said = list(places.decisions(folder / places.DECISIONS))[-30:]
                mine = [one for one in said if one["shape"]["chars"] == len(text)]
                if mine and mine[-1]["answer"] not in ({}, EXPECTED):
                    print(f"▸ an agent finds: “{text}” is taken for {mine[-1]['answer']}")
                    return text
        raise RunError("Every urgent message was answered as it must be.", given=STOLEN)

    def incident(self, entry: int, text: str) -> str:
        """Record what happened, and write the scenario that every later candidate must pass."""
        by, key = self.persons["operator"]
        about, reason = incidents.taken_back(self.store, self.project.usecase.id, entry)
        said = Opened.parse({
            "usecase": self.project.usecase.id, "by": by, "time": clock.now(), "what": reason,
            "severity": "near_miss", "text": text, "expect": EXPECTED, **about,
        })  # fmt: skip
        found = incidents.enter(self.project, self.store, said, key)
        print(f"✓ incident {found.id}: {found.scenario} blocks the next candidate that fails it")
        return found.scenario


def retrain(place: Path) -> None:
    """Another candidate: as the one before, but trained shorter, so that it remembers less."""
    path = place / "usecase.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("    epochs: 5\n", "    epochs: 2\n", 1), "utf-8")
