"""Stages in their order, those that don't need each other side by side where cores allow."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from . import stopping
from .stages import Stage

Result = TypeVar("Result")


def fitting(parameters: Iterable[Mapping[str, Any]]) -> int:
    """How many stages this machine's cores bear at once, if each takes the threads that it asks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    widest = max((int(chosen.get("threads", 1)) for chosen in parameters), default=1)
    return max(1, (cores or 1) // widest)


def carry_out(
    stages: Sequence[Stage], do: Callable[[Stage], Result], jobs: int
) -> Iterator[Result]:
    """What `do` gives for each stage, as they finish; a stage waits for all that it needs.

    After the first that raises, none is started; those under way end in good order first.
    """
    if jobs == 1:
        yield from map(do, stages)
        return
    waiting, needed = list(stages), {stage.name: _needs(stage, stages) for stage in stages}
    running: dict[Future[Result], Stage] = {}
    finished: set[str] = set()
    with _heard(), ThreadPoolExecutor(jobs, thread_name_prefix="stage") as pool:
        while waiting or running:
            ready = [stage for stage in waiting if needed[stage.name] <= finished]
            for stage in ready[: jobs - len(running)]:
                waiting.remove(stage)
                # The thread lives as long as its kernel: a sandbox dies with the thread that made it.
                running[pool.submit(do, stage)] = stage
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                finished.add(running.pop(future).name)
                yield future.result()


def _needs(stage: Stage, stages: Sequence[Stage]) -> set[str]:
    """Those of `stages` that it waits for; the deciding one, all: it weighs every verdict."""
    names = {other.name for other in stages} - {stage.name}
    return names if stage.facts.get("decides") else stage.needs() & names


@contextmanager
def _heard() -> Iterator[None]:
    """Only the main thread hears Ctrl-C and SIGTERM; it passes them on to every run."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, lambda *_: stopping.interrupt()) for n in stopping.STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
