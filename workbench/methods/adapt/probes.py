"""Attempts to break out of the sandbox, made by the training notebook itself.

Each is what hostile code would do, made so that it harms nothing where it works: a file is opened
for writing and closed unwritten, a name is moved and moved back, a process ends by itself. At
level none, where the inputs are the host's own files, what can't be undone is not tried. A target
counts as reached when the system allows the attempt, and when nobody refuses it at once: what
left without an answer has left.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from ...errors import InputError
from ...policy import isolation
from ...record.digest import file_digest
from ..stage import Stage, gate_table
from .base import WEIGHTS, base_facts

TCP, UDP = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET, socket.SOCK_DGRAM)
UNIX, HERE = (socket.AF_UNIX, socket.SOCK_STREAM), "127.0.0.1"
FOREIGN = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
DAEMONS = ("docker.sock", "containerd/containerd.sock", "podman/podman.sock", "crio/crio.sock")
WAIT_S = 0.5
Try = tuple[Callable[[Any], object], Iterable[Any]]
"""What is done, to each target."""
LOOK_UP = """
import socket
try:
    socket.getaddrinfo("example.org", 443)
except socket.gaierror as error:
    if error.errno == socket.EAI_AGAIN:  # no resolver; any other error is the answer of one
        raise
"""
REMOUNT = """
import ctypes, os, sys
libc, at = ctypes.CDLL(None, use_errno=True), os.fsencode(sys.argv[1])
namespaces, flags = 0x10000000 | 0x20000, 2 | 4 | 32 | 4096  # user, mount; nosuid, nodev, remount, bind
if libc.unshare(namespaces) or libc.mount(None, at, None, flags, None):
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
"""
DETACH = """
import os, sys, time
os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0)
os.closerange(0, 3)
time.sleep(float(sys.argv[1]))
"""


def attempts(stage: Stage) -> pd.DataFrame:
    """Every attempt of `policy.isolation`: attempt, target, outcome and the system's own words.

    The words hold no path, number or time, so that the table is the same on each replay. Where no
    engine laid out bait, nothing is tried.
    """
    told = stage.facts.get("probes")
    tries = _tries(stage, told) if told else {}
    rows = [
        (name, at, *_made(name, *tries.get(name, (_read, ()))))
        for name, at in isolation.ATTEMPTS.items()
    ]
    return pd.DataFrame(rows, columns=["attempt", "target", "outcome", "detail"])


def preview(stage: Stage, tried: pd.DataFrame) -> pd.DataFrame:
    """The gates of this stage; `isolation` as it comes out if the engine saw nothing else."""
    level = (stage.facts.get("probes") or {}).get("level", "none")
    seen = dict.fromkeys(isolation.WATCHED, 0)
    result = isolation.judge(tried.to_dict("records"), seen, level, stage.name)
    return pd.concat([stage.preview(), gate_table([result.as_dict()])])


def _made(name: str, action: Callable[[Any], object], targets: Iterable[Any]) -> tuple[str, str]:
    refusals = [_refusal(action, target) for target in targets]
    if not refusals:
        return isolation.NOT_TRIED, "there is no target at this level"
    if None not in refusals:
        return isolation.HELD, ", ".join(sorted(set(refusals)))
    if name == isolation.PROCESS:
        return isolation.LEFT, "whether it lives on is counted outside"
    return isolation.REACHED, f"{refusals.count(None)} of {len(refusals)}"


def _refusal(action: Callable[[Any], object], target: Any) -> str | None:
    """The system's words where it refuses, None where it doesn't."""
    try:
        action(target)
    except OSError as error:
        return error.strerror or str(error)
    except InputError as error:
        return error.what


def _tries(stage: Stage, told: dict[str, Any]) -> dict[str, Try]:
    """Attempt -> what is done to which targets."""
    tops = [stage.input(name) for name in sorted(stage.facts["inputs"])]
    files = [file for top in tops for file in _files(top)]
    origins = [file for path in told["inputs"].values() for file in _files(Path(path))]
    free = told["level"] == "none"
    foreign = {kind: [(at[0], kind, (at[1], 53)) for at in FOREIGN] for _, kind in (TCP, UDP)}
    return {
        "send out by TCP": (_send, foreign[socket.SOCK_STREAM]),
        "send out by UDP": (_send, foreign[socket.SOCK_DGRAM]),
        "look up a name": (_run, [(LOOK_UP,)]),
        isolation.TCP: (_send, [(*TCP, (HERE, told["tcp"]))]),
        isolation.UDP: (_send, [(*UDP, (HERE, told["udp"]))]),
        isolation.SOCKET: (_send, [(*UNIX, f"\0{told['socket']}")]),
        "reach a container daemon": (_send, [(*UNIX, f"/run/{name}") for name in DAEMONS]),
        "write to an input": (_open, files),
        "change an input's mode": (lambda path: path.chmod(path.stat().st_mode), files),
        "move an input": (_ask_to_move if free else _move, [*files, *tops]),
        isolation.REMOUNT: (_run, [] if free else [(REMOUNT, top) for top in tops]),
        "write to an input at its origin": (_open, origins),
        "change the base": (_unchanged, [stage.input("base")] if stage.has("base") else []),
        "open the locked set": (stage.input, ["locked"]),
        "read the signing key": (_read, [told["key"]]),
        "read the store": (_read, [told["records"]]),
        isolation.SCRATCH: (_read, [told["scratch"]]),
        "attach to the engine": (_attach, [(told["pid"], told["start"])]),
        isolation.PROCESS: (_run, [(DETACH, 4 if free else 60)]),
    }


def _files(top: Path) -> Iterator[Path]:
    yield from sorted(p for p in top.rglob("*") if p.is_file()) if top.is_dir() else [top]


def _send(target: tuple[int, int, Any]) -> None:
    family, kind, address = target
    with socket.socket(family, kind) as line, suppress(TimeoutError):
        line.settimeout(WAIT_S)
        line.connect(address)
        if kind == socket.SOCK_DGRAM:  # it connects to anything; a refusal comes back
            line.send(b"?")
            line.recv(1)


def _run(command: tuple[Any, ...]) -> None:
    """Python in a process of its own, for a second at most; raises the OSError that it met."""
    argv = [sys.executable, "-I", "-S", "-c", *map(str, command)]
    with suppress(subprocess.TimeoutExpired):
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=2 * WAIT_S)
        met = re.search(r"\[Errno (-?\d+)\] ([^:\n]*)", ran.stderr)
        if met:
            raise OSError(int(met[1]), met[2])
        ran.check_returncode()


def _open(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY))


def _read(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _move(path: Path) -> None:
    path.rename(path.with_name(f"{path.name}.moved")).rename(path)


def _ask_to_move(path: Path) -> None:
    if not os.access(path.resolve().parent, os.W_OK):
        raise PermissionError(0, "its folder can't be written")


def _unchanged(base: Path) -> None:
    if file_digest(base / WEIGHTS) == base_facts(base)["weights"]:
        raise PermissionError(0, "the bytes are those that were sealed")


def _attach(engine: tuple[int, str]) -> None:
    """Open its memory, which asks what ptrace(2) asks."""
    number, start = engine
    if Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[19] != start:
        raise ProcessLookupError(0, "No such process")
    _read(f"/proc/{number}/mem")
