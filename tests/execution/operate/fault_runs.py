"""Fault runs: requests all the time, random faults and deployments, and the log held against what
people had approved at each moment. Used by the tests and by `make measure ONLY=operate`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from workbench.errors import InputError, WorkbenchError
from workbench.execution import bundle
from workbench.execution.operate import authority, machines, places
from workbench.execution.operate.service import Service
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.policy.deployment import fault
from workbench.policy.serving import NAMESPACE
from workbench.record import clock, person
from workbench.record.decisions import TORN, verify_log

HERE = "production"
TINY = [sys.executable, str(Path(__file__).resolve().parents[2] / "tiny_worker.py")]
LEASE_S = 2
"""In place of twenty, so that what outlives its approval shows within a run."""
SLACK_S = 0.2
"""Between the moment that an answer is granted and the time on its line."""


class Site:
    """A use case with two releases that is served, and somebody who asks without a pause."""

    def __init__(self, lab: Any, seed: int = 0) -> None:
        self.lab, self.random = lab, random.Random(seed)
        self.store = lab.store("governed")
        self.project = Project.load(lab.usecase)
        self.candidates = bundle.candidates(self.store)
        self.machine, self.key = machines.create(
            self.project, self.store, HERE, "monitor", name="monitor-production", by="Dora Data",
            sign_with=lab.keys / "Dora",
        )  # fmt: skip
        self.service = Service(self.project, self.store, HERE, uds=lab.home / "g", worker=TINY,
                               observed=False)  # fmt: skip
        self.revoked: set[str] = set()
        self.states: list[tuple[str, str, frozenset]] = []
        self.replies: list[dict[str, Any]] = []
        self.done: Counter[str] = Counter()
        self._ended = threading.Event()

    def __enter__(self) -> Site:
        self.service.start()
        self.service.ready(release=False)
        self._now(clock.now())
        self._caller = threading.Thread(target=self._ask, daemon=True)
        self._caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._caller.join()
        self.service.stop()

    def _ask(self) -> None:
        with self.service.client() as client:
            while not self._ended.wait(0.02):
                try:
                    asked = f"about my {self.random.choice(('card', 'fee'))}"
                    self.replies.append(client.predict(asked, subject=str(len(self.replies) % 40)))
                except WorkbenchError:
                    self.done["nobody answered"] += 1

    # what is approved

    def _now(self, before: str) -> None:
        """From `before` on, at the latest from now on, this and nothing else is approved."""
        held = registry.state(self.store, "tiny", HERE).serving
        allowed = {(one.bundle, one.entry) for one in held if one.bundle not in self.revoked}
        self.states.append((before, clock.now(), frozenset(allowed)))

    def wrong(self) -> list[str]:
        """Answers by what nobody had approved within the life of a lease before them, and answers
        that callers got and the log does not have."""
        folder = self.service.folder
        found = [str(one) for one in verify_log(folder / places.DECISIONS) if one.what != TORN]
        lines = list(places.decisions(folder / places.DECISIONS))
        given = Counter(one["bundle"] for one in lines if one["outcome"] == "answered")
        got = Counter(one["release"] for one in self.replies if one.get("outcome") == "answered")
        found += [f"{n} answers of {name[:12]} without a line" for name, n in (got - given).items()]
        starts = [clock.parse(before) for before, _, _ in self.states]
        ends = [*(clock.parse(after) for _, after, _ in self.states[1:]), None]
        for one in (line for line in lines if line["outcome"] == "answered"):
            then = clock.parse(one["time"])
            early = then - timedelta(seconds=LEASE_S + SLACK_S)
            allowed = {pair for start, end, (_, _, pairs) in zip(starts, ends, self.states, strict=True)
                       if start <= then and (end is None or end >= early) for pair in pairs}  # fmt: skip
            if (one["bundle"], one["entry"]) not in allowed:
                found.append(f"{one['bundle'][:12]}, entry {one['entry']}, at {one['time']}")
        self.done["answered"], self.done["requests"] = sum(given.values()), len(self.replies)
        return found

    # what happens

    def run(self, last: bool = False, actions: int = 3) -> None:
        """One fault run; what can't be undone happens in the `last` ones of a site."""
        for _ in range(actions):
            name = self.random.choice([*FAULTS, *CHANGES, *(FINAL if last else ())])
            before = clock.now()
            with suppress(WorkbenchError):  # not every action follows on what serves
                getattr(self, name)()
                self.done[name] += 1
            self._now(before)
            time.sleep(self.random.uniform(0.0, 0.5))

    def deploy(self, action: str, share: float | None = None) -> Any:
        held = registry.state(self.store, "tiny", HERE)
        fits = [one for one in self.candidates if not fault(held, action, one.digest, share)]
        one = self.random.choice(fits or self.candidates)
        return registry.deploy(self.project, self.store, one, HERE, action=action, share=share,
                               by="Otto Operator", sign_with=self.lab.keys / "Otto")  # fmt: skip

    def start(self) -> None:
        self.deploy("start")

    def canary(self) -> None:
        self.deploy("canary", share=self.random.choice((0.2, 0.8)))

    def promote(self) -> None:
        self.deploy("promote")

    def stop(self) -> None:
        self.deploy("stop")

    def back(self) -> None:
        registry.take_back(self.project, self.store, HERE, reason="a fault", by=self.machine,
                           sign_with=self.key)  # fmt: skip

    def revoke(self) -> None:
        """Of one release; the other stays."""
        if self.revoked:
            raise InputError("one is enough")
        one = self.random.choice(self.candidates)
        [entry] = [
            e for e in self.store.ledger.entries("release") if e.body["bundle"] == one.digest
        ]
        told = self.lab.cli("release", "revoke", entry.body["approvals"][0], "--reason", "a doubt",
                            "--by", "Vera Validator", "--sign-with", self.lab.keys / "Vera")  # fmt: skip
        assert told.code == 0, told.err
        self.revoked.add(one.digest)

    def _kill(self, who: str) -> None:
        with suppress(ProcessLookupError, KeyError):
            os.kill(places.read(self.service.folder / places.STATE)[who], signal.SIGKILL)

    def kill_worker(self) -> None:
        self._kill("worker")

    def kill_gateway(self) -> None:
        self._kill("gateway")

    def hang_authority(self) -> None:
        """It says nothing for longer than a lease lasts: what it last said ends by itself."""
        held, self.service.authority.once = self.service.authority.once, lambda: None
        time.sleep(LEASE_S + 0.5)
        self.service.authority.once = held

    def tamper(self) -> None:
        """Somebody who can write to the folder grants what they like, in each way that there is."""
        path = self.service.folder / places.LEASE
        lease = places.read(path)
        plain, one = lease["statement"], self.random.choice(self.candidates)
        grant = {
            "bundle": one.digest,
            "folder": str(one.folder),
            "base": "/",
            "entry": 1,
            "share": 1,
        }
        until = clock.text(clock.parse(clock.now()) + timedelta(seconds=15))
        forged = plain | {"stable": grant, "canary": None, "expires": until, "why": []}
        stranger = self.lab.home / "stranger"
        if not stranger.exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(stranger)]
            subprocess.run(words, check=True)
        ways = [
            lease | {"statement": forged}, {"statement": forged},
            person.sign(forged, NAMESPACE, stranger), json.loads("[]"),
        ]  # fmt: skip
        for way in ways:
            places.write(path, way)
            time.sleep(0.15)


