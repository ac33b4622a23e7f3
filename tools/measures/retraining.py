"""Retraining card-support's base in fresh processes: how many digests, killed or not.

Each process trains on the same rows of the pack with the stage's own trainer and prints the digest of
the adapter's files. Ten are killed at a step drawn by seed (SIGKILL) and run again, which goes on from
their checkpoint. `tests/test_retraining.py` does the same through the command line, fewer times.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from safetensors import safe_open

TOOLS = str(Path(__file__).resolve().parents[1])
TIMES, KILLS, SEED = 20, 10, 20261121
ROWS, HELD, BATCH = 8, 4, 1
STEPS = ROWS // BATCH


def measure(folder: Path) -> list[str]:
    """Digests of twenty whole runs, of ten that were killed and resumed, and of another seed."""
    from measures.training import _bases, _spread

    base = _bases(folder)["causal"]
    whole, took = [], []
    for number in range(TIMES):
        began = time.monotonic()
        whole.append(_end(_start(base, folder / f"whole{number}")))
        took.append(time.monotonic() - began)
    drawn, killed, steps = random.Random(SEED), [], []
    for number in range(KILLS):
        place, at = folder / f"killed{number}", drawn.randrange(1, STEPS)
        process = _start(base, place)
        while _step(place) < at and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(_step(place))
        killed.append(_end(_start(base, place)))
        assert killed[-1]["resumed"] == steps[-1], "it did not go on from its checkpoint"
    other = _end(_start(base, folder / "other", seed=11))
    return [
        f"{ROWS} rows, {STEPS} steps, two threads; seconds a run: {_spread(took)}.",
        "",
        "| runs | n | digests |",
        "|---|---|---|",
        f"| whole, each in a fresh process | {TIMES} | {_digests(whole)} |",
        f"| killed after step {', '.join(map(str, sorted(steps)))} and resumed | {KILLS} "
        f"| {_digests(killed)} |",
        f"| another seed | 1 | {_digests([other])} |",
    ]


def _digests(found: list[dict]) -> str:
    return ", ".join(sorted({one["digest"][:16] for one in found}))


def _start(base: Path, place: Path, seed: int = 7) -> subprocess.Popen:
    command = [sys.executable, __file__, str(base), str(place), str(seed)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


def _end(process: subprocess.Popen) -> dict:
    said = process.communicate()[0]
    assert process.returncode == 0, said
    return json.loads(said.splitlines()[-1])


def _step(place: Path) -> int:
    """Step of the checkpoint there; 0 before the first."""
    path = place / "checkpoints" / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["state"])["step"]


def job(base: Path, place: Path, seed: int) -> dict:
    """Train once, going on from a checkpoint in `place` where there is one."""
    from measures.training import rows_of

    from workbench.methods.adapt import causal
    from workbench.methods.adapt.base import load_tokenizer
    from workbench.methods.adapt.form import Form, rows_to_learn
    from workbench.record.digest import tree, tree_digest

    rows = rows_to_learn(load_tokenizer(base), rows_of("causal"), Form())
    options = {"epochs": 1, "batch_size": BATCH, "seed": seed, "threads": 2, "checkpoint_s": 0}
    (place / "checkpoints").mkdir(parents=True, exist_ok=True)
    trained = causal.train_causal(
        base, rows.head(ROWS), rows.tail(HELD), options, place / "adapter",
        checkpoints=place / "checkpoints",
    )  # fmt: skip
    return {"digest": tree_digest(tree(place / "adapter")), "resumed": trained["resumed"]}


if __name__ == "__main__":
    sys.path.insert(0, TOOLS)
    print(json.dumps(job(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
