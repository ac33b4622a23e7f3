"""Time as the records write it: UTC, RFC 3339, microseconds, ending in Z.

Clocks are claims. The order of events is the ledger's, never the clock's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from workbench.errors import InputError

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"


def now() -> str:
    """The present, such as ``2025-11-21T09:04:00.000000Z``."""
    return text(datetime.now(UTC))


def text(moment: datetime) -> str:
    """A moment with a time zone, as the records write it."""
    if moment.tzinfo is None:
        raise InputError("a time without a time zone", given=moment, expected="an aware time")
    return moment.astimezone(UTC).strftime(_FORMAT)


def parse(value: str | datetime) -> datetime:
    """The moment that RFC 3339 text names; text without a zone is refused (InputError)."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise InputError("not a time", given=value, expected="RFC 3339, UTC") from error
    text(value)
    return value


def compact(value: str) -> str:
    """``20251121T090400Z``: the time as it stands in folder names."""
    return parse(value).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
