"""What ran, asked of a store with ten thousand records: how long do the answer and the index take?

The records are real statements, signed and listed in a real ledger; only the flushing to disk and
the checkpoint after every entry are left out, which `Filler` explains. A tenth of them are each
released; five releases are approved by three people and deployed in turn.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import spread, timed

from workbench.execution import capture
from workbench.record import clock, index, person
from workbench.record.digest import canonical, entries, scan
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.sealed import Record
from workbench.record.statement import SEALS, build, statement_digest
from workbench.record.store import Store

CANDIDATES, RELEASED, ASKED = 1000, 5, 15
LINEAGE = {
    "10_intake": (), "15_base": ("10_intake",), "20_dataset": ("10_intake",),
    "30_adapt": ("10_intake", "15_base", "20_dataset"),
    "40_functional": ("10_intake", "20_dataset", "30_adapt"),
    "42_scenarios": ("10_intake", "30_adapt"),
    "44_reproducibility": ("10_intake", "30_adapt", "40_functional"),
    "49_validation": ("40_functional", "42_scenarios", "44_reproducibility"),
    "50_candidate": ("10_intake", "30_adapt", "49_validation"),
    "55_release": ("50_candidate", "49_validation"),
}  # fmt: skip
"""Stage -> the stages that it reads."""
PEOPLE = {"Olga": "use_case_owner", "Vera": "model_validator", "Rita": "risk_manager",
          "Odd": "operator"}  # fmt: skip


class Filler:
    """Records and entries as the store makes them, without a flush or a checkpoint for each.

    The store would flush each file and sign the whole ledger after each entry, which at this number
    takes hours. Here the lines are the ledger's own, in order, each with the hash of the one
    before, and `close` writes and signs them at once. The result verifies like any store.
    """

    def __init__(self, store: Store, now: Callable[[], str] = clock.now) -> None:
        self.store, self.ledger = store, store.ledger
        self.ledger._now = now
        self.lines = list(self.ledger.signed().lines)
        self.environment = capture.environment()

    def enter(self, kind: str, body: dict[str, Any]) -> int:
        """Its place in the ledger."""
        self.lines.append(self.ledger._line(self.lines, kind, body))
        return len(self.lines) - 1

    def record(self, stage: str, parents: list[Record], files: dict[str, bytes]) -> Record:
        number = len(self.lines)
        run, folder = f"run-{number}", self.store.path / "records" / stage / f"new-{number}"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        self.enter("start", {"run": run, "stage": stage, "who": "measure", "about": {}})
        made = build(
            stage=stage, parameters={"seed": number}, usecase="tiny", track=self.store.track,
            started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z", outcome="succeeded",
            inputs=[one.as_input("outputs/out.json") for one in parents],
            environment=self.environment,
            internal={"repository": {"commit": "1234567890" * 4, "dirty": False, "remote": None},
                      "declared_environment": {"name": "training"}},
        )  # fmt: skip
        data = made.sealed(run, entries(folder, scan(folder)[0])).to_bytes()
        name = f"20260101T000001Z-{statement_digest(data)[:12]}"
        for seal, content in zip(SEALS, (data, self.store._sign(data)), strict=True):
            (folder / seal).write_bytes(content)
        folder = folder.rename(folder.with_name(name))
        body = {"run": run, "stage": stage, "id": name, "digest": statement_digest(data)}
        self.enter("record", body | {"outcome": "succeeded"})
        return Record.at(folder)

    def lineage(self) -> dict[str, Record]:
        """From an intake to a release: a record a stage."""
        made: dict[str, Record] = {}
        for stage, reads in LINEAGE.items():
            files = {"notebook.ipynb": b"{}", "outputs/out.json": canonical([len(self.lines)])}
            if stage == "50_candidate":
                facts = {"version": 1, "usecase": "tiny", "name": "candidate", "parent": None,
                         "number": len(self.lines), "files": [], "records": [],
                         "made_from": {"adapter": made["30_adapt"].digest}}  # fmt: skip
                files["outputs/bundle/manifest.json"] = canonical(facts)
            made[stage] = self.record(stage, [made[one] for one in reads], files)
        return made

    def release(self, made: dict[str, Record], keys: Path) -> dict[str, str]:
        """Approve by two people and register; returns bundle and record, as a deployment names them."""
        candidate = made["50_candidate"]
        manifest = candidate.file("outputs/bundle/manifest.json").read_bytes()
        bundle = hashlib.sha256(manifest).hexdigest()
        signed = []
        for name, role in [*PEOPLE.items()][:3]:
            said = {"kind": "release", "usecase": "tiny", "bundle": bundle, "by": name,
                    "role": role, "meaning": "approved", "expires": "2027-01-01T00:00:00Z"}  # fmt: skip
            body = {"envelope": person.sign(said, "approve@workbench", keys / name)}
            signed.append(self.enter("approval", body))
        self.enter("release", {"usecase": "tiny", "bundle": bundle, "candidate": candidate.digest,
                               "record": made["55_release"].digest, "approvals": signed})  # fmt: skip
        return {"bundle": bundle, "record": made["55_release"].digest}

    def deploy(
        self, released: dict[str, str], keys: Path, action: str = "start", **said: str
    ) -> int:
        facts = {"kind": "deployment", "usecase": "tiny", "environment": "production",
                 "action": action, "by": "Odd", "time": self.ledger._now()} | released | said  # fmt: skip
        envelope = person.sign(facts, "release@workbench", keys / said.get("by", "Odd"))
        return self.enter("deployment", {"envelope": envelope})

    def close(self) -> Store:
        (self.store.path / "ledger" / "entries.jsonl").write_bytes(
            b"".join(line + b"\n" for line in self.lines)
        )
        self.ledger._sign(self.lines)
        return self.store


def people(store: Store, folder: Path) -> Path:
    """SSH keys of `PEOPLE` in a folder, and the store's keyring, a version a person."""
    folder.mkdir(parents=True)
    for name, role in PEOPLE.items():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f",
                        str(folder / name)], check=True)  # fmt: skip
        public = (folder / f"{name}.pub").read_text()
        key = Key(public=public, valid_from="2020-01-01T00:00:00Z")
        roles = ("keyholder", role) if name == "Olga" else (role,)
        someone = Person(
            id=name.lower(), name=name, email="p@example.org", roles=roles, keys=(key,)
        )
        ring = store.keyring() if store.ledger.entries("keyring") else Keyring()
        store.update_keyring(ring.add(someone), folder / "Olga")
    return folder


