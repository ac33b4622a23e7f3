"""Kinds of defects: how each is planted, as an attacker or a mistake would, and what must catch it.

Each names the gates that must all refuse it. More than one stands there by design: hashes and
signatures are checked by our own code and by the stranger's, and who reads a store that does not
verify computes no gate. With these put out of action, nothing else may see the defect: then it is
they that catch it. A plant returns the file, entry or person at which the defect lies; InputError
where a release has nothing of the kind.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ...errors import InputError, WorkbenchError
from ...policy.findings import Raised
from ...policy.release import Approval
from ...record import clock, person
from ...record.digest import canonical, tree
from ...record.ledger import Ledger
from ...record.sealed import Record
from ...record.signing import EngineKey
from ...record.statement import SEALS
from ..bundle import FOLDER, MANIFEST
from ..facts import ADAPTATION, FUNCTIONAL, VERDICTS
from ..inputs import OUTPUTS
from ..release import findings, signatures
from .sandbox import Json, Sandbox

SEALED = ("verify", "verify_record.py")
"""Both verifiers, on the store, by the engine's public keys as they were known before."""
NOTEBOOK = "notebook.ipynb"
Plant = Callable[[Sandbox, random.Random], str]


class Kind(NamedTuple):
    """A kind of defect: it is caught when all of `by` refuse it."""

    name: str
    by: frozenset[str]
    plant: Plant


KINDS: dict[str, Kind] = {}


def caught(*by: str) -> Callable[[Plant], Plant]:
    """The kind of this name, and the gates that must refuse it."""

    def enter(plant: Plant) -> Plant:
        name = plant.__name__.replace("_", " ")
        KINDS[name] = Kind(name, frozenset(by), plant)
        return plant

    return enter


# ---- data ----------------------------------------------------------------------------------------


@caught("data_sets_apart")
def leak(box: Sandbox, rng: random.Random) -> str:
    """Locked rows have the texts of training rows."""
    import pyarrow.parquet as parquet

    folder = box.dataset()
    text = json.loads((folder / "facts.json").read_bytes())["text"]
    train, locked = (parquet.read_table(folder / f"{n}.parquet") for n in ("train", "locked"))
    texts, held = (one[text].to_pylist() for one in (train, locked))
    chosen = rng.sample(range(len(held)), min(3, len(held)))
    held = [rng.choice(texts) if i in chosen else one for i, one in enumerate(held)]
    place = locked.column_names.index(text)
    parquet.write_table(locked.set_column(place, text, [held]), folder / "locked.parquet")
    return ", ".join(str(locked["row_id"][i]) for i in chosen)


@caught("data_classes")
def wrong_class(box: Sandbox, rng: random.Random) -> str:
    """A column in which persons were found is declared public."""
    facts, proposals = (box.dataset() / f"{name}.json" for name in ("facts", "proposals"))
    said, found = (json.loads(path.read_bytes()) for path in (facts, proposals))
    one = rng.choice([one for one in found if one["column"] in said["columns"]])
    said["columns"][one["column"]] = {"class": "public", "purpose": "drill", "owner": "drill"}
    one |= {"data_class": "personal", "confidence": "high", "grounds": "findings"}
    box.write(facts, canonical(said))
    box.write(proposals, canonical(found))
    return one["column"]


@caught("layers")
def missing_layer(box: Sandbox, rng: random.Random) -> str:
    """A layer of validation that the plan asks for gave no verdict."""
    layers, told = box.layers(), {one["stage"] for one in box.verdicts()}
    wanted = set(box.evidence().plan.layers) & {layers[stage] for stage in layers.keys() & told}
    layer = rng.choice(sorted(wanted))
    box.unread = tuple(stage for stage in layers if layers[stage] == layer)
    return layer


# ---- what lies in the store, without a key -------------------------------------------------------


