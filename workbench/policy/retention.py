"""What expires when: the retention window of a column of a snapshot (D10).

GDPR Art. 5(1)(e): data that identify persons are kept no longer than their purpose asks for. The
window is the column's `retention_days`, counted in days of UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

SOON_DAYS = 30


def oldest(stated: object) -> datetime | None:
    """The moment that a sealed figure states; None when it states none.

    A day or a time without a zone is taken as UTC: half a day is nothing to a retention window.
    """
    try:
        found = datetime.fromisoformat(str(stated))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def expiry(since: datetime, days: int, now: datetime, *, erased: bool = False) -> dict[str, Any]:
    """When rows that are there `since` must be gone, the days left, and the state.

    `due` from the day on which they must be gone, `soon` for `SOON_DAYS` before it, else `ok`;
    `erased` when the key was destroyed, whenever that was.
    """
    start = since.astimezone(UTC).date()
    # A window beyond the calendar ends with the calendar.
    end = start + timedelta(min(days, (date.max - start).days))
    left = (end - now.astimezone(UTC).date()).days
    state = "due" if left <= 0 else "soon" if left <= SOON_DAYS else "ok"
    state = "erased" if erased else state
    return {"since": str(start), "expires": str(end), "days_left": left, "state": state}
