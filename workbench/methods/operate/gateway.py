"""The gateway's process: its socket, its loops, its end.

python -m workbench.methods.operate.gateway SPEC.json
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...errors import WorkbenchError
from ...record import clock
from . import spec
from .answering import Gateway
from .routes import HEAD, app

END_S, IDLE_S = 5, 75
"""Seconds for requests under way at the end; between two requests of one connection."""


class Patient(H11Protocol):
    """Cuts off a connection whose request has not begun in time, as uvicorn does not: a client that
    sends a header a minute holds nothing for long."""

    seconds = 10.0
    _alarm: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._wait()

    def _wait(self) -> None:
        due = self.cycle is None or self.cycle.response_complete
        if due and not self._alarm:
            self._alarm = self.loop.call_later(self.seconds, self.transport.abort)
        elif not due and self._alarm:
            self._alarm = self._alarm.cancel()


class Server(uvicorn.Server):
    """Ends in order when it is told to; uvicorn's would die of the signal before its worker."""

    def capture_signals(self) -> Any:
        return nullcontext()

    def stop(self, *_: Any) -> None:
        self.should_exit = True


def listening(listen: spec.Listen) -> tuple[socket.socket, dict[str, str | None]]:
    """The socket, and how to reach it; a Unix socket is for its owner alone."""
    if listen.uds:
        Path(listen.uds).unlink(missing_ok=True)
        made, before = socket.socket(socket.AF_UNIX), os.umask(0o177)
        made.bind(listen.uds)
        os.umask(before)
        return made, {"url": None, "uds": listen.uds}
    # Of a socket without a protocol asyncio does not know that it is TCP, and sets no TCP_NODELAY.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((listen.host, listen.port))
    return made, {"url": f"http://{listen.host}:{made.getsockname()[1]}", "uds": None}


async def serve(told: spec.Spec) -> None:
    """Answer until a signal comes, or a loop that must not end has ended."""
    gateway = Gateway(told)
    made, where = listening(told.listen)
    patient = type("", (Patient,), {"seconds": gateway.settings.read_s})
    server = Server(uvicorn.Config(
        app(gateway), http=patient, ws="none", lifespan="off", log_level="critical",
        access_log=False, server_header=False, proxy_headers=False,
        h11_max_incomplete_event_size=HEAD, timeout_graceful_shutdown=END_S,
        timeout_keep_alive=IDLE_S,
        limit_concurrency=4 * gateway.settings.waiting + 64,
    ))  # fmt: skip
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    spec.note(told.state, gateway=os.getpid(), started=clock.now(), **where)
    endless = gateway.look(), gateway.provide(), gateway.worker.supervise()
    loops = [asyncio.create_task(one) for one in endless]
    for task in loops:
        task.add_done_callback(server.stop)
    await server.serve(sockets=[made])
    for task in loops:
        task.cancel()
    for one in await asyncio.gather(*loops, return_exceptions=True):
        if isinstance(one, Exception):
            raise one


def main(words: list[str] | None = None) -> int:
    """The program; returns its exit code."""
    try:
        asyncio.run(serve(spec.read(Path((words or sys.argv[1:])[0]))))
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
