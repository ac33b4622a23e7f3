"""How a person stops runs: Ctrl-C and SIGTERM, heard by the main thread, whoever runs."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM)
_UNHEARING: list[Callable[[], Any]] = []


def interrupt() -> None:
    """Stop every run under way in a thread that hears no signal; each is sealed as interrupted."""
    for stop in list(_UNHEARING):
        stop()


@contextmanager
def on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the run in good order. Only the main thread can hear them; a run in
    another is stopped by `interrupt`."""
    loop, before = asyncio.get_running_loop(), {}
    if threading.current_thread() is not threading.main_thread():
        own = partial(loop.call_soon_threadsafe, stop)
        _UNHEARING.append(own)
        try:
            yield
        finally:
            _UNHEARING.remove(own)
        return
    for number in STOPPING:
        before[number] = signal.getsignal(number)
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
