"""A use case on disk: its configuration read, its paths kept inside it, its stores found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..policy.criteria import Policy
from ..policy.operations import Operations
from ..policy.usecase import UseCase
from ..record.store import Store

TRACKS = ("research", "governed")
USECASE_FILE = "usecase.yaml"


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. InputError when it is missing, broken or not a mapping."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"There is no {path.name} here.",
            where=path,
            expected="a use case, as `workbench new PATH` makes one",
            next_step="Name the folder of a use case with --usecase, or make one.",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError("The file is not readable YAML.", where=path, given=str(error)) from None
    if not isinstance(loaded, dict):
        raise InputError("The file is not a mapping of names to values.", where=path)
    return loaded


@dataclass(frozen=True)
class Project:
    """The use case in the folder `root`, with its policy."""

    root: Path
    usecase: UseCase
    policy: Policy
    operations: Operations | None = None
    """How a release is served and watched; None where the use case does not say."""

    @classmethod
    def load(cls, root: Path | str = ".") -> Project:
        """Read `usecase.yaml` and the policy that it names. InputError names the field at fault."""
        folder = Path(root).resolve()
        usecase = UseCase.parse(load_yaml(folder / USECASE_FILE), where=folder / USECASE_FILE)
        policy_file = inside(folder, usecase.policy, "policy")
        policy = Policy.parse(load_yaml(policy_file), where=policy_file)
        if not usecase.operations:
            return cls(folder, usecase, policy)
        file = inside(folder, usecase.operations, "operations")
        return cls(folder, usecase, policy, Operations.parse(load_yaml(file), where=file))

    def path(self, relative: str, field: str) -> Path:
        """A path that the configuration names, refused when it leaves the use case."""
        return inside(self.root, relative, field)

    def store(self, track: str, *, create: bool = True) -> Store:
        """The store of one track: `$WORKBENCH_RUNS/<track>` or `<use case>/runs/<track>`."""
        return open_store(runs_folder(self.root), track, create=create)


def runs_folder(root: Path) -> Path:
    """Where the stores are: $WORKBENCH_RUNS, else `runs/` in the use case."""
    given = os.environ.get("WORKBENCH_RUNS")
    return Path(given).resolve() if given else root / "runs"


def open_store(runs: Path, track: str, *, create: bool) -> Store:
    if track not in TRACKS:
        raise InputError("There is no such track.", expected=" or ".join(TRACKS), given=track)
    path = runs / track
    if create:
        return Store.open_or_create(path, track)
    if not (path / "store.json").exists():
        raise InputError(
            f"There is no {track} store yet.",
            where=path,
            next_step=f"Run `workbench run --track {track}` first.",
        )
    return Store.open(path)


def inside(root: Path, relative: str, field: str) -> Path:
    """`root / relative`, resolved; InputError when it leaves the use case or isn't there."""
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise InputError(
            "A path leaves the use case.",
            where=f"{USECASE_FILE}: {field}",
            expected=f"a path below {root}",
            given=relative,
            next_step="Copy the file into the use case, or correct the path.",
        )
    if not path.exists():
        raise InputError(
            "A file that the use case names does not exist.",
            where=f"{USECASE_FILE}: {field}",
            given=path,
            next_step="Put it there, or correct the path.",
        )
    return path
