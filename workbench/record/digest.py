"""Digests: SHA-256 over RFC 8785 canonical JSON, or over the whole bytes of a file.

A tree covers every file below a folder: its path, bytes, size and exec bit. What a digest can't
cover faithfully is refused by name: links (they point out of the tree), empty folders and special
files (they have no bytes), names that are not UTF-8 or hold control characters or backslashes
(two tools would read two different names).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import rfc8785

from workbench.errors import InputError, IntegrityError


@dataclass(frozen=True, order=True)
class Entry:
    """One file of a tree: POSIX path from its root, SHA-256 in hex, bytes, exec bit."""

    path: str
    sha256: str
    size: int
    executable: bool


def canonical(value: Any) -> bytes:
    """JSON as RFC 8785 writes it; InputError for what JSON can't hold (NaN, 2**53, bytes)."""
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise InputError("not canonical JSON", given=str(error), expected="RFC 8785") from error


def read_canonical(data: bytes) -> Any:
    """The value in canonical JSON; IntegrityError when the bytes are any other spelling of it.

    RFC 8785 §3.2.2.3 writes the number 1e17 without exponent; such an integer is a double again.
    """
    try:
        value = json.loads(data, parse_int=lambda text: _number(int(text)))
        if canonical(value) == data:
            return value
    except (ValueError, RecursionError, InputError) as error:
        raise IntegrityError("not canonical JSON", given=str(error).split("\n")[0]) from error
    raise IntegrityError("not canonical JSON", expected="the spelling of RFC 8785")


def _number(value: int) -> int | float:
    return value if abs(value) < 2**53 else float(value)


def digest(value: Any) -> str:
    """SHA-256 in hex over the canonical JSON of a value."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path | str) -> str:
    """SHA-256 in hex over the whole bytes of a file; never follows a link, never waits on a pipe."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(os.open(path, flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise IntegrityError("not a plain file", where=path)
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(root: Path | str) -> tuple[list[str], list[tuple[str, str]]]:
    """Paths of the plain files below ``root`` in order, and (path, reason) for what is refused."""
    files: list[str] = []
    refused: list[tuple[str, str]] = []
    _scan(Path(root), "", files, refused)
    return sorted(files), sorted(refused)


def _scan(folder: Path, prefix: str, files: list, refused: list) -> None:
    with os.scandir(folder) as listing:
        children = list(listing)
    if not children:
        refused.append((prefix.rstrip("/") or ".", "an empty folder"))
    for child in children:
        path = prefix + child.name
        reason = _unfaithful(child)
        if reason:
            refused.append((path.encode("utf-8", "backslashreplace").decode(), reason))
        elif child.is_dir(follow_symlinks=False):
            _scan(folder / child.name, path + "/", files, refused)
        else:
            files.append(path)


def _unfaithful(child: os.DirEntry) -> str | None:
    """Why this name or kind of file can't be covered, or None."""
    if child.is_symlink():
        return "a link"
    if not (child.is_dir(follow_symlinks=False) or child.is_file(follow_symlinks=False)):
        return "a special file"
    if not child.name.isprintable() or "\\" in child.name:
        return "a name with characters that tools read differently"
    return None


def entry(root: Path | str, path: str) -> Entry:
    """The entry of one file of a tree."""
    file = Path(root, path)
    info = os.lstat(file)
    return Entry(path, file_digest(file), info.st_size, bool(info.st_mode & 0o111))


def entries(root: Path | str, paths: list[str]) -> list[Entry]:
    """The entries of these files, hashed in a thread a core (hashing lets go of the GIL).

    The largest begin, so that no thread is left alone with one at the end.
    """
    sizes = {path: os.lstat(Path(root, path)).st_size for path in paths}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(partial(entry, root), sorted(paths, key=sizes.__getitem__, reverse=True))
        held = {one.path: one for one in found}
    return [held[path] for path in paths]


def tree(root: Path | str) -> list[Entry]:
    """Every file below ``root`` by path; IntegrityError names a link, empty folder or device."""
    files, refused = scan(root)
    if refused:
        path, reason = refused[0]
        raise IntegrityError(
            f"a record can't hold {reason}",
            where=Path(root, path),
            expected="plain files in folders that are not empty",
            next_step="remove it, or write a plain file in its place",
        )
    return entries(root, files)


def tree_digest(found: list[Entry]) -> str:
    """One SHA-256 over all entries, whatever order they came in."""
    return digest([asdict(item) for item in sorted(found)])
