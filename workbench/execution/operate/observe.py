"""What really runs: a process as the operating system shows it, and a server as a whole (E1).

Nothing is asked of the process itself. /proc says what it was started with, what it can see, reach
and do, and which libraries it has loaded; its interpreter, started once more in its place, says
what is installed there. What can't be read stays None, which is "unknown" and never "as declared".

Of variables only those are kept that can change an answer or the way that one goes; of one that
holds a secret only that it is set. Of the network only whether there is any: what a firewall lets
through can't be seen from inside.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...errors import InputError, IntegrityError, WorkbenchError
from ...policy import domain as domains
from ...policy.detectors.secrets import SHAPES, secret_name
from ...policy.documents import Document
from ...policy.environment import ELSEWHERE, End, Environment
from ...policy.operations import Serving
from ...policy.serving import NAMESPACE
from ...record import clock, person
from ...record.digest import canonical, digest, file_digest, tree
from .. import capture
from ..isolation import CHANNEL_PREFIX, ETC, SYSTEM, Sandbox
from ..project import Project
from . import places

BASE, MODEL = "15_base", "outputs/model"
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
WATCHED = ("OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*", "ATEN_*", "ONEDNN_*", "NPY_*",
           "TORCH*", "PYTORCH_*", "CUDA_*", "CUBLAS_*", "NVIDIA_*", "HIP_*", "HF_*", "MALLOC_*",
           "TRANSFORMERS_*", "TOKENIZERS_*", "PYTHON*", "LD_*", "LANG", "LC_*", "TZ", "SSL_*",
           "*_PROXY", "*_proxy", "*_CA_BUNDLE", "WORKBENCH_*")  # fmt: skip
"""Variables that can change an answer, or the way that one goes."""
CHANNEL = re.compile(rf"^/tmp/{CHANNEL_PREFIX}\w+$")
NUMERIC = re.compile(
    r"lib(torch|c10|scipy_openblas|openblas|mkl|gomp|iomp|omp|blas|lapack|dnnl|cu(da|blas|dnn))"
)
VIRTUAL = {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue", "securityfs",
           "debugfs", "tracefs", "pstore", "bpf", "hugetlbfs", "fusectl", "configfs"}  # fmt: skip
CAPABILITIES = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
    linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
    sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
ASK = """
import json
from workbench.execution import capture, environment
found = environment.machine() | {"code": capture.package_digest()}
found["wheels"]["records"] = environment.records_digest()
print(json.dumps(found | {"templates": environment.templates_digest()}))
"""
UNLIMITED = 2**60  # version 1 of control groups says "none" as a number near 2**63


class Observed(Document):
    """`observed.json`: what one server was seen to be, and when."""

    version: int = 1
    """Of this form."""
    usecase: str
    """Id of the use case."""
    environment: str
    """Name of what was observed."""
    time: str
    """UTC."""
    found: Environment
    """What was seen."""


def surroundings(folder: Path, serving: Serving) -> dict[str, str]:
    """The whole environment that a server's processes are started with, gateway and worker alike."""
    variables = domains.variables("native", serving.threads)
    return Sandbox("none", folder, threads=serving.threads, variables=variables).environment()


def server(folder: Path, environment: str, *, expires: End | None = None) -> Environment:
    """The environment of the server of a folder, as its gateway and its worker really run.

    Digests of model and policy are those of the release that the lease grants. InputError where it
    doesn't run.
    """
    state, spec = places.read(folder / places.STATE), places.read(folder / places.SPEC)
    facts = process(state["gateway"], folder)
    worker = process(state["worker"], folder, ask=False) if state.get("worker") else {}
    facts["compute"] |= {n: worker.get("compute", {}).get(n) for n in ("threads", "loaded")}
    both = facts["variables"], worker.get("variables")
    facts["variables"] = None if None in both else {**both[0], **both[1]}  # what computes counts
    granted = (_read(lambda: places.read(folder / places.LEASE)) or {}).get("statement", {})
    grant = granted.get("stable") or {}
    if grant and facts["mounts"]:
        labels = [(grant["base"], "$BASE"), (grant["folder"], "$BUNDLE")]
        facts["mounts"] = capture.labelled(facts["mounts"], labels)
    held = {
        "model": _read(lambda: model_digest(Path(grant["base"]))),
        "policy": _read(lambda: file_digest(Path(grant["folder"], "criteria.json"))),
    }
    return _whole(facts, folder, spec, held | {"name": environment, "expires": expires})


