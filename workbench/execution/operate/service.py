"""What serves an environment: the authority in this process, the gateway as its child (E3, E5).

The gateway is started with a small environment of its own and is told nothing but `spec.json`; it
ends with us, however we end, and is started anew when it dies. What is observed of it is signed
with the server's key whenever its processes are others than before.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from ...errors import InputError, RunError, WorkbenchError
from ...policy.deployment import State
from ...policy.serving import TRIAL
from ...record import person
from ...record.store import Store
from .. import environment as declared
from .. import isolation
from ..project import Project
from ..supervision import supervisor
from . import observe, places
from .authority import Authority
from .client import Client

GATEWAY = [sys.executable, "-m", "workbench.methods.operate.gateway"]
SOCKET, LONGEST = "worker.sock", 107
LOOK_S, PATIENCE_S, READY_S = 0.1, 5.0, 120.0
Command = list[str]


class Service:
    """Serves one use case in one environment from `start` to `stop`, or as a context manager.

    `worker` is a command in place of the real worker; `held` what is to serve where no ledger entry
    says so; `wrap` puts the gateway's command into a sandbox. InputError where the use case doesn't
    say how it is served, or it is served already.
    """

    def __init__(
        self, project: Project, store: Store, environment: str, *, port: int | None = None,
        uds: Path | str | None = None, host: str = "127.0.0.1", worker: Command | None = None,
        held: State | None = None, wrap: Callable[[Command], Command] = list, observed: bool = True,
        gateway: Sequence[str] = tuple(GATEWAY),
    ) -> None:  # fmt: skip
        if project.operations is None or environment == TRIAL:
            raise InputError(
                f"{TRIAL} is for trials." if project.operations else "Nobody said how it is served.",
                where=project.root, expected="operations: FILE in usecase.yaml",
            )  # fmt: skip
        self.project, self.store, self.environment = project, store, environment
        self.folder = places.prepare(places.served(project, environment))
        if len(os.fsencode(uds or "")) > LONGEST:
            raise InputError("The path of a socket is too long.", where=uds,
                             expected=f"{LONGEST} bytes at most (unix(7))")  # fmt: skip
        self._listen = {"uds": str(uds)} if uds else {"host": host, "port": port or 0}
        self._worker, self._wrap, self._observed = worker, wrap, observed
        self._command = [*gateway, str(self.folder / places.SPEC)]
        self.authority = Authority(project, store, environment, self.folder, held)
        self.process: subprocess.Popen | None = None
        self._stop, self._seen = threading.Event(), None
        self._threads: list[threading.Thread] = []
        self._lock: IO[str] | None = None
        self._open = ExitStack()

    def start(self) -> Service:
        """Start the authority and the gateway; returns at once, `ready` waits."""
        self._lock = (self.folder / ".served").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise InputError("It is served already.", where=self.folder,
                             next_step="workbench serve --status") from None  # fmt: skip
        self._sockets = self._open.enter_context(isolation.channel())
        places.write(self.folder / places.SPEC, self._spec())
        places.write(self.folder / places.STATE, {"authority": os.getpid()})
        self._stop.clear()
        self.authority.once()
        for work in (lambda: self.authority.run(self._stop), self._keep):
            self._threads.append(threading.Thread(target=work, daemon=True))
            self._threads[-1].start()
        return self

    def stop(self) -> None:
        """End both; what is under way is answered first, for some seconds."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        if self._lock:
            (self.folder / places.STATE).unlink(missing_ok=True)
            self._lock.close()
            self._lock = None
        self._open.close()

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, token: str | None = None) -> Client:
        """A caller with the token of our own processes, or another. RunError before it listens."""
        state = places.read(self.folder / places.STATE)
        if not state.get("url") and not state.get("uds"):
            raise RunError("The gateway does not listen yet.", where=self.folder)
        return Client(state.get("url"), state.get("uds"), token or places.own_token(self.folder))

    def ready(self, within: float = READY_S, release: bool = True) -> dict[str, Any]:
        """What it says once it can answer, or, without `release`, once it listens. RunError when
        that takes too long."""
        until, said = time.monotonic() + within, {}
        while time.monotonic() < until:
            with suppress(WorkbenchError), self.client() as client:
                said = client.ready()
                if said["status"] == 200 or not release:
                    return said
            time.sleep(LOOK_S)
        raise RunError("It did not become ready.", where=self.folder, given=said or "no reply",
                       next_step="workbench serve --status")  # fmt: skip

    def _spec(self) -> dict[str, Any]:
        folder = self.folder
        return {
            "usecase": self.project.usecase.id, "environment": self.environment,
            "listen": self._listen, "lease": str(folder / places.LEASE),
            "server_key": person.public_line(folder / places.SERVER_KEY),
            "tokens": str(folder / places.TOKENS), "digest_key": str(folder / places.DIGEST_KEY),
            "decisions": str(folder / places.DECISIONS), "state": str(folder / places.STATE),
            "operations": self.project.operations.plain(),
            "worker": {"socket": str(self._sockets / SOCKET), "command": self._worker},
        }  # fmt: skip

    def _keep(self) -> None:
        """Keep a gateway running. In one thread that lives as long: a child that is tied to its
        parent is tied to the thread that started it."""
        while not self._stop.is_set():
            if self.process is None or self.process.poll() is not None:
                with suppress(OSError):
                    self.process = self._begin()
            with suppress(WorkbenchError, OSError, KeyError, TypeError):
                self._observe()
            self._stop.wait(LOOK_S)
        if self.process:
            _end(self.process)

    def _begin(self) -> subprocess.Popen:
        threads = self.project.operations.serving
        command = [*supervisor(), *self._wrap(self._command)]
        with (self.folder / "gateway.log").open("ab") as said:
            return subprocess.Popen(
                command, env=observe.surroundings(self.folder, threads), stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip

    def _observe(self) -> None:
        """Once for each pair of processes: starting an interpreter to ask it takes a second."""
        state = places.read(self.folder / places.STATE)
        running = state.get("gateway"), state.get("worker")
        if not self._observed or None in running or running == self._seen:
            return
        self._seen = running
        named = declared.declared(self.project, self.environment)
        found = observe.server(self.folder, self.environment, expires=named and named.expires)
        observe.signed(self.folder, self.project.usecase.id, found)


def _end(process: subprocess.Popen) -> None:
    """Ask the gateway to end, then make it: its small parent ends whatever is left."""
    with suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def status(project: Project, environment: str) -> dict[str, Any]:
    """Who runs, where it listens, what it may answer with, and whether it can; plain values."""
    folder = places.served(project, environment)
    found: dict[str, Any] = {"environment": environment, "folder": str(folder)}
    for name, file in (("state", places.STATE), ("lease", places.LEASE)):
        with suppress(WorkbenchError):
            found[name] = places.read(folder / file)
    found["lease"] = found.get("lease", {}).get("statement")
    state = found.get("state", {})
    found["ready"] = {"status": None, "why": ["nothing runs there"]}
    if state.get("url") or state.get("uds"):
        with suppress(WorkbenchError), Client(state.get("url"), state.get("uds")) as client:
            found["ready"] = client.ready()
    return found
