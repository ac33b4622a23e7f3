"""The decision log: files of chained lines, and what of them does not fit together.

A folder holds `000000.jsonl`, `000001.jsonl`, …; a line is canonical JSON with `number`, which
counts from 0 in its file, and `previous`, the SHA-256 of the line before it, be that in the file
before. So each line binds all that came before it. The newest is bound by nothing yet, and a log
that was cut off behind a line is a shorter log: whoever must know keeps the head elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from workbench.errors import IntegrityError
from workbench.record.digest import read_canonical
from workbench.record.problem import Problem

FIRST = "0" * 64
TORN = "its last line has no end: the server died while it wrote, and no answer left it"


def files(folder: Path) -> list[Path]:
    """The files of a log, the oldest first."""
    return sorted(folder.glob("[0-9]*.jsonl"))


def lines(path: Path) -> tuple[list[bytes], bytes]:
    """The whole lines of a file, and what a writer left behind them."""
    *whole, rest = path.read_bytes().split(b"\n")
    return whole, rest


def head(line: bytes) -> str:
    """What the line after this one says as `previous`."""
    return hashlib.sha256(line).hexdigest()


def verify_log(folder: Path) -> list[Problem]:
    """Each line that was changed, taken out, put in or moved, and each that was never ended."""
    found: list[Problem] = []
    before, where = FIRST, "the beginning"
    for expected, path in enumerate(files(folder)):
        if path.name != f"{expected:06d}.jsonl":
            found.append(Problem(path.name, "a file before it is missing", f"{expected:06d}.jsonl"))
            return found
        whole, rest = lines(path)
        for place, line in enumerate(whole):
            here = f"{path.name}:{place}"
            found += _faults(line, place, before, here, where)
            before, where = head(line), here
        if rest:
            found.append(Problem(path.name, TORN))
    return found


def _faults(line: bytes, place: int, before: str, here: str, where: str) -> Iterator[Problem]:
    try:
        said = read_canonical(line)
        number, previous = said["number"], said["previous"]
    except (IntegrityError, KeyError, TypeError) as error:
        yield Problem(here, "not a line of the log", found=str(error).split("\n")[0])
        return
    if number != place:
        what = "not in its place: a line was taken out, put in or moved"
        yield Problem(here, what, str(place), str(number))
    elif previous != before:
        yield Problem(where, "changed or taken out after the next was written", previous, before)
