"""The environment and the reproducibility domain of a run, read from what really is.

Read and never measured: no library is imported and no GPU is touched. What a kernel sees (its
variables, mounts, network) is taken from its sandbox, not from ours.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..policy import domain as domains
from ..policy import environment as spec
from ..policy.classes import DataClass, strictest
from ..policy.domain import Domain
from ..policy.environment import Environment
from . import capture
from .isolation import PACKAGE, Sandbox, available
from .project import Project, load_yaml
from .stages import Stage, templates_root

TRAINING, FOLDER = "30_adapt", "environments"
DEFAULTS = {"device": "cpu", "threads": 1, "processes": 1, "dtype": "float32", "seed": 0}
HEADER = """\
# The environment `{name}`, as this machine was when the file was made. A run on the governed track
# is refused where it differs. A change here is a change of environment: commit it, with the reason.
# What is left out is not compared. `zone` is yours to state: what this place is called, and the
# strictest data class that may lie there.
"""


# ---- the domain ----------------------------------------------------------------------------------


def domain(parameters: Mapping[str, Any]) -> Domain:
    """The domain that a job with these parameters has on this machine now.

    InputError when a portable domain is asked of a processor that can't give it, or a GPU of a
    machine without one.
    """
    here, kind = capture.environment(), parameters.get("domain", "native")
    size, parts = (parameters.get(name, 1) for name in ("batch_size", "accumulate"))
    facts = {name: parameters.get(name, default) for name, default in DEFAULTS.items()} | {
        "kind": kind,
        "instruction_set": domains.CAPS if kind == "portable" else {},
        "cpu": _processor(here["cpu"], kind),
        "gpu": _accelerator(here["gpu"]) if parameters.get("device") == "cuda" else None,
        "hash_seed": here["hash_seed"],
        "batches": domains.batches(size, parts),
        "python": here["python"],
        "libraries": {k: v for k, v in here["libraries"].items() if k in domains.COMPUTING},
        "build": _build(),
    }
    return Domain.parse(facts, where="the job's parameters")


def _processor(cpu: dict[str, Any], kind: str) -> dict[str, Any]:
    whole = {name: cpu[name] for name in ("architecture", "vendor", "model", "features")}
    if kind != "portable":
        return whole
    if cpu["architecture"] != "x86_64" or not set(domains.NEEDED) <= set(cpu["features"]):
        raise InputError(
            "This processor can't give a portable domain.",
            expected=f"x86_64 with {' and '.join(domains.NEEDED)}",
            given=f"{cpu['architecture']}, {cpu['model']}",
            next_step="Use domain native, or another machine.",
        )
    return whole | {"model": None, "features": None}


def _accelerator(gpu: dict[str, Any] | None) -> dict[str, Any]:
    if not gpu or not gpu["devices"]:
        raise InputError("The job asks for a GPU, and the driver lists none here.", where="device")
    return {"models": [one["model"] for one in gpu["devices"]], "driver": gpu["driver"]}


@lru_cache(maxsize=1)
def _build() -> dict[str, str]:
    """Which build of PyTorch is installed, from its files; empty where there is none."""
    try:
        torch = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        return {}
    files = torch.read_text("RECORD") or ""
    kernels = re.findall(r"^torch/lib/(libtorch_c\w+)\.\w+,(sha256=[^,]+)", files, re.M)
    return {"version": torch.version, **dict(kernels)}


# ---- what is observed ----------------------------------------------------------------------------


def observe(
    parameters: Mapping[str, Any],
    level: str,
    *,
    sandbox: Sandbox | None = None,
    engine_key: str | None = None,
) -> Environment:
    """What a kernel with these parameters finds at this level, on this machine now.

    Without a `sandbox`, that of any stage. Raises as `domain` does.
    """
    here, ours = capture.environment(), domain(parameters)
    variables = domains.variables(ours.kind, ours.threads)
    sandbox = sandbox or Sandbox(
        level, Path("/nowhere/work"), threads=ours.threads, variables=variables
    )
    facts = {
        "name": "observed",
        "compute": {
            **{name: here["cpu"][name] for name in ("architecture", "vendor")},
            "accelerator": "cuda" if ours.gpu else "none",
            "gpu_models": ours.gpu.models if ours.gpu else [],
            "driver": ours.gpu.driver if ours.gpu else None,
            "cpu_features": here["cpu"]["features"],
            **{"threads": ours.threads, "dtype": ours.dtype, "domain": ours.kind},
            "memory_bytes": _memory(),
        },
        **{name: here[name] for name in ("image", "python")},
        "os": _system(),
        "wheels": _wheels(here["lock"], here["libraries"]),
        "variables": capture.labelled(sandbox.environment(), sandbox.labels()),
        "mounts": [{"place": name, "read_only": not free} for name, free in _places(sandbox)],
        "egress": ["*"] if level == "none" else [],
        "identity": {"user": _user(sandbox), "engine_key": engine_key},
        "isolation": level,
    }
    return Environment.parse(facts)


def _system() -> dict[str, str | None]:
    release: dict[str, str] = {}
    with suppress(OSError):
        release = platform.freedesktop_os_release()
    return {"id": release.get("ID"), "version": release.get("VERSION_ID")}


def _wheels(lock: dict[str, str] | None, installed: dict[str, str]) -> dict[str, Any]:
    if not lock:
        return {"installed": installed}
    pins = spec.pins((PACKAGE.parent / lock["name"]).read_text(encoding="utf-8"))
    found = {"installed": installed, "unlike": spec.unlike(pins, installed)}
    return {"lock": lock["name"], "sha256": lock["sha256"]} | found


def _places(sandbox: Sandbox) -> Iterator[tuple[str, bool]]:
    """Place -> can it be written? Stages differ in their inputs, and not all use cases have code of
    their own; both are in the record by digest, so the place where they would lie stands here."""
    seen = sandbox.places()
    labelled = capture.labelled(list(seen), sandbox.labels())
    named = dict(zip(labelled, seen.values(), strict=True))
    yield from (one for one in named.items() if not one[0].startswith(("$SCRATCH/", "$READABLE")))
    if sandbox.level != "none":
        yield from (("$READABLE", False), ("$SCRATCH/inputs", False))


def _user(sandbox: Sandbox) -> str:
    if sandbox.user is not None and sandbox.level != "none":
        return f"uid {sandbox.user}"
    return "user" if os.getuid() else "root"


def _memory() -> int | None:
    """The limit of our control group, where there is one."""
    with suppress(OSError, ValueError):  # `max` where there is none
        return int(Path("/sys/fs/cgroup/memory.max").read_text())
    return None


# ---- what is declared ----------------------------------------------------------------------------


def declared(project: Project, name: str) -> Environment | None:
    """The environment that the use case declares under this name; None where it declares none.

    InputError when the file is missing, broken, or says that it is another environment.
    """
    if name not in project.usecase.environments:
        return None
    path = project.path(project.usecase.environments[name], f"environments.{name}")
    found = Environment.parse(load_yaml(path), where=path)
    if found.name != name:
        raise InputError(
            "The file declares another environment.", where=path, expected=name, given=found.name
        )
    return found


def write_declaration(root: Path, name: str) -> Path:
    """Write `environments/<name>.yaml`: this machine as it is now, with the training's parameters.

    The file is for a person to read, correct and commit.
    """
    project = Project.load(root)
    facts = observe(_parameters(project), available()[0]).model_dump(mode="json", exclude_none=True)
    if "lock" in facts["wheels"]:  # it pins the rest
        chosen = {k: v for k, v in facts["wheels"]["installed"].items() if k in domains.COMPUTING}
        facts["wheels"] |= {"unlike": {}, "installed": chosen}
    held = strictest(project.usecase.data.classes or {DataClass.PERSONAL})
    facts |= {"name": name, "purpose": f"Stages of {project.usecase.id} run here."}
    facts["zone"] = {"name": "this machine", "holds": str(held)}
    path = root / FOLDER / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    body = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(HEADER.format(name=name) + body, encoding="utf-8")
    return path


def _parameters(project: Project) -> dict[str, Any]:
    """What the training gets: the template's defaults and the use case's values over them."""
    own = project.root / "stages" / f"{TRAINING}.ipynb"
    shipped = templates_root() / "stages" / own.name
    schema = Stage.load(own if own.is_file() else shipped).schema
    defaults = {one.name: one.default for one in schema.parameters if not one.required}
    return defaults | project.usecase.parameters.get(TRAINING, {})
