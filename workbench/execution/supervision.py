"""The small parent of a kernel at level none: it leaves nothing behind."""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def supervisor() -> list[str]:
    """The command of the small parent; its source travels as text, so that it imports nothing."""
    if not sys.platform.startswith("linux"):
        return []
    source = "\n".join(
        (
            "import ctypes, os, signal, sys",
            f"PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = {PR_SET_PDEATHSIG}, {PR_SET_CHILD_SUBREAPER}",
            inspect.getsource(supervise),
            inspect.getsource(end_descendants),
            f"sys.exit(supervise({os.getpid()}, sys.argv[1:]))",
        )
    )
    return [sys.executable, "-I", "-S", "-c", source]


def supervise(parent: int, argv: list[str]) -> int:
    """Run `argv`; when it ends, when told to, or when `parent` dies, kill all that it started.

    A process that detaches itself (a new session, a double fork) is handed to this one, the
    subreaper, instead of to init, so it is found too. Returns the exit code, 128 + n for signal n.
    """
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: (end_descendants(), os._exit(128 + n)))
    signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which the kernel would inherit
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        return 128 + signal.SIGTERM
    env = os.environ | {"JPY_PARENT_PID": str(os.getpid())}  # the kernel ends if we are SIGKILLed
    child = os.posix_spawn(argv[0], argv, env)
    while True:
        pid, status = os.wait()
        if pid == child:
            end_descendants()
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def end_descendants() -> None:
    """Kill this process's children until none is left; killing one hands its own children to us."""
    me = os.getpid()
    while True:
        with open(f"/proc/{me}/task/{me}/children") as children:
            for child in children.read().split():
                os.kill(int(child), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return
