"""The gateway's process: its socket, its loops, its end.

python -m workbench.methods.operate.gateway SPEC.json
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...errors import WorkbenchError
from ...record import clock, durable
from . import spec
from .answering import Gateway
from .routes import HEAD, app


class Patient(H11Protocol):
    """Ends a connection whose request has not begun in time: a client that sends a header a minute
    holds nothing for long."""

    seconds = 10.0
    _alarm: asyncio.TimerHandle | None = None

    def _wait(self) -> None:
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        if self.cycle is None or self.cycle.response_complete:
            self._alarm = self.loop.call_later(self.seconds, self.transport.abort)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._alarm:
            self._alarm.cancel()

    def handle_events(self) -> None:
        waited = self.cycle is None or self.cycle.response_complete
        super().handle_events()
        if waited and self.cycle is not None and not self.cycle.response_complete:
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()


def listening(listen: spec.Listen) -> tuple[socket.socket, dict[str, str | None]]:
    """The socket, and how to reach it; a Unix socket is for its owner alone."""
    if listen.uds:
        Path(listen.uds).unlink(missing_ok=True)
        made, before = socket.socket(socket.AF_UNIX), os.umask(0o177)
        made.bind(listen.uds)
        os.umask(before)
        return made, {"url": None, "uds": listen.uds}
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # or asyncio sets no NODELAY
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((listen.host, listen.port))
    host = f"[{listen.host}]" if ":" in listen.host else listen.host
    return made, {"url": f"http://{host}:{made.getsockname()[1]}", "uds": None}


def note(path: Path, **said: Any) -> None:
    """Add to `state.json`, where others look for whom to ask and whom to watch."""
    held: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        held = json.loads(path.read_bytes())
    durable.replace(path, json.dumps(held | said).encode(), 0o600)


class Server(uvicorn.Server):
    """Ends when it is told to, in order; uvicorn's would die of the signal before its worker."""

    def capture_signals(self) -> Any:
        return nullcontext()

    def stop(self, *_: Any) -> None:
        self.should_exit = True


async def serve(told: spec.Spec) -> None:
    """Answer until a signal comes, or a loop that must not end has ended."""
    gateway = Gateway(told)
    made, where = listening(told.listen)
    config = uvicorn.Config(
        app(gateway), http=type("", (Patient,), {"seconds": gateway.settings.read_s}), ws="none",
        lifespan="off", log_level="critical", access_log=False, server_header=False,
        proxy_headers=False, h11_max_incomplete_event_size=HEAD, timeout_graceful_shutdown=5,
        limit_concurrency=4 * gateway.settings.waiting + 64,
    )  # fmt: skip
    server = Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    gateway.changed = lambda: note(told.state, worker=gateway.worker.pid)
    note(told.state, gateway=os.getpid(), started=clock.now(), **where)
    loops = [asyncio.create_task(one)
             for one in (gateway.look(), gateway.provide(), gateway.worker.supervise())]  # fmt: skip
    for task in loops:
        task.add_done_callback(server.stop)
    try:
        await server.serve(sockets=[made])
    finally:
        for task in loops:
            task.cancel()
        ended = await asyncio.gather(*loops, return_exceptions=True)
        gateway.journal.close()
    for one in ended:
        if isinstance(one, Exception):
            raise one


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit code."""
    given = sys.argv[1:] if words is None else words
    try:
        asyncio.run(serve(spec.read(Path(given[0] if given else "spec.json"))))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
