"""How a request is answered: under a lease in force, and no other way.

1. What is asked of the worker is a release that the lease grants, whose bytes were checked.
2. The lease is looked at again when the reply is there; what is no longer granted is dropped.
3. What the release's guards or its threshold keep back is not sent; the declared fallback is.
4. No answer leaves before its line is in the decision log.

No store and no ledger is read here, and no text of a caller is in a log, a metric or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ...errors import RunError, WorkbenchError
from ...policy import serving
from ...policy.serving import Arm, Grant
from ...record import clock
from .guards import Judged, Release
from .journal import Journal
from .leases import Leases
from .metrics import Metrics
from .spec import Spec, note
from .tokens import Rates, Tokens
from .workers import LOAD_S, START_S, Worker

LOOK_S, AGAIN_S = 0.1, 2.0
MACHINE = "A machine decided this."


@dataclass(frozen=True)
class Asked:
    """A request that may be answered."""

    text: str
    caller: str
    subject: str | None = None
    kind: str = "traffic"
    case: str | None = None
    arm: Arm | None = None


@dataclass(frozen=True)
class Found:
    """What the model's side of a request came to; without `judged` there is nothing to send."""

    reason: str
    release: Release | None = None
    reply: dict[str, Any] | None = None
    judged: Judged | None = None