def _digit(box: Sandbox, record: Record, name: str, rng: random.Random) -> str:
    """One digit of a sealed file is another one."""
    data = (record.path / name).read_bytes()
    at = rng.choice([one.start() for one in re.finditer(rb"[0-9]", data)])
    digit = str((int(data[at : at + 1]) + 1) % 10).encode()
    box.write(record.path / name, data[:at] + digit + data[at + 1 :])
    return f"{record.ref}/{name}"


@caught(*SEALED)
def forged_metric(box: Sandbox, rng: random.Random) -> str:
    """A digit of the figures or verdicts that a stage left."""
    record = box.record(FUNCTIONAL)
    held = [one.name for one in record.statement.subject]
    shown = [name for name in held if name.endswith(("figures.json", VERDICTS))]
    return _digit(box, record, rng.choice(shown), rng)


@caught(*SEALED)
def edited_notebook(box: Sandbox, rng: random.Random) -> str:
    """A digit somewhere in an executed notebook."""
    return _digit(box, box.record(rng.choice(sorted(box.candidate.records))), NOTEBOOK, rng)


def _swap(box: Sandbox, folder: Path, rng: random.Random, manifest: bool = True) -> str:
    """A file of the adapter has one bit that is another; the manifest may be made for it."""
    path = rng.choice(sorted(one for one in (folder / "adapter").rglob("*") if one.is_file()))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1
    box.write(path, bytes(data))
    if manifest:
        said = json.loads((folder / MANIFEST).read_bytes())
        files = [{"path": one.path, "size": one.size, "sha256": one.sha256}
                 for one in tree(folder) if one.path != MANIFEST]  # fmt: skip
        box.write(folder / MANIFEST, canonical(said | {"files": files}))
    return path.relative_to(folder).as_posix()


@caught("bundle", *SEALED)
def swapped_adapter(box: Sandbox, rng: random.Random) -> str:
    """Other weights lie in the frozen bundle."""
    return _swap(box, box.candidate.folder, rng, manifest=False)


@caught("approvals", *SEALED)
def swapped_adapter_with_its_manifest(box: Sandbox, rng: random.Random) -> str:
    """Other weights, and a manifest that names them."""
    return _swap(box, box.candidate.folder, rng)


@caught("ledger", *SEALED)
def removed_ledger_entry(box: Sandbox, rng: random.Random) -> str:
    """That somebody took their approval back is taken out of the ledger."""
    by, path = revoked_approval(box, rng), box.store.path / "ledger" / "entries.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    return f"ledger entry {len(lines) - 1}, the revocation by {by}"


@caught("ledger", "verify")
def ledger_rolled_back(box: Sandbox, rng: random.Random) -> str:
    """The same by a copy from before, which verifies: only the host that signed can know."""
    kept = {path: path.read_bytes() for path in (box.store.path / "ledger").iterdir()}
    by = revoked_approval(box, rng)
    for path, data in kept.items():
        path.write_bytes(data)
    return f"the revocation by {by}"


@caught("ledger", "approvals", *SEALED)
def edited_engine_key(box: Sandbox, rng: random.Random) -> str:
    """The store is sealed anew, all of it, by a key of the attacker's own."""
    store, mine = box.store, EngineKey.create(box.home / "attacker.pem")
    known = [*store.public_keys, mine.public_pem]  # what the host last signed lies beside its key
    ledger = Ledger(store.path / "ledger", mine, origin=store.ledger.origin, public_keys=known)
    place = store.path / "store.json"
    facts = canonical(json.loads(place.read_bytes()) | {"public_keys": [mine.public_pem]})
    for record in store.records():
        data = (record.path / SEALS[0]).read_bytes()
        box.write(record.path / SEALS[1], canonical(mine.sign(data)))
    first = {"sha256": hashlib.sha256(facts).hexdigest()}
    box.rewrite(lambda e, leaves: e | {"body": e["body"] | ({} if leaves else first)}, ledger)
    box.write(place, facts)
    return place.name


# ---- by who holds the engine's key ---------------------------------------------------------------


