"""`spec.json`, what a gateway is told when it starts; `state.json`, where it says who it is."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from ...errors import InputError
from ...policy.documents import Document
from ...policy.operations import Operations
from ...policy.serving import TRIAL
from ...record import durable


class Listen(Document):
    """Where it listens: a port of a host, or a Unix socket."""

    host: str = "127.0.0.1"
    """Address; anything but a loopback address belongs behind a proxy that ends TLS."""
    port: int | None = Field(default=None, ge=0, lt=65536)
    """0 lets the system choose."""
    uds: str | None = None
    """Path of a Unix socket."""


class Work(Document):
    """The worker: its socket, and what to start in place of the real one."""

    socket: str
    """Path of the Unix socket between gateway and worker."""
    command: list[str] | None = None
    """What is started in place of the real worker; None for that."""


class Spec(Document):
    """`spec.json`."""

    usecase: str
    """Id of the use case."""
    environment: str
    """Where it serves."""
    listen: Listen
    """Where callers reach it."""
    lease: Path
    """File with the lease."""
    server_key: str | None
    """Whose leases count; None believes unsigned ones, in a trial only."""
    tokens: Path
    """File with digests of tokens."""
    digest_key: Path
    """File with the key of request digests."""
    decisions: Path
    """Folder of the decision log."""
    state: Path
    """File in which the processes are told."""
    operations: Operations
    """Limits and the fallback where no release is known."""
    worker: Work
    """What holds the weights."""

    @model_validator(mode="after")
    def _honest(self) -> Spec:
        if (self.listen.port is None) == (self.listen.uds is None):
            raise ValueError("listen: a port, or a Unix socket")
        if self.environment == TRIAL and self.listen.uds is None:
            raise ValueError(f"{TRIAL} listens on a Unix socket and never on a port")
        if self.environment != TRIAL and not self.server_key:
            raise ValueError(f"a server_key; unsigned leases are for {TRIAL} alone")
        return self


def read(path: Path) -> Spec:
    """The spec in a file. InputError where there is none, or none that holds together."""
    try:
        return Spec.parse(json.loads(path.read_bytes()), where=path)
    except (OSError, ValueError) as error:
        raise InputError("This is no spec of a gateway.", where=path, given=error) from error


def note(path: Path, **said: Any) -> None:
    """Add to `state.json`, where others look for whom to ask and whom to watch."""
    held: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        held = json.loads(path.read_bytes())
    durable.replace(path, json.dumps(held | said).encode(), 0o600)
