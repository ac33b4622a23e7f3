"""Forget the rows of a subject (GDPR Art. 17): find them, and what learned from them; then delete.

`plan` changes nothing; the ledger says that rows were read. `carry_out` works in an order in which
a crash at any moment loses nothing, and doing it again completes it:

1. request    the ledger holds who asked, why, and keyed digests of the subjects
2. file       the data file of the use case holds the rows that are left
3. snapshot   the dataset stage seals these
4. keys       the keys of the old snapshots are destroyed
5. tombstone  the ledger holds what was touched, and what must be retrained

Deletion is of a snapshot's key: all that it opens is gone at once, in the store and in its packs.
What no key protects is returned as `remaining`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..errors import InputError, RunError, WaitingForPerson, WorkbenchError
from ..record import clock, durable, person
from ..record.ledger import Entry
from ..record.lineage import Graph
from ..record.store import Record, Store, disk
from . import checkpoints
from .data_file import Row, Which, kind_of, parts, without
from .inputs import SEALED_SUFFIX
from .pipeline import Pipeline, actor, alone, usecase_of
from .project import Project
from .release import registry
from .retention import STAGE, declaration, forgotten, made, sealed, snapshots_of

NAMESPACE = "forget@workbench"
REQUEST, TOMBSTONE = "forget-request", "forgotten-rows"
ROW_ID = "row_id"
ADAPT, CANDIDATE = "30_adapt", "50_candidate"
RAW, TRAIN, LINEAGE = "outputs/raw/", "outputs/train.parquet", "outputs/lineage.parquet"


@dataclass(frozen=True)
class Plan:
    """What forgetting these subjects touches; records by `stage/id`."""

    column: str
    digests: tuple[str, ...]
    """Keyed digests of the subjects."""
    named_in: str | None = None
    """Digest of the newest dataset record; where subjects are row ids, they are its rows."""
    snapshots: dict[str, int] = field(default_factory=dict)
    """Snapshot -> how many of its rows are theirs; its key will be destroyed."""
    touched: dict[str, str] = field(default_factory=dict)
    """Every record that holds such a snapshot or stands on one, with its digest."""
    retrain: tuple[str, ...] = ()
    """Adapters whose training set held rows of the subjects."""
    served: tuple[tuple[str, str, str], ...] = ()
    """Registered releases that stand on such rows, and where they were deployed, as
    `registry.touched` names them."""
    in_file: int = 0
    """Rows of theirs in the data file of the use case."""
    remaining: tuple[str, ...] = ()
    """What this does not reach, in words."""
    subjects: frozenset[str] = field(default=frozenset(), repr=False)

    def rows(self) -> list[Row]:
        """A plain table for people: what, its name, how many rows of theirs, what is to be done."""
        table = [("data file", "", self.in_file, "is rewritten without them")]
        table += [("snapshot", one, n, "is deleted") for one, n in self.snapshots.items()]
        for ref in self.touched:
            stage = ref.split("/")[0]
            kind = {ADAPT: "adapter", CANDIDATE: "candidate"}.get(stage, "record")
            then = "retrain: learned from them" if ref in self.retrain else "stands on these rows"
            table.append((kind, ref, None, then))
        table += [(what, name, None, then) for what, name, then in self.served]
        table += [("remains", "", None, text) for text in self.remaining]
        return [dict(zip(("what", "name", "rows", "then"), row, strict=True)) for row in table]

    def body(self) -> Row:
        """What the ledger holds of it: no subject, and no word about this host."""
        private = ("subjects", "remaining", "in_file")
        return {name: value for name, value in asdict(self).items() if name not in private}


def plan(
    project: Project, store: Store, subjects: Iterable[object], column: str | None = None
) -> Plan:
    """Find the rows of `subjects` in every snapshot that can be opened here, and what they touch.

    Subjects are values of the use case's group column, of another `column`, or with
    `column="row_id"` row ids of the newest dataset; rows equal to one so named in every column are
    found too. InputError when none of the subjects stands anywhere.
    """
    column = column or project.usecase.data.group
    wanted = frozenset(str(one) for one in subjects if one not in (None, ""))
    if not column or not wanted:
        raise InputError("Nobody is named: subjects, and the column that holds them, are needed.")
    keyed = (store.cipher.keyed(f"{column}\0{one}".encode()) for one in wanted)
    asked = Plan(column, tuple(sorted(keyed)), subjects=wanted)
    return _Search(project, store, asked).plan()


class _Search:
    """One pass over the snapshots of a use case that can be opened here."""

    def __init__(self, project: Project, store: Store, asked: Plan) -> None:
        self.project, self.store, self.graph = project, store, Graph.from_store(store)
        self.path = project.path(project.usecase.data.path, "data.path")
        self.kind = kind_of(self.path.name, project.usecase.data.format)
        own = [r for r in made(store) if usecase_of(r) == project.usecase.id]
        gone, held = forgotten(store), {s for record in own for s in sealed(record)}
        opened = {s for s in held - gone if store.cipher.exists(s)}
        self.datasets = [record for record in own if record.stage == STAGE]
        self.open = [record for record in self.datasets if sealed(record) <= opened]
        self.raws = {s: r for r in self.open if _files(r, RAW) for s in snapshots_of(r)}
        lost = sorted(held - gone - set(self.raws))
        self.told = [f"snapshot {s} was not searched: its key or its rows are gone" for s in lost]
        self.started, self.seen = _unfinished(store, asked), set()
        newest = self.datasets[-1].digest if self.datasets else None
        named = self.started.body["named_in"] if self.started else newest
        self.asked = replace(asked, named_in=asked.named_in or named)
        self.which = self._which()

    def _which(self) -> Which:
        """The subject whose row a row is, or None. The ledger is told that rows are read."""
        read, column = sorted(r.digest for r in self.open if sealed(r)), self.asked.column
        if read:
            body = {"records": read, "who": actor(self.project.root)["name"], "purpose": "forget"}
            self.store.ledger.append("rows-read", body)
        if column != ROW_ID:
            same = {one: one for one in self.asked.subjects}
            return lambda row: same.get(str(row.get(column)))
        # An id is of one dataset; in others the row itself is looked for.
        named = [record for record in self.open if record.digest == self.asked.named_in]
        rows = (one for record in named for one in self._raw(record))
        same = {repr(sorted(row.items())): i for i, row in rows if i in self.asked.subjects}
        return lambda row: same.get(repr(sorted(row.items())))

    def plan(self) -> Plan:
        """What is found, and what an interrupted request had found in snapshots destroyed since."""
        found, n = self._found(), len(self.asked.subjects)
        if not self.started and not self.seen:
            ended = [e.index for e in _about(self.store, TOMBSTONE, found)]
            raise InputError(
                f"None of the {n} subjects stands in any row; nothing was changed.",
                where=f"column `{found.column}` of {len(self.raws)} snapshots and the data file",
                given=f"forgotten already: ledger entry {ended[-1]}" if ended else None,
            )
        if self.started:
            body = self.started.body
            touched = dict(sorted((body["touched"] | found.touched).items()))
            retrain = tuple(sorted({*body["retrain"], *found.retrain}))
            snapshots = body["snapshots"] | found.snapshots
            found = replace(found, snapshots=snapshots, touched=touched, retrain=retrain)
        absent = 0 if self.started else n - len(self.seen)
        told = [f"{absent} of the {n} subjects stand in no row"] if absent else []
        told += [*self.told, *_beyond(self.project, self.store, found)]
        served = tuple(registry.touched(self.store, found.touched.values()))
        return replace(found, remaining=tuple(told), served=served)

    def _found(self) -> Plan:
        snapshots, learned = {}, set()
        for snapshot, record in self.raws.items():
            try:
                rows = self._raw(record)
            except InputError:  # of a dataset that failed for this very reason
                self.told.append(f"{record.ref} was not searched: its rows cannot be read")
                continue
            if rows and self.asked.column not in (ROW_ID, *rows[0][1]):
                self.told.append(f"{record.ref} has no column `{self.asked.column}`")
            theirs = {row_id: key for row_id, row in rows if (key := self.which(row))}
            self.seen |= set(theirs.values())
            if theirs and not sealed(record):
                self.told.append(f"{record.ref} keeps {len(theirs)} of the rows in the clear")
            elif theirs:
                snapshots[snapshot] = len(theirs)
                holders = (one for one in self.open if snapshot in snapshots_of(one))
                learned |= {one.digest for one in holders if self._learned(one, set(theirs))}
        read = parts(self.path.read_bytes(), self.kind)
        in_file = [key for _, row in read if row and (key := self.which(row))]
        self.seen |= set(in_file)
        return replace(self._touched(snapshots, learned), in_file=len(in_file))

    def _raw(self, record: Record) -> list[tuple[str, Row]]:
        """(row id, row); ids count the rows from 1, as the dataset stage does."""
        form = declaration(self.graph, record).get("format", "auto")
        return [(f"r{n:07d}", row) for n, row in enumerate(self._rows(record, RAW, form), start=1)]

    def _rows(self, record: Record, name: str, form: str = "parquet") -> Iterator[Row]:
        for one in _files(record, name):
            how, path = record.encrypted(one), record.file(one)
            data = self.store.cipher.read(path, how["snapshot"]) if how else path.read_bytes()
            read = parts(data, kind_of(one.removesuffix(SEALED_SUFFIX), form))
            yield from (row for _, row in read if row)

    def _learned(self, record: Record, theirs: set[str]) -> bool:
        """Did the training set hold their rows, or rows made of them?"""
        for row in self._rows(record, LINEAGE):
            if row["outcome"] == "created" and theirs & {row["source_id"], row["other"]}:
                theirs.add(row[ROW_ID])
        train = self._rows(record, TRAIN)
        return any(row[ROW_ID] in theirs if ROW_ID in row else self.which(row) for row in train)

    def _touched(self, snapshots: dict[str, int], learned: set[str]) -> Plan:
        records, names = self.graph.records, set(snapshots)
        roots = {digest for digest, record in records.items() if snapshots_of(record) & names}
        reached = roots | {one for root in roots for one in self.graph.descendants(root)}
        touched = dict(sorted((records[digest].ref, digest) for digest in reached))
        taught = (ref for ref, digest in touched.items() if ref.startswith(f"{ADAPT}/")
                  and self.graph.ancestors(digest) & learned)  # fmt: skip
        return replace(self.asked, snapshots=snapshots, touched=touched, retrain=tuple(taught))

    def rewrite(self) -> None:
        """Put the rows that are left in the place of the data file, at once."""
        data = self.path.read_bytes()
        left = without(data, self.kind, self.which)
        if left != data:
            with disk("rewrite the data file", self.path):
                durable.replace(self.path, left, self.path.stat().st_mode & 0o777)


def _beyond(project: Project, store: Store, found: Plan) -> Iterator[str]:
    """What destroying keys does not reach, with how to check it."""
    touched = set(found.touched.values())
    for entry in store.ledger.entries("rows-read"):
        read = {entry.body.get("record"), *entry.body.get("records", ())}
        if read & touched and entry.body.get("purpose") != "forget":
            yield f"rows were opened outside a stage: ledger entry {entry.index}"
    look = ["log", "--all", "--oneline", "--", project.usecase.data.path]
    done = subprocess.run(["git", "-C", project.root, *look], capture_output=True, check=False)
    if done.stdout:
        yield f"the history of the use case holds versions of its data file: git {' '.join(look)}"
    for entry in store.ledger.entries("keys-exported"):
        if set(found.snapshots) & set(entry.body["snapshots"]):
            yield f"keys of these rows left for a replay elsewhere: ledger entry {entry.index}"
    yield "other tracks and use cases were not searched: forget there too"
    yield "copies of the data file, backups of keys, and what was opened to work in (scratch/)"


# -- carrying it out ------------------------------------------------------------------------


def carry_out(
    project: Project,
    store: Store,
    plan: Plan,
    *,
    by: str,
    reason: str,
    sign_with: Path | None = None,
    force: bool = False,
    on_event: Callable[..., None] = lambda *a, **k: None,
) -> Entry:
    """Do what the plan says, after looking again for what came since; returns the tombstone.

    Called again after a crash it ends as it would have ended. The governed track asks for
    `sign_with`, the SSH key of `by`. A gate or a refusal of the dataset stage stops it before any
    key is destroyed, unless `force`. InputError when the `reason`, which stays, names a subject.
    """
    _may(store, plan, by, reason, sign_with)
    with alone(store, f"forget-{project.usecase.id}"):
        store.recover()  # rows that a killed run had decrypted
        asked = Plan(plan.column, plan.digests, plan.named_in, subjects=plan.subjects)
        search = _Search(project, store, asked)
        found, said = search.plan(), {"by": by, "reason": reason}
        on_event("forget", step="request")
        said["request"] = _request(search, found, said, sign_with)
        on_event("forget", step="file")
        search.rewrite()
        on_event("forget", step="snapshot")
        said["record"] = _reseal(search, found, force, on_event) if found.snapshots else None
        checkpoints.remove_all(store)  # unfinished work may have learned from the rows
        on_event("forget", step="keys")
        for snapshot in sorted(found.snapshots):
            # A crash may have come between the entry and the deed.
            delete = store.cipher.destroy if snapshot in forgotten(store) else store.forget
            delete(snapshot, f"{REQUEST}, ledger entry {said['request']}")
        on_event("forget", step="tombstone")
        return store.ledger.append(TOMBSTONE, found.body() | said)


def _may(store: Store, plan: Plan, by: str, reason: str, sign_with: Path | None) -> None:
    """Refuse before anything is read or written."""
    if not by.strip() or not reason.strip():
        raise InputError("Who asks for the deletion, and why, is not said.")
    if any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", reason) for one in plan.subjects):
        raise InputError("The reason names a subject; the ledger would keep it for ever.")
    if sign_with:
        signer = store.keyring().who(person.public_line(sign_with), clock.now(), NAMESPACE)
        if by not in (signer.id, signer.name, signer.email):
            raise InputError("The key is another person's.", expected=by, given=signer.name)
    elif store.track == "governed":
        raise WaitingForPerson("On the governed track a person signs a deletion: name their key.")


def _request(search: _Search, found: Plan, said: Row, sign_with: Path | None) -> int:
    """The ledger entry of this request: the interrupted one, or a new one."""
    if search.started:
        return search.started.index
    store, body = search.store, found.body() | said
    if sign_with:
        envelope = person.sign(body | {"store": store.id}, NAMESPACE, sign_with)
        person.verify(envelope, store.keyring(), NAMESPACE, clock.now())
        body["envelope"] = envelope
    return store.ledger.append(REQUEST, body).index


def _reseal(search: _Search, found: Plan, force: bool, on_event: Callable[..., None]) -> str | None:
    """Digest of the dataset record without the rows, made with the profile of the newest."""
    definition = search.datasets[-1].statement.predicate.buildDefinition
    profile = definition.internalParameters.get("profile")
    pipeline = Pipeline(search.project, search.store, profile, on_event=on_event)
    try:
        pipeline.run(until=STAGE)
    except WorkbenchError as refusal:
        if not force:
            refusal.next_step = "no key was destroyed; clear the reason and repeat, or force it"
            raise
    new = pipeline.records.get(STAGE)
    if new and snapshots_of(new) & set(found.snapshots):
        raise RunError("The new snapshot still holds the rows; no key was destroyed.")
    return new.digest if new else None


def _about(store: Store, kind: str, asked: Plan) -> list[Entry]:
    key = [asked.column, list(asked.digests)]
    return [e for e in store.ledger.entries(kind) if [e.body["column"], e.body["digests"]] == key]


def _unfinished(store: Store, asked: Plan) -> Entry | None:
    """The request for these subjects that has no tombstone."""
    ended = {entry.body["request"] for entry in _about(store, TOMBSTONE, asked)}
    return next((e for e in _about(store, REQUEST, asked) if e.index not in ended), None)


# -- rows -----------------------------------------------------------------------------------


def _files(record: Record, name: str) -> list[str]:
    """The sealed files of a record, encrypted or not, whose path begins so."""
    return [one.name for one in record.statement.subject if one.name.startswith(name)]
