"""The store: records that never change, and the ledger that says how they came about.

::

    store.json            id, track, public key; its digest is entry 0 of the ledger
    records/<stage>/<UTC time>-<12 hex of the statement's digest>/
    ledger/               entries.jsonl, checkpoint; people's keys and statements are entries
    imports/              what came with imported packs: one file per pack
    scratch/<run id>/     a run in progress, locked while its owner lives
    index.sqlite          a cache, rebuilt at will

Private keys live outside: ``$WORKBENCH_KEYS`` or ``~/.local/share/workbench/keys``, in a folder
named by the store's id. A kernel sees neither.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError, IntegrityError, RunError, WorkbenchError
from workbench.record import clock, durable, keyring, person, rotation
from workbench.record.cipher import Cipher
from workbench.record.digest import canonical, read_canonical
from workbench.record.keyring import Keyring
from workbench.record.ledger import Entry, Ledger, listed
from workbench.record.sealed import Record, make_ready, move_in, take_back
from workbench.record.signing import EngineKey, keyid
from workbench.record.statement import SEALS, Statement, statement_digest

FOLDERS = ("records", "imports", "scratch")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass
class Run:
    """A run in progress: work in ``folder``, what shall be sealed in ``record``."""

    id: str
    stage: str
    folder: Path
    record: Path
    lock: int

    def close(self) -> None:
        """Let go of the lock; whoever starts the next run clears this one away."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