def planned(project: Project, environment: str) -> Environment:
    """What the server of an environment is, or, where none runs, what one would be here: as a
    process that is started the same way and does nothing. InputError where nobody said how."""
    folder, operations = places.served(project, environment), project.operations
    if operations is None:
        raise InputError("Nobody said how it is served.", where=project.root,
                         expected="operations: FILE in usecase.yaml")  # fmt: skip
    if (folder / places.STATE).exists():
        return server(folder, environment)
    places.prepare(folder)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings(folder, operations.serving),
    ) as idle:  # fmt: skip
        idle.stdout.readline()  # type: ignore[union-attr]
        facts = process(idle.pid, folder)
    key = person.public_line(folder / places.SERVER_KEY)
    store = _read(lambda: project.store("governed", create=False))
    held = {
        "model": _read(lambda: model_digest(store.records(BASE)[-1].path / MODEL)),
        "policy": digest(project.policy.model_dump(mode="json", by_alias=True)),
    }
    spec = {"operations": operations.plain(), "server_key": key}
    return _whole(facts, folder, spec, held | {"name": environment})


def _whole(
    facts: dict[str, Any], folder: Path, spec: Mapping[str, Any], held: Mapping[str, Any]
) -> Environment:
    """What was seen of the processes, with what the server is told."""
    digests = {n: held[n] for n in ("model", "policy")}
    digests["operations"] = digest(spec["operations"])
    return Environment.parse(facts | {
        "name": held["name"], "expires": held.get("expires"),
        "components": spec.get("components", {}), "serving": spec["operations"]["serving"],
        "tokens": {one["name"]: one["role"] for one in places.read(folder / places.TOKENS).values()},
        "identity": facts["identity"] | {"server_key": spec["server_key"]},
        "digests": facts["digests"] | digests,
    }, where=folder)  # fmt: skip


def model_digest(folder: Path) -> str:
    """Digest over every file of a base model's folder. InputError or OSError where it can't be."""
    return digest({one.path: one.sha256 for one in tree(folder)})


def signed(folder: Path, usecase: str, found: Environment) -> Path:
    """Write `observed.json`, signed with the server's key. InputError where it has none."""
    said = Observed(usecase=usecase, environment=found.name, time=clock.now(), found=found)
    plain = said.model_dump(mode="json")
    places.write(
        folder / places.OBSERVED, person.sign(plain, NAMESPACE, folder / places.SERVER_KEY)
    )
    return folder / places.OBSERVED


def read(folder: Path, server_key: str, usecase: str, environment: str) -> Observed:
    """What was observed. IntegrityError unless that server's key signed it, of this environment."""
    path = folder / places.OBSERVED
    envelope = places.read(path)
    try:
        given, public, signature = (envelope[name] for name in person.PARTS)
        if (given, public) != (NAMESPACE, person.bare(server_key)):
            raise IntegrityError("signed by another, or for another meaning", where=path,
                                 expected=server_key, given=public)  # fmt: skip
        person.check(canonical(envelope["statement"]), NAMESPACE, public, signature)
    except (KeyError, TypeError) as error:
        raise IntegrityError("not a signed observation", where=path, given=error) from error
    said = Observed.parse(envelope["statement"], where=path)
    if (said.usecase, said.environment) != (usecase, environment):
        raise IntegrityError("an observation of another environment", where=path,
                             given=f"{said.environment}, {said.usecase}")  # fmt: skip
    return said


# ---- one process ---------------------------------------------------------------------------------


def process(pid: int, folder: Path = Path("/nowhere"), *, ask: bool = True) -> dict[str, Any]:
    """What can be seen of a process, in the form of an `Environment`; `folder` is called $SCRATCH.

    What can't be read is None; so is what is installed there unless we `ask` its interpreter.
    """
    own, labels = PROC / str(pid), Sandbox("none", folder).labels()
    environ = _read(lambda: _environ(own)) or {}
    asked = _ask(own, environ) if ask else {}
    status = dict(re.findall(r"(\w+):\t(.*)", _read((own / "status").read_text) or ""))
    shown = _read(lambda: capture.labelled(_mounts((own / "mountinfo").read_text()), labels))
    return {
        "name": "observed",
        "compute": asked.get("compute", {}) | {
            "threads": _read(lambda: _threads(own, environ)),
            "domain": _domain(environ) if environ else None,
            "memory_bytes": _read(lambda: _memory((own / "cgroup").read_text())),
            "loaded": _read(lambda: _loaded((own / "maps").read_text())),
        },
        **{name: asked.get(name) for name in ("image", "python")},
        **{name: asked.get(name, {}) for name in ("os", "wheels")},
        "variables": capture.labelled(_variables(environ), labels) if environ else None,
        "mounts": shown,
        "egress": _read(lambda: _egress((own / "net/dev").read_text())),
        "identity": _identity(status),
        "isolation": _read(lambda: _isolation(own, asked.get("image"))),
        "limits": {
            "cpus": _read(lambda: len(os.sched_getaffinity(pid))),
            "processes": _read(lambda: _limit(pid, resource.RLIMIT_NPROC)),
            "files": _read(lambda: _limit(pid, resource.RLIMIT_NOFILE)),
        },
        "digests": {name: asked.get(name) for name in ("code", "templates")},
    }  # fmt: skip


