"""What may not come with a base model: pickle, code to run, weights under no stated licence.

The engine finds the model (a folder, a package, the hub) and lays it out as a folder of plain
files, see `execution.base_source`; nothing of it is ever executed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from workbench.errors import InputError

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
"""Formats whose readers can execute code on loading: Python pickle."""


def resolve(source: str, licence: str | None = None) -> tuple[Path, str]:
    """(folder or GGUF file, licence) of ``folder:PATH``.

    Raises InputError when there is no such folder, a file needs pickle or remote code, or no
    licence is stated anywhere.
    """
    kind, _, rest = source.partition(":")
    folder = Path(rest)
    if kind != "folder" or not rest or not folder.is_dir():
        raise InputError("base model: no such folder", expected="folder:PATH", given=source)
    ggufs = sorted(folder.glob("*.gguf"))
    path = _only(ggufs, rest) if ggufs and not any(folder.glob("*.safetensors")) else folder
    refuse_pickles(path)
    refuse_remote_code(path)
    stated = licence or _stated_licence(path)
    if not stated:
        raise InputError(
            "base model: no licence is stated",
            where=source,
            expected="a licence identifier, e.g. apache-2.0",
            given="none in the model card or the GGUF header",
            next_step="find out the licence and state it as base.licence in usecase.yaml",
        )
    return path, stated


def _only(ggufs: list[Path], where: str) -> Path:
    if len(ggufs) > 1:
        raise InputError(
            "base model: several GGUF files in one folder",
            where=where,
            expected="one",
            given=", ".join(file.name for file in ggufs),
        )
    return ggufs[0]


def refuse_pickles(path: Path) -> None:
    """InputError naming every file whose format can execute code when it is loaded."""
    found = sorted(file.name for file in _files(path) if file.suffix.lower() in PICKLES)
    if found:
        raise InputError(
            "base model: pickle weights are refused, loading them can run any code",
            where=path,
            expected="safetensors or GGUF only",
            given=", ".join(found),
            next_step="take the safetensors release of the model, without these files",
        )


def refuse_remote_code(path: Path) -> None:
    """InputError when the folder holds Python files or a configuration that asks to load some."""
    code = [file.name for file in _files(path) if file.suffix == ".py"]
    asks = [f"{file.name}: auto_map" for file in _files(path) if _has_auto_map(file)]
    if code or asks:
        raise InputError(
            "base model: remote code is refused",
            where=path,
            expected="an architecture that transformers itself knows",
            given=", ".join(sorted(code + asks)),
        )


def _has_auto_map(file: Path) -> bool:
    if not file.name.endswith("config.json"):
        return False
    found = read_json(file)
    return isinstance(found, dict) and "auto_map" in found


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _stated_licence(path: Path) -> str | None:
    """The licence of the GGUF header or of the model card's front matter."""
    if path.is_file():
        from workbench.methods.adapt.gguf import header

        return header(path).get("general.license")
    card = path / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    line = re.search(r"^license:\s*([\w.+-]+)\s*$", front[1], re.MULTILINE) if front else None
    return line[1] if line else None


def read_json(file: Path) -> object:
    """The parsed file; InputError when it is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise InputError("base model: not readable as JSON", where=file, given=cause) from cause
