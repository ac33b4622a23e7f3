"""How many planted defects are caught, by the gates that must catch them, and what sound releases
are refused: on a tiny use case that is made here, and on the demo's store where there is one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("WORKBENCH_DRILL_SEEDS", "20"))


def measure(folder: Path) -> list[str]:
    """A table a store: a line a kind, then the rate with its interval."""
    from tests.conftest import Lab, surroundings

    with surroundings(folder):
        lab = Lab(folder).fill().promote()
        lines = _drilled("tiny use case", lab.usecase, SEEDS, 10)
    if not (ROOT / "runs" / "governed" / "store.json").exists():
        return [*lines, "", "The demo's store: none here; `make demo` makes it."]
    os.environ.pop("WORKBENCH_KEYS", None)  # the demo's keys lie where a person's do
    env = os.environ | {"WORKBENCH_RUNS": str(ROOT / "runs")}
    for path in sorted((ROOT / "demo").glob("*/usecase.yaml")):
        lines += ["", *_drilled(f"demo, {path.parent.name}", path.parent, 1, 2, env)]
    return lines


def _drilled(name: str, usecase: Path, seeds: int, clean: int, env: Any = None) -> list[str]:
    words = ["drill", "--usecase", usecase, "--times", seeds, "--clean", clean, "--json"]
    command = [sys.executable, "-m", "workbench.cli", *map(str, words)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if not done.stdout.strip():
        return [f"The {name} was not drilled: {' '.join(done.stderr.split())}"]
    took, told = time.monotonic() - began, json.loads(done.stdout)
    kinds = defaultdict(list)
    for one in told["outcomes"]:
        kinds[one["kind"]].append(one)
    rows = [
        f"| {kind} | {', '.join(held[0]['by'])} | "
        f"{sum(one['verdict'] == 'caught' for one in held)} of {len(held)} | "
        f"{sum(not one['through'] for one in held)} of {len(held)} |"
        for kind, held in kinds.items()
    ]
    rate = told["caught"]
    low, high = rate["interval"]
    return [
        f"{name}, {seeds} seeds, {took:.0f} s, {took / max(1, rate['n']):.1f} s a defect:", "",
        "| defect | must be caught by | caught by all of these | comes through without them |",
        "|---|---|---|---|", *rows, "",
        f"{rate['count']} of {rate['n']} caught (Clopper-Pearson 95 %: {low:.4f} to {high:.4f}); "
        f"{len(told['false_refusals'])} of {told['clean']} sound releases refused.",
    ]  # fmt: skip
