"""The authority: what an environment may answer with now, said for some seconds at a time (E5).

It reads ledger and records with public keys alone and signs leases with the server's key. A release
that was deployed is granted while all of this holds, and only for the next `LEASE_S` seconds:

1. the ledger verifies, and the entry that put the release there is signed by one who may;
2. the release is registered, and every standing gate passes now; after it was taken back, under
   approvals that are younger;
3. its bytes, and those of its base, are what was sealed;
4. the code that validated it is the code that is installed here, and `operations.yaml` in it is
   the one that is served with;
5. the declared environment has not expired, and the server's key is not revoked.

What fails is a lease without that release, and `why`.
"""

from __future__ import annotations

import hashlib
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...errors import WorkbenchError
from ...policy.deployment import Deployment, State
from ...policy.serving import LEASE_S, NAMESPACE, Grant, Lease
from ...record import clock, person
from ...record.digest import canonical, digest
from ...record.store import Record, Store
from ...record.verify import verify_record
from .. import base_source, bundle, capture
from ..bundle import Candidate
from ..environment import declared
from ..facts import BASE
from ..isolation import PACKAGE
from ..project import Project
from ..release import deployments
from . import deploying, places

RENEW_S, LOOK_S = 5.0, 0.2
REJUDGE_S = 15
"""Seconds after which gates are judged again though the ledger did not grow: approvals expire."""
MODEL = "outputs/model"
Judged = dict[tuple[Any, ...], list[str]]


def salt(store: Store, usecase: str, environment: str) -> str:
    """Of the stable hash: the same for as long as there is the store."""
    return digest([store.id, usecase, environment])


