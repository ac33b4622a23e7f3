"""The ledger: what happened in a store, in order, append-only and signed.

``entries.jsonl`` holds one canonical JSON line per entry; ``checkpoint`` is a C2SP note over the
Merkle root of all lines. The rules:

- An entry counts when a signed checkpoint covers it, and not before.
- Line first, then checkpoint. A line whose checkpoint was never signed (the process died between)
  never becomes an entry: its bytes are set aside inside a ``set-aside`` entry that reports it.
  More than one such line is no crash: it is refused, as is a ledger without a checkpoint.
- Before a line is added, all lines must give the signed root: a broken ledger is never extended.
- Each line carries the hash of the line before, only so that verification can name the one at
  fault; the tree is what is signed.
- The host that signs remembers the last checkpoint beside its key. A ledger that does not
  extend it was rolled back (RFC 6962 §2.1.2) and is refused there. Other hosts can't see a whole
  store being rolled back; a pack or a checkpoint kept elsewhere shows it.
- Order is the ledger's. A clock that jumps back is written down (``clock_back_s``) and flagged.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workbench.errors import InputError, IntegrityError, RunError, WorkbenchError
from workbench.record import clock, durable, merkle, rotation
from workbench.record.digest import canonical, read_canonical
from workbench.record.merkle import Checkpoint
from workbench.record.problem import Problem
from workbench.record.signing import EngineKey, public_raw, verify_raw

NAMES = {"entries.jsonl", "checkpoint"}


@dataclass(frozen=True)
class Entry:
    """One entry: place, kind, body, claimed time, and leaf hash in hex."""

    index: int
    kind: str
    body: dict[str, Any]
    time: str
    hash: str
    clock_back_s: float = 0
    """By how much the clock stood before the entry before, in seconds."""

    @classmethod
    def parse(cls, line: bytes) -> Entry:
        """Read a line; IntegrityError unless it is canonical and complete."""
        data = read_canonical(line)
        try:
            facts = (data[name] for name in ("index", "kind", "body", "time"))
            return cls(*facts, merkle.leaf_hash(line).hex(), data.get("clock_back_s", 0))
        except (KeyError, TypeError, AttributeError) as error:
            raise IntegrityError("not a ledger entry", given=line[:80]) from error


@dataclass(frozen=True)
class Signed:
    """The lines that a checkpoint covers, their leaf hashes, and the bytes after them."""

    note: str
    checkpoint: Checkpoint
    lines: list[bytes]
    tail: bytes

    @cached_property
    def leaves(self) -> list[bytes]:
        return [merkle.leaf_hash(line) for line in self.lines]

    @cached_property
    def entries(self) -> list[Entry]:
        return [Entry.parse(line) for line in self.lines]

    def of(self, kind: str) -> list[Entry]:
        """The entries of a kind; the others are not parsed, so that a long ledger costs little."""
        mark = f'"kind":"{kind}"'.encode()  # as RFC 8785 writes it
        return [e for line in self.lines if mark in line and (e := Entry.parse(line)).kind == kind]


class Ledger:
    """A ledger in a folder. Without a key it can only be read."""

    def __init__(
        self,
        folder: Path,
        key: EngineKey | None = None,
        *,
        origin: str,
        public_keys: Sequence[str] = (),
        seen: Path | None = None,
        now: Callable[[], str] = clock.now,
    ) -> None:
        self.folder = Path(folder)
        self.origin = origin
        self._key = key
        self._public = tuple(public_keys) or ((key.public_pem,) if key else ())
        self._seen = seen
        self._now = now
        self._entries = self.folder / "entries.jsonl"
        self._checkpoint = self.folder / "checkpoint"

    def create(self) -> Ledger:
        """Start an empty ledger with a signed checkpoint over nothing."""
        self.folder.mkdir(parents=True)
        durable.create(self._entries, b"")
        durable.create(self._checkpoint, self._note([]).encode())
        return self

    def append(
        self, kind: str, body: dict[str, Any], act: Callable[[], None] | None = None
    ) -> Entry:
        """Add and sign an entry; safe between processes.

        ``act`` is done under the lock just before the line is written; if it raises, nothing is
        written. Raises IntegrityError when the ledger does not verify, OSError on a full disk.
        """
        if self._key is None:
            raise InputError("no engine key here: the ledger can only be read", where=self.folder)
        with self.locked(writing=True):
            lines = self._repaired()
            line = self._line(lines, kind, body)
            if act:
                act()
            return self._commit(lines, line)

    def signed(self) -> Signed:
        """The signed lines and their checkpoint; IntegrityError when they do not verify."""
        with self.locked():
            return self._trusted()

    def entries(self, kind: str | None = None) -> list[Entry]:
        """The signed entries in order; IntegrityError when the ledger does not verify."""
        signed = self.signed()
        return signed.entries if kind is None else signed.of(kind)

    def head(self) -> Checkpoint:
        """The verified checkpoint."""
        return self.signed().checkpoint

    def proof(self, index: int) -> list[bytes]:
        """The audit path of an entry to the root of ``head()``."""
        return merkle.inclusion_proof(index, self.signed().leaves)

    def verify(self) -> list[Problem]:
        """Everything that does not verify, named by line where that is possible."""
        with self.locked():
            strays = sorted({path.name for path in self.folder.iterdir()} - NAMES)
            problems = [Problem(f"ledger/{name}", "not a file of the ledger") for name in strays]
            try:
                found = self._signed()
            except (WorkbenchError, OSError) as error:
                return [*problems, Problem("ledger/checkpoint", _reason(error))]
            problems += self._problems(found)
            if found.tail:
                where = f"ledger/entries.jsonl, line {found.checkpoint.size + 1}"
                problems += [Problem(where, "not signed: added from outside, or left by a crash")]
            return problems

    @contextmanager
    def locked(self, writing: bool = False) -> Iterator[None]:
        """Hold the ledger's lock: shared for reading, alone for writing."""
        try:
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise IntegrityError("the ledger is missing", where=self.folder) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if writing else fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def sign_again(self) -> None:
        """A checkpoint over the same entries, with the key in force."""
        with self.locked(writing=True):
            self._sign(self._repaired())

    # reading

    def _signed(self) -> Signed:
        """The lines split at the checkpoint's size, the checkpoint's signature verified."""
        note = self._checkpoint.read_text(encoding="utf-8")
        *whole, rest = self._entries.read_bytes().split(b"\n")
        checkpoint = self._opened(note, whole)
        tail = b"".join(line + b"\n" for line in whole[checkpoint.size :]) + rest
        return Signed(note, checkpoint, whole[: checkpoint.size], tail)

    def _opened(self, note: str, lines: list[bytes]) -> Checkpoint:
        """The checkpoint in a note, signed with the key that was in force over its lines."""
        size = Checkpoint.parse(merkle.parse_note(note)[0]).size
        known = rotation.links(lines[:size])
        return open_checkpoint(note, self.origin, rotation.heads(known, size, self._public))

    def _trusted(self) -> Signed:
        found = self._signed()
        for problem in self._problems(found):
            raise IntegrityError(
                problem.what,
                where=self.folder.parent / problem.where,
                expected=problem.expected or None,
                given=problem.found or None,
                next_step="workbench verify lists everything that does not verify",
            )
        return found

    def _problems(self, found: Signed) -> Iterator[Problem]:
        if merkle.root(found.leaves) != found.checkpoint.root:
            yield from _at_fault(found.lines, found.checkpoint.size)
        yield from self._rolled_back(found)

    def _rolled_back(self, found: Signed) -> Iterator[Problem]:
        """Against the checkpoint that this host remembers, if it is the one that signs."""
        if not self._seen or not self._seen.exists():
            return
        now = found.checkpoint
        with suppress(IntegrityError):  # signed with a key that these lines don't introduce
            seen = self._opened(self._seen.read_text(), found.lines)
            if seen == now:  # the root over these very lines was computed a moment ago
                return
            if seen.size <= now.size and merkle.root(found.leaves[: seen.size]) == seen.root:
                return
        yield Problem(
            "ledger/checkpoint",
            "the ledger was rolled back: it does not extend what this host last signed",
            expected=f"what is kept in {self._seen}",
            found=f"{now.size} entries",
        )

    # writing

    def _repaired(self) -> list[bytes]:
        """The lines to build on; a crash's unsigned line now stands inside a signed report."""
        found = self._trusted()
        known = rotation.links(found.lines)
        if known and known[-1].new != self._key.public_pem:
            raise RunError("the engine's key was rotated a moment ago", next_step="run it again")
        if not found.tail:
            return found.lines
        if b"\n" in found.tail[:-1]:
            raise IntegrityError(
                "several lines after the signed ones: no crash leaves more than one",
                where=self._entries,
                expected=f"{found.checkpoint.size} lines",
                next_step="an older checkpoint was put back, or lines were added: compare backups",
            )
        line = self._line(found.lines, "set-aside", {"tail": base64.b64encode(found.tail).decode()})
        lines = [*found.lines, line]
        durable.replace(self._entries, b"".join(item + b"\n" for item in lines))
        self._sign(lines)
        return lines

    def _line(self, lines: list[bytes], kind: str, body: dict[str, Any]) -> bytes:
        data = {"index": len(lines), "kind": kind, "body": body, "time": self._now()}
        data["previous"] = merkle.leaf_hash(lines[-1]).hex() if lines else ""
        if lines:
            last = clock.parse(Entry.parse(lines[-1]).time)
            back = (last - clock.parse(data["time"])).total_seconds()
            data |= {"clock_back_s": back} if back > 0 else {}
        return canonical(data)

    def _commit(self, lines: list[bytes], line: bytes) -> Entry:
        """Line, then checkpoint. Until the checkpoint is in place a failure undoes the line."""
        before = self._entries.stat().st_size
        try:
            durable.append(self._entries, line + b"\n")
            self._sign([*lines, line])
        except BaseException:
            if Checkpoint.parse(merkle.parse_note(self._checkpoint.read_text())[0]).size == len(
                lines
            ):
                os.truncate(self._entries, before)
            raise
        return Entry.parse(line)

    def _sign(self, lines: list[bytes]) -> None:
        note = self._note(lines).encode()
        durable.replace(self._checkpoint, note)
        if self._seen:
            with suppress(OSError):  # costs the protection against rolling back, not the entry
                durable.replace(self._seen, note, 0o600)

    def _note(self, lines: list[bytes]) -> str:
        root = merkle.root([merkle.leaf_hash(line) for line in lines])
        text = Checkpoint(self.origin, len(lines), root).text()
        public = public_raw(self._key.public_pem)
        return merkle.signed_note(text, self.origin, public, self._key.sign_raw(text.encode()))


