"""The worker: holds the weights, and answers on a Unix socket. It reads no store, no key, no network.

    python -m workbench.methods.operate.worker SOCKET [--threads N] [--batch N]

JSON lines, an object a line; a reply carries the `id` of its request. `load` {bundle, folder,
base}, `unload` {bundle}, `ping`, `answer` {bundle, text, reply_tokens}. What waits for the same
bundle when the model is free is computed together; nothing waits for more to come.
It ends with the process that started it. No reply and no error holds what a person wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, WorkbenchError

if TYPE_CHECKING:
    from .inference import Resident

LINE = 1 << 20
"""Bytes of a request at most."""
TRIMMED = 256
"""Requests after which memory that is free goes back to the system; glibc would keep it."""
ORPHANED_S = 0.5
"""How often it looks whether its parent is still there. The kernel's own signal for that would
come when the thread ends that started it, and so while its parent still lives."""
TYPES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "load": {"bundle": str, "folder": str, "base": str},
    "unload": {"bundle": str},
    "ping": {},
    "answer": {"bundle": str, "text": str, "reply_tokens": (int, type(None))},
}
"""Operation -> what a request says, beside `id` and `op`."""


@dataclass(eq=False)
class Request:
    """What was asked, and how to reply."""

    asked: Mapping[str, Any]
    reply: Callable[[Mapping[str, Any]], None]

    @property
    def alike(self) -> tuple[Any, ...]:
        """Answers with the same of these are computed together."""
        return tuple(self.asked.get(name) for name in ("op", "bundle", "reply_tokens"))


def checked(line: bytes) -> dict[str, Any]:
    """A request. InputError for one that is none; its text is not repeated."""
    try:
        asked = json.loads(line)
        types = TYPES[asked["op"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("Not a request.", expected=", ".join(TYPES)) from error
    wrong = [name for name, kind in types.items() if not isinstance(asked.get(name), kind)]
    if wrong or (tokens := asked.get("reply_tokens")) is not None and tokens < 1:
        named = ", ".join(wrong or ["reply_tokens"])
        raise InputError("A request with other content.", where=asked["op"], expected=named)
    return asked


class Worker:
    """Releases by the digest of their bundle, and the requests that wait for them."""

    def __init__(self, threads: int, batch: int) -> None:
        self.threads, self.batch = threads, batch
        self.held: dict[str, Resident] = {}
        self.waiting: deque[Request] = deque()
        self.ready = threading.Condition()

    def put(self, request: Request) -> None:
        """A ping is answered at once, whatever the model does; all else waits its turn."""
        if request.asked["op"] == "ping":
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            rss = pages * os.sysconf("SC_PAGE_SIZE")
            return request.reply({"ok": True, "bundles": sorted(self.held), "rss": rss})
        with self.ready:
            self.waiting.append(request)
            self.ready.notify()

    def run(self) -> None:
        """Do what waits, for ever."""
        trim, done = getattr(ctypes.CDLL(None), "malloc_trim", None), 0
        while True:
            group = self.take()
            self.do(group)
            done += len(group)
            if trim and done >= TRIMMED:
                trim(0)
                done = 0

    def take(self) -> list[Request]:
        """The oldest request; of answers also those that can be computed with it. Nothing is taken
        from behind a load or an unload."""
        with self.ready:
            self.ready.wait_for(lambda: self.waiting)
            first = self.waiting.popleft()
            if first.asked["op"] != "answer":
                return [first]
            reached = takewhile(lambda one: one.asked["op"] == "answer", self.waiting)
            alike = (one for one in reached if one.alike == first.alike)
            group = [first, *islice(alike, self.batch - 1)]
            self.waiting = deque(one for one in self.waiting if one not in group)
            return group

    def do(self, group: list[Request]) -> None:
        """Reply to requests that are alike. Where together they fail, each is tried alone."""
        try:
            found = getattr(self, f"_{group[0].asked['op']}")([one.asked for one in group])
        except Exception as error:
            if len(group) > 1:
                for one in group:
                    self.do([one])
                return
            group[0].reply({"error": told(error, group[0].asked["op"])})
            return
        for one, said in zip(group, found, strict=True):
            one.reply(said)

    def _load(self, asked: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        from .inference import Resident

        [one] = asked
        if one["bundle"] not in self.held:
            release = Resident(Path(one["folder"]), Path(one["base"]), self.threads)
            release.settle(self.held.values())
            self.held[one["bundle"]] = release
        return [{"ok": True} | self.held[one["bundle"]].facts]

    def _unload(self, asked: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        self.held.pop(asked[0]["bundle"], None)
        return [{"ok": True}]

    def _answer(self, asked: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        release = self.held.get(asked[0]["bundle"])
        if release is None:
            raise InputError("This bundle is not loaded.", given=asked[0]["bundle"])
        return release.answers([one["text"] for one in asked], asked[0].get("reply_tokens"))


def told(error: Exception, op: str) -> str:
    """What went wrong; of an answer nothing but its kind where a library could repeat the text."""
    if isinstance(error, WorkbenchError):
        return str(error)
    return type(error).__name__ if op == "answer" else f"{type(error).__name__}: {error}"


async def connected(
    worker: Worker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take the requests of a connection until it ends; one that is too long ends it."""
    loop, asked = asyncio.get_running_loop(), {}

    def send(told: Mapping[str, Any]) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(told).encode() + b"\n")

    try:
        while line := await reader.readline():
            try:
                asked = checked(line)
            except InputError as error:
                send({"id": None, "error": str(error)})
                continue
            worker.put(Request(asked, replying(loop, send, asked.get("id"))))
    except (ValueError, ConnectionError):  # over LINE, or gone
        pass
    finally:
        writer.close()


def replying(
    loop: asyncio.AbstractEventLoop, send: Callable, number: Any
) -> Callable[[Mapping[str, Any]], None]:
    """Send a reply to this request, from whatever thread."""
    return lambda told: loop.call_soon_threadsafe(send, {"id": number} | told)


async def serve(worker: Worker, socket: str) -> None:
    """Listen, for its own user alone, until the parent is gone."""
    parent, before = os.getppid(), os.umask(0o177)
    try:
        listening = await asyncio.start_unix_server(
            lambda reader, writer: connected(worker, reader, writer), socket, limit=LINE
        )
    finally:
        os.umask(before)
    threading.Thread(target=worker.run, daemon=True).start()
    async with listening:
        while os.getppid() == parent:
            await asyncio.sleep(ORPHANED_S)


def main(words: list[str] | None = None) -> None:
    """The program. It leaves without tidying up: the model may be in the middle of a sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("socket", metavar="SOCKET")
    parser.add_argument("--threads", type=int, default=2, help="of the numeric libraries")
    parser.add_argument("--batch", type=int, default=8, help="requests computed together at most")
    given = parser.parse_args(words)
    warnings.simplefilter("ignore")  # of libraries; what fails here is said in a reply
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        asyncio.run(serve(Worker(given.threads, given.batch), given.socket))
    except OSError as error:
        print(InputError("Nothing can listen there.", where=given.socket, given=error.strerror),
              file=sys.stderr)  # fmt: skip
        os._exit(InputError.exit_code)
    os._exit(0)


if __name__ == "__main__":
    main()
