"""`workbench new`: the user's own repository from a starter pack, with their data in place."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .environment import FOLDER, write_declaration
from .project import USECASE_FILE, load_yaml
from .stages import templates_root

IGNORED = "runs/\nscratch/\n.ipynb_checkpoints/\n__pycache__/\n"


def packs() -> list[str]:
    """Names of the starter packs."""
    root = templates_root() / "usecases"
    return sorted(path.name for path in root.iterdir() if (path / USECASE_FILE).is_file())


SCENARIOS = "42_scenarios"


def new(
    target: Path,
    pack: str,
    *,
    data: Path | None = None,
    text: str | None = None,
    label: str | None = None,
    split: str | None = None,
    group: str | None = None,
    name: str | None = None,
) -> Path:
    """Make the folder `target` from a pack, as a git repository with a first commit.

    With `data`, the file is copied in and its columns are entered as unclassified: a person has
    to confirm their classes before anything runs. InputError when the target is taken or a
    column doesn't exist; nothing is left behind then.
    """
    if pack not in packs():
        raise InputError("There is no such starter pack.", expected=", ".join(packs()), given=pack)
    target = target.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError("The folder is not empty.", where=target, expected="a new or empty folder")
    source = templates_root() / "usecases" / pack
    config = load_yaml(source / USECASE_FILE)
    config["id"] = _identifier(name or target.name)
    if data is not None:
        _with_data(config, data, text=text, label=label, split=split, group=group)
    config["environments"] = {"training": f"{FOLDER}/training.yaml"}
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns("parts"))
        if data is not None:
            _place_data(partial, config, data)
            _drop_scenarios(partial, config)
        header = "# What the model is for. `workbench run --dry-run` says what is still missing.\n"
        body = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
        (partial / USECASE_FILE).write_text(header + body, encoding="utf-8")
        (partial / ".gitignore").write_text(IGNORED, encoding="utf-8")
        write_declaration(partial, "training")
        if target.exists():
            target.rmdir()
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _first_commit(target)
    return target


def _identifier(name: str) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return plain or "usecase"


def _place_data(partial: Path, config: dict[str, Any], data: Path) -> None:
    place = partial / config["data"]["path"]
    shutil.rmtree(partial / "data", ignore_errors=True)
    place.parent.mkdir(parents=True)
    shutil.copyfile(data, place)


def _drop_scenarios(partial: Path, config: dict[str, Any]) -> None:
    """The pack's scenarios are about the pack's labels: they go, and the gates over them."""
    shutil.rmtree(partial / config.pop("scenarios", "-"), ignore_errors=True)
    path = partial / config.get("policy", "policy.yaml")
    head, *gates = re.split(r"(?m)^(?=  - id: )", path.read_text(encoding="utf-8"))
    gone = [gate for gate in gates if f"stage: {SCENARIOS}\n" in gate]
    path.write_text("".join([head, *(gate for gate in gates if gate not in gone)]), "utf-8")
    names = "|".join(gate.split()[2] for gate in gone)
    envelope = partial / config.get("envelope", "envelope.yaml")
    if names and envelope.is_file():
        text = envelope.read_text(encoding="utf-8")
        envelope.write_text(re.sub(rf"(?m)^ +- (?:{names})\n", "", text), encoding="utf-8")


def _with_data(config: dict[str, Any], data: Path, **named: str | None) -> None:
    columns = header(data)
    fields = {field: column for field, column in named.items() if column}
    for field in ("text", "label"):
        if field not in fields:
            raise InputError(f"--{field} is missing.", expected=f"one of {', '.join(columns)}")
    for field, column in fields.items():
        if column not in columns:
            raise InputError(
                "The data has no such column.",
                where=data,
                expected=", ".join(columns),
                given=f"--{field} {column}",
            )
    config["data"] = {"path": f"data/{data.name}", **fields, "columns": {}, "classified_by": ""}
    config.pop("labels", None)


def header(data: Path) -> list[str]:
    """Column names of a CSV, JSON-lines or Parquet file. InputError when it can't be read."""
    if not data.is_file():
        raise InputError("There is no such data file.", where=data)
    try:
        if data.suffix == ".parquet":
            import pyarrow.parquet as parquet

            return list(parquet.read_schema(data).names)
        with data.open(encoding="utf-8-sig", newline="") as lines:
            if data.suffix in (".jsonl", ".ndjson"):
                return list(dict(json.loads(next(lines, "{}"))))
            return next(csv.reader(lines), [])
    except (ValueError, TypeError, OSError, csv.Error) as error:
        raise InputError("The data file cannot be read.", where=data, given=error) from None


def _first_commit(target: Path) -> None:
    """A repository of its own, so that every run can name the commit that it ran from."""

    def git(*words: str) -> bool:
        done = subprocess.run(["git", "-C", str(target), *words], capture_output=True, check=False)
        return done.returncode == 0

    if not shutil.which("git") or not git("init", "-q"):
        return
    if not git("config", "user.email"):  # nobody has told git who they are on this machine
        git("config", "user.name", "unidentified")
        git("config", "user.email", "unidentified@localhost")
    git("add", "-A")
    git("commit", "-q", "-m", "A new use case")
