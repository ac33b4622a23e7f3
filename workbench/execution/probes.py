"""Bait for a stage that tries to break out: what the engine lays out, and what it then sees.

Around a stage that declares `probes`, the engine opens three services on the host (TCP, UDP, an
abstract Unix socket) and lays out another run's scratch folder. The kernel is told where they are
and what else is worth reaching: the signing key, the store's records, the inputs where the
host keeps them, the engine's own process. Afterwards the engine says what it saw itself, and
`policy.isolation` holds the notebook's rows against it. That no input changed is seen to by
the runner, which hashes each again, and its word is final.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..policy import isolation
from ..policy.gates import GateResult
from .gating import reader

CALLERS = 16  # counted at most
GRACE_S = 3.0  # for the last processes of a sandbox that is being torn down


@dataclass
class Bait:
    """`told` goes to the kernel (`stage.json`: probes); `seen`, by attempt, is for the gate alone."""

    told: dict[str, Any] | None = None
    seen: dict[str, int] = field(default_factory=dict)


@contextmanager
def bait(
    declared: bool, folder: Path, level: str, key: Path, records: Path, inputs: Mapping[str, Path]
) -> Iterator[Bait]:
    """Bait for the run whose folder is `folder` (its scratch lies below); nothing unless `declared`.

    Of `key`, `records` and the sources of `inputs` only the path is told. `seen` is complete when
    the context ends: leave it after the kernel has ended.
    """
    laid = Bait()
    if not declared or not sys.platform.startswith("linux"):  # elsewhere the gate is not evaluated
        laid.told = {} if declared else None
        yield laid
        return
    with _services(laid.seen) as services, _other_run(folder, laid.seen) as other:
        sources = {name: str(path.resolve()) for name, path in inputs.items()}
        laid.told = {"level": level, "key": str(key), "records": str(records), "inputs": sources}
        laid.told |= {"scratch": str(other), **services, "pid": os.getpid()}
        # Ticks since boot: with its number, it names a process for good.
        laid.told["start"] = _proc(os.getpid(), "stat").rpartition(b")")[2].split()[19].decode()
        yield laid
        laid.seen[isolation.PROCESS] = len(left_behind(folder))


def judge(laid: Bait, outputs: Path, level: str, stage: str) -> list[GateResult]:
    """The standing gate `isolation` of a stage that laid bait; none for any other."""
    if laid.told is None:
        return []
    try:
        rows = reader(outputs)(isolation.TABLE)
    except Exception:  # whatever can't be read is no evidence
        rows = None
    return [isolation.judge(rows, laid.seen, level, stage)]


@contextmanager
def _services(seen: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Three sockets that listen. Nobody serves them while the kernel runs: the system keeps who
    called, and how many did is counted when it has ended."""
    name = f"workbench-{secrets.token_hex(8)}"
    wanted = {isolation.TCP: (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
              isolation.UDP: (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
              isolation.SOCKET: (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{name}")}  # fmt: skip
    with ExitStack() as opened:
        lines = {one: opened.enter_context(socket.socket(*wanted[one][:2])) for one in wanted}
        for attempt, line in lines.items():
            line.bind(wanted[attempt][2])
            line.setblocking(False)
            if line.type == socket.SOCK_STREAM:
                line.listen(CALLERS)
        tcp, udp, _ = (line.getsockname() for line in lines.values())
        yield {"tcp": tcp[1], "udp": udp[1], "socket": name}
        seen |= {attempt: sum(map(_called, [line] * CALLERS)) for attempt, line in lines.items()}


def _called(line: socket.socket) -> bool:
    """Takes the next caller off the line; was there one?"""
    try:
        line.accept()[0].close() if line.type == socket.SOCK_STREAM else line.recv(1)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _other_run(folder: Path, seen: dict[str, int]) -> Iterator[Path]:
    """Another run's scratch beside `folder`: named and locked like one, so that the next run
    clears it away if this engine dies."""
    other = folder.with_name(folder.name[:-8] + secrets.token_hex(4))
    (folder / other.name).mkdir()
    (folder / other.name / "rows").write_text(secrets.token_hex(16))
    with (folder / other.name / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / other.name).rename(other)
        before = _state(other)
        try:
            yield other
            seen[isolation.SCRATCH] = int(_state(other) != before)
        finally:
            shutil.rmtree(other, ignore_errors=True)


def _state(folder: Path) -> dict[str, int]:
    """Names, and when each last changed: a time that nobody can set back."""
    return {path.name: path.lstat().st_ctime_ns for path in folder.glob("*")}


def left_behind(folder: Path, grace_s: float = GRACE_S) -> list[int]:
    """Processes of a run that live on after its kernel, by number.

    A kernel's environment names the run's folder, and so do the mounts of its sandbox; a child
    may drop the first, and can't the second.
    """
    until = time.monotonic() + grace_s
    while (found := _naming(folder)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _naming(folder: Path) -> list[int]:
    path = os.fsencode(folder.resolve()) + b"/"
    mounted = re.sub(rb"[ \t\n\\]", lambda m: b"\\%03o" % ord(m[0]), path)  # proc(5), mountinfo
    numbers = [int(one) for one in os.listdir("/proc") if one.isdigit()]
    return [
        n
        for n in numbers
        if n != os.getpid() and (path in _proc(n, "environ") or mounted in _proc(n, "mountinfo"))
    ]


def _proc(number: int, name: str) -> bytes:
    try:
        return Path("/proc", str(number), name).read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""
