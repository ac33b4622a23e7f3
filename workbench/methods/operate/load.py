"""Requests at a stated rate, whether or not the server keeps up, and what came of each.

A client that waits for an answer before it asks again spares the server just when it is slow. So
arrivals are evenly spaced (open loop), and latency counts from the time at which a request was due.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 120.0
"""Longer than any server takes that still answers."""


@dataclass(frozen=True)
class Server:
    """Where a server listens, and the token that it knows us by."""

    uds: Path
    token: str


@dataclass(frozen=True)
class Reply:
    """What came of one request. `status` is 0 where the connection broke."""

    name: str
    """The text that was asked, or the name of a body that holds none."""
    at_s: float
    """When it was due, from the start of its load."""
    latency_ms: float
    status: int
    body: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """As the server says; a reply without its word is a refusal."""
        return str(self.body.get("outcome") or "refused")

    @property
    def answer(self) -> dict[str, str]:
        """Empty where none was given."""
        return self.body.get("answer") or {}


def at_rate(
    server: Server, texts: Sequence[str], *, requests_per_s: float, requests: int
) -> list[Reply]:
    """One reply a request, in the order in which they were due; texts are taken in turn."""
    asked = [texts[n % len(texts)] for n in range(requests)]
    return send(server, asked, [n / requests_per_s for n in range(requests)])


def send(
    server: Server,
    names: Sequence[str],
    due: Sequence[float] = (),
    bodies: Mapping[str, bytes] | None = None,
) -> list[Reply]:
    """One reply a text (or name of one of `bodies`), asked when `due` (s); without it, at once.

    In a thread of its own: a notebook's has an event loop that already runs.
    """

    async def all_of_them() -> list[Reply]:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        way = httpx.AsyncHTTPTransport(uds=str(server.uds), limits=limits)
        head = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(transport=way, base_url="http://served", headers=head,
                                     timeout=PATIENCE_S) as client:  # fmt: skip
            began = time.monotonic()
            held = {name: body(name) for name in names} | dict(bodies or {})
            plan = zip(names, due or [0.0] * len(names), strict=True)
            asked = (_one(client, name, held[name], at, began) for name, at in plan)
            return await asyncio.gather(*asked)

    with ThreadPoolExecutor(1, thread_name_prefix="load") as thread:
        return thread.submit(lambda: asyncio.run(all_of_them())).result()


def body(text: str) -> bytes:
    """A request for the answer to a text."""
    return json.dumps({"text": text}).encode()


async def _one(
    client: httpx.AsyncClient, name: str, content: bytes, at: float, began: float
) -> Reply:
    await asyncio.sleep(max(0.0, began + at - time.monotonic()))
    status, found = 0, {}
    try:
        said = await client.post("/v1/predict", content=content)
        status = said.status_code
        found = said.json()
    except (httpx.HTTPError, ValueError):
        pass  # a connection that breaks, or a reply that is no JSON, is a reply without an answer
    return Reply(name, at, (time.monotonic() - began - at) * 1000, status, found)
