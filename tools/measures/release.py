"""What it takes a stranger to verify a release, and how fast big files are hashed.

Hashing is compared within one run: one `hashlib` thread, then the package's and the verifier's own
reading, over the same four files, alternating, all of them in the page cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from timing import spread, timed

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "verify_record.py"
MIB, ROUNDS = 1 << 20, 5
SIZES = {"2 GiB in four files": (4, 512 * MIB), "500 MiB in 500 files": (500, MIB)}
WEIGHTS = 5_000_000


def measure(folder: Path) -> list[str]:
    """Ratios of hashing, and seconds of the stranger's command over a small release."""
    lines = [f"Cores: {os.cpu_count()}; load at the start: {os.getloadavg()[0]:.2f}.", ""]
    lines += [
        "| hashing | one hashlib thread | package, ratio | verifier, ratio |",
        "|---|---|---|---|",
    ]
    for title, (count, size) in SIZES.items():
        lines.append(f"| {title} | {' | '.join(_hashing(folder / 'files', count, size))} |")
    lines += ["", *_stranger(folder)]
    return [*lines, "", f"Load at the end: {os.getloadavg()[0]:.2f}."]


def _hashing(folder: Path, count: int, size: int) -> list[str]:
    """Seconds of the first way, and the other ways' ratio to it, round by round."""
    from workbench.record.digest import entries

    folder.mkdir()
    block = secrets.token_bytes(MIB)
    names = [f"{n:04d}" for n in range(count)]
    for name in names:
        with open(folder / name, "wb") as file:
            for _ in range(size // MIB):
                file.write(block)
    ways = (
        lambda: [_plain(folder / name) for name in names],
        lambda: entries(folder, names),
        lambda: _tool().read_all(folder, names),
    )
    ways[0]()
    took = [[timed(way) for way in ways] for _ in range(ROUNDS)]
    shutil.rmtree(folder)
    first = [row[0] for row in took]
    ratios = [[row[way] / row[0] for row in took] for way in (1, 2)]
    return [spread(first, " s"), *(spread(found, "") for found in ratios)]


def _plain(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stranger(folder: Path) -> list[str]:
    """The whole command, start of Python included; and a faulty release is refused as fast."""
    from tests.a_release import Made

    (folder / "made").mkdir()
    made = Made(folder / "made", weights=secrets.token_bytes(WEIGHTS))
    exported = made.approved().register().export()
    command = [sys.executable, "-I", exported / "verify_record.py", exported]
    good = [timed(lambda: subprocess.run(command, check=True, capture_output=True))
            for _ in range(ROUNDS)]  # fmt: skip
    size = sum(path.stat().st_size for path in exported.rglob("*") if path.is_file())
    people = len(json.loads((exported / "release.json").read_bytes())["approvals"])
    return [
        f"A release of {size / 1e6:.1f} MB (adapter {WEIGHTS / 1e6:.0f} MB, {people} approvals), "
        f"`python verify_record.py FOLDER`, whole process: {spread(good, ' s')}."
    ]


def _tool() -> object:
    spec = importlib.util.spec_from_file_location("verify_record_measured", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
