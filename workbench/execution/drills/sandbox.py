"""A copy of a governed store, its keys and its use case, in which everybody is played by a stand-in.

The real store is read, never written: all is copied (no hard links), into a folder that only its
owner can open, under WORKBENCH_KEYS and WORKBENCH_RUNS of its own. As nobody lends private keys to
a drill, each public key in the ledger is replaced by one that is made here, what was signed with it
is signed anew, and the copy of the engine's key signs the ledger. Nothing of it verifies outside.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...policy import duties
from ...policy.release import APPROVED, Evidence
from ...record import clock, durable, merkle, person
from ...record.digest import canonical, digest
from ...record.keyring import Key, Keyring, Person
from ...record.ledger import Entry, Ledger
from ...record.store import Record, Store
from .. import replay
from ..bundle import Candidate, candidates
from ..facts import DATASET
from ..project import Project
from ..release import request, signatures, standing
from ..stages import stages_for

ASIDE = {"scratch", "runs", ".git", ".venv"}
SINCE = "2000-01-01T00:00:00Z"
Json = dict[str, Any]


class Believed(Store):
    """A store whose ledger is read as it lies there, whatever its checkpoint says."""

    def ledger_for(self, public_keys: Sequence[str], key: Any = None) -> Ledger:
        found = super().ledger_for(public_keys)
        found._problems = lambda signed: iter(())
        return found


@dataclass
class Sandbox:
    """A place that holds `runs/governed`, `keys`, `persons` and `usecase`, and what was done in it."""

    home: Path
    inside: str
    """Where the use case lies in its repository."""
    ref: str
    """Digest of the candidate's record."""
    trusted: tuple[str, ...]
    """Public keys of the engine, as they were before anything was planted."""
    now: str | None = None
    """The clock of the release's gates; the real one without it."""
    unread: tuple[str, ...] = ()
    """Stages whose verdicts the decision is not shown."""
    suspects: list[str] = field(default_factory=list)
    """Records to compute again."""
    asked: Json | None = None
    """A request for approval that somebody is to sign."""

    @property
    def project(self) -> Project:
        return Project.load(self.home / "usecase" / self.inside)

    @property
    def store(self) -> Store:
        return Store.open(self.home / "runs" / "governed")

    @property
    def believed(self) -> Store:
        """The store as a host sees it that has no keys and checks no ledger."""
        found = Believed(self.home / "runs" / "governed")
        found.keys = self.home / "nobody's"
        return found

    @property
    def candidate(self) -> Candidate:
        held = candidates(self.believed)
        return next(one for one in held if self.ref in (one.record.digest, one.record.ref))

    def evidence(self, store: Store | None = None) -> Evidence:
        return standing.collect(self.project, store or self.store, self.candidate, self.now)

    def verdicts(self) -> list[Json]:
        """All verdicts that the candidate was decided from, as their records sealed them."""
        records = map(self.believed.record, self.candidate.records.values())
        return [one for record in records for one in record.statement.predicate.workbench_verdicts]

    def layers(self) -> dict[str, str]:
        """Stage -> the layer of validation that it is."""
        stages = stages_for(self.project.root, self.project.usecase)
        return {one.name: one.facts["layer"] for one in stages if "layer" in one.facts}

    @contextmanager
    def entered(self) -> Iterator[Sandbox]:
        """The surroundings in which stores of this place, and no others, are found."""
        own = {"WORKBENCH_KEYS": str(self.home / "keys"), "WORKBENCH_RUNS": str(self.home / "runs")}
        kept = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield self
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    @contextmanager
    def copied(self) -> Iterator[Sandbox]:
        """A copy for one defect, which goes with it."""
        other = Sandbox(self.home.with_name("planted"), self.inside, self.ref, self.trusted)
        shutil.copytree(self.home, other.home)
        try:
            with other.entered():
                yield other
        finally:
            durable.remove_tree(other.home)

    # ---- people ------------------------------------------------------------------------------

    def key(self, name: str) -> Path:
        """The private key with which somebody signs now."""
        now = clock.parse(clock.now())
        for one in (p for p in self.store.keyring().persons if p.name == name):
            for key in one.keys:
                if not key.refusal(now, signatures.NAMESPACE):
                    return self.file(key.public)
        raise InputError("Nobody of that name can sign.", given=name)

    def file(self, public: str) -> Path:
        return self.home / "persons" / digest(person.bare(public))[:16]

    def new_key(self) -> tuple[Path, str]:
        """A private key's file, and its public line."""
        folder = self.home / "persons"
        folder.mkdir(mode=0o700, exist_ok=True)
        made = folder / "made"
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drill", "-f", str(made)]
        subprocess.run(words, check=True, capture_output=True)
        public = person.bare(made.with_suffix(".pub").read_text())
        made.with_suffix(".pub").rename(self.file(public).with_suffix(".pub"))
        return made.rename(self.file(public)), public

    def person(self, name: str, *roles: str, public: str | None = None) -> Person:
        """Enter somebody, with a key of their own or an existing one, or give them more roles."""
        ring = self.store.keyring()
        held = next((one for one in ring.persons if one.name == name), None)
        keys = held.keys if held else ()
        if public or not held or roles == ():
            keys = (*keys, Key(public=public or self.new_key()[1], valid_from=SINCE))
        known = (
            (held.roles, held.email, held.id) if held else ((), f"{digest(name)[:8]}@drill", name)
        )
        one = Person(id=known[2], name=name, email=known[1], roles=(*known[0], *roles), keys=keys)
        self.ring(ring.add(one))
        return one

    def ring(self, version: Keyring) -> None:
        holder = next(p for p in self.store.keyring().persons if "keyholder" in p.roles)
        self.store.update_keyring(version, self.key(holder.name))

    def enter(self, kind: str, statement: Json, namespace: str, key: Path) -> Entry:
        """Sign a statement and put it into the ledger, as who holds the engine's key can."""
        sealed = person.sign(statement, namespace, key)
        return self.store.ledger.append(kind, {"envelope": sealed})

    def approvals(self) -> list[Any]:
        """Signatures for the candidate that stand, in the ledger's order."""
        found = signatures.of(self.store, self.candidate.digest)
        return [one for one in found if not one.fault]

    def withdraw(self, entry: int) -> None:
        by = self.store.ledger.entries()[entry].body["envelope"]["statement"]["by"]
        signatures.revoke(self.store, entry, "drill", by, self.key(by))

    def sign(self, rng: random.Random) -> None:
        """Withdraw the approvals there are and have others: in another order, partly by others."""
        for one in self.approvals():
            self.withdraw(one.entry)
        plan, signed = self.evidence().plan, set()
        for role in rng.sample(list(plan.approver_roles), len(plan.approver_roles)):
            found = self.evidence()
            free = [n for n in found.holders.get(role, ()) if n not in signed
                    and not duties.conflicts(found.touches, n, "approve", plan)]  # fmt: skip
            who = rng.choice([*free, f"Stand-in {rng.randrange(10**6)}"])
            if who not in free:
                self.person(who, role)
            signed.add(who)
            asked = request.prepare(self.project, self.store, self.ref)
            signatures.enter(self.store, asked, self.evidence, by=who, role=role,
                             meaning=APPROVED, sign_with=self.key(who))  # fmt: skip

    # ---- what lies there ---------------------------------------------------------------------

    def write(self, path: Path, data: bytes) -> None:
        """Put other bytes where somebody thought that nobody would."""
        path.parent.chmod(0o755)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(0o444)

    def rewrite(
        self, change: Callable[[Json, list[bytes]], Json], ledger: Ledger | None = None
    ) -> None:
        """Write and sign the ledger anew, as who holds the engine's key can. `change` gets each
        entry and the leaves before it, and gives the entry as it shall be."""
        ledger, lines, leaves = ledger or self.store.ledger, [], []
        for old in ledger.signed().lines:
            last = leaves[-1].hex() if leaves else ""
            lines.append(canonical(change(json.loads(old), leaves) | {"previous": last}))
            leaves.append(merkle.leaf_hash(lines[-1]))
        (ledger.folder / "entries.jsonl").write_bytes(b"".join(x + b"\n" for x in lines))
        ledger._sign(lines)

    def reseal(self, record: Record, forge: Callable[[Path, Json], None]) -> Record:
        """A record like another, forged and sealed by the engine's own key; `forge` gets its folder
        and its predicate."""
        store = self.store
        begun = store.begin(record.stage, "drill")
        for one in record.statement.subject:
            (begun.record / one.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.path / one.name, begun.record / one.name)
        plain = record.statement.data()
        forge(begun.record, plain["predicate"])
        return store.publish(begun, type(record.statement).model_validate(plain))

    def dataset(self) -> Path:
        """The rows of the dataset in the clear, and what they are judged by, in a folder."""
        folder, store = self.home / "dataset", self.store
        if not folder.exists():
            record = store.record(self.candidate.records[DATASET])
            for name, path in replay.originals(record, store, folder / "clear"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
            told = {one.annotations["input"]: one for one in record.statement.inputs}
            for name in {"facts", "proposals"} & told.keys():
                held = store.record(told[name].annotations["record"]).file(told[name].name)
                shutil.copyfile(held, folder / f"{name}.json")
        return folder


def make(project: Project, store: Store, candidate: Candidate, home: Path) -> Sandbox:
    """Copy what the candidate stands on to a new folder, and put stand-ins in everybody's place."""
    found = _git(project.root, "--show-toplevel", "--git-common-dir")
    top, git = (Path(project.root, one).resolve() for one in found or (".", ".git"))
    inside = project.root.resolve().relative_to(top).as_posix()
    box = Sandbox(home, inside, candidate.record.digest, tuple(store.public_keys))
    home.mkdir(mode=0o700)
    aside = shutil.ignore_patterns(*ASIDE, "index.sqlite*")
    with store.ledger.locked():  # so that no record is moved in between
        shutil.copytree(store.path, home / "runs" / "governed", ignore=aside)
        shutil.copytree(store.keys, home / "keys" / store.id)
    (home / "runs" / "governed" / "scratch").mkdir()
    shutil.copytree(project.root, home / "usecase" / inside, ignore=aside)
    if found:
        shutil.copytree(git, home / "usecase" / ".git", ignore_dangling_symlinks=True)
    with box.entered():
        _cast(box)
    return box


def _git(root: Path, *words: str) -> list[str]:
    told = subprocess.run(["git", "-C", root, "rev-parse", *words], capture_output=True, text=True)
    return told.stdout.splitlines() if told.returncode == 0 else []


def _cast(box: Sandbox) -> None:
    """Another key for each, and each signature anew; a version names the digest of the one before."""
    cast: dict[str, str] = {}
    anew: dict[str, str] = {}

    def played(public: str) -> str:
        line = person.bare(public)
        cast[line] = cast.get(line) or box.new_key()[1]
        return cast[line]

    def change(entry: Json, leaves: list[bytes]) -> Json:
        old = entry["body"].get("envelope")
        if not old:
            return entry
        was, said = digest(old), dict(old["statement"])
        if entry["kind"] == "keyring":
            said["previous"] = anew.get(said["previous"])
            for key in (key for one in said["persons"] for key in one["keys"]):
                key["public"] = played(key["public"])
        if "approval" in said:
            said["approval"] = anew.get(said["approval"])
        if isinstance(said.get("ledger"), dict):
            said["ledger"] = {"size": said["ledger"]["size"],
                              "root": merkle.root(leaves[: said["ledger"]["size"]]).hex()}  # fmt: skip
        new = person.sign(said, old["namespace"], box.file(played(old["public_key"])))
        anew[was] = digest(new)
        body = entry["body"] | {"envelope": new}
        return entry | {"body": body | ({"sha256": digest(new)} if "sha256" in body else {})}

    box.rewrite(change)