def _sealed(box: Sandbox, name: str, forge: Callable[[Path, Json], None]) -> str:
    box.suspects = (box.reseal(box.record(FUNCTIONAL), forge).ref,)
    return f"{name} of {box.suspects[0]}"


@caught("recompute")
def forged_verdict_sealed(box: Sandbox, rng: random.Random) -> str:
    """A figure among the verdicts is another, and the engine's key seals the record again."""

    def forge(folder: Path, predicate: Json) -> None:
        told = predicate["workbench_verdicts"]
        figure = rng.choice([one["figure"] for one in told if one["figure"]])
        figure["value"] = round(figure["value"] + rng.choice((-0.01, 0.01)), 6)
        box.write(folder / OUTPUTS / VERDICTS, canonical(told))

    return _sealed(box, VERDICTS, forge)


@caught("recompute")
def edited_notebook_sealed(box: Sandbox, rng: random.Random) -> str:
    """What a cell printed is another text, and the engine's key seals the record again."""

    def forge(folder: Path, predicate: Json) -> None:
        nb = json.loads((folder / NOTEBOOK).read_bytes())
        outputs = [one for cell in nb["cells"] for one in cell.get("outputs", ())]
        tables = [one["data"] for one in outputs if "text/html" in one.get("data", {})]
        texts = [one for one in outputs if one.get("name") == "stdout"]
        shown = rng.choice(tables or texts)
        name = "text/html" if tables else "text"
        shown[name] = "".join(shown[name]).rstrip("\n") + f" {rng.randrange(10)}\n"
        box.write(folder / NOTEBOOK, json.dumps(nb).encode())

    return _sealed(box, NOTEBOOK, forge)


@caught("approvals")
def approvals_of_another_bundle(box: Sandbox, rng: random.Random) -> str:
    """The engine seals other weights, and what people signed before is entered again for them."""
    ledger, record = box.store.ledger, box.candidate.record
    old = [ledger.entries()[one.entry].body for one in box.approvals()]
    box.ref = box.reseal(record, lambda place, _: _swap(box, place / OUTPUTS / FOLDER, rng)).digest
    for body in old:
        ledger.append(signatures.KIND, body)
    return f"bundle {box.candidate.digest[:12]}"


@caught("standing", *SEALED)
def older_keyring_put_back(box: Sandbox, rng: random.Random) -> str:
    """A version of the keyring from before is entered again, to have its keys in force."""
    ledger = box.store.ledger
    body = rng.choice(ledger.entries("keyring")[:-1]).body
    return f"ledger entry {ledger.append('keyring', body).index}"


@caught("approvals", *SEALED)
def stripped_signature(box: Sandbox, rng: random.Random) -> str:
    """The last signature is another's, over something else."""
    last, (first, *_) = box.approvals()[-1], box.store.ledger.entries("keyring")

    def change(entry: Json, leaves: list[bytes]) -> Json:
        if entry["index"] == last.entry:
            entry["body"]["envelope"]["signature"] = first.body["envelope"]["signature"]
        return entry

    box.rewrite(change)
    return f"ledger entry {last.entry}, {last.by}"


# ---- people --------------------------------------------------------------------------------------


def _again(box: Sandbox, one: Approval, key: Path, **changed: str) -> str:
    """In place of an approval, which was withdrawn, one that no command made."""
    said = dict(one.said) | {"nonce": secrets.token_hex(16), "time": clock.now()} | changed
    sealed = person.sign(said, signatures.NAMESPACE, key)
    box.store.ledger.append(signatures.KIND, {"envelope": sealed})
    return said["by"]


def _tried(box: Sandbox, one: Approval, by: str, key: Path) -> str:
    """Somebody takes the place of an approval: as everybody does, then without asking."""
    box.withdraw(one)
    try:
        box.approve(by, one.role, key)
    except WorkbenchError as error:
        box.declined.append(str(error))
    return _again(box, one, key, by=by)


@caught("approvals")
def replayed_nonce(box: Sandbox, rng: random.Random) -> str:
    """An approval that was withdrawn comes again under the same nonce."""
    one = rng.choice(box.approvals())
    return _again(box, one, box.key(box.withdraw(one)), nonce=one.nonce)


