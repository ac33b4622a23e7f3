"""`make demo`: a use case from authored data to its release, its operation, and back.

intake → validation → approval → rehearsal → canary → monitoring → unsafe drift → rollback →
incident → the next candidate is refused by the scenario that the incident left. `ONLY=card-support`
is the small generative model, up to its honest refusal.

Exit codes are the workbench's: 0 when the classifier is released and everything verifies; 3 when
it was refused. A refusal of the small generative model is shown, with its reasons, and does not
fail the demo: a gate that holds is what the demo is for.

The persons are invented, their keys made on the spot, and their names end in (DEMO), which every
page that shows a signature repeats. Nothing but this file makes keys for anybody.
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
from typing import Any

import psutil
from demo_operation import BUSY, PLACE, QUIET, Operation, retrain
from rich.rule import Rule

from workbench.errors import GateNotPassed, IntegrityError, WorkbenchError
from workbench.evidence import progress, tables
from workbench.execution import approvals, capture, classification, scaffold
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project, open_store
from workbench.execution.release import export, register, registry, request, signatures, standing
from workbench.policy.tracks import ROLES
from workbench.record import clock, keyring
from workbench.record.store import Store
from workbench.record.verify import verify_store

ROOT = Path(__file__).resolve().parent.parent
USECASES = ("intent-routing", "card-support")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--track", default="governed", choices=["research", "governed"])
    options.add_argument("--only", choices=USECASES, help="this use case; the first without")
    options.add_argument("--shuffle", metavar="COLUMN", help="shuffle a label column: must exit 3")
    options.add_argument("--profile", default="demo")
    asked = options.parse_args()
    os.environ.setdefault("WORKBENCH_RUNS", str(ROOT / "runs"))
    began, out, memory = time.monotonic(), tables.console(), Memory()
    memory.start()
    refused: dict[str, GateNotPassed] = {}
    name = asked.only or USECASES[0]
    place = make(name, asked.shuffle)
    out.print(Rule(name, align="left"))
    done, stopped = run(place, asked.track, asked.profile)
    tables.print_run(done)
    if stopped:
        refused[name] = stopped
    elif asked.track == "governed":
        released = release(place)
        hand_over(place, released)
        operate(place, released, asked.profile)
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


NORTHWAY = "{}, Northway Bank (DEMO)"
STEWARD = NORTHWAY.format("Data steward")
PERSONS = {
    STEWARD: ("keyholder", "data_steward"),
    NORTHWAY.format("Head of Customer Operations"): ("use_case_owner",),
    NORTHWAY.format("Model validator"): ("model_validator",),
    NORTHWAY.format("Risk manager"): ("risk_manager",),
    NORTHWAY.format("Operator"): ("operator",),
}


def play_persons(project: Project, store: Store) -> None:
    """Commit what is not committed, and sign for each person: classification, envelope, templates.

    Anywhere else a person does this in a terminal, once, with the SSH key that they have."""
    if store.track != "governed":
        return
    signed, keys = [], enter_persons(store)
    if not classification.in_force(store, project.usecase):
        classification.classify(project.root, store, STEWARD, {}, sign_with=keys["data_steward"][1])
        signed.append(f"classification ({STEWARD})")
    if capture.repository(project.root).get("dirty"):
        git = ["git", "-C", str(project.root)]
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "What the demo runs"], check=True)
    for kind, role in ROLES.items():
        about, (name, key) = approvals.subject(project, kind), keys[role]
        last = approvals.in_force(store, kind, project.usecase.id)
        if not last or last["names"] != about["names"]:
            approvals.enter(store, kind, about, name, key)
            signed.append(f"{kind} ({name})")
    if signed:
        print(f"The demo plays the persons of {project.usecase.id} and signs: {'; '.join(signed)}")


def enter_persons(store: Store) -> dict[str, tuple[str, Path]]:
    """Role -> name and key; persons who are not in the keyring yet are made and entered."""
    found = {}
    for name, roles in PERSONS.items():
        key = store.keys / f"demo_{roles[-1]}"
        if not key.exists():
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", str(key)]
            subprocess.run(words, check=True)
        if roles[-1] not in {role for one in store.keyring().persons for role in one.roles}:
            public = key.with_suffix(".pub").read_text().strip()
            held = keyring.Key(public=public, valid_from=clock.now())
            email = f"{roles[-1]}@northway.example"
            someone = keyring.Person(
                id=roles[-1], name=name, email=email, roles=roles, keys=(held,)
            )
            store.update_keyring(store.keyring().add(someone), store.keys / "demo_data_steward")
        found[roles[-1]] = (name, key)
    return found


def release(place: Path) -> register.Release:
    """Ask for the newest candidate's approval, sign for each person, and register it."""
    project = Project.load(place)
    store = project.store("governed")
    keys, asked = enter_persons(store), request.prepare(project, store)
    candidate = request.find(project, store, asked["bundle"])

    def evidence() -> Any:
        return standing.collect(project, store, candidate)

    known = {one.by for one in signatures.of(store, candidate.digest) if not one.fault}
    signs = [(role, "approved") for role in asked["roles"]] + [("use_case_owner", "responsible")]
    for role, meaning in signs:
        name, key = keys[role]
        if name not in known:
            told = {"by": name, "role": role, "meaning": meaning, "sign_with": key}
            entry = signatures.enter(store, asked, evidence, **told)
            print(f"✓ {name} signs: {meaning}, as {role} (ledger entry {entry.index})")
    done = register.register(project, store, candidate.digest)
    print(f"✓ released: bundle {done.bundle[:12]}, ledger entry {done.entry}")
    return done


