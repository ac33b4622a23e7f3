"""Time and memory of the inspection of 100,000 rows, and what it proposes for planted columns."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from workbench.policy.statistics import wilson

ROWS, SEEDS = 100_000, 30
GIVEN = (
    "Ada Ben Carla Dirk Elena Femke Giulia Hugo Ines Jan Katrin Luis Marta Nils Olga Pierre".split()
)
FAMILY = (
    "Okafor Schmidt Garcia Rossi de Vries Novak Silva Jensen Dubois Kowalski Murphy Wagner".split()
)
WORDS = (
    "the card was sent back order still open please call again invoice paid twice branch says wait "
    "until next week refund not seen form missing asked for copy of contract line noisy closed case"
).split()
CHILD = """
import json, os, resource, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pathlib import Path
from workbench.methods.data import inspect
from workbench.policy import proposals
inspect.planted(0)  # modules and word lists are loaded once, before the clock starts
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
busy = time.process_time()
lines = []
found = inspect.profile(Path(sys.argv[1]), on_progress=lambda share, rows: lines.append(share))
took, busy = time.monotonic() - began, time.process_time() - busy
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
made = [proposals.propose(one).model_dump(mode="json") for one in found]
print(json.dumps([took, busy, grown / 1024, len(lines), made]))
"""


def iban(chance: random.Random) -> str:
    account = f"{chance.randrange(10**18):018d}"
    return f"DE{98 - int(account + '131400') % 97:02d}{account}"


def person(chance: random.Random) -> str:
    return f"{chance.choice(GIVEN)} {chance.choice(FAMILY)}"


def note(chance: random.Random) -> str:
    """About a hundred characters; one in ten speaks of a person."""
    said = " ".join(chance.choices(WORDS, k=18))
    return f"{said}, ask {person(chance)}" if chance.random() < 0.1 else said


def day(chance: random.Random, first: int, last: int) -> str:
    return f"{chance.randint(first, last)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"


def mail(chance: random.Random) -> str:
    return f"{person(chance).replace(' ', '.').lower()}{chance.randrange(10**6)}@example.com"


def phone(chance: random.Random) -> str:
    return f"+49 30 {chance.randrange(10**6, 10**8)}"


# Column -> how a value is drawn, and the least strict class that is right for it.
COLUMNS: dict[str, tuple[Callable[[random.Random], object], str]] = {
    "ref": (lambda c: f"K-{c.randrange(10**9):09d}", "personal"),
    "name": (person, "personal"),
    "email": (mail, "personal"),
    "phone": (phone, "personal"),
    "iban": (iban, "personal"),
    "birth_date": (lambda c: day(c, 1940, 2005), "personal"),
    "note": (note, "personal"),
    "amount": (lambda c: f"{c.uniform(1, 9000):.2f}", "internal_operational"),
    "currency": (lambda c: c.choice(["EUR", "USD", "GBP"]), "internal_operational"),
    "status": (lambda c: c.choice(["open", "closed", "waiting"]), "internal_operational"),
    "code": (lambda c: f"{c.choice('ABCDEF')}{c.randrange(900):03d}", "internal_operational"),
    "opened": (lambda c: day(c, 2020, 2025), "internal_operational"),
}


def measure(folder: Path) -> list[str]:
    """One file in a fresh process on one core; then planted columns, each from its own seed."""
    path, chance = folder / "rows.csv", random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        draws = [draw for draw, _ in COLUMNS.values()]
        writer.writerows([draw(chance) for draw in draws] for _ in range(ROWS))
    done = subprocess.run([sys.executable, "-c", CHILD, path], check=True, capture_output=True,
                          text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    took, busy, grown, reports, made = json.loads(done.stdout)
    return [
        f"{ROWS:,} rows, {len(COLUMNS)} columns, {path.stat().st_size / 1e6:.1f} MB, one core: "
        f"{took:.1f} s ({busy:.1f} s of the core's time); peak memory grew by {grown:.0f} MiB; {reports} reports of progress.",
        "",
        "| column | right | proposed | confidence | why |",
        "|---|---|---|---|---|",
        *(
            f"| {one['column']} | {COLUMNS[one['column']][1]} | {one['data_class']} | "
            f"{one['confidence']} | {one['why']} |"
            for one in made
        ),
        "",
        _planted(),
    ]


def _planted() -> str:
    from workbench.methods.data import inspect

    found = [inspect.planted(seed, rows=100) for seed in range(SEEDS)]
    right = sum(one.data_class == "personal" and one.grounds == "findings" for one in found)
    low, high = wilson(right, SEEDS)
    return (
        f"Columns of e-mail addresses and IBANs named `note`, drawn by {SEEDS} seeds: {right} "
        f"proposed as personal for what they hold ({right / SEEDS:.3f} [{low:.3f}, {high:.3f}])."
    )
