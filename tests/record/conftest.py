"""Real stores, real SSH keys, both verifiers; nothing is mocked."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from workbench.record import statement
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.store import Store
from workbench.record.verify import verify_store

settings.register_profile("record", deadline=None)  # a busy host is no failure
settings.load_profile("record")
TOOL = Path(__file__).parents[2] / "tools" / "verify_record.py"
FILES = {"notebook.ipynb": "{}", "outputs/cases.csv": "a,b\n1,2\n", "outputs/run.sh": "#!/bin/sh\n"}


@pytest.fixture(autouse=True)
def keys(tmp_path, monkeypatch):
    """Private keys of every store in this test."""
    monkeypatch.setenv("WORKBENCH_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "store", "research")


@pytest.fixture
def about():
    """A statement from plain values."""

    def make(stage="10_intake", **facts):
        return statement.build(
            **{
                "stage": stage,
                "parameters": {"seed": 1},
                "usecase": {"id": "demo"},
                "track": "research",
                "started": "2025-01-01T00:00:00Z",
                "finished": "2025-01-01T00:00:01Z",
                "outcome": "succeeded",
                **facts,
            }
        )

    return make


@pytest.fixture
def fill():
    """Put files into a run, one of them executable."""

    def make(run, files=FILES):
        for name, text in files.items():
            path = run.record / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if name.endswith(".sh") else 0o644)

    return make


@pytest.fixture
def seal(about, fill):
    """A published record with a few files."""

    def make(store, stage="10_intake", files=FILES, **facts):
        run = store.begin(stage, "tester")
        fill(run, files)
        return store.publish(run, about(stage, **facts))

    return make


@pytest.fixture(scope="session")
def ssh_keys(tmp_path_factory):
    """Two real SSH keys: Ada's and Eve's."""
    folder = tmp_path_factory.mktemp("ssh")
    for name in ("ada", "eve"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
        subprocess.run(command, check=True)
    return {name: folder / name for name in ("ada", "eve")}


@pytest.fixture
def person(ssh_keys):
    """A person of the keyring with one of those keys."""

    def make(name="ada", roles=("keyholder",), **key):
        public = ssh_keys[name].with_suffix(".pub").read_text()
        facts = {"public": public, "valid_from": "2020-01-01T00:00:00Z", **key}
        email = f"{name}@example.org"
        return Person(id=name, name=name.title(), email=email, roles=roles, keys=(Key(**facts),))

    return make


@pytest.fixture
def ring(person):
    """A version that is not signed yet, with Ada as keyholder."""
    return Keyring().add(person())


@pytest.fixture(scope="session")
def tool():
    """tools/verify_record.py as a module."""
    spec = importlib.util.spec_from_file_location("verify_record_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def both(tool):
    """What our verifier and the stand-alone one find in a store, as two lists of text."""

    def look(path):
        theirs = tool.check(Path(path), {})[1]
        try:
            ours = [str(problem) for problem in verify_store(Store.open(path)).problems]
        except Exception as error:
            assert getattr(error, "exit_code", None) == 6, error
            ours = [str(error)]
        return ours, theirs

    return look


@pytest.fixture
def unlock():
    """Make a sealed folder writable again, as somebody who tampers would."""

    def make(path):
        for item in [path, *path.rglob("*")]:
            item.chmod(item.stat().st_mode | 0o200 | (0o100 if item.is_dir() else 0))

    return make
