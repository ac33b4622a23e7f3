"""Where a kernel runs: three levels, each holding what the one below it holds.

=========  ==================================================================================
none       a plain process with a scrubbed environment, ended together with all it started.
           It can use the network and every file of the user. For the research track.
namespace  bubblewrap: own network (loopback only), process, IPC, user and host-name namespaces;
           only the mounts listed below exist; no capabilities. Needs Linux and `bwrap`.
container  the same, with the whole workbench running inside a container whose image digest is
           stated in $WORKBENCH_IMAGE, so that the operating system is pinned too.
=========  ==================================================================================

What exists inside a namespace: the system's programs and libraries, a few harmless files of
/etc, the Python in use, this package, the use case and the inputs (all read-only), GPUs, and
the run's scratch folder, the only place on disk that can be written; /tmp and /dev/shm are empty
memory. The home folder, the store, its keys, the network and the host's sockets are not there.

No level stops a notebook from writing false results into its own scratch folder. That is what
recomputed verdicts, the separate validation run and replay are for.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import InputError
from .supervision import supervisor

LEVELS = ("none", "namespace", "container")
PACKAGE = Path(__file__).resolve().parents[1]

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
          "/sys/devices/system/cpu", "/sys/devices/system/node")  # fmt: skip
# Not the whole of /etc: host keys, shadow passwords and credentials live there.
ETC = ("alternatives", "fonts", "group", "hosts", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
       "localtime", "mime.types", "nsswitch.conf", "passwd", "ssl/openssl.cnf", "timezone")  # fmt: skip
DEVICES = ("nvidia*", "dri", "kfd")
PASSED_ON = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
             "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # fmt: skip
UNSHARE = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-net", "--unshare-uts",
           "--unshare-cgroup-try", "--cap-drop", "ALL")  # fmt: skip
# A kernel of IPython that never drops an output: ZeroMQ would drop what overflows a queue of 1,000,
# and with it the word that a cell is done. So what we have not read yet waits in the kernel.
KERNEL = """
from ipykernel.kernelapp import IPKernelApp
class Kernel(IPKernelApp):
    def init_iopub(self, context):
        context.SNDHWM = 0
        super().init_iopub(context)