def lease(
    project: Project, store: Store, environment: str, salt: str, now: str | None = None,
    judged: Judged | None = None, held: State | None = None,
) -> Lease:  # fmt: skip
    """What the environment may answer with from `now` on. IntegrityError when the ledger does not
    verify or a deployment does not count.

    `judged` keeps verdicts while nothing can change them; `held` is what is to serve where no
    ledger entry says so, as in pre-production.
    """
    now, head = now or clock.now(), store.ledger.head()
    held = held or deployments.state(store, project.usecase.id, environment)
    judged = {} if judged is None else judged
    grants: dict[str, Grant] = {}
    around = list(_surroundings(project, store, environment, now))
    why = list(around)
    for arm, one in (("stable", held.stable), ("canary", held.canary)):
        if one is None:
            continue
        key = head.root, one.entry, int(clock.parse(now).timestamp() // REJUDGE_S)
        try:
            candidate = bundle.find(store, one.bundle, one.usecase)
            if key not in judged:
                judged[key] = list(deploying.faults(project, store, one, held, now))
            faults = [*around, *judged[key], *_bytes(project, store, candidate, one)]
            base = base_of(project, store, candidate)
        except (WorkbenchError, OSError) as error:
            faults = [" ".join(str(error).split())]
        if faults:
            why += [f"{arm} {one.bundle[:12]}: {fault}" for fault in faults if fault not in around]
        else:
            grants[arm] = Grant(bundle=one.bundle, folder=str(candidate.folder), base=str(base),
                                entry=one.entry, share=one.share or 1.0)  # fmt: skip
    until = clock.text(clock.parse(now) + timedelta(seconds=LEASE_S))
    return Lease(usecase=project.usecase.id, environment=environment, issued=now, expires=until,
                 ledger=head.size, salt=salt, why=why, **grants)  # fmt: skip


def _surroundings(project: Project, store: Store, environment: str, now: str) -> Iterator[str]:
    """What of the place itself stands against serving."""
    named = declared(project, environment)
    if named and named.expired(clock.parse(now)):
        yield f"the environment {environment} expired: {named.expires}"
    key = places.served(project, environment) / places.SERVER_KEY
    ring = store.keyring()
    if key.exists():
        public = person.public_line(key)
        known = {person.bare(k.public): k for someone in ring.persons for k in someone.keys}
        if public in known and (gone := known[public].refusal(clock.parse(now), NAMESPACE)):
            yield f"the server's key does not count: {gone}"


def base_of(project: Project, store: Store, candidate: Candidate) -> Path:
    """The base model's folder: as 15_base sealed it, where the candidate stands on such a record."""
    record = _base_record(store, candidate)
    return record.path / MODEL if record else base_source.locate(project.usecase.base, project.root)


def _base_record(store: Store, candidate: Candidate) -> Record | None:
    wanted = candidate.records.get(BASE)
    held = (Record.at(path) for path in (store.path / "records" / BASE).glob("*"))
    return next((one for one in held if one.digest == wanted), None) if wanted else None


def _bytes(
    project: Project, store: Store, candidate: Candidate, one: Deployment
) -> Iterator[str]:  # fmt: skip
    """What of the release's bytes is not as sealed, validated or served with."""
    if candidate.digest != one.bundle:
        yield "its manifest was changed"
    yield from (f"its bytes: {problem}" for problem in _problems(candidate.folder,
                                                                 _stamp(candidate.folder)))  # fmt: skip
    base = _base_record(store, candidate)
    if base:
        found = _unsealed(base.path, _stamp(base.path), tuple(store.public_keys))
        yield from (f"its base: {problem}" for problem in found)
    archive = candidate.folder / "inference/workbench.zip"
    if _code(archive, _stamp(archive.parent)) != _running(_stamp(PACKAGE)):
        yield ("another code validated it than is installed here: install the workbench that is "
               "in its inference/workbench.zip, or validate a candidate with this one")  # fmt: skip
    asked = candidate.folder / "operations.json"
    plain = project.operations and canonical(project.operations.plain())
    if not asked.is_file() or asked.read_bytes() != plain:
        yield "operations.yaml here is not the one that was approved with it"


Stamp = tuple[tuple[str, int, int], ...]


def _stamp(folder: Path) -> Stamp:
    """What tells that no file below was written since: names, sizes and times."""
    held = sorted(path for path in folder.rglob("*")
                  if path.is_file() and "__pycache__" not in path.parts)  # fmt: skip
    return tuple((str(path), (s := path.stat()).st_mtime_ns, s.st_size) for path in held)


@lru_cache(16)
def _problems(folder: Path, stamp: Stamp) -> list[str]:
    return [str(one) for one in bundle.check(folder)]


@lru_cache(16)
def _unsealed(record: Path, stamp: Stamp, public_keys: tuple[str, ...]) -> list[str]:
    return [str(one) for one in verify_record(record, public_keys)]


@lru_cache(16)
def _code(archive: Path, stamp: Stamp) -> str:
    """The digest of the package in an archive, as `capture.package_digest` takes it."""
    with zipfile.ZipFile(archive) as held:
        files = {name.partition("/")[2]: held.read(name) for name in held.namelist()}
    return digest({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})


@lru_cache(4)
def _running(stamp: Stamp) -> str:
    """The digest of the code as it lies here now: a worker that is started anew runs that."""
    return capture.package_digest.__wrapped__()


class Authority:
    """Writes leases for one environment into its folder, anew all the time."""

    def __init__(
        self, project: Project, store: Store, environment: str, folder: Path,
        held: State | None = None,
    ) -> None:  # fmt: skip
        self.project, self.store, self.environment, self.held = project, store, environment, held
        self.folder = folder
        self._salt = salt(store, project.usecase.id, environment)
        self._judged: Judged = {}
        self._size = 0

    def once(self) -> Lease:
        """Sign and write a lease. What can't be read or does not verify is a lease that grants
        nothing; only a folder that can't be written raises."""
        try:
            found = lease(self.project, self.store, self.environment, self._salt,
                          judged=self._judged, held=self.held)  # fmt: skip
        except Exception as error:  # whatever it is, it grants nothing
            found = self._nothing(" ".join(str(error).split()) or type(error).__name__)
        self._size = found.ledger
        while len(self._judged) > 64:
            self._judged.pop(next(iter(self._judged)))
        envelope = person.sign(found.model_dump(mode="json"), NAMESPACE,
                               self.folder / places.SERVER_KEY)  # fmt: skip
        places.write(self.folder / places.LEASE, envelope)
        return found

    def run(self, stop: threading.Event) -> None:
        """Until `stop`: a lease every few seconds, and at once when the ledger grew. Never raises:
        a lease that can't be written ends by itself."""
        written, seen = 0.0, None
        while not stop.is_set():
            now, there = time.monotonic(), self._seen()
            if there != seen or now - written >= RENEW_S:
                with suppress(Exception):
                    self.once()
                    written, seen = now, there
            stop.wait(LOOK_S)

    def _seen(self) -> tuple[int, ...] | None:
        """What changes whenever an entry counts."""
        with suppress(OSError):
            found = (self.store.path / "ledger" / "checkpoint").stat()
            return found.st_mtime_ns, found.st_ino, found.st_size
        return None

    def _nothing(self, why: str) -> Lease:
        now = clock.now()
        until = clock.text(clock.parse(now) + timedelta(seconds=LEASE_S))
        return Lease(usecase=self.project.usecase.id, environment=self.environment, issued=now,
                     expires=until, ledger=self._size, salt=self._salt, why=[why])  # fmt: skip