@caught("approvals")
def expired_approval(box: Sandbox, rng: random.Random) -> str:
    """An approval was given for a day that has passed."""
    one, month = rng.choice(box.approvals()), rng.randrange(1, 10)
    return _again(box, one, box.key(box.withdraw(one)), expires=f"2001-0{month}-01T00:00:00Z")


@caught("approvals")
def revoked_approval(box: Sandbox, rng: random.Random) -> str:
    """Somebody has taken their approval back."""
    return box.withdraw(rng.choice(box.approvals()))


@caught("approve", "approvals", "separation_of_duties")
def author_approves(box: Sandbox, rng: random.Random) -> str:
    """Somebody approves what they built."""
    one, found = rng.choice(box.approvals()), box.evidence()
    barring = found.plan.conflicts["approve"]
    known = {someone.name for someone in box.store.keyring().persons}
    authors = known & {touch.person for touch in found.touches if touch.act in barring}
    internal = box.record(ADAPTATION).statement.predicate.buildDefinition.internalParameters
    author = rng.choice(sorted(authors) or [internal["actor"]["name"]])
    box.person(author, one.role)
    return _tried(box, one, author, box.key(author))


def _two(box: Sandbox, rng: random.Random) -> list[Approval]:
    held = box.approvals()
    if len(held) < 2:
        raise InputError("The plan asks for one approval only.")
    return rng.sample(held, 2)


@caught("approve", "approvals")
def one_key_under_two_names(box: Sandbox, rng: random.Random) -> str:
    """The second approver is a name for the key of the first."""
    first, second = _two(box, rng)
    name = f"Second name {rng.randrange(10**6)}"
    box.person(name, second.role, first.key)
    return _tried(box, second, name, box.file(first.key))


@caught("approve", "approvals")
def one_person_twice(box: Sandbox, rng: random.Random) -> str:
    """One person approves in two roles, with two keys."""
    first, second = _two(box, rng)
    public = box.new_key()
    box.person(first.by, second.role, public)
    return _tried(box, second, first.by, box.file(public))


# ---- what has changed since ----------------------------------------------------------------------


@caught("evidence_fresh", "approvals")
def stale_evidence(box: Sandbox, rng: random.Random) -> str:
    """The days that the plan gives are over: for what was shown, and for who approved it."""
    found = box.evidence()
    expires = found.subject["expires"]
    box.now = f"{int(expires[:4]) + rng.randrange(1, 9)}-12-31{expires[10:]}"
    return ", ".join(found.validated)


@caught("findings")
def open_finding(box: Sandbox, rng: random.Random) -> str:
    """Somebody has raised what blocks, and nobody has answered."""
    who, now = rng.choice(box.approvals()).by, clock.now()
    about = {"usecase": box.project.usecase.id, "about": box.candidate.digest, "text": "drill"}
    due, how = clock.parse(now).date(), rng.choice(("major", "critical"))
    said = Raised(by=who, time=now, owner=who, due=due, severity=how, **about)
    return findings.enter(box.project, box.store, said, box.key(who)).id


@caught("acceptances")
def expired_risk_acceptance(box: Sandbox, rng: random.Random) -> str:
    """The candidate was frozen under an acceptance of a failed gate that holds no more."""
    gate = rng.choice([one for one in box.verdicts() if one["blocking"]])
    was = {"gate": gate["criterion"], "record": box.record(gate["stage"]).digest, "by": "drill",
           "expires": f"200{rng.randrange(10)}-01-01", "entry": 0}  # fmt: skip

    def forge(folder: Path, predicate: Json) -> None:
        internal = predicate["buildDefinition"]["internalParameters"]
        internal["key"]["parts"]["acceptances"] = [was]

    for one in box.approvals():
        box.withdraw(one)
    box.ref = box.reseal(box.candidate.record, forge).digest
    box.sign(rng)
    return was["gate"]
