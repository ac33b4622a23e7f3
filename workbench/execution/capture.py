"""What is kept of a run: its executed notebook in a lasting form, and what it ran on.

The lasting form holds nothing that differs between two runs that did the same: no clock values,
no random cell ids, no paths of the host. The surroundings are read, never measured: no GPU is
touched and nothing is imported, so that capture costs next to nothing.
"""

from __future__ import annotations

import copy
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import InputError, RunError
from ..record.digest import digest, file_digest
from .isolation import PACKAGE, image

KERNELSPEC = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
TEMPORARY_SOURCE = re.compile(r"[^\s'\"()<>]*ipykernel_\d+/\d+\.py")
LOCKS = ("requirements/lock.txt", "requirements.lock", "pylock.toml", "uv.lock", "environment.yml")
CPU_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16",
                "amx_bf16", "amx_int8", "asimd", "asimddp", "sve", "bf16", "i8mm")  # fmt: skip
Labels = list[tuple[str, str]]


# ---- the run -------------------------------------------------------------------------------------


@dataclass
class CellRun:
    """What happened to one code cell; `index` counts all cells of the saved notebook."""

    index: int
    id: str
    status: str = "not run"
    """completed, failed or not run"""
    seconds: float | None = None


@dataclass
class Execution:
    """What happened in one run."""

    outcome: str = "running"
    """succeeded, failed, timed_out, died, interrupted or incomplete"""
    error: dict[str, Any] | None = None
    """cell (index, or None), ename, evalue, traceback (lines, without colours)"""
    cells: list[CellRun] = field(default_factory=list)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished: datetime | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    """All parameters, defaults included, as the notebook got them."""
    notebook: Any = None
    """The executed notebook as it was saved."""

    @property
    def succeeded(self) -> bool:
        return self.outcome == "succeeded"


# ---- the notebook --------------------------------------------------------------------------------


def read_notebook(notebook: Path) -> Any:
    """The notebook with lasting cell ids. InputError when it could not run as it says."""
    import nbformat

    try:
        nb = nbformat.read(notebook, as_version=4)
    except Exception as error:  # nbformat raises many kinds; all mean the same to the reader
        raise InputError("The notebook cannot be read.", where=notebook, given=error) from None
    language = nb.metadata.get("kernelspec", {}).get("language", "python")
    if language.lower() != "python":
        raise InputError(
            "The notebook is not for Python.", where=notebook, expected="python", given=language
        )
    for index, cell in enumerate(nb.cells):
        cell.setdefault("id", f"cell-{index}")
        if "skip-execution" in cell.metadata.get("tags", []):
            raise InputError(
                "A cell is tagged to be skipped.",
                where=f"{notebook}, cell {index}",
                expected="a notebook whose code cells all run",
                given="tag skip-execution",
            )
    nb.nbformat_minor = max(nb.nbformat_minor, 5)
    return nb


def title_above(cells: list[Any], index: int) -> str:
    """The nearest heading above a cell."""
    for cell in reversed(cells[:index]):
        for line in reversed(cell.source.splitlines() if cell.cell_type == "markdown" else []):
            if line.startswith("#"):
                return line.lstrip("# ").strip()
    return ""


def lasting(nb: Any, statuses: Mapping[int, str], facts: Mapping[str, Any], labels: Labels) -> Any:
    """A copy of an executed notebook with true statuses and nothing volatile.

    `statuses` maps the index of a code cell to completed, failed or not run; `facts` holds the
    parameters and the outcome; `labels` the host paths and what is written in their place.
    """
    nb = copy.deepcopy(nb)
    for index, cell in enumerate(nb.cells):
        cell.metadata.pop("papermill", None)
        if index in statuses:
            status = statuses[index]
            cell.metadata["papermill"] = {"status": status, "exception": status == "failed"}
            cell.metadata["workbench"] = {"status": status}
            cell.outputs = labelled(cell.outputs, labels)
    nb.metadata["kernelspec"] = KERNELSPEC
    nb.metadata["papermill"] = {
        "parameters": facts["parameters"],
        "exception": "failed" in statuses.values(),
    }
    nb.metadata.setdefault("workbench", {})["outcome"] = facts["outcome"]
    return nb


def labelled(value: Any, labels: Labels) -> Any:
    """Host paths in nested texts replaced by names that mean the same everywhere.

    `labels` has the longest path first, so that the most telling name wins.
    """
    names = dict(labels)
    paths = re.compile(rf"(?:{'|'.join(map(re.escape, names))})(?![\w-])")

    def named(value: Any) -> Any:
        if isinstance(value, str):
            value = TEMPORARY_SOURCE.sub("<cell>", value)
            return paths.sub(lambda match: names[match.group()], value)
        if isinstance(value, dict):
            return type(value)(
                {k: v if k.startswith("image/") else named(v) for k, v in value.items()}
            )
        return [named(item) for item in value] if isinstance(value, list) else value

    return named(value)


