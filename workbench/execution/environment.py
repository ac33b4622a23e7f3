"""The environment and the reproducibility domain of a run, read from what really is.

Read and never measured: no library is imported and no GPU is touched. What a kernel sees (its
variables, mounts, network) is taken from its sandbox, not from ours.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from string import Template
from typing import Any

import yaml

from ..errors import InputError
from ..policy import domain as domains
from ..policy import environment as spec
from ..policy import manifests
from ..policy.classes import DataClass, strictest
from ..policy.domain import Domain
from ..policy.environment import Environment
from ..record.digest import digest, file_digest
from . import capture
from .isolation import PACKAGE, Sandbox, available
from .project import USECASE_FILE, Project, load_yaml
from .stages import Stage, templates_root

TRAINING, FOLDER = "30_adapt", "environments"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
PURPOSE = "Stages of {} run here."
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
    here, ours = machine(), domain(parameters)
    variables = domains.variables(ours.kind, ours.threads)
    sandbox = sandbox or Sandbox(
        level, Path("/nowhere/work"), threads=ours.threads, variables=variables
    )
    facts = {
        "name": "observed",
        **here,
        "compute": here["compute"] | {
            **_gpus(ours.gpu.model_dump() if ours.gpu else None),
            **{"threads": ours.threads, "dtype": ours.dtype, "domain": ours.kind},
            "memory_bytes": _memory(),
        },
        "variables": capture.labelled(sandbox.environment(), sandbox.labels()),
        "mounts": [{"place": name, "read_only": not free} for name, free in _places(sandbox)],
        "egress": ["*"] if level == "none" else [],
        "identity": {"user": _user(sandbox), "engine_key": engine_key},
        "isolation": level,
    }  # fmt: skip
    return Environment.parse(facts)


def machine() -> dict[str, Any]:
    """What any process of this interpreter stands on: processor, GPUs, image, Python, packages."""
    here = capture.environment()
    gpu = here["gpu"] and {
        "models": [one["model"] for one in here["gpu"]["devices"]], "driver": here["gpu"]["driver"]
    }  # fmt: skip
    cpu = {name: here["cpu"][name] for name in ("architecture", "vendor")}
    return {
        "compute": {**cpu, **_gpus(gpu), "cpu_features": here["cpu"]["features"]},
        **{name: here[name] for name in ("image", "python")},
        "os": _system(),
        "wheels": _wheels(here["lock"], here["libraries"]),
    }


def _gpus(gpu: Mapping[str, Any] | None) -> dict[str, Any]:
    """As an environment has them."""
    found = {"accelerator": "cuda" if gpu else "none", "gpu_models": gpu["models"] if gpu else []}
    return found | {"driver": gpu["driver"] if gpu else None}


def records_digest() -> str:
    """Digest over what each installed package says of its files by hash (RECORD, PEP 376).

    Scripts are left out, as they name the place of the interpreter. The package itself is left
    out too: its own code has a digest. It says what was installed, and not that nobody has since
    changed a file.
    """
    held = {}
    for one in metadata.distributions():
        lines = (one.read_text("RECORD") or "").splitlines()
        files = [line for line in lines if ",sha256=" in line and not line.startswith("..")]
        held.setdefault(one._path.name, "\n".join(sorted(files)))  # type: ignore[attr-defined]
    rest = {name: lines for name, lines in held.items() if not name.startswith(PACKAGE.name)}
    return digest({name: sha256(lines.encode()).hexdigest() for name, lines in rest.items()})


def templates_digest() -> str:
    """Digest over the stage notebooks that are shipped."""
    files = (templates_root() / "stages").glob("*.ipynb")
    return digest({path.name: file_digest(path) for path in files})


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


def write_declaration(root: Path, name: str, found: Environment | None = None) -> Path:
    """Write `environments/<name>.yaml`: what was `found` (default: what the training finds here).

    The file is for a person to read, correct and commit.
    """
    project = Project.load(root)
    found = found or observe(_parameters(project), available()[0])
    facts = found.model_dump(mode="json", exclude_none=True)
    if "lock" in facts["wheels"]:  # it pins the rest
        chosen = {k: v for k, v in facts["wheels"]["installed"].items() if k in domains.COMPUTING}
        facts["wheels"] |= {"unlike": {}, "installed": chosen}
    held = strictest(project.usecase.data.classes or {DataClass.PERSONAL})
    facts |= {"name": name, "purpose": PURPOSE.format(project.usecase.id)}
    facts["zone"] = {"name": "this machine", "holds": str(held)}
    path = root / FOLDER / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    body = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100)
    path.write_text(HEADER.format(name=name) + body, encoding="utf-8")
    return path


def declare(project: Project, name: str, found: Environment | None = None) -> Path:
    """Write the declaration, name it in usecase.yaml, and give parity rules where there are none.

    InputError for a name that is declared already, or that usecase.yaml has no plain place for.
    """
    refuse_declared(project, name)
    usecase = project.root / USECASE_FILE
    text, line = usecase.read_text(encoding="utf-8"), f"  {name}: {FOLDER}/{name}.yaml\n"
    head = "environments:\n"
    text = re.sub(f"(?m)^{head}", head + line, text) if head in text else f"{text}{head}{line}"
    if yaml.safe_load(text)["environments"].keys() != {*project.usecase.environments, name}:
        raise InputError("It can't be entered there.", where=usecase, expected=head + line)
    path = write_declaration(project.root, name, found)
    usecase.write_text(text, encoding="utf-8")
    rules = path.with_name("parity.yaml")
    if found and not rules.exists():
        facts = {"owner": json.dumps(project.usecase.owner.name),
                 "a_year": datetime.now(UTC).date() + timedelta(days=365)}  # fmt: skip
        rules.write_text(Template(_template("parity.yaml")).substitute(facts), encoding="utf-8")
    return path


def refuse_declared(project: Project, name: str) -> None:
    """InputError for an environment that is declared already, and for what can't name one."""
    path = project.root / FOLDER / f"{name}.yaml"
    known = {"parity", *project.usecase.environments}
    if not NAME.fullmatch(name) or path.exists() or name in known:
        raise InputError(
            "The environment is declared already, or that is no name for one.",
            where=path, given=name, expected="a-z, 0-9, - and _",
            next_step="Change the file by hand, and commit it with the reason.",
        )  # fmt: skip


def render(project: Project, name: str, to: Path) -> list[Path]:
    """Write an environment's manifests. InputError for one that isn't declared, or says too little,
    or where a file lies in the way."""
    found = declared(project, name)
    if found is None or project.operations is None:
        raise InputError("Nothing declares how it is served.", where=project.root,
                         expected=f"operations, and environments.{name}, in usecase.yaml",
                         next_step=f"workbench environment declare {name}")  # fmt: skip
    templates = {one: _template(one) for one in manifests.FILES}
    written = manifests.render(templates, found, project.operations, project.usecase.id)
    to.mkdir(parents=True, exist_ok=True)
    for file, text in written.items():
        with (to / file).open("x", encoding="utf-8") as opened:
            opened.write(text)
    return [to / file for file in written]


def _template(name: str) -> str:
    return (templates_root() / FOLDER / name).read_text(encoding="utf-8")


def _parameters(project: Project) -> dict[str, Any]:
    """What the training gets: the template's defaults and the use case's values over them."""
    own = project.root / "stages" / f"{TRAINING}.ipynb"
    shipped = templates_root() / "stages" / own.name
    schema = Stage.load(own if own.is_file() else shipped).schema
    defaults = {one.name: one.default for one in schema.parameters if not one.required}
    return defaults | project.usecase.parameters.get(TRAINING, {})