def hand_over(place: Path, done: register.Release) -> None:
    """What a stranger verifies with public keys alone, and who reads which page."""
    project = Project.load(place)
    store, folder = project.store("governed"), place.parent / f"{place.name}-release"
    candidate = request.find(project, store, done.bundle)
    stands = standing.collect(project, store, candidate)
    if not folder.exists():
        export.export(store, project.usecase.id, folder, done.bundle)
        for reader in ("risk", "engineer"):
            page = signatures.brief(store, candidate, reader, stands)
            (folder.parent / f"{folder.name}-{reader}.html").write_text(page, encoding="utf-8")
    words = [sys.executable, str(folder / "verify_record.py"), str(folder)]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    print(checked.stdout + checked.stderr)
    if checked.returncode:
        raise IntegrityError("The exported release does not verify.", where=folder)


def operate(place: Path, first: register.Release, profile: str) -> None:
    """Rehearse and serve it; retrain; let the second be taken back; and see the third refused."""
    out, store = tables.console(), Project.load(place).store("governed")
    if registry.state(store, Project.load(place).usecase.id, PLACE).stable:
        print("It was served and taken back before; `make clean` begins anew.")
        return
    acts = Operation(place, store, enter_persons(store))
    out.print(Rule("rehearse, serve, watch", align="left"))
    acts.rehearse(first.bundle)
    with acts.open:
        acts.serve()
        traffic = acts.watch()
        acts.grow(first.bundle)
        out.print(Rule("retrain, and release again", align="left"))
        traffic.rate = QUIET  # two cores train and serve
        retrain(place)
        second = again(place, profile)
        acts.rehearse(second.bundle)
        traffic.rate = BUSY
        acts.grow(second.bundle)
        out.print(Rule("unsafe drift", align="left"))
        case = acts.wrong()
        entry = acts.drift(traffic, second.bundle, first.bundle)
        print(f"  all that customers got: {json.dumps(traffic.told)}")
    out.print(Rule("what is learned from it", align="left"))
    scenario = acts.incident(entry, case)
    done, stopped = run(place, "governed", profile)
    if stopped is None:
        raise IntegrityError("A candidate that fails the incident's scenario was sealed.",
                             where=scenario)  # fmt: skip
    print(f"✓ the next candidate is refused, as it must be:\n  {stopped}")


def again(place: Path, profile: str) -> register.Release:
    done, stopped = run(place, "governed", profile)
    if stopped:
        raise stopped
    return release(place)


def run(place: Path, track: str, profile: str) -> tuple[list, GateNotPassed | None]:
    project, teller = Project.load(place), progress.Teller()
    try:
        store = project.store(track)
        play_persons(project, store)
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
