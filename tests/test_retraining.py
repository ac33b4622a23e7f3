"""Retraining a real model again and again, through the command line: one digest, killed or not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from workbench.record.digest import tree, tree_digest
from workbench.record.store import Store

pytestmark = [pytest.mark.prove, pytest.mark.timeout(7200)]

ROWS, STEPS = 16, 8  # batches of 2, one pass
SMALL = {"rows": ROWS, "batch_size": 2, "epochs": 1, "checkpoint_s": 0}
TIMES, KILLS, SEED = 3, 2, 20261121  # `make measure ONLY=retraining`: 20 and 10


class Copy:
    """A copy of a prepared use case with its own store and keys, in which nothing was trained."""

    def __init__(self, prepared: Path, home: Path) -> None:
        self.home = home
        link = ["cp", "-al", prepared / "runs", home / "runs"]  # records never change
        home.mkdir()
        subprocess.run(link, check=True)
        shutil.rmtree(home / "runs" / "research" / "ledger")
        for part in ("runs/research/ledger", "keys", "usecase"):  # these do
            shutil.copytree(prepared / part, home / part)
        self.env = surroundings(home)

    def start(self, **parameters: object) -> subprocess.Popen:
        chosen = [f"30_adapt.{name}={value}" for name, value in (SMALL | parameters).items()]
        return started(self.home, "30_adapt", chosen)

    def retrain(self, **parameters: object) -> str:
        """Digest of the adapter that a whole run gives."""
        process = self.start(**parameters)
        said = process.communicate()[1]
        assert process.returncode == 0, said
        return tree_digest(tree(self.record().path / "outputs" / "adapter"))

    def record(self):
        return Store.open(self.home / "runs" / "research").records("30_adapt")[-1]

    def step(self) -> int:
        """The step of the last checkpoint; 0 before the first."""
        found = self.home.glob("runs/research/scratch/checkpoints/*/*.safetensors")
        for path in found:
            with safe_open(path, "numpy") as file:
                return json.loads(file.metadata()["state"])["step"]
        return 0


def surroundings(home: Path) -> dict[str, str]:
    runs, keys = str(home / "runs"), str(home / "keys")
    return os.environ | {"WORKBENCH_RUNS": runs, "WORKBENCH_KEYS": keys}


def started(home: Path, until: str, chosen: list[str]) -> subprocess.Popen:
    words = ["run", "-u", home / "usecase", "--until", until]
    words += [word for one in chosen for word in ("--set", one)]
    return subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", *map(str, words)], env=surroundings(home),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """card-support up to its dataset."""
    home = tmp_path_factory.mktemp("prepared")
    new = [sys.executable, "-m", "workbench.cli", "new", home / "usecase", "-t", "card-support"]
    subprocess.run(new, env=surroundings(home), check=True)
    process = started(home, "20_dataset", [])
    assert process.wait() == 0
    return home


@pytest.fixture(scope="module")
def digest(prepared: Path, tmp_path_factory) -> str:
    """Of the adapter of an uninterrupted run."""
    return Copy(prepared, tmp_path_factory.mktemp("whole") / "home").retrain()


def test_retrainings_in_fresh_processes_give_one_digest(prepared, digest, tmp_path):
    """Same data, code, parameters and domain: the same bytes, every time."""
    found = set()
    for number in range(TIMES):
        copy = Copy(prepared, tmp_path / str(number))
        found.add(copy.retrain())
        shutil.rmtree(copy.home)
    print(f"\n{TIMES} retrainings, {ROWS} rows each: {len(found)} digest, {digest[:16]}")
    assert found == {digest}


def test_killed_at_any_step_and_resumed_it_gives_the_same_digest(prepared, digest, tmp_path):
    """SIGKILL of the engine and all it started, at steps drawn by seed."""
    drawn = random.Random(SEED)
    steps = []
    for number in range(KILLS):
        copy, at = Copy(prepared, tmp_path / str(number)), drawn.randrange(1, STEPS)
        process = copy.start()
        while copy.step() < at and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, f"it ended before step {at}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        steps.append(copy.step())
        assert copy.retrain() == digest
        inputs = [one.name for one in copy.record().statement.inputs]
        assert "checkpoint" in inputs, "the record does not say that it went on from a checkpoint"
        shutil.rmtree(copy.home)
    print(f"\n{KILLS} runs killed after step {steps} of {STEPS} and resumed: digest {digest[:16]}")


def test_another_seed_gives_another_digest(prepared, digest, tmp_path):
    """The digest tells retrainings apart at all."""
    assert Copy(prepared, tmp_path / "home").retrain(seed=11) != digest
