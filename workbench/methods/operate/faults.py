"""What breaks in operation, put on the real processes one by one, and lifted again (V6).

A full disk is a limit on the size of the gateway's files, and memory that is out a limit on the
worker's address space, both set from outside on the running process: the same refusals of the same
system calls, without filling the machine that the trial runs on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import psutil

from ...policy.figures.operations import BY_RULE
from .load import Reply, body, send
from .trial import Trial

RECOVERED_S = 180.0
"""Seconds after which a server that still does not answer is given up."""
SLACK_S = 2.0
"""Beyond the time-out: to notice, and to send the fallback."""
IN_FLIGHT_S, LEASE_READ_S, AGAIN_S = 0.3, 1.0, 0.2
SPARE = 64  # bytes that the full disk still takes: it tears a line in the middle
STALLED = 10
HALF = b'POST /v1/predict HTTP/1.1\r\nHost: served\r\nContent-Length: 900\r\n\r\n{"text": "a'
BROKEN = (b"{", b'{"text": "\xff\xfe"}', b'{"text": 5}', b"{}", b'{"text": ""}', b"[1]", b"")
MODEL = ("answered", "escalated")

Known = Mapping[str, Reply]
"""Text -> what it was answered with before anything broke."""
Put = Callable[[Trial], AbstractContextManager[object]]


def computed(reply: Reply) -> bool:
    """Did the model answer, also where a rule then kept its answer back?"""
    return reply.outcome in MODEL or str(reply.body.get("reason")).startswith(BY_RULE)


def wrong(fallback: Mapping[str, str] | None, reply: Reply, known: Known) -> bool:
    """What the model said is other than before, or a fallback is one that nobody declared."""
    if computed(reply):
        return reply.name not in known or not as_before(reply, known)
    return reply.answer not in ({}, fallback)


def as_before(reply: Reply, known: Known) -> bool:
    """The same answer, for the same reason."""
    first = known[reply.name]
    said = [(r.status, r.outcome, r.body.get("reason"), r.answer) for r in (reply, first)]
    return said[0] == said[1]


@contextmanager
def slow_clients(trial: Trial) -> Iterator[None]:
    """Connections that send half a request and then nothing."""
    with ExitStack() as held:
        for _ in range(STALLED):
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.connect(str(trial.server.uds))
            one.sendall(HALF)
        yield


@contextmanager
def hanging(trial: Trial) -> Iterator[None]:
    """The worker stands still, and nobody wakes it."""
    trial.worker.suspend()
    yield


@contextmanager
def killed(trial: Trial) -> Iterator[None]:
    """The worker is killed while it owes answers, as a system out of memory does it."""
    worker = trial.worker
    worker.suspend()  # so that what is asked now is surely under way when it dies
    timer = threading.Timer(IN_FLIGHT_S, worker.kill)
    timer.start()
    yield
    timer.join()


@contextmanager
def limited(process: psutil.Process, what: int, most: int) -> Iterator[None]:
    """A soft limit on a running process, taken back at the end."""
    before = process.rlimit(what)
    process.rlimit(what, (most, before[1]))
    yield
    with suppress(psutil.NoSuchProcess):  # it may have died of it
        process.rlimit(what, before)


def no_memory(trial: Trial) -> AbstractContextManager[None]:
    """The worker gets no page more than it holds."""
    return limited(trial.worker, psutil.RLIMIT_AS, trial.worker.memory_info().vms)


def full_disk(trial: Trial) -> AbstractContextManager[None]:
    """No file of the gateway's grows beyond its log as it is now and a part of a line."""
    size = max(path.stat().st_size for path in trial.decisions.glob("*.jsonl"))
    return limited(trial.gateway, psutil.RLIMIT_FSIZE, size + SPARE)


@contextmanager
def withdrawn(trial: Trial) -> Iterator[None]:
    """The lease grants nothing any more, as after a revocation."""
    trial.grant(False)
    time.sleep(LEASE_READ_S)
    yield
    trial.grant()


@dataclass(frozen=True)
class Fault:
    """Something that breaks, and what must be seen of each request meanwhile."""

    name: str
    expected: str
    holds: Callable[[Reply], bool]
    put: Put = nullcontext
    bodies: Callable[[Trial], Sequence[bytes]] = lambda trial: ()
    """Asked in place of texts."""
    lifted: bool = True
    """Does it end with the trial's own doing? Else recovery counts from its beginning."""


def _refused(reply: Reply) -> bool:
    return 400 <= reply.status < 500 and not reply.answer


def _oversized(trial: Trial) -> list[bytes]:
    most = trial.operations.serving.max_chars
    return [body("a" * n) for n in (most + 1, 100 * most)]


FAULTS = (
    Fault("corrupt request", "refused (4xx)", _refused, bodies=lambda trial: BROKEN),
    Fault("oversized request", "refused (4xx)", _refused, bodies=_oversized),
    Fault("slow clients", "all others are answered by the model", computed, slow_clients),
    Fault("worker hangs", "no answer of the model, in time; it is started anew",
          lambda r: not computed(r), hanging, lifted=False),
    Fault("worker killed", "right answer or fallback; it is started anew",
          lambda r: r.status in (200, 503), killed, lifted=False),
    Fault("no memory", "right answer or fallback", lambda r: r.status in (200, 503), no_memory),
    Fault("full log disk", "no answer at all (503)", lambda r: r.status == 503 and not r.answer,
          full_disk),
    Fault("lease withdrawn", "no answer of the model", lambda r: not computed(r), withdrawn),
)  # fmt: skip


def undergo(
    trial: Trial, fault: Fault, texts: Sequence[str], known: Known
) -> tuple[list[Reply], dict[str, Any]]:
    """Put the fault, ask, lift it, and wait until the first of `texts` is answered as before.

    Every reply, and what was seen: `held` (0 or 1) also asks that no answer was wrong and none
    later than the time-out; `recovery_s` is None when the model never answered again.
    """
    began, bodies = time.monotonic(), {f"body {n}": b for n, b in enumerate(fault.bodies(trial))}
    with fault.put(trial):
        replies = send(trial.server, list(bodies) or texts, bodies=bodies)
    most, seen = (trial.operations.serving.timeout_s + SLACK_S) * 1000, Counter(map(told, replies))
    held = all(fault.holds(one) and one.latency_ms <= most for one in replies)
    began, recovery = time.monotonic() if fault.lifted else began, None
    while recovery is None and time.monotonic() - began < RECOVERED_S:
        replies += send(trial.server, texts[:1])
        if as_before(replies[-1], known):
            recovery = time.monotonic() - began
        else:
            time.sleep(AGAIN_S)
    declared = trial.operations.fallback.answer
    held = held and recovery is not None and not any(wrong(declared, r, known) for r in replies)
    observed = ", ".join(f"{n} × {what}" for what, n in sorted(seen.items()))
    line = {"fault": fault.name, "expected": fault.expected, "observed": observed}
    return replies, line | {"held": int(held), "recovery_s": recovery}


def told(reply: Reply) -> str:
    """Status, outcome and reason; nothing of what was said."""
    why = f" ({reply.body['reason']})" if reply.body.get("reason") else ""
    return f"{reply.status} {reply.outcome}{why}"