def measure(folder: Path) -> list[str]:
    """The table of docs/measures.md."""
    from workbench.execution.release import registry

    (folder / "runs").mkdir()
    store = Store.create(folder / "runs" / "governed", "governed")
    keys, filler, began = people(store, folder / "persons"), None, time.monotonic()
    filler = Filler(store)
    for number in range(CANDIDATES):
        made = filler.lineage()
        if number % (CANDIDATES // RELEASED) == 0:
            filler.deploy(filler.release(made, keys), keys)
    filler.close()
    built = time.monotonic() - began
    rebuilt = [timed(lambda: index.rebuild(store)) for _ in range(3)]
    found = registry.at(store, "production", usecase="tiny")
    assert len(found["serving"]["records"]) == len(LINEAGE), found
    since, until = found["history"][0]["time"], found["history"][-1]["time"]
    asked = {
        "`at`, every signature checked anew": lambda: (person.check.cache_clear(),
                                                       registry.at(store, "production")),
        "`at`, asked again": lambda: registry.at(store, "production", usecase="tiny"),
        "`at --time`, four releases ago": lambda: registry.at(store, "production", since, "tiny"),
        "over the whole time": lambda: registry.over(store, "production", since, until, "tiny"),
        "after one new entry": lambda: (store.ledger.append("note", {}),
                                        registry.at(store, "production", usecase="tiny")),
        "`workbench at`, a process of its own": lambda: _command(folder),
    }  # fmt: skip
    size = sum(p.stat().st_size for p in store.path.rglob("*") if p.is_file()) / 1e6
    entries = len(filler.lines)
    return [
        f"{CANDIDATES * len(LINEAGE):,} records, {entries:,} ledger entries, {size:,.0f} MB; made in "
        f"{built:.0f} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.", "",
        "| what | median (min to max) |", "|---|---|",
        f"| rebuilding the index | {spread(rebuilt, digits=1)} |",
        *(f"| {name} | {spread([timed(work) * 1000 for _ in range(ASKED)], ' ms', 1)} |"
          for name, work in asked.items()),
    ]  # fmt: skip


def _command(folder: Path) -> None:
    env = os.environ | {"WORKBENCH_RUNS": str(folder / "runs")}
    with tempfile.TemporaryDirectory() as place:
        words = ["at", "--environment", "production", "--json", "-u", place]
        subprocess.run([sys.executable, "-m", "workbench.cli", *words], env=env, check=True,
                       capture_output=True)  # fmt: skip
