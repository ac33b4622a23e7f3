"""An environment as code: one spec for training, validation, pre-production and production (A3).

A person commits what an environment has to be; what it is gets observed at run time; `compare`
lists where the two differ. The rules, in order:

1. Every declared field must equal the observed one.
2. What could not be observed differs from anything declared: it is never assumed.
3. A processor may have more features than those declared, and more may be installed.
4. A variable or mount that nobody declared, where any are, is a difference.
5. What is declared as nothing (None) is not compared; `undeclared` lists it.
6. Name, purpose and zone are a person's statement about the place; nothing observes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, NamedTuple

from pydantic import Field, PositiveInt, model_validator

from .detectors.secrets import secret_name
from .documents import Document
from .domain import Kind
from .zones import Zone

STATED = ("name", "purpose", "zone", "expires")
ELSEWHERE = "reference:"
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)[ \t]*(;)?", re.MULTILINE)
Isolation = Literal["none", "namespace", "container"]


class Difference(NamedTuple):
    """A field that is not as declared; None where one side doesn't have it."""

    field: str
    declared: Any
    observed: Any


class Compute(Document):
    """What computes."""

    architecture: str | None = None
    """`x86_64`, `aarch64`."""
    vendor: str | None = None
    """The processor's maker, as it calls itself."""
    accelerator: Literal["none", "cuda"] | None = None
    """Whether a GPU computes."""
    gpu_models: list[str] | None = None
    """A name per GPU, in order."""
    driver: str | None = None
    """Version of the GPU's driver."""
    cpu_features: list[str] | None = None
    """Instruction sets that must be there; others may be."""
    threads: PositiveInt | None = None
    """Threads of the numeric libraries."""
    dtype: str | None = None
    """Number format of the weights."""
    domain: Kind | None = None
    """Kind of reproducibility domain; see `policy.domain`."""
    memory_bytes: PositiveInt | None = None
    """Memory that may be used at most."""


class System(Document):
    """The operating system."""

    id: str | None = None
    """`debian`, as /etc/os-release has it."""
    version: str | None = None
    """`12`."""


class Wheels(Document):
    """What is installed, and the lock that says what should be."""

    lock: str | None = None
    """Name of the lock file."""
    sha256: str | None = None
    """Digest of the lock file."""
    unlike: dict[str, str] | None = None
    """Locked name -> how what is installed differs from the pin; `{}` when nothing does."""
    installed: dict[str, str] | None = None
    """Name -> version; others may be installed besides."""


class Place(Document):
    """A file or folder that can be seen from inside."""

    place: str = Field(min_length=1)
    """Where; a host's own paths under the names that stand for them in records."""
    read_only: bool
    """Can it not be changed from inside?"""


class Identity(Document):
    """Who runs."""

    user: str | None = None
    """`root`, `user`, or `uid N` where the namespace maps it."""
    engine_key: str | None = None
    """Id of the key that seals the records."""


class Environment(Document):
    """The spec of one environment; also what was observed, then without the stated fields."""

    name: str = Field(min_length=1)
    """`training`, `validation`, `preproduction`, `production`, or the organisation's own."""
    purpose: str = ""
    """What it is for, in a sentence."""
    compute: Compute = Compute()
    """Processor, accelerator, threads, memory."""
    image: str | None = None
    """Digest of the container image, `name@sha256:...`."""
    os: System = System()
    """The operating system."""
    python: str | None = None
    """Version of the interpreter."""
    wheels: Wheels = Wheels()
    """Installed packages and their lock."""
    variables: dict[str, str] | None = None
    """Name -> value, or `reference:PLACE` for one that is kept elsewhere. Never a secret."""
    mounts: list[Place] | None = None
    """What can be seen, but for the system's own files."""
    egress: list[str] | None = None
    """Hosts that can be reached; `[]` for none, `["*"]` for any."""
    identity: Identity = Identity()
    """Who runs."""
    isolation: Isolation | None = None
    """Level of isolation."""
    zone: Zone | None = None
    """The part of the infrastructure it lies in, and what that may hold."""
    serving: dict[str, Any] | None = None
    """Settings of a server, where there is one."""
    expires: date | None = None
    """The day after which it is to be gone."""

    @model_validator(mode="after")
    def _no_secret(self) -> Environment:
        for name, value in (self.variables or {}).items():
            if secret_name(name) and not value.startswith(ELSEWHERE):
                raise ValueError(f"{ELSEWHERE}PLACE as the value of {name}, whose name says secret")
        return self


def compare(
    declared: Environment, observed: Environment, today: date | None = None
) -> list[Difference]:
    """Where what is observed is not as declared. `today` asks whether it has expired, too."""
    wanted, found = _fields(declared), _fields(observed)
    differing = [
        Difference(field, value, found.get(field))
        for field, value in wanted.items()
        if value is not None and not _equal(field, value, found.get(field))
    ]
    if declared.variables is not None:
        more = {name: found[name] for name in found if name.startswith("variables.")}
        differing += [Difference(name, None, more[name]) for name in more if name not in wanted]
    if today and declared.expires and today > declared.expires:
        differing.append(Difference("expires", declared.expires, today))
    return differing


def _equal(field: str, declared: Any, observed: Any) -> bool:
    if field == "compute.cpu_features":
        return observed is not None and set(declared) <= set(observed)
    if field == "mounts":
        return observed is not None and _places(declared) == _places(observed)
    return declared == observed


def _places(mounts: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {(mount["place"], mount["read_only"]) for mount in mounts}


def _fields(environment: Environment) -> dict[str, Any]:
    """What is compared, by dotted name; installed packages and variables one by one."""
    fields = environment.model_dump(exclude=set(STATED))
    for group in ("compute", "os", "wheels", "identity", "variables", "wheels.installed"):
        inner = fields.pop(group)
        named = {f"{group}.{name}": value for name, value in (inner or {}).items()}
        fields |= {group: None} if inner is None else named
    return fields


def undeclared(environment: Environment) -> list[str]:
    """Dotted names of what the declaration leaves open, and `compare` therefore doesn't look at."""
    fields = _fields(environment) | {name: getattr(environment, name) for name in STATED}
    return sorted(name for name, value in fields.items() if value is None or value == "")


# ---- the lock ------------------------------------------------------------------------------------


class Pin(NamedTuple):
    """One line of a lock file."""

    version: str
    conditional: bool
    """Has it a marker, so that it may rightly be missing?"""


def pins(lock: str) -> dict[str, Pin]:
    """The pins `name==version` in the text of a requirements file, by normalised name."""
    return {_normal(name): Pin(version, bool(mark)) for name, version, mark in PIN.findall(lock)}


def unlike(locked: Mapping[str, Pin], installed: Mapping[str, str]) -> dict[str, str]:
    """Locked name -> how what is installed differs from its pin, in words."""
    here = {_normal(name): version for name, version in installed.items()}
    wrong = {
        name: f"{here.get(name, 'missing')}, pinned to {pin.version}"
        for name, pin in locked.items()
        if here.get(name) != pin.version and (name in here or not pin.conditional)
    }
    return dict(sorted(wrong.items()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503
