"""`make demo`: two use cases from authored data to a sealed candidate, or an honest refusal.

Exit codes are the workbench's: 0 when the classifier's candidate is sealed and everything
verifies; 3 when it was refused too. A refusal of the small generative model is shown, with its
reasons, and does not fail the demo: a gate that holds is what the demo is for.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from rich.rule import Rule

from workbench.errors import GateNotPassed, WorkbenchError
from workbench.evidence import progress, tables
from workbench.execution import classification, scaffold
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project, open_store
from workbench.record import clock, keyring
from workbench.record.store import Store
from workbench.record.verify import verify_store

ROOT = Path(__file__).resolve().parent.parent
USECASES = ("intent-routing", "card-support")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--track", default="governed", choices=["research", "governed"])
    options.add_argument("--only", choices=USECASES, help="one use case instead of both")
    options.add_argument("--shuffle", metavar="COLUMN", help="shuffle a label column: must exit 3")
    options.add_argument("--profile", default="demo")
    asked = options.parse_args()
    os.environ.setdefault("WORKBENCH_RUNS", str(ROOT / "runs"))
    began, out, memory = time.monotonic(), tables.console(), Memory()
    memory.start()
    refused: dict[str, GateNotPassed] = {}
    only = asked.only or ("intent-routing" if asked.shuffle else None)
    for name in [only] if only else USECASES:
        out.print(Rule(name, align="left"))
        done, stopped = run(make(name, asked.shuffle), asked.track, asked.profile)
        tables.print_run(done)
        if stopped:
            refused[name] = stopped
    minutes, gib = (time.monotonic() - began) / 60, memory.peak / 2**30
    out.print(f"\n{minutes:.1f} minutes in all, peak memory {gib:.1f} GiB")
    return close(asked.track, refused)


def make(name: str, shuffle: str | None) -> Path:
    """The use case below `demo/`, made as any user would make it; kept when it is there already."""
    place = ROOT / "demo" / (f"{name}-shuffled" if shuffle else name)
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        scaffold.new(place, name)
        if shuffle:
            shuffle_column(place, shuffle)
    return place


def shuffle_column(place: Path, column: str) -> None:
    """Give every row another row's label, and commit it: a defect that only results can show."""
    path = place / "data" / "messages.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    values = [row[column] for row in rows]
    random.Random(0).shuffle(values)
    lines = [
        json.dumps({**row, column: value}, ensure_ascii=False)
        for row, value in zip(rows, values, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(["git", "-C", place, "commit", "-qam", f"{column} shuffled"], check=True)


STEWARD = "Data steward, Northway Bank (fictional)"


def sign_classes(project: Project, store: Store) -> None:
    """Play the person whom the pack names: a key, a keyring, a signed classification.

    Anywhere else a person does this in a terminal, once, with the SSH key that they have."""
    if store.track != "governed" or classification.in_force(store, project.usecase):
        return
    key = store.keys / "demo_steward"
    if not key.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)]
        subprocess.run(words, check=True)
    if not store.keyring().persons:
        held = keyring.Key(
            public=key.with_suffix(".pub").read_text().strip(), valid_from=clock.now()
        )
        steward = keyring.Person(id="steward", name=STEWARD, email="steward@northway.example",
                                 roles=("keyholder", "data_steward"), keys=(held,))  # fmt: skip
        store.update_keyring(store.keyring().add(steward), key)
    classification.classify(project.root, store, STEWARD, {}, sign_with=key)


def run(place: Path, track: str, profile: str) -> tuple[list, GateNotPassed | None]:
    project, teller = Project.load(place), progress.Teller()
    try:
        store = project.store(track)
        sign_classes(project, store)
        return Pipeline(project, store, profile=profile, on_event=teller).run(), None
    except GateNotPassed as error:
        return error.done, error
    finally:
        teller.close()


def close(track: str, refused: dict[str, GateNotPassed]) -> int:
    """Verify everything, say what came of it and where to look next."""
    out = tables.console()
    out.print(Rule("verification", align="left"))
    store = open_store(Path(os.environ["WORKBENCH_RUNS"]), track, create=False)
    began = time.monotonic()
    report = verify_store(store)
    took = time.monotonic() - began
    for problem in report.problems:
        out.print(f"✗ {problem}")
    if report.problems:
        return 6
    out.print(
        f"✓ {report.records} records and {report.entries} ledger entries verify ({took:.1f} s)"
    )
    for name, reason in refused.items():
        out.print(f"✗ {name} was refused, as its criteria ask:\n  {reason}", style="yellow")
    out.print("\nLook next:")
    out.print("  .venv/bin/workbench ls -u demo/intent-routing --track " + track
              + "     every record (set WORKBENCH_RUNS=runs)")  # fmt: skip
    out.print("  python3 tools/verify_record.py runs/" + track + "     the independent verifier")
    out.print("  make lab     the executed notebooks, in JupyterLab: runs/" + track + "/records/")
    return 3 if "intent-routing" in refused else 0


class Memory(threading.Thread):
    """Peak resident memory of this process and all that it starts, sampled twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        me = psutil.Process()
        while True:
            held = 0
            for process in [me, *me.children(recursive=True)]:
                with suppress(psutil.Error):
                    held += process.memory_info().rss
            self.peak = max(self.peak, held)
            time.sleep(0.5)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorkbenchError as error:
        print(f"✗ {error}", file=sys.stderr)
        sys.exit(error.exit_code)