@contextmanager
def destination(path: Path) -> Iterator[Callable[[Any], None]]:
    """A writer of notebooks to `path` that a running kernel cannot lead elsewhere.

    The folder is held open, so a link put in its place changes nothing; the file is made new and
    renamed over whatever is there, so a link at `path` is replaced and never followed. The writer
    raises RunError when the notebook cannot be saved there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)

    def write(nb: Any) -> None:
        try:
            _write(nb, folder, path)
        except OSError as error:
            raise RunError(
                "The executed notebook could not be saved.",
                where=path,
                given=error,
                next_step="Look at the free space and at what the notebook does in that folder.",
            ) from error

    try:
        yield write
    finally:
        os.close(folder)


def _write(nb: Any, folder: int, path: Path) -> None:
    import nbformat

    part = f".{path.name}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(part, flags, 0o644, dir_fd=folder), "w", encoding="utf-8") as file:
        file.write(nbformat.writes(nb) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    if not os.path.samestat(os.fstat(folder), os.stat(path.parent)):
        raise OSError("its folder was moved while the notebook ran")


# ---- the surroundings ----------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "libraries": libraries(),
        "lock": lock_digest(),
        "cpu": _cpu(),
        "gpu": _gpu(),
        "image": image(),
        "hash_seed": "0",
    }


def environment() -> dict[str, Any]:
    """What a run stands on: Python, libraries, lock, processor, GPUs, container image.

    Read once in a process; the answer is a copy. `hash_seed` is the kernels', see isolation.
    """
    return copy.deepcopy(_environment())


def libraries() -> dict[str, str]:
    """Installed distributions and their versions, the first on the path where there are two."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        stem = getattr(distribution, "_path", Path()).name  # much faster than parsing METADATA
        name, dash, version = stem.removesuffix(".dist-info").partition("-")
        if not (dash and stem.endswith(".dist-info")):
            name, version = distribution.metadata["Name"], distribution.version
        found.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(found.items()))


def lock_digest() -> dict[str, str] | None:
    """Name and SHA-256 of the lock file beside the package, if there is one."""
    for name in LOCKS:
        path = PACKAGE.parent / name
        if path.is_file():
            return {"name": name, "sha256": file_digest(path)}
    return None


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Digest over the path and the content of every file of this package, caches left out."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file())
    return digest(
        {
            path.relative_to(PACKAGE).as_posix(): file_digest(path)
            for path in files
            if "__pycache__" not in path.parts
        }
    )


def package_version() -> str:
    """The installed version of this package; `0+checkout` where it is not installed."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version("workbench")
    return "0+checkout"


def repository(path: Path) -> dict[str, Any]:
    """Commit, dirtiness and remote (credentials removed) of the git repository around `path`.

    Empty where there is no repository or no git. `commit` is None before the first commit.
    """
    status = _git(path, "status", "--porcelain=v2", "--branch", "--untracked-files=normal")
    if status is None:
        return {}
    lines = status.splitlines()
    commit = next((x.split()[-1] for x in lines if x.startswith("# branch.oid ")), None)
    remote = _git(path, "config", "--get", "remote.origin.url")
    return {
        "commit": None if commit == "(initial)" else commit,
        "dirty": any(not line.startswith("#") for line in lines),
        "remote": _without_credentials(remote.strip()) if remote else None,
    }


def _git(path: Path, *arguments: str) -> str | None:
    if shutil.which("git") is None:
        return None
    # No hooks of the repository may run, and its index stays as it is.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(path), *arguments]
    env = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    return done.stdout if done.returncode == 0 else None


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme:  # git@host:path names a user and no secret
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _cpu() -> dict[str, Any]:
    facts: dict[str, str] = {}
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
            name, _, value = line.partition(":")
            facts[name.strip()] = value.strip()
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return {
        "architecture": platform.machine(),
        "vendor": facts.get("vendor_id") or facts.get("CPU implementer") or "unknown",
        "model": facts.get("model name") or platform.processor(),
        "features": [feature for feature in CPU_FEATURES if feature in flags],
        "usable": len(usable),
    }


def _gpu() -> dict[str, Any] | None:
    """NVIDIA driver and GPUs as the driver itself lists them; asking nvidia-smi takes a second."""
    root = Path("/proc/driver/nvidia")
    with suppress(OSError):
        driver = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", (root / "version").read_text())
        cards = [_fields(path) for path in sorted(root.glob("gpus/*/information"))]
        return {
            "driver": driver[1] if driver else None,
            "devices": [{"model": c.get("Model"), "uuid": c.get("GPU UUID")} for c in cards],
        }
    return None


def _fields(path: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in path.read_text().splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
