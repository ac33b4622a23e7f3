"""Keeps a pre-production environment: its server in namespaces of its own, and its end.

    python -m workbench.execution.operate.keeper USECASE

Started by `preprod.up`, whose lock it holds as long as it lives. The server dies with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from ...errors import InputError
from ...record import clock
from ...record.store import Store
from .. import bundle, isolation
from ..isolation import Sandbox
from ..project import Project
from ..release import register
from . import authority, places, preprod
from .client import Client
from .service import Service

RUN, INSIDE = "run", "run/state.json"


class Inside(Service):
    """The server that serves everywhere, here in a sandbox. Sockets lie in `channel`, a folder of
    a short name, as theirs must be short."""

    def __init__(
        self, project: Project, store: Store, facts: dict[str, Any], channel: Path
    ) -> None:
        release = next(one for one in register.releases(store) if one.entry == facts["entry"])
        held, worker = preprod.serving(release), facts["worker"]
        super().__init__(project, store, preprod.ENVIRONMENT, uds=channel / "gateway", held=held,
                         worker=worker or None, wrap=self._inside, observed=False)  # fmt: skip
        candidate = bundle.find(store, release.bundle, release.usecase)
        named = [Path(word).parent for word in worker[1:] if Path(word).is_file()]
        base = authority.base_of(project, store, candidate)
        self._channel, self._told = channel, None
        self.sandbox = sandbox(self.folder, [candidate.folder, base, *named])

    def _spec(self) -> dict[str, Any]:
        told = super()._spec() | {"state": str(self.folder / INSIDE)}
        told["worker"]["socket"] = str(self._channel / "worker")
        return told

    def _inside(self, command: list[str]) -> list[str]:
        bare = ["env", "-u", "PWD", *command]  # which bwrap sets, and no server elsewhere has
        name, *words = self.sandbox.command(bare, self.folder, self._channel)
        return [shutil.which(name) or name, *words]  # whoever starts it looks into no PATH

    def client(self, token: str | None = None) -> Client:
        self.tell()
        return super().client(token)

    def tell(self) -> None:
        """Write the server's word on its processes into `state.json`, in the host's numbers."""
        with suppress(InputError, OSError):
            said = places.read(self.folder / INSIDE)
            if self.process is None or said == self._told:
                return
            found = {
                name: _outside(self.process.pid, said.get(name)) for name in ("gateway", "worker")
            }
            places.write(self.folder / places.STATE, said | found | {"authority": os.getpid()})
            self._told = said


def sandbox(folder: Path, readable: Sequence[Path]) -> Sandbox:
    """What the server sees: the package, what it serves, and its folder without what signs; it
    writes its log, its own state, and what libraries leave at home."""
    hidden = (places.SERVER_KEY, places.OWN_TOKEN, preprod.OWN_STORE, preprod.FACTS, preprod.LOG)
    written = [folder / name for name in (RUN, places.DECISIONS, "home", "tmp")]
    for path in written:
        path.mkdir(exist_ok=True)
    return Sandbox("namespace", written[0], (folder, *readable), writable=tuple(written[1:]),
                   hidden=tuple(folder / name for name in hidden),
                   hostname=preprod.ENVIRONMENT)  # fmt: skip


def _outside(top: int, inside: int | None) -> int | None:
    """The host's number of a process below `top` that has this number in its own namespace."""
    for one in psutil.Process(top).children(recursive=True) if inside else ():
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
            numbers = next(line.split() for line in lines if line.startswith("NSpid:"))
            if len(numbers) > 2 and int(numbers[-1]) == inside:
                return one.pid
    return None


def keep(root: Path) -> None:
    """Serve until the end of the place's life, or until told. It begins when the place answers."""
    project, stop = Project.load(root), threading.Event()
    store = project.store("governed", create=False)
    folder = places.served(project, preprod.ENVIRONMENT)
    asked, why = places.read(folder / preprod.FACTS), "its time is over"
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with isolation.channel() as channel, Inside(project, store, asked, channel) as server:
        server.ready()
        own, begins = Store.create(folder / preprod.OWN_STORE, "governed"), clock.parse(clock.now())
        ends = begins + timedelta(seconds=asked["seconds"])
        facts = asked | {
            "store": own.id,
            "started": clock.text(begins),
            "expires": clock.text(ends),
        }
        own.ledger.append(preprod.KIND, {"act": "up"} | facts)
        places.write(folder / preprod.FACTS, facts)
        while clock.parse(clock.now()) < ends:
            if stop.wait(preprod.LOOK_S):
                why = "it was taken down"
                break
            server.tell()
    own.ledger.append(preprod.KIND, {"act": "down", "why": why})


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