def listed(entries: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """``stage/id`` → stage, id, digest and outcome of every record that entries bring in."""
    found: list[dict[str, str]] = []
    for entry in entries:
        found += [entry.body] if entry.kind == "record" else []
        found += entry.body["records"] if entry.kind == "import" else []
    return {f"{facts['stage']}/{facts['id']}": facts for facts in found}


def open_checkpoint(note: str, origin: str, public_keys: Sequence[str]) -> Checkpoint:
    """The checkpoint in a note; IntegrityError unless it is of this log and one of these keys."""
    text, name, named, signature = merkle.parse_note(note)
    checkpoint = Checkpoint.parse(text)
    if (name, checkpoint.origin) != (origin, origin):
        raise IntegrityError(
            "a checkpoint of another store", expected=origin, given=checkpoint.origin
        )
    for pem in public_keys:
        known = merkle.key_hash(name, public_raw(pem)) == named
        if known and verify_raw(pem, signature, text.encode()):
            return checkpoint
    raise IntegrityError("the checkpoint is not signed with a key that is known here")


def _at_fault(lines: list[bytes], size: int) -> Iterator[Problem]:
    """Which lines are to blame when the root is not the signed one."""
    problems = [p for i, line in enumerate(lines) for p in _line_problems(lines, i, line)]
    if len(lines) < size:
        counts = f"{size} entries", f"{len(lines)} entries"
        problems.append(Problem(f"ledger/entries.jsonl, entry {len(lines)}", "removed", *counts))
    if not problems:  # the chain holds up to the last line, so that one or all were rewritten
        problems.append(Problem(f"ledger/entries.jsonl, entry {len(lines) - 1}", "changed"))
    yield from problems


def _line_problems(lines: list[bytes], i: int, line: bytes) -> Iterator[Problem]:
    where = f"ledger/entries.jsonl, entry {i}"
    try:
        data = json.loads(line)
        if data["index"] != i:
            yield Problem(where, "removed or moved", expected=f"index {i}", found=data["index"])
        if i and data["previous"] != merkle.leaf_hash(lines[i - 1]).hex():
            yield Problem(f"ledger/entries.jsonl, entry {i - 1}", "changed")
    except (ValueError, KeyError, TypeError):
        yield Problem(where, "changed: it can't be read")


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"missing: {Path(error.filename).name}"
    return getattr(error, "what", str(error))