class Store:
    """Records and their ledger in one folder. Opening reads; writing needs the private key."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path).absolute()
        try:
            facts = read_canonical((self.path / "store.json").read_bytes())
            self.id, self.track = str(facts["id"]), str(facts["track"])
            self.first_keys = [str(pem) for pem in facts["public_keys"]]
            _ = [keyid(pem) for pem in self.first_keys]
        except FileNotFoundError as error:
            next_step = "workbench run makes one"
            raise InputError("no store here", where=self.path, next_step=next_step) from error
        except (WorkbenchError, KeyError, TypeError) as error:
            raise IntegrityError("store.json was changed", where=self.path, given=error) from error
        self.keys = _keys_folder(self.id)

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store at a path; changes nothing. InputError when there is none."""
        return cls(path)

    @classmethod
    def create(cls, path: Path, track: str) -> Store:
        """Make a store and its key; appears at once and whole. InputError when the path is taken."""
        path, store_id = Path(path).absolute(), secrets.token_hex(8)
        staged, keys = path.with_name(f".{path.name}.{store_id}"), _keys_folder(store_id)
        with disk("make a store", path):
            keys.mkdir(parents=True, mode=0o700)
            key = EngineKey.create(keys / "engine.pem")
            for name in FOLDERS:
                (staged / name).mkdir(parents=True)
            facts = {"version": 1, "id": store_id, "track": track, "created": clock.now()}
            data = canonical({**facts, "public_keys": [key.public_pem]})
            durable.create(staged / "store.json", data, 0o444)
            ledger = Ledger(staged / "ledger", key, origin=_origin(store_id), seen=keys / "seen")
            sha256 = hashlib.sha256(data).hexdigest()
            ledger.create().append("store", {"id": store_id, "track": track, "sha256": sha256})
            try:
                os.rename(staged, path)
            except OSError as error:
                durable.remove_tree(staged)
                raise InputError("no store can be made there", where=path, given=error) from error
            durable.sync(path.parent)
        return cls(path)

    @classmethod
    def open_or_create(cls, path: Path, track: str) -> Store:
        """The store at a path, made when there is none; InputError when it is of another track."""
        if not (Path(path) / "store.json").exists():
            try:
                return cls.create(path, track)
            except InputError:
                if not (Path(path) / "store.json").exists():  # else somebody else was first
                    raise
        store = cls(path)
        if store.track != track:
            what = "a store of another track"
            raise InputError(what, where=path, expected=track, given=store.track)
        return store

    @property
    def public_keys(self) -> list[str]:
        """The engine's keys (PEM), the one in force last."""
        return rotation.introduced(self.path / "ledger", self.first_keys)

    @property
    def key(self) -> EngineKey:
        """The private key in force; InputError when it is not on this host."""
        key, known = EngineKey.load(self.keys / "engine.pem"), self.public_keys
        if key.public_pem not in known:
            raise IntegrityError("the private key is not this store's", where=self.keys)
        return key if key.public_pem == known[-1] else rotation.finish(self.keys, known[-1])

    @property
    def ledger(self) -> Ledger:
        """The ledger, for writing where the key is, else for reading."""
        return self.ledger_for(
            self.first_keys, self.key if (self.keys / "engine.pem").exists() else None
        )

    def ledger_for(self, public_keys: Sequence[str], key: EngineKey | None = None) -> Ledger:
        """The ledger as whoever trusts these keys sees it."""
        facts = {"origin": _origin(self.id), "public_keys": public_keys, "seen": self.keys / "seen"}
        return Ledger(self.path / "ledger", key, **facts)

    @cached_property
    def cipher(self) -> Cipher:
        """Encryption of rows with keys of this store."""
        return Cipher(self.keys)

    def keyring(self) -> Keyring:
        """The version of people's keys in force; before the first, an empty one to add to."""
        return self._keyring() or Keyring()

    def _keyring(self) -> Keyring | None:
        found = keyring.versions(self.ledger.entries("keyring"))
        return found[-1][1] if found else None

    def update_keyring(self, version: Keyring, key_path: Path) -> Keyring:
        """Sign a version with a keyholder's SSH key and enter it, if it follows the last one."""
        envelope = person.sign(version.data(), keyring.NAMESPACE, key_path)
        with disk("update the keyring", self.path), self.making():  # one keyholder at a time
            signed = keyring.follow(envelope, self._keyring(), clock.now())
            body = {"number": signed.number, "sha256": signed.sha256, "envelope": envelope}
            self.ledger.append("keyring", body)
        return signed

    # a run, from start to record

    def begin(self, stage: str, who: str, about: dict[str, Any] | None = None) -> Run:
        """Start a run: clears away dead ones, locks a scratch folder, and says so in the ledger."""
        if not _NAME.fullmatch(stage):
            raise InputError("not a stage name", given=stage, expected="letters, digits, _ . -")
        self.recover()
        with disk("start a run", self.path), self.making():
            run_id = f"{clock.compact(clock.now())}-{secrets.token_hex(4)}"
            folder = self.path / "scratch" / run_id
            (folder / "record").mkdir(parents=True)
            run = Run(run_id, stage, folder, folder / "record", _hold(folder / "lock", os.O_CREAT))
            try:
                body = {"run": run_id, "stage": stage, "who": who, "about": about or {}}
                self.ledger.append("start", body)
            except BaseException:
                run.close()
                durable.remove_tree(folder)
                raise
        return run

    def publish(self, run: Run, statement: Statement) -> Record:
        """Seal what is in ``run.record``: all of it, or (RunError, IntegrityError) nothing.

        Fills in the statement's subject and run id. After it the run is over.
        """
        if statement.stage != run.stage:
            what = "the statement is of another stage"
            raise InputError(what, where=run.id, expected=run.stage, given=statement.stage)
        with disk("publish", run.record):
            data = statement.sealed(run.id, make_ready(run.record)).to_bytes()
            digest = statement_digest(data)
            name = f"{clock.compact(clock.now())}-{digest[:12]}"
            target = self.path / "records" / run.stage / name
            body = {"run": run.id, "stage": run.stage, "id": name, "digest": digest}
            body["outcome"] = statement.predicate.workbench_outcome
            try:
                with self.making():  # so that the key that seals is in force when it is entered
                    for seal, content in zip(SEALS, (data, self._sign(data)), strict=True):
                        durable.create(run.record / seal, content, 0o444)
                    self.ledger.append("record", body, act=lambda: move_in(run.record, target))
            except BaseException:
                if digest not in self.listed():  # else it was published before the interruption
                    take_back(target, run.record)
                raise
        self._clear(run)
        return Record.at(target)

    def _sign(self, data: bytes) -> bytes:
        return canonical(self.key.sign(data))

    def abandon(self, run: Run, reason: str) -> None:
        """Give a run up: the ledger keeps that and why, the scratch folder goes."""
        with disk("abandon a run", self.path):
            self.ledger.append("abandoned", {"run": run.id, "stage": run.stage, "reason": reason})
            self._clear(run)

    def _clear(self, run: Run) -> None:
        with self.making():
            durable.remove_tree(run.folder)
            run.close()

    def recover(self) -> list[str]:
        """Close the runs whose owner died; returns their ids.

        A record that was moved in but not yet entered is entered with ``recovered``, if it
        verifies; every other dead run is entered as abandoned.
        """
        with disk("recover", self.path), self.making():
            return self.close_dead()

    def close_dead(self) -> list[str]:
        """The same, for whoever holds ``making()``."""
        free = {run for run in unfinished(self.ledger.entries()) if self._is_dead(run)}
        # Read again: a run may have published and let go of its lock since.
        dead = {r: e for r, e in unfinished(self.ledger.entries()).items() if r in free}
        moved = self._moved_in(dead) if dead else {}
        for run, start in dead.items():
            lost = {"stage": start.body["stage"], "reason": "its engine died"}
            kind = "record" if run in moved else "abandoned"
            self.ledger.append(kind, {"run": run} | moved.get(run, lost))
        for folder in (self.path / "scratch").iterdir():
            if _RUN.fullmatch(folder.name) and self._is_dead(folder.name):
                durable.remove_tree(folder)
        return list(dead)

    def listed(self) -> set[str]:
        """Digests of all records that the ledger lists, imported ones included."""
        return {facts["digest"] for facts in listed(self.ledger.entries()).values()}

    def _is_dead(self, run: str) -> bool:
        try:
            os.close(_hold(self.path / "scratch" / run / "lock"))
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return True
        return True

    def _moved_in(self, runs: dict[str, Entry]) -> dict[str, dict[str, Any]]:
        """By run, the facts of records that are in place and verify."""
        from workbench.record.verify import verify_record

        found = {}
        for record in self.records():
            run = record.statement.run_id
            if run in runs and not verify_record(record, self.public_keys[-1:]):
                record.path.chmod(0o555)
                found[run] = {"stage": record.stage, "id": record.id, "digest": record.digest}
                found[run] |= {"outcome": record.outcome, "recovered": True}
        return found

    @contextmanager
    def making(self) -> Iterator[None]:
        """Held while runs are made or cleared, so that nobody sees a run half made."""
        (self.path / "scratch").mkdir(exist_ok=True)
        handle = os.open(self.path / "scratch", os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    # reading

    def records(self, stage: str | None = None) -> list[Record]:
        """All records, or a stage's, the oldest first by the claimed time."""
        found = [Record.at(path) for path in (self.path / "records").glob(f"{stage or '*'}/*")]
        return sorted(found, key=lambda record: (record.id, record.stage))

    def record(self, ref: str) -> Record:
        """The record by id, ``stage/id``, digest, or the beginning of one that fits no other."""
        names = {record: (record.id, record.ref, record.digest) for record in self.records()}
        found = [record for record, known in names.items() if ref in known]
        if not found and len(ref) >= 4:
            found = [r for r, known in names.items() if any(n.startswith(ref) for n in known)]
        if len(found) == 1:
            return found[0]
        raise InputError(
            "more than one record fits" if found else "no such record",
            where=self.path,
            given=ref,
            expected=", ".join(r.ref for r in found[:5]) or "an id, stage/id or digest",
            next_step="workbench ls shows all",
        )

    def forget(self, snapshot: str, reason: str) -> None:
        """Delete a snapshot's rows for good by destroying its key; the ledger says so first."""
        self.ledger.append("forgotten", {"snapshot": snapshot, "reason": reason})
        self.cipher.destroy(snapshot, reason)


def unfinished(entries: Sequence[Entry]) -> dict[str, Entry]:
    """Run → start entry, of runs that neither published nor were abandoned."""
    ended = {e.body.get("run") for e in entries if e.kind in ("record", "abandoned")}
    started = {e.body["run"]: e for e in entries if e.kind == "start"}
    return {run: entry for run, entry in started.items() if run not in ended}


def _keys_folder(store_id: str) -> Path:
    base = os.environ.get("WORKBENCH_KEYS") or "~/.local/share/workbench/keys"
    return Path(base).expanduser() / store_id


def _origin(store_id: str) -> str:
    return f"workbench/{store_id}"


@contextmanager
def disk(doing: str, where: Path) -> Iterator[None]:
    """Tell the person about a full or broken disk (RunError) instead of a traceback."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"could not {doing}: {error.strerror or error}",
            where=error.filename or where,
            next_step="nothing was recorded by halves; free space or fix the folder, run again",
        ) from error


def _hold(path: Path, create: int = 0) -> int:
    """An exclusive lock that lasts as long as this process; BlockingIOError when it is taken."""
    handle = os.open(path, os.O_RDWR | create, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(handle)
        raise
    return handle
