"""Load at a stated rate: a slow server does not slow the arrivals, and shows in every latency."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager

import pytest

from workbench.methods.operate import load


@contextmanager
def server(folder, *, takes_s: float = 0.0, says: bytes = b'{"outcome": "answered"}'):
    """One that answers one request at a time, in `takes_s` seconds each, with `says`; it yields
    the server and the bodies that it has read."""
    loop, read = asyncio.new_event_loop(), []
    alone = asyncio.Lock()

    async def answer(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n")
                            if line.startswith(b"content-length"))  # fmt: skip
                read.append(await reader.readexactly(size))
                async with alone:
                    await asyncio.sleep(takes_s)
                if not says:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(says), says))
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    path = folder / "s.sock"
    made = loop.run_until_complete(asyncio.start_unix_server(answer, str(path)))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield load.Server(path, "token"), read
    finally:
        made.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_server_that_is_too_slow_gets_every_request_when_it_is_due(tmp_path):
    """40 a second for one that bears 20: they wait in its queue, and the last of 20 has waited
    for ten. Who asks one after the other would measure 50 ms each."""
    with server(tmp_path, takes_s=0.05) as (slow, _):
        replies = load.at_rate(slow, ["a", "b"], requests_per_s=40, requests=20)
    assert [one.at_s for one in replies[:3]] == [0, 0.025, 0.05]
    assert [one.name for one in replies[:3]] == ["a", "b", "a"]
    assert replies[0].latency_ms < 200 and replies[-1].latency_ms > 400
    assert replies[-1].latency_ms > 5 * replies[0].latency_ms


def test_arrivals_are_spaced_as_stated(tmp_path):
    """A fast server answers the last of them when it comes, not before."""
    with server(tmp_path) as (fast, _):
        began = time.monotonic()
        replies = load.at_rate(fast, ["a"], requests_per_s=20, requests=10)
        assert time.monotonic() - began > 9 / 20
    assert {one.outcome for one in replies} == {"answered"}


@pytest.mark.parametrize("says, status", [(b"", 0), (b"no JSON", 200)])
def test_what_is_no_reply_is_a_refusal_without_an_answer(tmp_path, says, status):
    """A connection that breaks, and words that are no JSON: neither stops the load."""
    with server(tmp_path, says=says) as (odd, _):
        replies = load.send(odd, ["a", "b"])
    assert [(one.status, one.outcome, one.answer) for one in replies] == [
        (status, "refused", {})
    ] * 2


def test_a_server_that_is_not_there_is_a_refusal(tmp_path):
    """Of each request, so that a killed server is counted and not skipped."""
    [one] = load.send(load.Server(tmp_path / "nobody.sock", "t"), ["a"])
    assert (one.status, one.outcome) == (0, "refused")


def test_bodies_are_sent_as_they_are(tmp_path):
    """A text as JSON; a named body byte by byte, an empty one too."""
    with server(tmp_path) as (plain, read):
        load.send(plain, ["text"])
        load.send(plain, ["odd"], bodies={"odd": b"\xff{"})
        load.send(plain, ["none"], bodies={"none": b""})
    assert json.loads(read[0]) == {"text": "text"} and read[1:] == [b"\xff{", b""]


def test_it_works_where_an_event_loop_already_runs(tmp_path):
    """As in a notebook."""

    async def cell(plain):
        return load.send(plain, ["a"])

    with server(tmp_path) as (plain, _):
        assert asyncio.run(cell(plain))[0].status == 200
