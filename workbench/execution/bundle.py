"""Candidate bundles as they stand in a store: found, named by digest, and held against their bytes.

A bundle is the folder `outputs/bundle` in the record of the deciding stage. What goes into it is
written by `freezing`. Its digest, by which a release speaks of it, is the SHA-256 of
`manifest.json`, which names every other file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..record.digest import read_canonical
from ..record.ledger import listed
from ..record.lineage import Graph
from ..record.manifest import MANIFEST, check, digest_of  # noqa: F401  whoever speaks of bundles
from ..record.store import Record, Store
from .inputs import OUTPUTS

STAGE, FOLDER = "50_candidate", "bundle"
VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """A frozen candidate: its record, and the bundle in it."""

    record: Record
    digest: str
    """SHA-256 of its manifest."""
    manifest: dict[str, Any]
    folder: Path

    @property
    def usecase(self) -> str:
        return self.manifest["usecase"]

    @property
    def number(self) -> int:
        """The how many-th of its use case in the store it was frozen in; the first is 1."""
        return self.manifest["number"]

    @property
    def records(self) -> dict[str, str]:
        """Stage -> digest of each record that it was decided from."""
        return {one["stage"]: one["digest"] for one in self.manifest["records"]}

    def read(self, path: str) -> Any:
        """A JSON file of the bundle. InputError when it has none of that name."""
        if path not in {one["path"] for one in self.manifest["files"]}:
            raise InputError("The bundle has no such file.", where=self.record.ref, given=path)
        return json.loads((self.folder / path).read_bytes())


def candidates(store: Store, usecase: str | None = None) -> list[Candidate]:
    """The candidates that the ledger lists, the oldest first; all use cases without one named.

    What an earlier version of the workbench froze is none: its manifest says too little.
    """
    found = []
    for facts in listed(store.ledger.entries()).values():
        path = store.path / "records" / facts["stage"] / facts["id"]
        folder = path / OUTPUTS / FOLDER
        if facts["stage"] != STAGE or not (folder / MANIFEST).is_file():
            continue
        manifest = read_canonical((folder / MANIFEST).read_bytes())
        if manifest.get("version") == VERSION and usecase in (None, manifest["usecase"]):
            record = Record(facts["id"], STAGE, path, facts["digest"])
            found.append(Candidate(record, digest_of(folder), manifest, folder))
    return found


def find(store: Store, ref: str | None = None, usecase: str | None = None) -> Candidate:
    """The candidate by (the beginning of) its bundle's digest, its record's id, `stage/id` or
    digest; the newest without `ref`. InputError when none fits, or more than one does."""
    known = candidates(store, usecase)
    found = [one for one in known if _fits(ref, one)] if ref else known[-1:]
    if len(found) == 1:
        return found[0]
    some = ", ".join(f"{one.digest[:12]} ({one.record.ref})" for one in (found or known)[-5:])
    raise InputError(
        "More than one candidate fits." if found else "There is no such candidate.",
        where=store.path,
        given=ref,
        expected=some or "a candidate: a run in which every blocking gate passed",
        next_step=f"workbench ls --stage {STAGE} shows all",
    )


def _fits(ref: str, one: Candidate) -> bool:
    names = (one.digest, one.record.id, one.record.ref, one.record.digest)
    return ref in names or (len(ref) >= 4 and any(name.startswith(ref) for name in names))


def lineage(store: Store, candidate: Candidate) -> list[Record]:
    """The candidate's record, then all that it was decided from and their ancestors that are in
    this store, the oldest first."""
    graph = Graph.from_store(store)
    wanted = {candidate.record.digest, *candidate.records.values()}
    wanted |= {digest for one in tuple(wanted) for digest in graph.ancestors(one)}
    wanted.discard(candidate.record.digest)
    held = [graph.records[digest] for digest in wanted if digest in graph.records]
    return [candidate.record, *sorted(held, key=lambda record: (record.id, record.stage))]
