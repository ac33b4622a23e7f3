"""Mutation of the checker: faults drawn by seed, the gates that refused them, and false alarms.

The campaign is `tests/test_checker.py`: each fault runs through the real engine on a copy of a clean
use case, once as it is and once with the gates that should refuse it out of action. Kinds are given
by whoever wrote the gates, so that a share caught says nothing of kinds that nobody thought of.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from workbench.policy.statistics import clopper_pearson

ROOT = Path(__file__).resolve().parents[2]
CAMPAIGN = "tests/test_checker.py"


def measure(folder: Path) -> list[str]:
    """A row a kind of fault, then shares with their exact intervals."""
    command = [sys.executable, "-m", "pytest", CAMPAIGN, "-m", "prove", "-q", "-s",
               f"--basetemp={folder / 'campaign'}"]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    told = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told]
    clean = [row for row in rows if row[0] == "clean"]
    faults = [row for row in rows if row[0] != "clean"]
    alarms = sum(row[3] != "nothing" for row in clean)
    caught = sum(row[3] == row[4] for row in faults)
    escaped = sum(row[5] == "escapes" for row in faults)
    return [
        "| planted in | kind of fault | n | refused by, and by nothing else | with that out of action |",
        "|---|---|---|---|---|", *_kinds(faults), "",
        "| what | of | share, exact 95 % interval |", "|---|---|---|",
        f"| faults refused by the gates that should, and no other | {len(faults)} "
        f"| {_share(caught, len(faults))} |",
        f"| of these escape with those gates out of action | {len(faults)} "
        f"| {_share(escaped, len(faults))} |",
        f"| clean candidates refused | {len(clean)} | {_share(alarms, len(clean))} |",
        "", f"`pytest {CAMPAIGN} -m prove`: exit code {done.returncode}.",
    ]  # fmt: skip


def _kinds(faults: list[list[str]]) -> list[str]:
    held: dict[tuple[str, str], list[list[str]]] = defaultdict(list)
    for row in faults:
        held[row[0], row[1]].append(row)
    return [
        f"| {part} | {name} | {len(rows)} | {'; '.join(sorted({row[3] for row in rows}))} "
        f"| {'; '.join(sorted({row[5] for row in rows}))} |"
        for (part, name), rows in sorted(held.items())
    ]


def _share(hits: int, n: int) -> str:
    if not n:
        return "none ran"
    low, high = clopper_pearson(hits, n, 0.95)
    return f"{hits}: {hits / n:.0%} [{low:.0%}, {high:.0%}]"