FAULTS = ("kill_worker", "kill_gateway", "hang_authority", "tamper")
CHANGES = (*["start", "canary", "promote"] * 3, "stop")
FINAL = ("revoke", "back") * 3


def campaign(lab: Any, seed: int, runs: int, patch: Any) -> tuple[list[str], Counter[str]]:
    """So many fault runs on one site; answers that were wrong, and what was done how often."""
    patch.setattr(authority, "LEASE_S", LEASE_S)
    patch.setattr(authority, "RENEW_S", 0.5)
    with Site(lab, seed) as site:
        with suppress(WorkbenchError):
            before = clock.now()
            site.start()
            site._now(before)
        for number in range(runs):
            site.run(last=number >= runs // 2)
        time.sleep(0.3)
    return site.wrong(), site.done


def rollbacks(lab: Any, times: int) -> list[float]:
    """Seconds from the call to take back until the first answer by the release before."""
    found = []
    with Site(lab) as site:
        site._ended.set()
        first, second = site.candidates
        how = {"by": "Otto Operator", "sign_with": lab.keys / "Otto"}
        place = site.project, site.store
        with site.service.client() as client:
            for _ in range(times):
                registry.deploy(*place, first, HERE, action="start", **how)
                registry.deploy(*place, second, HERE, action="start", **how)
                _until(client, second.digest)
                began = time.monotonic()
                done = registry.take_back(*place, HERE, reason="measured", by=site.machine,
                                          sign_with=site.key)  # fmt: skip
                assert done.bundle == first.digest, done
                _until(client, first.digest)
                found.append(time.monotonic() - began)
                registry.deploy(*place, first, HERE, action="stop", **how)
                if len(found) < times:
                    again(lab, second.digest)
    return found


def again(lab: Any, digest: str) -> None:
    """New approvals of a release that was taken back."""
    asked = lab.runs / "request.json"
    lab.ok("release", "request", digest, "--to", asked)
    for who, role in (("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")):
        assert lab.sign(who, role, asked=asked).code == 0
    shutil.rmtree(asked, ignore_errors=True)


def _until(client: Any, digest: str, within: float = 60.0) -> None:
    until = time.monotonic() + within
    while client.predict("about my card", subject="a").get("release") != digest:
        assert time.monotonic() < until, client.ready()
        time.sleep(0.01)
