"""The gateway: answers under a lease in force, and no other way.

    python -m workbench.methods.operate.gateway SPEC.json

1. What it asks of the worker is a release that the lease grants, whose bytes it has checked.
2. It looks at the lease again when the reply is there; what is no longer granted is dropped.
3. What the release's guards or its threshold keep back is not sent; the declared fallback is.
4. No answer leaves before its line is in the decision log.

It reads no store and no ledger. No text of a caller is in a log, a metric or an error.
"""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from dataclasses import dataclass
from typing import Any

from ...errors import RunError, WorkbenchError
from ...policy import serving
from ...policy.operations import Fallback
from ...policy.serving import Arm, Grant
from ...record import clock
from .guards import Judged, Release
from .journal import Journal
from .leases import Leases
from .metrics import Metrics
from .spec import Spec
from .tokens import Rates, Tokens
from .workers import LOAD_S, Worker

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
    """What the model's side of a request came to."""

    reason: str
    release: Release | None = None
    reply: dict[str, Any] | None = None
    judged: Judged | None = None


class Gateway:
    """All that one process holds: lease, releases, worker, log, tokens, counters."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.settings = spec, spec.operations.serving
        self.leases, self.tokens = Leases(spec), Tokens(spec.tokens)
        self.rates, self.metrics = Rates(self.settings.requests_per_minute), Metrics()
        self.journal, self._key = Journal(spec.decisions), spec.digest_key.read_bytes()
        self.worker = Worker(spec.worker, self.settings, self._changed, self._gone)
        self.releases: dict[str, Release] = {}
        self.refused: dict[str, str] = {}
        self._again: dict[str, float] = {}
        self.changed = lambda: None
        self.metrics.torn.set(bool(self.journal.torn))
        if self.journal.torn:
            print(f"decision log: {self.journal.torn} was torn; a new file is begun",
                  file=sys.stderr, flush=True)  # fmt: skip

    def _changed(self) -> None:
        self.changed()

    def _gone(self) -> None:
        """Of a worker that is gone nothing is loaded."""
        self.releases.clear()
        self._again.clear()

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
                    await self._let_go(bundle)
                for bundle, grant in wanted.items():
                    if (
                        bundle not in self.releases
                        and self._again.get(bundle, 0) < time.monotonic()
                    ):
                        await self._load(grant)
            await asyncio.sleep(LOOK_S)

    async def _load(self, grant: Grant) -> None:
        starts, self._again[grant.bundle] = self.worker.starts, time.monotonic() + AGAIN_S
        try:
            release = await asyncio.to_thread(Release.opened, grant)
            told = {"bundle": grant.bundle, "folder": grant.folder, "base": grant.base}
            await self.worker.ask("load", LOAD_S, **told)
            if self.worker.up and self.worker.starts == starts:
                self.releases[grant.bundle] = release
            self.refused.pop(grant.bundle, None)
        except (WorkbenchError, OSError, ValueError, KeyError, TimeoutError) as error:
            said = str(error).replace("\n", " ") or type(error).__name__
            self.refused[grant.bundle] = said
            print(f"not loaded: {grant.bundle}: {said}", file=sys.stderr, flush=True)

    async def _let_go(self, bundle: str) -> None:
        del self.releases[bundle]
        try:
            await self.worker.ask("unload", LOAD_S, bundle=bundle)
        except (RunError, TimeoutError):
            pass  # a worker that is gone holds nothing, and one that refuses is asked for nothing

    def ready(self) -> tuple[dict[str, str], list[str]]:
        """Arm -> release that can answer now, and why any other can't."""
        lease = self.leases.current
        granted = lease.granted if lease else {}
        found = {arm: one.bundle for arm, one in granted.items() if one.bundle in self.releases}
        why = [self.leases.why] if self.leases.why else []
        why += lease.why if lease else []
        why += [] if self.worker.up else ["the worker is not there"]
        for one in granted.values():
            if one.bundle not in self.releases:
                why.append(f"{one.bundle[:12]}: {self.refused.get(one.bundle, 'not loaded yet')}")
        return found, why or ([] if found else ["no release is granted"])

    def digest(self, text: str) -> str:
        """HMAC-SHA-256 under the server's key: the same text, the same digest, and no way back."""
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _chosen(self, asked: Asked) -> tuple[Arm | None, Grant | None]:
        """Who serves the subject; a canary that is not loaded yet leaves its share to the stable."""
        lease = self.leases.current
        if lease is None:
            return None, None
        arm = asked.arm or serving.arm(asked.subject or asked.text, lease)
        canary = lease.canary and lease.canary.bundle in self.releases
        arm = "stable" if arm == "canary" and not canary and asked.arm is None else arm
        grant = lease.granted.get(arm)
        return (arm, grant) if grant else (None, None)

    async def _found(self, text: str, arm: Arm | None, grant: Grant | None) -> Found:
        if arm is None or grant is None:
            return Found("no lease")
        release = self.releases.get(grant.bundle)
        if release is None:
            return Found("worker")
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
        told = self._told(found)
        line = {
            **self._about(asked.text, asked.subject, asked.caller, asked.kind, asked.case),
            "arm": arm, "bundle": grant and grant.bundle, "entry": grant and grant.entry,
            "outcome": told["outcome"], "reason": found.reason,
        }  # fmt: skip
        if found.reply and found.judged:
            line |= {
                "sketch": found.reply.get("sketch", []), "answer": found.reply["closed"],
                "confidence": found.reply["confidence"], "abstained": found.judged.abstained,
                "verdicts": found.judged.verdicts,
            }  # fmt: skip
        status = 503 if told["outcome"] == "refused" else 200
        decision = self._log(line, status, time.perf_counter() - begun)
        if decision is None:
            status, told = 503, self._refused("log")
        return status, told | {"release": line["bundle"], "arm": arm, "decision": decision}

    def _told(self, found: Found) -> dict[str, Any]:
        judged, reply = found.judged, found.reply
        operations = found.release.operations if found.release else self.spec.operations
        if reply and judged and judged.outcome != "fallback":
            later = f" {operations.fallback.say}" if judged.outcome == "escalated" else ""
            return {"answer": reply["answer"], "confidence": reply["confidence"],
                    "outcome": judged.outcome, "reason": found.reason, "say": MACHINE + later}  # fmt: skip
        if operations.fallback.answer is None or found.reason == "busy":
            return self._refused(found.reason, operations.fallback)
        return {"answer": operations.fallback.answer, "confidence": {}, "outcome": "fallback",
                "reason": found.reason, "say": operations.fallback.say}  # fmt: skip

    def _refused(self, reason: str, fallback: Fallback | None = None) -> dict[str, Any]:
        say = (fallback or self.spec.operations.fallback).say
        return {
            "answer": None,
            "confidence": {},
            "outcome": "refused",
            "reason": reason,
            "say": say,
        }

    def turn_away(self, raw: str, caller: str, status: int, seconds: float) -> str | None:
        """Log a request that could not be read as one; returns the decision's name."""
        about = self._about(raw, None, caller, "traffic", None) | {"shape": serving.shape("")}
        nobody = {"arm": None, "bundle": None, "entry": None}
        return self._log(
            about | nobody | {"outcome": "refused", "reason": "input"}, status, seconds
        )

    def _about(
        self, text: str, subject: str | None, caller: str, kind: str, case: str | None
    ) -> dict[str, Any]:
        return {
            "time": clock.now(), "environment": self.spec.environment, "caller": caller,
            "request": self.digest(text), "subject": self.digest(subject or ""),
            "kind": kind, "sentinel": case, "shape": serving.shape(text),
        }  # fmt: skip

    def _log(self, line: dict[str, Any], status: int, seconds: float) -> str | None:
        """The decision's name; None where it could not be written."""
        self.metrics.latency.observe(seconds)
        try:
            decision = self.journal.write(
                **line, status=status, latency_ms=round(seconds * 1000, 3)
            )
        except (OSError, WorkbenchError, ValueError) as error:
            print(f"decision log: {type(error).__name__}", file=sys.stderr, flush=True)
            self.metrics.unlogged.inc()
            return None
        labels = (line["outcome"], line["reason"], line["arm"] or "", line["kind"])
        self.metrics.requests.labels(*labels).inc()
        return decision

    def page(self) -> bytes:
        """The counters, for Prometheus."""
        self.metrics.lease.set(self.leases.age)
        self.metrics.restarts.set(max(self.worker.starts - 1, 0))
        self.metrics.memory.set(self.worker.memory)
        return self.metrics.page()