class Gateway:
    """All that one process holds: lease, releases, worker, log, tokens, counters."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.settings = spec, spec.operations.serving
        self.leases, self.tokens, self.metrics = Leases(spec), Tokens(spec.tokens), Metrics()
        self.rates = Rates(self.settings.requests_per_minute)
        self.journal, self._key = Journal(spec.decisions), spec.digest_key.read_bytes()
        self.worker = Worker(spec.worker, self.settings, self._changed)
        self.releases: dict[str, Release] = {}
        self._refused: dict[str, tuple[float, str]] = {}
        self._wanted: dict[str, float] = {}  # since when it is granted, until it is loaded first
        self.metrics.torn.set(bool(self.journal.torn))
        if self.journal.torn:
            _say(f"decision log: {self.journal.torn} was torn; a new file is begun")

    def _changed(self, pid: int | None) -> None:
        """Another worker is there, or none; of one that is gone nothing is loaded."""
        self.releases.clear()
        self._refused.clear()
        if pid:
            note(self.spec.state, worker=pid)

    async def look(self) -> None:
        """Keep an eye on the lease, for ever."""
        while True:
            await asyncio.to_thread(self.leases.look)
            await asyncio.sleep(LOOK_S)

    async def provide(self) -> None:
        """Load what the lease grants, let go of what it does not grant, for ever."""
        while True:
            lease = self.leases.current
            if lease and self.worker.up:
                wanted = {grant.bundle: grant for grant in lease.granted.values()}
                for bundle in self.releases.keys() - wanted.keys():
                    self.releases.pop(bundle, None)
                    with suppress(RunError, TimeoutError):  # nothing is asked of it any more
                        await self.worker.ask("unload", LOAD_S, bundle=bundle)
                for bundle, grant in wanted.items():
                    self._wanted.setdefault(bundle, time.monotonic())
                    again, _ = self._refused.get(bundle, (0, ""))
                    if bundle not in self.releases and again < time.monotonic():
                        await self._load(grant)
            await asyncio.sleep(LOOK_S)

    async def _load(self, grant: Grant) -> None:
        starts, told = self.worker.starts, grant.model_dump(include={"bundle", "folder", "base"})
        try:
            release = await asyncio.to_thread(Release.opened, grant)
            await self.worker.ask("load", LOAD_S, **told)
            if self.worker.up and self.worker.starts == starts:
                self.releases[grant.bundle] = release
                self._wanted[grant.bundle] = -START_S
        except (WorkbenchError, OSError, ValueError, KeyError, TimeoutError) as error:
            why = str(error).replace("\n", " ") or type(error).__name__
            self._refused[grant.bundle] = time.monotonic() + AGAIN_S, why
            _say(f"not loaded: {grant.bundle}: {why}")

    def ready(self) -> tuple[dict[str, str], list[str]]:
        """Arm -> release that can answer now, and why any other can't."""
        lease = self.leases.current
        granted = lease.granted if lease else {}
        found = {arm: one.bundle for arm, one in granted.items() if one.bundle in self.releases}
        why = [self.leases.why, *(lease.why if lease else [])]
        why += ["" if self.worker.up else "the worker is not there"]
        why += [f"{one.bundle[:12]}: {self._refused.get(one.bundle, (0, 'not loaded yet'))[1]}"
                for one in granted.values() if one.bundle not in self.releases]  # fmt: skip
        return found, [one for one in why if one] or ([] if found else ["no release is granted"])

    def _chosen(self, asked: Asked) -> tuple[Arm | None, Grant | None]:
        """Who serves the subject; a canary that is not loaded yet leaves its share to the stable."""
        lease = self.leases.current
        if lease is None:
            return None, None
        arm = asked.arm or serving.arm(asked.subject or asked.text, lease)
        if arm == "canary" and not asked.arm and lease.canary.bundle not in self.releases:
            arm = "stable"
        grant = lease.granted.get(arm)
        return (arm, grant) if grant else (None, None)

    def _starting(self, bundle: str) -> bool:
        """Is it read for the first time since this server began? That it takes seconds is no fault
        of the release; that it can't be read, or is lost again, is one."""
        since = self._wanted.get(bundle, time.monotonic())
        return bundle not in self._refused and time.monotonic() - since < START_S

    async def _found(self, text: str, arm: Arm | None, grant: Grant | None) -> Found:
        if arm is None or grant is None:
            return Found("no lease")
        release = self.releases.get(grant.bundle)
        if release is None:
            return Found("starting" if self._starting(grant.bundle) else "worker")
        if self.worker.busy() >= self.settings.waiting:
            return Found("busy", release)
        tokens = self.settings.reply_tokens if release.free else None
        asked = {"bundle": grant.bundle, "text": text, "reply_tokens": tokens}
        try:
            reply = await self.worker.ask("answer", self.settings.timeout_s, **asked)
            reply["closed"] = release.closed(reply)
            judged = await asyncio.to_thread(release.judge, text, reply)
        except TimeoutError:
            return Found("timeout", release)
        except (RunError, KeyError, TypeError, AttributeError):
            return Found("worker", release)
        if not self.leases.grants(arm, grant):
            return Found("no lease", release)
        return Found(judged.reason, release, reply, judged)

    async def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        """HTTP status, and what the caller is told."""
        begun = time.perf_counter()
        arm, grant = self._chosen(asked)
        found = await self._found(asked.text, arm, grant)
        told, line = self._told(found), {"arm": arm, "reason": found.reason}
        line |= {"bundle": grant.bundle, "entry": grant.entry} if grant else {}
        if found.judged and found.reply:
            line |= {
                "sketch": found.reply["sketch"], "answer": found.reply["closed"],
                "confidence": found.reply["confidence"], "abstained": found.judged.abstained,
                "verdicts": found.judged.verdicts,
            }  # fmt: skip
        status = 503 if told["answer"] is None else 200
        decision = self.log(asked, status, begun, outcome=told["outcome"], **line)
        if decision is None:
            status, told = 503, self._told(Found("log"))
        release = grant.bundle if grant else None
        return status, told | {"release": release, "arm": arm, "decision": decision}

    def _told(self, found: Found) -> dict[str, Any]:
        """What the caller is told, before it is known who said it."""
        fallback = (found.release.operations if found.release else self.spec.operations).fallback
        answer, outcome, sure, say = fallback.answer, "fallback", {}, fallback.say
        if found.judged and found.reply and found.judged.outcome != "fallback":
            answer, outcome = found.reply["answer"], found.judged.outcome
            sure, say = found.reply["confidence"], MACHINE
            say += f" {fallback.say}" if outcome == "escalated" else ""
        elif answer is None or found.reason in ("busy", "log"):
            answer, outcome = None, "refused"
        return {"answer": answer, "confidence": sure, "outcome": outcome, "reason": found.reason,
                "say": say}  # fmt: skip

    def log(self, asked: Asked, status: int, begun: float, **line: Any) -> str | None:
        """Write a decision; its name, None where it could not be written."""
        seconds = time.perf_counter() - begun
        about = {
            "time": clock.now(), "environment": self.spec.environment, "caller": asked.caller,
            "request": self._digest(asked.text), "subject": self._digest(asked.subject or ""),
            "kind": asked.kind, "sentinel": asked.case, "shape": serving.shape(asked.text),
            "arm": None, "bundle": None, "entry": None, "status": status,
            "latency_ms": round(seconds * 1000, 3),
        }  # fmt: skip
        try:
            decision = self.journal.write(**about | line)
        except (OSError, WorkbenchError, ValueError) as error:
            _say(f"decision log: {type(error).__name__}")
            self.metrics.unlogged.inc()
            return None
        self.metrics.latency.observe(seconds)
        labels = (line["outcome"], line["reason"], line.get("arm") or "", asked.kind)
        self.metrics.requests.labels(*labels).inc()
        return decision

    def _digest(self, text: str) -> str:
        """HMAC-SHA-256 under the server's key: the same text, the same digest, and no way back."""
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    def page(self) -> bytes:
        """The counters, for Prometheus."""
        self.metrics.lease.set(self.leases.age)
        self.metrics.restarts.set(max(self.worker.starts - 1, 0))
        self.metrics.memory.set(self.worker.memory)
        return self.metrics.page()


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
