"""Kinds of defects: how each is planted, as an attacker or a mistake would, and what must catch it.

Each names the gates that must all refuse it. More than one stands there by design: hashes and
signatures are checked by our own code and by the stranger's, and who reads a store that does not
verify computes no gate. With these put out of action, nothing else may see the defect: then it is
they that catch it.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...policy.findings import Raised
from ...record import clock
from ...record.digest import canonical, tree
from ...record.signing import EngineKey
from ...record.statement import SEALS
from ...record.store import Record
from ..bundle import FOLDER, MANIFEST
from ..facts import ADAPTATION, FUNCTIONAL, VERDICTS
from ..inputs import OUTPUTS
from ..release import findings, request, signatures
from .sandbox import Json, Sandbox

SEALED = ("verify", "verify_record.py")
"""Both verifiers, on the store, by the engine's public keys as they were known before."""
Plant = Callable[[Sandbox, random.Random], str]


@dataclass(frozen=True)
class Kind:
    """A kind of defect: it is caught when all of `by` refuse it."""

    name: str
    by: frozenset[str]
    plant: Plant
    """Plants one, drawn; returns the file, entry or person at which it lies."""


KINDS: dict[str, Kind] = {}


def caught(*by: str) -> Callable[[Plant], Plant]:
    """The kind of this name, and the gates that must refuse it."""

    def enter(plant: Plant) -> Plant:
        name = plant.__name__.replace("_", " ")
        KINDS[name] = Kind(name, frozenset(by), plant)
        return plant

    return enter


# ---- data ----------------------------------------------------------------------------------------


def _rows(box: Sandbox, *names: str) -> list[list[Json]]:
    import pyarrow.parquet as parquet

    return [parquet.read_table(box.dataset() / f"{name}.parquet").to_pylist() for name in names]


def _keep(box: Sandbox, name: str, rows: list[Json]) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), box.dataset() / f"{name}.parquet")


@caught("data_sets_apart")
def leak(box: Sandbox, rng: random.Random) -> str:
    """Locked rows have the texts of training rows."""
    train, locked = _rows(box, "train", "locked")
    text = json.loads((box.dataset() / "facts.json").read_bytes())["text"]
    chosen = rng.sample(locked, min(3, len(locked)))
    for row in chosen:
        row[text] = rng.choice(train)[text]
    _keep(box, "locked", locked)
    return ", ".join(str(row["row_id"]) for row in chosen)


@caught("data_lineage")
def lost_row(box: Sandbox, rng: random.Random) -> str:
    """A locked row, perhaps a hard one, is gone, and nobody says why."""
    [locked] = _rows(box, "locked")
    gone = locked.pop(rng.randrange(len(locked)))
    _keep(box, "locked", locked)
    return str(gone["row_id"])


@caught("data_classes")
def wrong_class(box: Sandbox, rng: random.Random) -> str:
    """A column in which persons were found is declared public."""
    facts, proposals = (box.dataset() / f"{name}.json" for name in ("facts", "proposals"))
    said, found = (json.loads(path.read_bytes()) for path in (facts, proposals))
    one = rng.choice([one for one in found if one["column"] in said["columns"]])
    said["columns"][one["column"]] = {"class": "public", "purpose": "drill", "owner": "drill"}
    one |= {"data_class": "personal", "confidence": "high", "grounds": "findings"}
    for path, data in ((facts, said), (proposals, found)):
        path.chmod(0o644)
        path.write_bytes(canonical(data))
    return one["column"]


# ---- what lies in the store, without a key ------------------------------------------------------


def _digit(data: bytes, rng: random.Random) -> bytes:
    """One digit of it is another one."""
    at = rng.choice([one.start() for one in re.finditer(rb"[0-9]", data)])
    return data[:at] + str((int(data[at : at + 1]) + 1) % 10).encode() + data[at + 1 :]


def _record(box: Sandbox, stage: str) -> Record:
    return box.store.record(box.candidate.records[stage])


@caught(*SEALED)
def forged_metric(box: Sandbox, rng: random.Random) -> str:
    """A digit of the figures or verdicts that a stage left."""
    record = _record(box, FUNCTIONAL)
    held = [one.name for one in record.statement.subject]
    path = record.path / rng.choice([n for n in held if n.endswith(("figures.json", VERDICTS))])
    box.write(path, _digit(path.read_bytes(), rng))
    return f"{record.ref}/{path.relative_to(record.path)}"


