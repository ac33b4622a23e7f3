"""Who may ask: bearer tokens with a name and a role, and how often each may."""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path

MINUTE_S = 60.0


@dataclass(frozen=True)
class Caller:
    """Whom a token belongs to."""

    name: str
    role: str
    """caller, operator or metrics."""


class Tokens:
    """The tokens of a file {SHA-256 of a token: {name, role}}, read again when it changes.

    A file that can't be read knows nobody.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, -1
        self._known: dict[str, Caller] = {}

    def who(self, header: str | None) -> Caller | None:
        """Whose `Authorization` header it is; every token is compared, in the same time."""
        kind, _, token = (header or "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).hexdigest()
        found = None
        for known, caller in self._read().items():
            if hmac.compare_digest(known, given):
                found = caller
        return found if kind.lower() == "bearer" else None

    def _read(self) -> dict[str, Caller]:
        try:
            seen = os.stat(self._path).st_mtime_ns
            if seen != self._seen:
                held = json.loads(self._path.read_bytes())
                self._known = {one: Caller(**about) for one, about in held.items()}
                self._seen = seen
        except (OSError, ValueError, TypeError, AttributeError):
            self._known, self._seen = {}, -1
        return self._known


class Rates:
    """How many requests each caller made in the last minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: defaultdict[str, deque[float]] = defaultdict(deque)

    def wait(self, name: str) -> int:
        """Count a request; the seconds after which to come back, 0 for one that is let in."""
        now, times = time.monotonic(), self._times[name]
        while times and times[0] <= now - MINUTE_S:
            times.popleft()
        if len(times) >= self._most:
            return math.ceil(times[0] + MINUTE_S - now)
        times.append(now)
        return 0
