"""A sealed record, and the steps that seal one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from workbench.errors import InputError, IntegrityError
from workbench.record import durable
from workbench.record.digest import Entry, entries, scan
from workbench.record.statement import SEALS, ResourceDescriptor, Statement, statement_digest


@dataclass(frozen=True)
class Record:
    """A sealed record. Reading it does not verify it; ``verify_record`` does."""

    id: str
    stage: str
    path: Path
    digest: str

    @classmethod
    def at(cls, path: Path) -> Record:
        """The record in a folder; IntegrityError when it has no statement."""
        try:
            data = (path / SEALS[0]).read_bytes()
        except OSError as error:
            raise IntegrityError("a record without a statement", where=path) from error
        return cls(path.name, path.parent.name, path, statement_digest(data))

    @cached_property
    def statement(self) -> Statement:
        """The statement; IntegrityError when it can't be read."""
        return Statement.parse((self.path / SEALS[0]).read_bytes())

    @property
    def outcome(self) -> str:
        """``succeeded`` or ``failed``."""
        return self.statement.predicate.workbench_outcome

    @property
    def ref(self) -> str:
        """``stage/id``."""
        return f"{self.stage}/{self.id}"

    def file(self, path: str) -> Path:
        """A sealed file by its path in the record; InputError when it is none."""
        self._subject(path)
        return self.path / path

    def encrypted(self, path: str) -> dict[str, str] | None:
        """``{snapshot, plaintext}`` of a file that is encrypted, else None."""
        return self.statement.predicate.workbench_encrypted.get(path)

    def as_input(self, path: str) -> ResourceDescriptor:
        """A file of this record as the input of another."""
        sealed = self.encrypted(path)
        return ResourceDescriptor(
            name=path,
            digest=dict(self._subject(path).digest),
            uri=f"record:{self.ref}/{path}",
            annotations={"record": self.digest}
            | ({"plaintext": sealed["plaintext"]} if sealed else {}),
        )

    def _subject(self, path: str) -> ResourceDescriptor:
        held = {subject.name: subject for subject in self.statement.subject}
        if path in held:
            return held[path]
        names = ", ".join(held)
        raise InputError("no such file in the record", where=self.ref, given=path, expected=names)


def make_ready(folder: Path) -> list[Entry]:
    """Read-only, flushed and hashed: the entries of a folder that is about to be sealed.

    IntegrityError for what can't be sealed; a hard link is, as the other name could change it.
    """
    for name in SEALS:  # left by an attempt that failed, or planted
        (folder / name).unlink(missing_ok=True)
    paths, refused = scan(folder)
    refused += [(p, "a hard link") for p in paths if os.lstat(folder / p).st_nlink > 1]
    for path, reason in refused:
        raise IntegrityError(
            f"a record can't hold {reason}",
            where=folder / path,
            next_step="copy the file instead, or leave no folder empty",
        )
    for path in paths:
        mode = os.lstat(folder / path).st_mode
        os.chmod(folder / path, 0o555 if mode & 0o111 else 0o444)
    durable.sync_tree(folder)
    return entries(folder, paths)


def move_in(source: Path, target: Path) -> None:
    """Into place in one step; a rename never replaces a folder that holds something."""
    _chmod_folders(source, 0o555)
    source.chmod(0o755)  # POSIX: a folder that gets another parent must be writable
    target.parent.mkdir(exist_ok=True)
    durable.sync(source)
    os.rename(source, target)
    target.chmod(0o555)
    durable.sync(target.parent)


def take_back(target: Path, source: Path) -> None:
    """Undo a move whose entry could not be written, so that the run can try again."""
    if target.exists() and not source.exists():
        target.chmod(0o755)
        os.rename(target, source)
    _chmod_folders(source, 0o755)


def _chmod_folders(root: Path, mode: int) -> None:
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        folder.chmod(mode)
