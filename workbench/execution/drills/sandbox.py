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
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ...policy import duties
from ...policy.release import APPROVED, Approval, Evidence
from ...record import clock, durable, keyring, merkle, person
from ...record.digest import canonical, digest
from ...record.ledger import Ledger
from ...record.sealed import Record
from ...record.store import Store
from .. import replay
from ..bundle import Candidate, candidates
from ..facts import DATASET
from ..project import Project
from ..release import request, signatures, standing
from ..stages import stages_for

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
    suspects: tuple[str, ...] = ()
    """Records to compute again."""
    declined: list[str] = field(default_factory=list)
    """What the command `approve` said when somebody tried it."""

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
        return next(one for one in candidates(self.believed) if one.record.digest == self.ref)

    def evidence(self, store: Store | None = None) -> Evidence:
        return standing.collect(self.project, store or self.store, self.candidate, self.now)

    def record(self, stage: str) -> Record:
        return self.believed.record(self.candidate.records[stage])

    def verdicts(self) -> list[Json]:
        """All verdicts that the candidate was decided from, as their records sealed them."""
        records = map(self.record, self.candidate.records)
        return [one for record in records for one in record.statement.predicate.workbench_verdicts]

    def layers(self) -> dict[str, str]:
        """Stage -> the layer of validation that it is."""
        stages = stages_for(self.project.root, self.project.usecase)
        return {one.name: one.facts["layer"] for one in stages if "layer" in one.facts}

    def entered(self) -> AbstractContextManager:
        """The surroundings in which the stores of this place, and no others, are found."""
        keys, runs = (str(self.home / name) for name in ("keys", "runs"))
        return patch.dict(os.environ, WORKBENCH_KEYS=keys, WORKBENCH_RUNS=runs)

    @contextmanager
    def copied(self) -> Iterator[Sandbox]:
        """A copy for one defect, which goes with it."""
        other = replace(self, home=self.home.with_name("planted"), declined=[])
        try:
            shutil.copytree(self.home, other.home)
            with other.entered():
                yield other
        finally:
            durable.remove_tree(other.home)

    # ---- people ------------------------------------------------------------------------------

    def file(self, public: str) -> Path:
        """The private key to a public one."""
        return self.home / "persons" / digest(person.bare(public))[:16]

    def key(self, name: str) -> Path:
        """The private key with which somebody signs now."""
        people, now = self.store.keyring().persons, clock.parse(clock.now())
        keys = [key for one in people if one.name == name for key in one.keys]
        return self.file(next(k.public for k in keys if not k.refusal(now, signatures.NAMESPACE)))

    def new_key(self) -> str:
        """The public line of a new key."""
        made = self.home / "persons" / "made"
        made.parent.mkdir(mode=0o700, exist_ok=True)
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "drill", "-f", str(made)]
        subprocess.run(words, check=True, capture_output=True)
        public = person.public_line(made)
        made.with_suffix(".pub").rename(self.file(public).with_suffix(".pub"))
        made.rename(self.file(public))
        return public

    def person(self, name: str, role: str, public: str | None = None) -> None:
        """Enter somebody with a key, a new one unless given; or give them a role, and such a key."""
        ring = self.store.keyring()
        new = keyring.Person(id=name, name=name, email=digest(name)[:9], roles=(), keys=())
        held = next((one for one in ring.persons if one.name == name), new)
        line = public or ("" if held.keys else self.new_key())
        more = (keyring.Key(public=line, valid_from=SINCE),) if line else ()
        change = {"roles": (*held.roles, role), "keys": (*held.keys, *more)}
        holder = next(one.name for one in ring.persons if "keyholder" in one.roles)
        self.store.update_keyring(ring.add(held.model_copy(update=change)), self.key(holder))

    def approvals(self) -> list[Approval]:
        """Signatures for the candidate that stand, in the ledger's order."""
        found = signatures.of(self.store, self.candidate.digest)
        return [one for one in found if not one.fault]

    def withdraw(self, one: Approval) -> str:
        signatures.revoke(self.store, one.entry, "drill", one.by, self.key(one.by))
        return one.by

    def approve(self, by: str, role: str, key: Path) -> None:
        """As the command does it."""
        asked = request.prepare(self.project, self.store, self.ref)
        signatures.enter(self.store, asked, self.evidence, by=by, role=role, meaning=APPROVED,
                         sign_with=key)  # fmt: skip

    def sign(self, rng: random.Random) -> None:
        """Withdraw the approvals there are and have others: in another order, partly by others."""
        for one in self.approvals():
            self.withdraw(one)
        plan, signed = self.evidence().plan, set()
        for role in rng.sample(list(plan.approver_roles), len(plan.approver_roles)):
            found = self.evidence()
            free = [name for name in found.holders.get(role, ()) if name not in signed
                    and not duties.conflicts(found.touches, name, "approve", plan)]  # fmt: skip
            who = rng.choice([*free, f"Stand-in {rng.randrange(10**6)}"])
            if who not in free:
                self.person(who, role)
            signed.add(who)
            self.approve(who, role, self.key(who))

    # ---- what lies there ---------------------------------------------------------------------

    def write(self, path: Path, data: bytes) -> None:
        """Put other bytes where somebody thought that nobody would."""
        path.parent.chmod(0o755)
        path.unlink(missing_ok=True)
        durable.create(path, data, 0o444)

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
        store, plain = self.store, record.statement.data()
        begun = store.begin(record.stage, "drill")
        for one in record.statement.subject:
            (begun.record / one.name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record.path / one.name, begun.record / one.name)
        forge(begun.record, plain["predicate"])
        return store.publish(begun, type(record.statement).model_validate(plain))

    def dataset(self) -> Path:
        """The rows of the dataset in the clear, and what they are judged by, in a folder."""
        folder, record = self.home / "dataset", self.record(DATASET)
        if not folder.exists():
            held = dict(replay.originals(record, self.store, self.home / "clear"))
            told = {one.annotations["input"]: one for one in record.statement.inputs}
            for name in {"facts", "proposals"} & told.keys():
                source = self.store.record(told[name].annotations["record"])
                held[f"{name}.json"] = source.file(told[name].name)
            for name, path in held.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
        return folder


