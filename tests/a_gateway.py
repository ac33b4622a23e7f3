"""A gateway's real process over bundles that were written by hand, with the tiny worker."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from workbench.execution.operate.client import Client
from workbench.policy.operations import Operations
from workbench.policy.serving import LEASE_S, NAMESPACE, Grant, Lease
from workbench.record import clock, person
from workbench.record.digest import canonical, tree
from workbench.record.manifest import digest_of

WORKER = Path(__file__).parent / "tiny_worker.py"
ENVIRONMENT = "here"
KNOWS = {"card": "cards", "fee": "fees"}
PROBES = {"must_pass": [{"reply": "Thank you."}], "must_fail": [{"reply": "Tell me your PIN."}]}
RULE = {"id": "no_secrets", "text": "t", "scorer": "phrases", "arguments": {"forbid": ["pin"]},
        "at_least": 1, "bound": "value", "blocking": True, "harm": "h", "why": "w",
        "probes": PROBES}  # fmt: skip
FORM = {"fields": [{"name": "queue", "values": ["card", "care"]},
                   {"name": "rule", "values": ["R1", "R2"]}],
        "free": "reply", "system": "s"}  # fmt: skip
OPERATIONS: dict[str, Any] = {
    "version": 1,
    "serving": {"timeout_s": 1.0, "read_s": 2.0, "max_chars": 200, "waiting": 4},
    "fallback": {"answer": {"label": "human"}, "say": "A person will answer."},
    "load": {"requests_per_s": 1},
    "monitor": {"signals": [{"id": "slow", "watch": "latency", "at_most": 0.1,
                             "slower_than_ms": 100, "harm": "h", "why": "w"}]},
}  # fmt: skip


def bundle(
    folder: Path,
    *,
    weights: dict[str, Any] | None = None,
    usecase: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    rules: list[dict[str, Any]] | None = None,
    **operations: Any,
) -> Path:
    """The parts of a bundle that answering takes; what lies in the folder stays."""
    for path, value in {
        "adapter/weights.json": {"knows": KNOWS} | (weights or {}),
        "usecase.json": usecase or {"kind": "classifier", "labels": None},
        "inference/settings.json": settings or {"temperatures": {}, "thresholds": {}},
        "criteria.json": {"version": 1, "rules": rules or []},
        "operations.json": Operations.parse(OPERATIONS | operations).plain(),
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if not (folder / path).exists():
            (folder / path).write_bytes(canonical(value))
    files = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in tree(folder)
             if one.path != "manifest.json"]  # fmt: skip
    (folder / "manifest.json").write_bytes(canonical({"version": 1, "files": files}))
    return folder


def grant(folder: Path, **more: Any) -> Grant:
    """The grant of a bundle."""
    told = {"bundle": digest_of(folder), "folder": str(folder), "base": "none", "entry": 7}
    return Grant(**told | more)


def key(path: Path) -> Path:
    """A new SSH key."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


class Gateway:
    """The folder of an environment, and the process that serves from it."""

    def __init__(self, home: Path, *, uds: bool = False, **operations: Any) -> None:
        self.home, self.process, self.said, self.ledger = home, None, home / "said", 10
        home.mkdir(parents=True, exist_ok=True)
        self.key = key(home / "server")
        (home / "digest.key").write_bytes(b"k" * 32)
        self.tokens(one="caller", two="operator", three="metrics")
        places = {"lease": "lease.json", "tokens": "tokens.json", "digest_key": "digest.key",
                  "decisions": "decisions", "state": "state.json"}  # fmt: skip
        self.spec = {name: str(home / place) for name, place in places.items()} | {
            "usecase": "tiny", "environment": ENVIRONMENT,
            "listen": {"uds": str(home / "s")} if uds else {"host": "127.0.0.1", "port": 0},
            "server_key": person.public_line(self.key),
            "operations": Operations.parse(OPERATIONS | operations).plain(),
            "worker": {"socket": str(home / "w"), "command": [sys.executable, str(WORKER)]},
        }  # fmt: skip

    def tokens(self, **roles: str) -> None:
        """Let in who has these tokens; each is named as its token."""
        known = {hashlib.sha256(token.encode()).hexdigest(): {"name": token, "role": role}
                 for token, role in roles.items()}  # fmt: skip
        self.write("tokens.json", known)

    def write(self, name: str, value: Any) -> None:
        staged = self.home / f".{name}"
        staged.write_text(json.dumps(value))
        staged.replace(self.home / name)

    def lease(
        self, stable: Grant | None = None, canary: Grant | None = None, *, begun: float = 0,
        lasting: float = LEASE_S, sign: bool | Path = True, **more: Any,
    ) -> None:  # fmt: skip
        """Write a lease, of a ledger that has grown; `sign` may be another key."""
        self.ledger += 1
        now = datetime.now(UTC) + timedelta(seconds=begun)
        facts = {"usecase": "tiny", "environment": self.spec["environment"], "ledger": self.ledger,
                 "salt": "s", "issued": clock.text(now), "stable": stable, "canary": canary,
                 "expires": clock.text(now + timedelta(seconds=lasting))}  # fmt: skip
        statement = Lease(**facts | more).model_dump(mode="json")
        signer = sign if isinstance(sign, Path) else self.key
        self.write("lease.json", person.sign(statement, NAMESPACE, signer) if sign
                   else {"statement": statement})  # fmt: skip

    def start(self, wait: bool = True) -> Gateway:
        self.write("spec.json", self.spec)
        (self.home / "state.json").unlink(missing_ok=True)
        words = [sys.executable, "-m", "workbench.methods.operate.gateway", self.home / "spec.json"]
        with self.said.open("ab") as said:
            self.process = psutil.Popen(words, stdout=said, stderr=said, stdin=subprocess.DEVNULL)
        self.until(lambda: self.state.get("gateway") and self.client().ready())
        if wait:
            self.until(lambda: self.client().ready()["ready"])
        return self

    @property
    def state(self) -> dict[str, Any]:
        try:
            return json.loads((self.home / "state.json").read_bytes())
        except (OSError, ValueError):
            return {}

    @property
    def worker(self) -> psutil.Process:
        return psutil.Process(self.state["worker"])

    def client(self, token: str | None = "one") -> Client:
        return Client(self.state.get("url"), self.state.get("uds"), token, timeout_s=20)

    def predict(self, text: str, token: str = "one", **more: Any) -> dict[str, Any]:
        with self.client(token) as client:
            return client.predict(text, **more)

    def until(self, true: Any, seconds: float = 20) -> float:
        """Wait until it is true; the seconds that took."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            try:
                if true():
                    return time.perf_counter() - begun
            except Exception:  # not there yet
                pass
            assert self.process.poll() is None, self.said.read_text()
            time.sleep(0.02)
        raise AssertionError(f"never true; it said: {self.said.read_text()[-2000:]}")

    @property
    def lines(self) -> list[dict[str, Any]]:
        paths = sorted((self.home / "decisions").glob("*.jsonl"))
        return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]

    def stop(self, how: str = "terminate") -> None:
        if self.process and self.process.poll() is None:
            getattr(self.process, how)()
            self.process.wait(10)

    def __enter__(self) -> Gateway:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("kill")
        assert os.path.exists(self.home)
