"""How long the way back takes, and what answers while things break: real processes, a worker in a
second in place of the model, whose own time to load a release that it does not hold is to be added.

`WORKBENCH_FAULT_SITES` sets the number of sites, four fault runs each; 50 without it.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from timing import spread

SITES, RUNS, TIMES = int(os.environ.get("WORKBENCH_FAULT_SITES", "50")), 4, 10


def measure(folder: Path) -> list[str]:
    """Seconds from the call to the first answer, and a table of the fault runs."""
    from tests.conftest import Lab, copied, surroundings
    from tests.execution.operate.fault_runs import LEASE_S, campaign, rollbacks

    home = folder / "paired"
    with surroundings(home):
        lab = Lab(home).fill().promote().release()
        lab.another()
        lab.release()
    with copied(home, folder / "back") as lab:
        took = rollbacks(lab, TIMES)
    wrong, done = [], Counter()
    for seed in range(SITES):
        with copied(home, folder / f"s{seed}") as lab, pytest.MonkeyPatch.context() as patch:
            found, counted = campaign(lab, seed, RUNS, patch)
        wrong += found
        done += counted
    return [
        f"From the call to take back to the first answer of the release before: {spread(took)}.",
        "",
        f"{SITES * RUNS} fault runs on {SITES} sites under requests, leases of {LEASE_S} s:",
        "",
        "| what | times |",
        "|---|---|",
        *(f"| {name.replace('_', ' ')} | {n:,} |" for name, n in sorted(done.items())),
        f"| answers by a release that was not approved | {len(wrong)} |",
    ]