@contextmanager
def of(project: Project, store: Store, candidate: Candidate) -> Iterator[Sandbox]:
    """A sandbox with what the candidate stands on; goes when it was used."""
    words = ["git", "-C", project.root, "rev-parse", "--show-toplevel", "--git-common-dir"]
    told = subprocess.run(words, capture_output=True, text=True).stdout.splitlines()
    top, git = (Path(project.root, one).resolve() for one in told or (".", ".git"))
    inside = project.root.relative_to(top).as_posix()
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    home, case = folder / "sound", folder / "sound" / "usecase"
    box = Sandbox(home, inside, candidate.record.digest, tuple(store.public_keys))
    try:
        with store.ledger.locked():  # so that no record is moved in between
            _copy(store.path, home / "runs" / "governed")
            _copy(store.keys, home / "keys" / store.id)
        (home / "runs" / "governed" / "scratch").mkdir()
        _copy(project.root, case / inside)
        if told:
            _copy(git, case / ".git")
        with box.entered():
            _cast(box)
            yield box
    finally:
        durable.remove_tree(folder)


def _copy(source: Path, to: Path) -> None:
    """All but what runs leave behind, and the repository, which goes apart."""
    aside = {"scratch", "runs", ".git", ".venv"}
    shutil.copytree(
        source, to, ignore=lambda at, names: aside & {*names} if at == str(source) else ()
    )


def _cast(box: Sandbox) -> None:
    """Another key for each, and each signature anew; a version names the digest of the one before."""
    cast: dict[str, str] = {}
    anew: dict[str, str] = {}

    def played(public: str) -> str:
        line = person.bare(public)
        cast[line] = cast.get(line) or box.new_key()
        return cast[line]

    def change(entry: Json, leaves: list[bytes]) -> Json:
        old = entry["body"].get("envelope")
        if not old:
            return entry
        was, said = digest(old), dict(old["statement"])
        if entry["kind"] == "keyring":
            for key in (key for one in said["persons"] for key in one["keys"]):
                key["public"] = played(key["public"])
        for name in {"previous", "approval"} & said.keys():
            said[name] = anew.get(said[name], said[name])
        if isinstance(said.get("ledger"), dict):
            head = leaves[: said["ledger"]["size"]]
            said["ledger"] = {"size": len(head), "root": merkle.root(head).hex()}
        new = person.sign(said, old["namespace"], box.file(played(old["public_key"])))
        anew[was] = digest(new)
        own = {"sha256": anew[was]} if entry["kind"] == "keyring" else {}
        return entry | {"body": entry["body"] | {"envelope": new} | own}

    box.rewrite(change)
