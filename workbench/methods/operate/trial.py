"""A candidate on the server's real processes before anybody may deploy it (V6).

Gateway and worker are those that will serve. Only the lease is a trial's: without a signature, so
that a gateway believes it in the environment `validation` and on a Unix socket alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil

from ...errors import RunError
from ...policy.operations import Operations
from ...policy.serving import TRIAL, Grant, Lease
from ...record import clock, decisions, durable
from ...record.digest import canonical, tree
from ...record.manifest import MANIFEST, digest_of
from ..stage import Stage
from .load import Server

NAME = "trial"
GATEWAY = "workbench.methods.operate.gateway"
SAYS = "gateway.log"
START_S, STOP_S, LEASE_H = 300.0, 10.0, 24
SAID = 2000  # characters of a gateway's own words that an error repeats


def lay_out(stage: Stage, operations: Operations, folder: Path) -> Path:
    """The parts of a bundle that answering takes, before there is a candidate; returns `folder`."""
    facts = stage.read_json("facts")
    shutil.copytree(stage.input("adapter"), folder / "adapter")
    (folder / "inference").mkdir()
    for path, document in {
        "usecase.json": {"id": NAME} | {n: facts.get(n) for n in ("kind", "labels", "form")},
        "criteria.json": stage.read_json("criteria"),
        "operations.json": operations.plain(),
        "base.json": json.loads((stage.input("base") / "base.json").read_bytes()),
        "inference/settings.json": settings(stage),
    }.items():
        (folder / path).write_bytes(canonical(document))
    files = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in tree(folder)]
    (folder / MANIFEST).write_bytes(canonical({"version": 1, "usecase": NAME, "files": files}))
    return folder


def settings(stage: Stage) -> dict[str, Any]:
    """How the model is asked, as a frozen bundle says it."""
    given = {n: stage.read_json(n) if stage.has(n) else {} for n in ("functional", "threshold")}
    warm = stage.read_json("temperature") if stage.has("temperature") else []
    silent = {task: one["threshold"] for task, one in given["threshold"].items()}
    return {
        "dtype": given["functional"].get("dtype", {}).get("value", "float32"),
        "temperatures": {o["task"]: o["temperature"] for o in warm if o["model"] == "candidate"},
        "thresholds": {task: at for task, at in silent.items() if at is not None},
    }


class Trial:
    """One gateway's surroundings, and what can be done to it from outside."""

    def __init__(
        self, folder: Path, bundle: Path, base: Path, operations: Operations, worker: Sequence[str]
    ) -> None:
        self.folder, self.operations, self.decisions = folder, operations, folder / "decisions"
        self.server = Server(folder / "gateway.sock", secrets.token_urlsafe())
        self._grant = Grant(bundle=digest_of(bundle), folder=str(bundle),
                            base=str(base), entry=-1)  # fmt: skip
        places = {"lease": "lease.json", "tokens": "tokens.json", "digest_key": "digest.key",
                  "state": "state.json", "decisions": "decisions"}  # fmt: skip
        work = {"socket": str(folder / "worker.sock"), "command": list(worker) or None}
        self._write("spec.json", {name: str(folder / at) for name, at in places.items()} | {
            "usecase": NAME, "environment": TRIAL, "server_key": None, "worker": work,
            "listen": {"uds": str(self.server.uds)}, "operations": operations.plain(),
        })  # fmt: skip
        token = hashlib.sha256(self.server.token.encode()).hexdigest()
        self._write("tokens.json", {token: {"name": NAME, "role": "caller"}})
        (folder / "digest.key").write_bytes(secrets.token_bytes(32))
        self.grant()
        with (folder / SAYS).open("wb") as said:
            words = [sys.executable, "-m", GATEWAY, str(folder / "spec.json")]
            self.gateway = psutil.Popen(words, stdout=said, stderr=said, stdin=DEVNULL)

    def _write(self, name: str, value: Any) -> None:
        durable.replace(self.folder / name, canonical(value), 0o600)

    def grant(self, bundle: bool = True) -> None:
        """Write a lease over the bundle; without it, one that grants nothing, as after a
        revocation."""
        now = datetime.now(UTC)
        lease = Lease(usecase=NAME, environment=TRIAL, ledger=0, salt=NAME, issued=clock.text(now),
                      expires=clock.text(now + timedelta(hours=LEASE_H)),
                      stable=self._grant if bundle else None)  # fmt: skip
        self._write("lease.json", {"statement": lease.model_dump(mode="json")})

    @property
    def ready(self) -> bool:
        """Does it say that it can answer?"""
        way = httpx.HTTPTransport(uds=str(self.server.uds))
        with suppress(httpx.HTTPError), httpx.Client(transport=way) as client:
            return client.get("http://served/readyz").status_code == 200
        return False

    @property
    def worker(self) -> psutil.Process:
        """The worker that is there now; another one after it was started anew."""
        state = json.loads((self.folder / "state.json").read_bytes())
        return psutil.Process(int(state["worker"]))  # None would be this very process

    def logged(self) -> dict[str, dict[str, Any]]:
        """Name of the decision -> its line in the log; a torn line is none."""
        return {
            f"{path.stem}:{line['number']}": line
            for path in decisions.files(self.decisions)
            for line in map(json.loads, decisions.lines(path)[0])
        }


@contextmanager
def running(
    bundle: Path, base: Path, operations: Operations, worker: Sequence[str] = ()
) -> Iterator[Trial]:
    """Gateway and worker over one bundle, ready; both have ended afterwards, and nothing is left.

    `worker` is the command that answers in place of the real worker. RunError when it is not ready
    after `START_S` seconds, with the gateway's own words.
    """
    short = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None  # as a socket's path must be
    with TemporaryDirectory(prefix="trial-", dir=short) as folder:
        trial, until = (
            Trial(Path(folder), bundle, base, operations, worker),
            time.monotonic() + START_S,
        )
        try:
            while not trial.ready:
                if trial.gateway.poll() is not None or time.monotonic() > until:
                    said = (trial.folder / SAYS).read_text(errors="replace")[-SAID:]
                    raise RunError("The server did not become ready.", where=GATEWAY, given=said)
                time.sleep(0.05)
            yield trial
        finally:
            family = [trial.gateway]
            with suppress(psutil.NoSuchProcess):  # it may have ended by itself
                family += trial.gateway.children(recursive=True)
                trial.gateway.terminate()
            for one in psutil.wait_procs(family, STOP_S)[1]:
                one.kill()
