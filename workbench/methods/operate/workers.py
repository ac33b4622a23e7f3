"""The worker as the gateway sees it: a process that is started, asked, and started anew.

Nothing of what it says is trusted to be well formed, and nothing of its own to go on: it is killed
when it is silent for as long as a caller waits, or says what is not the protocol. It ends by itself
when the gateway is gone, however that ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from ...errors import RunError
from ...policy.operations import Serving
from .spec import Work

START_S, LOAD_S, PING_S, PAUSE_S = 120.0, 300.0, 0.5, 0.2
LINE = 1 << 20  # bytes of a reply
WORKER = [sys.executable, "-m", "workbench.methods.operate.worker"]
PASSED = ("PATH", "HOME", "LANG", "LC_", "TMPDIR", "PYTHON", "LD_LIBRARY_PATH", "OMP_", "GOMP_",
          "MKL_", "KMP_", "ONEDNN_", "DNNL_", "CUDA_", "TOKENIZERS_")  # fmt: skip
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


class Gone(RunError):
    """The worker died or was ended while it was asked."""


class Worker:
    """One worker at a time; `changed` is called with its process id, and with None when it is gone."""

    def __init__(self, work: Work, serving: Serving, changed: Callable[[int | None], None]) -> None:
        self._serving, self._changed = serving, changed
        self._socket = Path(work.socket)
        self._command = [*(work.command or WORKER), str(self._socket),
                         "--threads", str(serving.threads), "--batch", str(serving.batch)]  # fmt: skip
        self._ids, self._writer = count(), None
        self._pending: dict[int, tuple[str, asyncio.Future]] = {}
        self.starts = self.memory = 0

    @property
    def up(self) -> bool:
        """Is there one that can be asked?"""
        return self._writer is not None

    def busy(self, op: str = "answer") -> int:
        """Requests of this kind that it has not answered, those that nobody waits for included."""
        return sum(asked == op for asked, _ in self._pending.values())

    async def ask(self, op: str, within: float, **more: Any) -> dict[str, Any]:
        """What it replies. TimeoutError when it takes longer, Gone without it, RunError for its
        own refusal."""
        if self._writer is None:
            raise Gone("There is no worker.")
        number, reply = next(self._ids), asyncio.get_running_loop().create_future()
        reply.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._pending[number] = op, reply
        self._writer.write(json.dumps({"id": number, "op": op} | more).encode() + b"\n")
        said = await asyncio.wait_for(asyncio.shield(reply), within)
        if "error" in said:
            raise RunError("The worker refused.", given=said["error"])
        return said

    async def supervise(self) -> None:
        """Keep one running until cancelled."""
        while True:
            process = None
            try:
                self._socket.unlink(missing_ok=True)
                process = await self._start()
                reader, self._writer = await self._connect(process)
                self._changed(process.pid)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._read(reader))
                    both.create_task(self._watch())
            except* (OSError, RunError, TimeoutError) as found:
                said = [str(error) or type(error).__name__ for error in found.exceptions]
                print("worker:", *said, file=sys.stderr, flush=True)
            finally:
                await self._end(process)
            await asyncio.sleep(PAUSE_S)

    async def _start(self) -> Process:
        environment = {n: v for n, v in os.environ.items() if n.startswith(PASSED)} | OFFLINE
        self.starts += 1
        return await asyncio.create_subprocess_exec(*self._command, stdin=DEVNULL, env=environment)

    async def _connect(self, process: Process) -> tuple[asyncio.StreamReader, Any]:
        async with asyncio.timeout(START_S):
            while process.returncode is None:
                with suppress(OSError):
                    return await asyncio.open_unix_connection(str(self._socket), limit=LINE)
                await asyncio.sleep(0.02)
        raise Gone("The worker ended before it could be asked.", given=process.returncode)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                said = json.loads(line)
                _, reply = self._pending.pop(said["id"])
                if not reply.done():
                    reply.set_result(said)
            raise Gone("The worker ended.")
        except (ValueError, KeyError, TypeError) as error:  # too long, no JSON, nobody's
            raise Gone("The worker said what is not the protocol.") from error

    async def _watch(self) -> None:
        """Until it is silent for too long; while it loads a model it may be."""
        while True:
            within = LOAD_S if self.busy("load") else self._serving.timeout_s
            said = await self.ask("ping", within)
            self.memory = int(said.get("rss", 0))
            await asyncio.sleep(PING_S)

    async def _end(self, process: Process | None) -> None:
        self._writer, held, self._pending = None, self._pending, {}
        self._changed(None)
        for _, reply in held.values():
            if not reply.done():
                reply.set_exception(Gone("The worker is gone."))
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