@caught(*SEALED)
def edited_notebook(box: Sandbox, rng: random.Random) -> str:
    """A digit somewhere in an executed notebook."""
    record = _record(box, rng.choice(sorted(box.candidate.records)))
    path = record.path / "notebook.ipynb"
    box.write(path, _digit(path.read_bytes(), rng))
    return f"{record.ref}/notebook.ipynb"


def _swap(folder: Path, rng: random.Random, part: str, box: Sandbox) -> Path:
    """One file below a part of a bundle has one bit that is another."""
    path = rng.choice(sorted(one for one in (folder / part).rglob("*") if one.is_file()))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1
    box.write(path, bytes(data))
    return path


def _listed(folder: Path, box: Sandbox) -> None:
    """The manifest as it must be for what now lies beside it."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    found = [one for one in tree(folder) if one.path != MANIFEST]
    files = [{"path": one.path, "size": one.size, "sha256": one.sha256} for one in found]
    box.write(folder / MANIFEST, canonical(manifest | {"files": files}))


@caught("bundle", *SEALED)
def swapped_adapter(box: Sandbox, rng: random.Random) -> str:
    """Other weights lie in the frozen bundle."""
    return str(_swap(box.candidate.folder, rng, "adapter", box).relative_to(box.candidate.folder))


@caught("approvals", *SEALED)
def swapped_adapter_with_its_manifest(box: Sandbox, rng: random.Random) -> str:
    """Other weights, and a manifest that names them."""
    folder = box.candidate.folder
    path = _swap(folder, rng, "adapter", box)
    _listed(folder, box)
    return str(path.relative_to(folder))


def _revoked(box: Sandbox, rng: random.Random) -> str:
    one = rng.choice(box.approvals())
    box.withdraw(one.entry)
    return one.by


@caught("ledger", *SEALED)
def removed_ledger_entry(box: Sandbox, rng: random.Random) -> str:
    """That somebody took their approval back is taken out of the ledger."""
    by = _revoked(box, rng)
    path = box.store.path / "ledger" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    return f"ledger entry {len(lines) - 1}, the revocation by {by}"


@caught("ledger", "verify")
def ledger_rolled_back(box: Sandbox, rng: random.Random) -> str:
    """The same by a copy from before, which verifies: only the host that signed can know."""
    folder = box.store.path / "ledger"
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    by = _revoked(box, rng)
    for path, data in kept.items():
        path.write_bytes(data)
    return f"the revocation by {by}"


@caught("ledger", "approvals", *SEALED)
def edited_engine_key(box: Sandbox, rng: random.Random) -> str:
    """The store is sealed anew, all of it, by a key of the attacker's own."""
    store, mine = box.store, EngineKey.create(box.home / "attacker.pem")
    ledger = store.ledger_for([*store.public_keys, mine.public_pem], mine)
    ledger._seen = None  # beside the key, where the attacker is not
    facts = json.loads((store.path / "store.json").read_bytes()) | {"public_keys": [mine.public_pem]}
    for record in store.records():
        data = (record.path / SEALS[0]).read_bytes()
        box.write(record.path / SEALS[1], canonical(mine.sign(data)))
    sha256 = hashlib.sha256(canonical(facts)).hexdigest()

    def change(entry: Json, leaves: list[bytes]) -> Json:
        return entry | {"body": entry["body"] | ({} if leaves else {"sha256": sha256})}

    box.rewrite(change, ledger)
    box.write(store.path / "store.json", canonical(facts))
    return "store.json"


# ---- by who holds the engine's key ---------------------------------------------------------------


@caught("recompute")
def forged_verdict_sealed(box: Sandbox, rng: random.Random) -> str:
    """A figure among the verdicts is another, and the engine's key seals the record again."""
    record = _record(box, FUNCTIONAL)

    def forge(folder: Path, predicate: Json) -> None:
        told = predicate["workbench_verdicts"]
        one = rng.choice([v for v in told if v["figure"]])
        one["figure"]["value"] = round(one["figure"]["value"] + rng.choice((-0.01, 0.01)), 6)
        (folder / OUTPUTS / VERDICTS).unlink()
        (folder / OUTPUTS / VERDICTS).write_bytes(canonical(told))

    box.suspects = [box.reseal(record, forge).ref]
    return f"{VERDICTS} and statement of {box.suspects[0]}"


