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
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AwareDatetime, Field, PositiveFloat, PositiveInt, model_validator

from .detectors.secrets import secret_name
from .documents import Document
from .domain import Kind
from .operations import Serving
from .zones import Zone

STATED = ("name", "purpose", "zone", "expires")
GROUPS = ("compute", "os", "wheels", "identity", "limits", "digests", "serving", "variables",
          "components", "tokens", "wheels.installed")  # fmt: skip
ELSEWHERE = "reference:"
PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)[ \t]*(;)?", re.MULTILINE)
Isolation = Literal["none", "namespace", "container"]
Unlimited = Literal["unlimited"]
End = Annotated[AwareDatetime | date, Field(union_mode="left_to_right")]


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
    memory_bytes: PositiveInt | Unlimited | None = None
    """Memory that may be used at most."""
    loaded: list[str] | None = None
    """File names of the numeric libraries that are really loaded."""


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
    records: str | None = None
    """Digest over the installed packages' own lists of their files by hash (RECORD)."""


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
    server_key: str | None = None
    """Public half of the key that signs for the server."""
    capabilities: list[str] | None = None
    """What it may do as root may; `[]` for nothing."""
    no_new_privileges: bool | None = None
    """Can it gain none by starting a program?"""
    seccomp: Literal["off", "strict", "filter"] | None = None
    """How its calls to the operating system are filtered."""


class Limits(Document):
    """What it may use at most, beside memory."""

    cpus: PositiveFloat | Unlimited | None = None
    """Processors' worth of time."""
    processes: PositiveInt | Unlimited | None = None
    """Processes and threads of its user."""
    files: PositiveInt | Unlimited | None = None
    """Open files."""


class Digests(Document):
    """What must be the same bytes."""

    code: str | None = None
    """The workbench's own source."""
    templates: str | None = None
    """Stage notebooks and starter packs that it ships."""
    model: str | None = None
    """The base model's folder."""
    policy: str | None = None
    """Criteria and rules that its replies are held against."""
    operations: str | None = None
    """How it serves, watches and takes back."""


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
    limits: Limits = Limits()
    """What it may use at most."""
    components: dict[str, str] | None = None
    """What it calls outside -> version, or digest of an index; `{}` for nothing."""
    tokens: dict[str, str] | None = None
    """Name of a caller -> role of its token; never a token."""
    digests: Digests = Digests()
    """What must be the same bytes."""
    serving: Serving | None = None
    """Settings of a server, where there is one."""
    expires: End | None = None
    """The last day, or the moment, of its life."""

    @model_validator(mode="after")
    def _no_secret(self) -> Environment:
        for name, value in (self.variables or {}).items():
            if secret_name(name) and not value.startswith(ELSEWHERE):
                raise ValueError(f"{ELSEWHERE}PLACE as the value of {name}, whose name says secret")
        return self

    def expired(self, now: date) -> bool:
        """Is it past its end? A day (no `datetime`) is weighed as a whole."""
        end = self.expires
        if isinstance(end, datetime) and isinstance(now, datetime):
            return now >= end
        return end is not None and day(now) > day(end)


def day(moment: date) -> date:
    """The day of a moment, in UTC; a day as it is."""
    return moment.astimezone(UTC).date() if isinstance(moment, datetime) else moment


def compare(
    declared: Environment, observed: Environment, today: date | None = None
) -> list[Difference]:
    """Where what is observed is not as declared. `today` asks whether it has expired, too."""
    wanted, found = fields(declared), fields(observed)
    differing = [
        Difference(field, value, found.get(field))
        for field, value in wanted.items()
        if value is not None and not _equal(field, value, found.get(field))
    ]
    if declared.variables is not None:
        more = {name: found[name] for name in found if name.startswith("variables.")}
        differing += [Difference(name, None, more[name]) for name in more if name not in wanted]
    if today and declared.expired(today):
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


def fields(environment: Environment) -> dict[str, Any]:
    """What is compared, by dotted name; installed packages and variables one by one."""
    found = environment.model_dump(exclude=set(STATED))
    for group in GROUPS:
        inner = found.pop(group)
        named = {f"{group}.{name}": value for name, value in (inner or {}).items()}
        found |= {group: None} if inner is None else named
    return found


def undeclared(environment: Environment) -> list[str]:
    """Dotted names of what the declaration leaves open, and `compare` therefore doesn't look at."""
    found = fields(environment) | {name: getattr(environment, name) for name in STATED}
    return sorted(name for name, value in found.items() if value is None or value == "")


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
