"""Where a stage keeps its unfinished work, so that a killed run goes on instead of beginning anew.

    STORE/scratch/checkpoints/<digest of the run's key>      0700, outside any run's own folder

The key is everything that decides the result, so a run finds its own checkpoints or none. What is
found is an input of the record: a resumed run stands on it. The folder goes when the run was
sealed as succeeded, and when nobody touched it for two weeks. It holds weights and the optimiser's
state, never rows of persons; a stage that would put rows there must not declare checkpoints.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ..record import durable
from ..record.digest import tree, tree_digest
from ..record.statement import ResourceDescriptor, file_input
from ..record.store import Store

INPUT = "checkpoint"
KEPT_DAYS = 14


def place(store: Store, key: str) -> Path:
    """The folder of one key, made when there is none; those that nobody came back to are removed."""
    root = _root(store)
    root.mkdir(mode=0o700, exist_ok=True)
    for folder in root.iterdir():
        if folder.name != key and _age_days(folder) > KEPT_DAYS:
            durable.remove_tree(folder)
    found = root / key
    found.mkdir(mode=0o700, exist_ok=True)
    for folder, _, _ in os.walk(found, topdown=False):  # a kill between mkdir and the first file
        if folder != str(found) and not os.listdir(folder):
            os.rmdir(folder)
    return found


def _age_days(folder: Path) -> float:
    """Since anything in it was last written."""
    newest = max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    return (time.time() - newest) / 86_400


def found_in(folder: Path) -> list[ResourceDescriptor]:
    """What a run starts from besides its inputs: nothing, or the checkpoints by digest.

    IntegrityError names what no digest can cover, such as a link that the killed run left.
    """
    if not os.listdir(folder):
        return []
    uri, digest = f"checkpoint:{folder.name}", tree_digest(tree(folder))
    return [file_input(INPUT, digest, uri=uri, input=INPUT, unfinished=True)]


def remove(store: Store, key: str) -> None:
    """After the run was sealed: nothing is unfinished any more."""
    durable.remove_tree(_root(store) / key)


def _root(store: Store) -> Path:
    return store.path / "scratch" / "checkpoints"


def remove_all(store: Store) -> None:
    """Nothing that was learned from rows stays unfinished, as when a person's are forgotten."""
    if _root(store).exists():
        durable.remove_tree(_root(store))