@caught("recompute")
def edited_notebook_sealed(box: Sandbox, rng: random.Random) -> str:
    """What a cell printed is another text, and the engine's key seals the record again."""
    record = _record(box, FUNCTIONAL)

    def forge(folder: Path, predicate: Json) -> None:
        path = folder / "notebook.ipynb"
        nb = json.loads(path.read_bytes())
        shown = [o for cell in nb["cells"] for o in cell.get("outputs", ())
                 if o["output_type"] == "stream" and o["name"] == "stdout"]  # fmt: skip
        one = rng.choice(shown)
        one["text"] = ["".join(one["text"]).rstrip("\n") + f" {rng.randrange(10)}\n"]
        path.unlink()
        path.write_text(json.dumps(nb))

    box.suspects = [box.reseal(record, forge).ref]
    return f"notebook.ipynb of {box.suspects[0]}"


def _frozen_anew(box: Sandbox, rng: random.Random, part: str) -> str:
    """Another bundle, sealed by the engine's key as if it had been decided."""

    def forge(folder: Path, predicate: Json) -> None:
        _swap(folder / OUTPUTS / FOLDER, rng, part, box)
        _listed(folder / OUTPUTS / FOLDER, box)

    box.ref = box.reseal(box.candidate.record, forge).digest
    return f"bundle {box.candidate.digest[:12]}"


@caught("approvals")
def bundle_nobody_approved(box: Sandbox, rng: random.Random) -> str:
    """Other weights in a bundle that the engine sealed."""
    return _frozen_anew(box, rng, "adapter")


@caught("approvals")
def approvals_of_another_bundle(box: Sandbox, rng: random.Random) -> str:
    """What people signed for one bundle is entered again for another."""
    old = [box.store.ledger.entries()[one.entry].body for one in box.approvals()]
    told = _frozen_anew(box, rng, "evidence")
    for body in old:
        box.store.ledger.append("approval", body)
    return told


@caught("standing", *SEALED)
def older_keyring_put_back(box: Sandbox, rng: random.Random) -> str:
    """A version of the keyring from before is entered again, to have its keys in force."""
    ledger = box.store.ledger
    body = rng.choice(ledger.entries("keyring")[:-1]).body
    return f"ledger entry {ledger.append('keyring', body).index}"


@caught("approvals", *SEALED)
def stripped_signature(box: Sandbox, rng: random.Random) -> str:
    """The last signature is another's, over something else."""
    *others, one = box.approvals()
    entries = box.store.ledger.entries()
    foreign = next(e.body["envelope"]["signature"] for e in entries if "envelope" in e.body)

    def change(entry: Json, leaves: list[bytes]) -> Json:
        if entry["index"] == one.entry:
            entry["body"]["envelope"]["signature"] = foreign
        return entry

    box.rewrite(change)
    return f"ledger entry {one.entry}, {one.by}"


@caught("layers")
def missing_layer(box: Sandbox, rng: random.Random) -> str:
    """A layer of validation that the plan asks for gave no verdict."""
    layers, told = box.layers(), {one["stage"] for one in box.verdicts()}
    wanted = set(box.evidence().plan.layers) & {layers[stage] for stage in layers.keys() & told}
    layer = rng.choice(sorted(wanted))
    box.unread = tuple(stage for stage in layers if layers[stage] == layer)
    return layer


# ---- people --------------------------------------------------------------------------------------


def _instead(box: Sandbox, one: Any, by: str, key: Path, **changed: Any) -> int:
    """In place of an approval, which is withdrawn, another one; what the command `approve` would
    refuse is signed and entered without it."""
    box.withdraw(one.entry)
    said = dict(one.said) | {"by": by, "nonce": secrets.token_hex(16)} | changed
    return box.enter(signatures.KIND, said, signatures.NAMESPACE, key).index


