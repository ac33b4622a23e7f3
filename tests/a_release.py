"""A small release, written straight into a store: real keys, signatures and records, no kernels.

What leads to it is made of the files that an offline reader looks at, and no more; a release that
a pipeline led to is the fixture `released`. Each test gets one of its own, to spoil.
"""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.execution import bundle
from workbench.record import statement
from workbench.record.digest import canonical, digest, tree
from workbench.record.keyring import Key, Keyring, Person
from workbench.record.person import sign
from workbench.record.store import Record, Store

PEOPLE = {
    "Dora Data": ("keyholder", "data_steward"),
    "Vera Validator": ("model_validator",),
    "Rita Risk": ("risk_manager",),
}
PLAN = {
    "tier": "moderate", "approver_roles": ["model_validator", "risk_manager"], "quorum": 2,
    "conflicts": {"approve": ["built"]}, "evidence_expiry_days": 180,
}  # fmt: skip
USECASE, EXPIRES, WHEN = "tiny", "2099-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
Json = dict[str, Any]


def ssh_key(path: Path) -> Path:
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(words, check=True)
    return path


@dataclass
class Made:
    """A store with a candidate, and what a test says of it before it is registered."""

    home: Path
    weights: bytes = b"adapter"
    store: Store = field(init=False)
    candidate: Record = field(init=False)
    bundle: str = field(init=False)
    subject: Json = field(init=False)
    approvals: list[int] = field(default_factory=list)
    touches: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store.create(self.home / "store", "governed")
        self.keys = {name: ssh_key(self.home / name.split()[0]) for name in PEOPLE}
        for name in PEOPLE:
            self.enter_people(self.person(name))
        self.lineage = [self._seal("10_intake", {"plan.json": canonical(PLAN)})]
        self._commit("criteria", self.lineage[0])
        self.lineage.append(self._seal("20_dataset", {"manifest.json": b"[]"}))
        self._commit("evaluation-lock", self.lineage[1])
        self.lineage.append(self._seal("30_adapt", {"adapter/weights.bin": self.weights}))
        self.lineage.append(self._seal("40_functional", {"figures.json": b"{}"}))
        self.freeze()

    # people

    def person(self, name: str, key: Path | None = None, **facts: Any) -> Person:
        public = (key or self.keys[name]).with_suffix(".pub").read_text()
        held = Key(public=public, valid_from="2020-01-01T00:00:00Z", **facts)
        email = f"{name.split()[0]}@example.org".lower()
        return Person(id=name.lower(), name=name, email=email, roles=PEOPLE[name], keys=(held,))

    def enter_people(self, *persons: Person) -> None:
        ring = self.store.keyring()
        kept = tuple(p for p in ring.persons if p.id not in {new.id for new in persons})
        self.ring(ring._next((*kept, *persons)))

    def ring(self, version: Keyring) -> None:
        self.store.update_keyring(version, self.keys["Dora Data"])

    # records

    def _seal(self, stage: str, files: dict[str, bytes], **facts: Any) -> Record:
        run = self.store.begin(stage, "Ben Builder")
        held = {"notebook.ipynb": b"{}"} | {f"outputs/{name}": files[name] for name in files}
        for name, data in held.items():
            path = run.record / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        about = {"stage": stage, "parameters": {}, "usecase": {"id": USECASE}, "track": "governed",
                 "started": WHEN, "finished": WHEN, "outcome": "succeeded"}  # fmt: skip
        return self.store.publish(run, statement.build(**about, **facts))

    def _commit(self, kind: str, record: Record) -> None:
        self.store.ledger.append(
            kind, {"sha256": record.digest, "record": record.digest, "run": "r"}
        )

    def freeze(self, spoil: Callable[[Path], None] = lambda folder: None) -> None:
        """Freeze the bundle, as the engine does it; `spoil` sees it before the manifest."""
        folder = self.home / "frozen"
        shutil.rmtree(folder, ignore_errors=True)
        last, shown = self.lineage[-1], {"figures.json", "verdicts.json"}
        for record in self.lineage:
            place = folder / "evidence" / record.stage
            place.mkdir(parents=True)
            for seal in statement.SEALS:
                place.joinpath(seal).write_bytes((record.path / seal).read_bytes())
            for name in shown & {p.name for p in record.path.glob("outputs/*")}:
                place.joinpath(name).write_bytes((record.path / "outputs" / name).read_bytes())
        (folder / "plan.json").write_bytes(canonical(PLAN))
        (folder / "adapter").mkdir()
        (folder / "adapter" / "weights.bin").write_bytes(self.weights)
        (folder / "MODEL_CARD.md").write_text("# A model\n")
        spoil(folder)
        manifest = {
            "version": 1, "usecase": USECASE, "name": "candidate", "parent": None,
            "number": len(bundle.candidates(self.store)) + 1, "made_from": {},
            "files": [{"path": e.path, "size": e.size, "sha256": e.sha256} for e in tree(folder)],
            "records": [{"ref": r.ref, "stage": r.stage, "digest": r.digest} for r in self.lineage],
        }  # fmt: skip
        files = {f"bundle/{e.path}": (folder / e.path).read_bytes() for e in tree(folder)}
        files["bundle/manifest.json"] = canonical(manifest)
        self.candidate = self._seal("50_candidate", files, inputs=[last.as_input("notebook.ipynb")])
        self.bundle = hashlib.sha256(files["bundle/manifest.json"]).hexdigest()
        self.subject = {
            "usecase": USECASE, "bundle": self.bundle, "candidate": self.candidate.digest,
            "records": sorted(r.digest for r in [*self.lineage, self.candidate]),
            "policy": self.lineage[0].digest, "lock": self.lineage[1].digest, "expires": EXPIRES,
        }  # fmt: skip

    # people who sign

    def approve(self, name: str, key: Path | None = None, **changed: Any) -> int:
        """A signature of one who approves; returns its entry. Fields may be changed."""
        head = self.store.ledger.head()
        said = self.subject | {
            "kind": "release", "by": name, "role": PEOPLE[name][0], "meaning": "approved",
            "ledger": {"size": head.size, "root": head.root.hex()}, "time": WHEN,
            "nonce": secrets.token_hex(16), "request": "0" * 64,
        } | changed  # fmt: skip
        return self.enter("approval", sign(said, "approve@workbench", key or self.keys[name]))

    def enter(self, kind: str, envelope: Json) -> int:
        entry = self.store.ledger.append(kind, {"envelope": envelope})
        if kind == "approval":
            self.approvals.append(entry.index)
        return entry.index

    def envelope(self, index: int) -> Json:
        return self.store.ledger.entries()[index].body["envelope"]

    def revoke(self, index: int, by: str) -> int:
        said = {"approval": digest(self.envelope(index)), "reason": "r", "by": by, "time": WHEN}
        return self.enter("revocation", sign(said, "revoke@workbench", self.keys[by]))

    def approved(self) -> Made:
        for name in ("Vera Validator", "Rita Risk"):
            self.approve(name)
        return self

    def register(self, verdict: str = "passed", **facts: Any) -> Made:
        """Stage 55 and the ledger's entry, whatever the gates would say."""
        judged = {"criterion": "approvals", "verdict": verdict}
        standing = {"subject": self.subject, "touches": self.touches, "plan": PLAN}
        record = self._seal("55_release", {"standing.json": canonical(standing)},
                            verdicts=[judged], **facts)  # fmt: skip
        self.store.ledger.append("release", {
            "bundle": self.bundle, "candidate": self.candidate.digest, "record": record.digest,
            "usecase": USECASE, "approvals": self.approvals,
        })  # fmt: skip
        return self

    def export(self, name: str = "exported") -> Path:
        from workbench.execution.release.export import export

        export(self.store, USECASE, self.home / name)
        return self.home / name

    def reseal(self, folder: Path) -> None:
        """What only the owner of the engine's key can do: list the folder as it is now, and sign."""
        from workbench.record.pack import PAYLOAD

        place = folder / "pack.json"
        facts = json.loads(place.read_bytes())
        own = ("pack.json", "pack.sigs.json")
        facts["carried"]["facts"]["beside"] = [
            {"path": e.path, "sha256": e.sha256, "size": e.size, "executable": e.executable}
            for e in tree(folder) if e.path not in own and not e.path.startswith("records/")
        ]  # fmt: skip
        for name, data in {"pack.json": canonical(facts),
                           "pack.sigs.json": canonical(self.store.key.sign(canonical(facts), PAYLOAD))}.items():  # fmt: skip
            (folder / name).chmod(0o644)
            (folder / name).write_bytes(data)

    def copied(self, home: Path) -> Made:
        """The same in another place, with keys of its own place; WORKBENCH_KEYS goes along."""
        shutil.copytree(self.home, home, dirs_exist_ok=True)
        other = copy.copy(self)
        other.home, other.store = home, Store.open(home / "store")
        other.keys = {name: home / path.name for name, path in self.keys.items()}
        other.approvals, other.touches = list(self.approvals), list(self.touches)
        other.subject, other.lineage = dict(self.subject), list(self.lineage)
        return other