Kernel.launch_instance()
"""
CHANNEL_PREFIX = "workbench-"


@lru_cache(maxsize=1)
def available() -> tuple[str, str | None]:
    """The highest level that this machine gives, and why it gives no more (None at the top)."""
    if not sys.platform.startswith("linux"):
        return "none", "namespaces need Linux; run the workbench in a Linux container or machine"
    if shutil.which("bwrap") is None:
        return "none", "bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap)"
    probe = ["bwrap", *UNSHARE, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    try:
        tried = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "none", f"bubblewrap does not start: {error}"
    if tried.returncode:
        return "none", f"bubblewrap may not make namespaces here: {tried.stderr.strip()}"
    if image() is None:
        return "namespace", "the workbench does not run in a container with $WORKBENCH_IMAGE set"
    return "container", None


def image() -> str | None:
    """The digest of the container image we run in, as $WORKBENCH_IMAGE states it; else None.

    A claim of whoever started the container: the inside of a container cannot prove its image.
    """
    inside = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    stated = os.environ.get("WORKBENCH_IMAGE", "")
    return stated if inside and stated.rpartition("@")[2].startswith("sha256:") else None


def require(minimum: str) -> str:
    """The highest level available. InputError when it is below `minimum`, with what to install."""
    _known(minimum)
    level, reason = available()
    if LEVELS.index(level) < LEVELS.index(minimum):
        raise InputError(
            f"This run needs isolation {minimum}, and this machine gives {level}.",
            where="isolation",
            expected=f"{minimum} or higher",
            given=reason,
            next_step="Install what is missing, or run on a machine that has it.",
        )
    return level


def _known(level: str) -> None:
    if level not in LEVELS:
        raise InputError(
            "There is no such isolation level.", expected=" < ".join(LEVELS), given=level
        )


@dataclass(frozen=True)
class Mount:
    """A file or folder that the kernel sees, read-only unless `writable`, at `place` (absolute)."""

    source: Path
    place: Path
    writable: bool = False


@dataclass(frozen=True)
class Sandbox:
    """One run's surroundings: the level and what the kernel may see."""

    level: str
    scratch: Path
    """The run's folder, the only one that can be written; the kernel's home lies in it."""
    readable: tuple[Path, ...] = ()
    """Folders visible read-only where they are, such as the use case."""
    inputs: tuple[Mount, ...] = ()
    """Inputs, read-only at their place below `scratch`. At level none they are symbolic links."""
    hidden: tuple[Path, ...] = ()
    """Parts of `readable` that the kernel must not see, such as the store."""
    threads: int = 1
    """Threads of numeric libraries; fixed, because sums depend on their number."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Further variables of the kernel's environment, such as those of its reproducibility domain."""
    writable: tuple[Path, ...] = ()
    """Folders besides `scratch` that can be written, where they are: a server's log."""
    hostname: str = "workbench"
    """The host's name as the kernel sees it, from level namespace on."""
    user: int | None = None
    """The user id inside a namespace, where our files are then that user's; None: our own."""

    def __post_init__(self) -> None:
        _known(self.level)
        object.__setattr__(self, "scratch", Path(self.scratch).resolve())
        for name in ("readable", "hidden"):
            paths = tuple(Path(path).resolve() for path in getattr(self, name))
            object.__setattr__(self, name, paths)
        self._check_places()

    def _check_places(self) -> None:
        for path in self.readable:
            if path.is_relative_to(self.scratch):
                raise InputError(
                    "A read-only folder lies inside the run's scratch folder.",
                    where=path,
                    expected="scratch and read-only folders apart",
                    given=self.scratch,
                )
        for mount in self.inputs:
            if not mount.place.is_relative_to(self.scratch):
                raise InputError(
                    "An input is placed outside the run's scratch folder.",
                    where=mount.place,
                    expected=f"a place below {self.scratch}",
                )

    def prepare(self) -> None:
        """Make the kernel's home and temporary folders, and put the inputs in place.

        InputError when an input is missing, or when this machine does not give the level.
        """
        require(self.level)
        for name in ("home", "tmp"):
            (self.scratch / name).mkdir(parents=True, exist_ok=True)
        for mount in self.inputs:
            if not mount.source.exists():
                raise InputError("An input is not there.", where=mount.source)
            mount.place.parent.mkdir(parents=True, exist_ok=True)
            if self.level == "none" and not mount.place.is_symlink():
                mount.place.symlink_to(mount.source.resolve())

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """The kernel's whole environment: a whitelist, fixed values, `variables`, `extra`."""
        home, tmp = self.scratch / "home", self.scratch / "tmp"
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env |= {
            "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            # Compiled files beside a source that is an input would change the input.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(self.threads),
            # Waiting threads sleep: spinning ones cost fourfold time where others use the machine.
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
            "MKL_NUM_THREADS": str(self.threads),
            "OPENBLAS_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "PIP_NO_INDEX": "1",
        }
        folders = {"MPLCONFIGDIR": "matplotlib", "IPYTHONDIR": "ipython", "XDG_CACHE_HOME": "cache",
                   "JUPYTER_CONFIG_DIR": "jupyter", "JUPYTER_DATA_DIR": "jupyter",
                   "JUPYTER_RUNTIME_DIR": "jupyter", "HF_HOME": "huggingface"}  # fmt: skip
        env |= {name: str(home / folder) for name, folder in folders.items()}
        env |= dict(self.variables) | (extra or {})
        if not PACKAGE.is_relative_to(sys.prefix):  # a checkout that is not installed
            own = [env[name] for name in ("PYTHONPATH",) if name in env]
            env["PYTHONPATH"] = os.pathsep.join([*own, str(PACKAGE.parent)])
        return env

    def command(self, argv: Sequence[str], cwd: Path, channel: Path) -> list[str]:
        """`argv` wrapped so that it runs at this level, in `cwd`, with the folder `channel` shared.

        `channel` holds the kernel's sockets. The process that this command starts is ended with
        everything below it by SIGTERM, and by the death of the thread that started it.
        """
        if self.level == "none":
            return [*supervisor(), *argv]
        return ["bwrap", *self._mounts(cwd, channel), "--", *argv]

    def _mounts(self, cwd: Path, channel: Path) -> list[str]:
        options = [*UNSHARE, "--hostname", self.hostname, "--die-with-parent"]
        options += [] if self.user is None else ["--uid", str(self.user)]
        options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
        for path in _existing((*SYSTEM, *(f"/etc/{name}" for name in ETC))):
            options += ["--ro-bind", path, path]
        for device in _devices():  # a GPU's driver also reads where on the bus it sits
            options += ["--dev-bind", device, device, "--ro-bind-try", "/sys", "/sys"]
        for path in _existing(dict.fromkeys(map(str, (sys.prefix, sys.base_prefix, PACKAGE)))):
            options += ["--ro-bind", path, path]
        for path in self.readable:
            options += ["--ro-bind", str(path), str(path)]
        for path in self._hidden("is_file"):
            options += ["--ro-bind", "/dev/null", path]
        for path in self._hidden("is_dir"):
            options += ["--tmpfs", path]
        for path in (self.scratch, channel, *self.writable):
            options += ["--bind", str(path), str(path)]
        for mount in self.inputs:
            bind = "--bind" if mount.writable else "--ro-bind"
            options += [bind, str(mount.source.resolve()), str(mount.place)]
        for path in ("/", *self._hidden("is_dir")):  # last: mount points are made in them above
            options += ["--remount-ro", path]
        return [*options, "--chdir", str(cwd)]

    def _hidden(self, kind: str) -> list[str]:
        return [str(path) for path in self.hidden if getattr(path, kind)()]

    def places(self) -> dict[str, bool]:
        """What the kernel sees beside the system's own files -> can it be written?"""
        if self.level == "none":
            return {"/": True}
        options = self._mounts(self.scratch, self.scratch)
        known = {*SYSTEM, *(f"/etc/{name}" for name in ETC), "/sys", "/dev/null"}
        binds = zip(options, options[1:], options[2:], strict=False)
        return {
            place: option != "--ro-bind"
            for option, source, place in binds
            if option in ("--bind", "--ro-bind", "--dev-bind") and source not in known
        }

    def labels(self) -> list[tuple[str, str]]:
        """Host paths and the names that stand for them in a saved notebook, longest first."""
        named = {str(self.scratch): "$SCRATCH"}
        named |= {str(path): f"$READABLE{n or ''}" for n, path in enumerate(self.readable)}
        named |= {sys.prefix: "$PYTHON", sys.base_prefix: "$PYTHON_BASE"}
        named |= {str(PACKAGE.parent): "$WORKBENCH", str(Path.home()): "~"}
        named.pop("/", None)  # a home that is no home
        return sorted(named.items(), key=lambda item: -len(item[0]))

    def describe(self) -> dict[str, Any]:
        """What the record says about the isolation of a run."""
        return {
            "level": self.level,
            "network": self.level == "none",
            "threads": self.threads,
            "image": image() if self.level == "container" else None,
        }