def _read(attempt: Callable[[], Any]) -> Any:
    """What an attempt gives; None, which means unknown, where the system does not let us read."""
    try:
        return attempt()
    except (OSError, ValueError, LookupError, AttributeError, WorkbenchError):
        return None


def _environ(own: Path) -> dict[str, str]:
    lines = (own / "environ").read_bytes().decode(errors="replace").split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _ask(own: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """What its interpreter, started once more in its place, says of what is installed there."""
    try:
        python = (own / "cmdline").read_text().split("\0")[0]
        if not os.path.samefile(python, own / "exe") or own.stat().st_uid != os.getuid():
            return {}  # it would run with our rights what another user chose
        command = [python, "-c", ASK]
        said = subprocess.run(command, cwd=own / "cwd", env=environ, timeout=60,
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
        return json.loads(said)
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    hidden = {
        name
        for name, value in environ.items()
        if secret_name(name) or any(shape.search(value) for shape in SHAPES.values())
    }
    watched = (name for name in environ if any(fnmatchcase(name, one) for one in WATCHED))
    shown = {name: environ[name] for name in watched}
    return dict(sorted((shown | dict.fromkeys(hidden, f"{ELSEWHERE}set")).items()))


def _domain(environ: Mapping[str, str]) -> str:
    caps = domains.variables("portable", 1).items() - domains.variables("native", 1).items()
    return "portable" if caps <= environ.items() else "native"


def _threads(own: Path, environ: Mapping[str, str]) -> int:
    """As its command says, which the worker heeds; else as its variables do."""
    asked = re.search(r"--threads\0(\d+)", (own / "cmdline").read_text())
    return int(asked[1] if asked else environ["OMP_NUM_THREADS"])


def _mounts(text: str) -> list[dict[str, Any]]:
    """The last mount of each place, but for the system's own."""
    known, found = {*SYSTEM, *(f"/etc/{name}" for name in ETC)}, {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        place, options = before.split()[4:6]
        place = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), place)
        place = CHANNEL.sub("$CHANNEL", place)
        system = place in known or place.startswith(("/dev/", "/proc/", "/sys/"))
        if after.split()[0] not in VIRTUAL and not system and place != "/dev":
            found[place] = "ro" in options.split(",")
    return [{"place": place, "read_only": fixed} for place, fixed in sorted(found.items())]


def _egress(text: str) -> list[str]:
    names = {line.partition(":")[0].strip() for line in text.splitlines()[2:]}
    return [] if names <= {"lo"} else ["*"]


def _isolation(own: Path, image: str | None) -> str:
    ours = PROC / "self" / "ns"
    apart = all(os.readlink(own / "ns" / one) != os.readlink(ours / one) for one in ("net", "mnt"))
    return "container" if image else "namespace" if apart else "none"


def _identity(status: Mapping[str, str]) -> dict[str, Any]:
    if not {"Uid", "CapEff", "NoNewPrivs", "Seccomp"} <= status.keys():
        return {}
    held = int(status["CapEff"], 16)
    numbers = (n for n in range(held.bit_length()) if held >> n & 1)
    return {
        "user": "user" if int(status["Uid"].split()[1]) else "root",
        "capabilities": [(CAPABILITIES + [f"number {n}"])[min(n, 41)] for n in numbers],
        "no_new_privileges": status["NoNewPrivs"] == "1",
        "seccomp": ("off", "strict", "filter")[int(status["Seccomp"])],
    }


def _limit(pid: int, which: int) -> int | str:
    soft, _ = resource.prlimit(pid, which)
    return "unlimited" if soft == resource.RLIM_INFINITY else soft


def _memory(groups: str) -> int | str | None:
    """The least limit of its control group and those above it, in bytes."""
    found = []
    for kinds, path in re.findall(r"^\d+:(memory|):/(.*)$", groups, re.MULTILINE):
        here = CGROUPS / kinds / path / ("memory.limit_in_bytes" if kinds else "memory.max")
        above = (one / here.name for one in here.parents if one.is_relative_to(CGROUPS))
        found += [one.read_text().strip() for one in above if one.is_file()]
    limits = [int(one) for one in found if one != "max" and int(one) < UNLIMITED]
    return min(limits) if limits else "unlimited" if found else None


def _loaded(maps: str) -> list[str]:
    names = {line.rpartition("/")[2] for line in maps.splitlines() if "/" in line}
    return sorted(name for name in names if NUMERIC.match(name))
