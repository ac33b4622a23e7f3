"""Where an environment is served from: what lies in its folder, and how it is written.

::

    RUNS/served/ENVIRONMENT/USECASE/
        spec.json       what the gateway is told
        lease.json      what may answer now, signed
        tokens.json     SHA-256 of a token -> name and role
        keys/           server, server.pub (SSH), digest.key, tokens (of our own processes)
        decisions/      NNNNNN.jsonl, a line a decision
        observed.json   what was seen of the environment, signed
        state.json      who runs, and where it listens
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...record import decisions as log
from ...record import durable
from ...record.digest import canonical
from ..project import Project, runs_folder

SPEC, LEASE, TOKENS, OBSERVED, STATE = (
    f"{name}.json" for name in ("spec", "lease", "tokens", "observed", "state")
)
KEYS, DECISIONS = "keys", "decisions"
SERVER_KEY, DIGEST_KEY, OWN_TOKEN = (f"{KEYS}/{n}" for n in ("server", "digest.key", "tokens"))
ROLES = ("caller", "operator", "metrics")


def served(project: Project, environment: str) -> Path:
    """The folder of an environment in which a use case is served; it need not be there."""
    return runs_folder(project.root) / "served" / environment / project.usecase.id


def prepare(folder: Path) -> Path:
    """The folder, with keys and a token of our own processes; what there is stays. Returns it."""
    (folder / KEYS).mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / DECISIONS).mkdir(exist_ok=True)
    if not (folder / SERVER_KEY).exists():
        words = ["-q", "-t", "ed25519", "-N", "", "-C", folder.parent.name]
        command = ["ssh-keygen", *words, "-f", str(folder / SERVER_KEY)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    if not (folder / DIGEST_KEY).exists():
        durable.create(folder / DIGEST_KEY, secrets.token_bytes(32), 0o600)
    if not (folder / OWN_TOKEN).exists():
        durable.create(
            folder / OWN_TOKEN, new_token(folder, "workbench", "operator").encode(), 0o600
        )
    return folder


def new_token(folder: Path, name: str, role: str) -> str:
    """A token of a caller; only its digest is kept. InputError for a role that there isn't."""
    if role not in ROLES:
        raise InputError("There is no such role.", expected=", ".join(ROLES), given=role)
    token = secrets.token_urlsafe(24)
    known = read(folder / TOKENS) if (folder / TOKENS).exists() else {}
    known[hashlib.sha256(token.encode()).hexdigest()] = {"name": name, "role": role}
    write(folder / TOKENS, known)
    return token


def own_token(folder: Path) -> str:
    """The operator's token of our own processes. InputError where nothing was ever served."""
    try:
        return (folder / OWN_TOKEN).read_text().strip()
    except OSError:
        raise InputError("Nothing was ever served there.", where=folder,
                         next_step="workbench serve -e ENVIRONMENT") from None  # fmt: skip


def write(path: Path, value: Any, mode: int = 0o600) -> None:
    """Canonical JSON, at once: readers see the old or the new."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        durable.create(staged, canonical(value), mode)
        os.replace(staged, path)
    finally:
        staged.unlink(missing_ok=True)


def read(path: Path) -> Any:
    """What `write` wrote. InputError where there is none, or none that can be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("This can't be read.", where=path, given=error) from None


def decisions(folder: Path) -> Iterator[dict[str, Any]]:
    """Lines of a decision log, in order; what its writer has not ended yet is left.
    `record.decisions.verify_log` says whether the log is whole."""
    for path in log.files(folder):
        yield from map(json.loads, log.lines(path)[0])