def _existing(paths: Sequence[str] | dict[str, None]) -> Iterator[str]:
    return (path for path in paths if os.path.exists(path))


def _devices() -> list[str]:
    return sorted(str(path) for pattern in DEVICES for path in Path("/dev").glob(pattern))


def kernel_manager(sandbox: Sandbox, cwd: Path, channel: Path, log: logging.Logger) -> Any:
    """A jupyter_client manager whose IPython kernel runs in `sandbox`, its sockets in `channel`."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    python = [sys.executable, "-P", "-c", KERNEL, "-f", "{connection_file}"]
    spec = KernelSpec(
        argv=sandbox.command(python, cwd, channel),
        display_name="Python 3",
        language="python",
        interrupt_mode="message",  # a signal would hit the sandbox instead of the kernel
    )

    class Manager(AsyncKernelManager):
        kernel_spec = property(lambda self: spec)

    manager = Manager(transport="ipc", ip=str(channel / "k"), log=log)
    manager.connection_file = str(channel / "kernel.json")
    return manager


@contextmanager
def channel() -> Iterator[Path]:
    """A private folder for one kernel's sockets, removed at the end.

    Its path is short, since a Unix socket's is at most 108 bytes long. What engines that were
    killed left behind is swept: a folder whose lock is free has no engine any more.
    """
    root = Path("/tmp") if os.access("/tmp", os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    _sweep(root)
    path = Path(tempfile.mkdtemp(prefix=CHANNEL_PREFIX, dir=root))
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path
    finally:
        os.close(lock)
        shutil.rmtree(path, ignore_errors=True)


def _sweep(root: Path) -> None:
    for path in root.glob(f"{CHANNEL_PREFIX}*"):
        try:
            about = path.lstat()
            if about.st_uid != os.getuid() or time.time() - about.st_mtime < 60:
                continue  # somebody else's, or so young that its lock may not be taken yet
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