@caught("approvals")
def replayed_nonce(box: Sandbox, rng: random.Random) -> str:
    """An approval that was withdrawn comes again under the same nonce."""
    one = rng.choice(box.approvals())
    _instead(box, one, one.by, box.key(one.by), nonce=one.nonce, time=clock.now())
    return one.by


@caught("approvals")
def expired_approval(box: Sandbox, rng: random.Random) -> str:
    """An approval was given for a day that has passed."""
    one = rng.choice(box.approvals())
    over = f"2001-0{rng.randrange(1, 10)}-01T00:00:00Z"
    _instead(box, one, one.by, box.key(one.by), expires=over)
    return one.by


@caught("approvals")
def revoked_approval(box: Sandbox, rng: random.Random) -> str:
    """Somebody has taken their approval back."""
    return _revoked(box, rng)


@caught("approvals", "separation_of_duties")
def author_approves(box: Sandbox, rng: random.Random) -> str:
    """Somebody approves what they built."""
    one, found = rng.choice(box.approvals()), box.evidence()
    barring = found.plan.conflicts["approve"]
    known = {p.name for p in box.store.keyring().persons}
    author = rng.choice(sorted({t.person for t in found.touches if t.act in barring} & known))
    box.person(author, one.role)
    _instead(box, one, author, box.key(author))
    return author


@caught("approvals")
def one_key_under_two_names(box: Sandbox, rng: random.Random) -> str:
    """The second approver is a name for the key of the first."""
    first, second = rng.sample(box.approvals(), 2)
    name = f"Second name {rng.randrange(10**6)}"
    box.person(name, second.role, public=first.key)
    _instead(box, second, name, box.key(first.by))
    return name


@caught("approvals")
def one_person_twice(box: Sandbox, rng: random.Random) -> str:
    """One person approves in two roles, with two keys."""
    first, second = rng.sample(box.approvals(), 2)
    public = box.new_key()[1]
    box.person(first.by, second.role, public=public)
    _instead(box, second, first.by, box.file(public))
    return first.by


@caught("approve")
def edited_request(box: Sandbox, rng: random.Random) -> str:
    """Who is to sign is shown another digest than what will be released."""
    asked = request.prepare(box.project, box.store, box.ref)
    name = rng.choice(["lock", "policy", "expires", "roles", "tier"])
    box.asked = asked | {name: "drill"}
    return f"request: {name}"


# ---- what has changed since ----------------------------------------------------------------------


@caught("evidence_fresh", "approvals")
def stale_evidence(box: Sandbox, rng: random.Random) -> str:
    """The days that the plan gives are over: for what was shown, and for who approved it."""
    found = box.evidence()
    year = int(found.subject["expires"][:4]) + rng.randrange(1, 9)
    box.now = f"{year}{found.subject['expires'][4:]}"
    return ", ".join(found.validated)


@caught("findings")
def open_finding(box: Sandbox, rng: random.Random) -> str:
    """Somebody has raised what blocks, and nobody has answered."""
    store, case = box.store, box.project.usecase.id
    who = rng.choice(box.approvals()).by
    said = Raised(usecase=case, by=who, time=clock.now(), about=box.candidate.digest, owner=who,
                  severity=rng.choice(("major", "critical")), text="drill",
                  due=clock.parse(clock.now()).date())  # fmt: skip
    return findings.enter(box.project, store, said, box.key(who)).id


@caught("acceptances")
def expired_risk_acceptance(box: Sandbox, rng: random.Random) -> str:
    """The candidate was frozen under an acceptance of a failed gate that holds no more."""
    verdict = rng.choice([v for v in box.verdicts() if v["blocking"]])
    was = {"gate": verdict["criterion"], "record": box.candidate.records[verdict["stage"]],
           "by": "drill", "expires": f"200{rng.randrange(10)}-01-01", "entry": 0}  # fmt: skip

    def forge(folder: Path, predicate: Json) -> None:
        key = predicate["buildDefinition"]["internalParameters"]["key"]
        key["parts"]["acceptances"] = [was]

    for one in box.approvals():
        box.withdraw(one.entry)
    box.ref = box.reseal(box.candidate.record, forge).digest
    box.sign(rng)
    return was["gate"]
