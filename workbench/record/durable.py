"""Writing that survives a power cut: data first, then the name, then the folder.

POSIX promises a name only after the folder that holds it was synced; a file that was renamed
before its own sync may come back empty.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """Flush every file below ``root``, then every folder, the deepest first."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def create(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a new file; FileExistsError when there is one. A failed write leaves none."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put new content under a name at once: readers see the old or the new, never a part."""
    staged = path.with_name(f".{path.name}.new")
    staged.unlink(missing_ok=True)
    create(staged, data, mode)
    os.replace(staged, path)
    sync(path.parent)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file and flush; whoever calls holds the lock."""
    with open(path, "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove_tree(root: Path) -> None:
    """Remove a folder and all below it, sealed (read-only) parts included."""
    import shutil

    for folder, names, _ in os.walk(root):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    shutil.rmtree(root)
