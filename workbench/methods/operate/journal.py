"""The decision log as the gateway writes it: a line, or no answer."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...policy.serving import Decision
from ...record import decisions
from ...record.digest import canonical

LINES = 50_000
"""Of a file; then the next begins."""


class Journal:
    """The one writer of a log; it begins a file of its own and goes on from the line before.

    InputError where another process writes there. `torn` names a file whose last line a writer
    before this one could not end.
    """

    def __init__(self, folder: Path, lines: int = LINES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.most, self.torn = folder, lines, ""
        self._lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InputError(
                "Another gateway writes this decision log.",
                where=folder,
                next_step="workbench serve --status",
            ) from error
        self._previous, self._file, self._place, self._size = self._last(), -1, 0, 0

    def _last(self) -> str:
        """The head of the log that was left; an end without a line is remembered as torn."""
        known = decisions.files(self.folder)
        self._next = int(re.sub(r"\D", "", known[-1].name)) + 1 if known else 0
        for path in reversed(known):
            whole, rest = decisions.lines(path)
            self.torn = self.torn or (path.name if rest else "")
            if whole:
                return decisions.head(whole[-1])
        return decisions.FIRST

    def write(self, **said: Any) -> str:
        """Append what was decided; returns the decision's name, `FILE:NUMBER`.

        OSError where it can't be written; then the log is as it was before.
        """
        if self._file < 0 or self._place >= self.most:
            self._begin()
        line = Decision(number=self._place, previous=self._previous, **said)
        data = canonical(line.model_dump(mode="json"))
        self._append(data + b"\n")
        self._previous, self._place = decisions.head(data), self._place + 1
        return f"{self._next - 1:06d}:{line.number}"

    def _begin(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        opened = os.open(self.folder / f"{self._next:06d}.jsonl", flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._place, self._size = opened, 0, 0
        self._next += 1

    def _append(self, data: bytes) -> None:
        try:
            written = os.write(self._file, data)
            if written != len(data):
                raise OSError("the disk took a part of a line")
        except OSError:
            os.ftruncate(self._file, self._size)  # or the part would end in the middle of the next
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the file and let another write."""
        for one in (self._file, self._lock):
            if one >= 0:
                os.close(one)
        self._file = self._lock = -1
