"""Sealed records without kernels: an intake, and a stage that it judged."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from workbench.execution.project import Project
from workbench.policy.criteria import Policy
from workbench.policy.tiers import control_plan
from workbench.record.digest import canonical
from workbench.record.statement import build

ACCURACY = {"id": "accuracy", "stage": "40_functional", "table": "cases.parquet",
            "figure": "accuracy", "at_least": 0.9, "bound": "value", "blocking": True,
            "acceptable": True, "harm": "h", "why": "w"}  # fmt: skip
VERDICT = {"criterion": "accuracy", "stage": "40_functional", "verdict": "failed", "blocking": True,
           "harm": "h", "reason": "0.8", "threshold": "at least 0.9", "figure": None,
           "failing": []}  # fmt: skip


@dataclass
class Desk:
    """A governed use case with a keyring, in which records are sealed by hand."""

    lab: Any
    keys: Path
    facts: dict[str, Any] = field(default_factory=dict)
    """What the next records say of who ran them, on which commit."""

    @property
    def project(self) -> Project:
        return Project.load(self.lab.usecase)

    @property
    def store(self) -> Any:
        return self.lab.store("governed")

    def person(self, name: str, *roles: str, email: str = "p@example.org", ident: str = "") -> Path:
        """A key for a person, entered into the keyring; returns the key."""
        key = self.keys / name.split()[0]
        if not key.exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
            subprocess.run(words, check=True)
        named = [word for role in roles for word in ("--role", role)]
        told = self.lab.cli("keys", "add", "--track", "governed", "--id", ident or key.name.lower(),
                            "--name", name, "--email", email, *named, "--public-key", f"{key}.pub",
                            "--sign-with", self.keys / "Dora")  # fmt: skip
        assert told.code == 0, told.err
        return key

    def commit(self, path: str, text: str, name: str, email: str, message: str = "m") -> str:
        """Somebody writes a file of the use case and commits it; returns the commit."""
        target = self.lab.usecase / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        git = [
            "git",
            "-C",
            str(self.lab.usecase),
            "-c",
            f"user.name={name}",
            "-c",
            f"user.email={email}",
        ]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", message], check=True)
        done = subprocess.run(
            [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def seal(self, stage: str, outputs: dict[str, Any] | None = None, **more: Any) -> Any:
        """A sealed record of a stage, with these JSON outputs."""
        store = self.store
        begun = store.begin(stage, "somebody")
        (begun.record / "notebook.ipynb").write_text("{}")
        for name, data in (outputs or {}).items():
            (begun.record / "outputs").mkdir(exist_ok=True)
            (begun.record / "outputs" / name).write_bytes(canonical(data))
        return store.publish(begun, build(
            stage=stage, parameters={}, usecase="tiny", track="governed", outcome="succeeded",
            started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z",
            internal=self.facts, builder_version="1.2.3", **more,
        ))  # fmt: skip

    def judged(self, *verdicts: dict[str, Any], **criterion: Any) -> Any:
        """A record of 40_functional with these verdicts, under criteria and plan of an intake."""
        policy = Policy.parse({"version": 1, "criteria": [ACCURACY | criterion]})
        plan = control_plan(self.project.usecase).as_dict()
        sealed = {"plan.json": plan, "criteria.json": policy.model_dump(mode="json", by_alias=True)}
        used = self.seal("10_intake", sealed).as_input("outputs/criteria.json")
        used.annotations |= {"input": "criteria"}
        return self.seal("40_functional", inputs=[used], verdicts=list(verdicts or [VERDICT]))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Where the first desk is kept, to be copied: keys and a keyring take time."""
    return tmp_path_factory.mktemp("desk") / "home"


@pytest.fixture
def desk(lab, made_once):
    """A use case in a repository, with Dora, Olga (owner), Vera (validator) and Rita (risk)."""
    keys = lab.home / "persons"
    if made_once.exists():
        shutil.copytree(made_once, lab.home, dirs_exist_ok=True)
        return Desk(lab, keys)
    found = Desk(lab, lab.declare())
    found.person("Rita Risk", "risk_manager", email="rita@example.org")
    found.person("Emil Engineer", "engineer", email="emil@example.org")
    shutil.copytree(lab.home, made_once)
    return found
