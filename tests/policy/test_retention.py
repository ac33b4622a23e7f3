"""What expires when: days of UTC from the oldest row, and what is deleted is never due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from workbench.policy.retention import expiry, oldest

START = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "state", "left"),
    [(0, "ok", 31), (1, "soon", 30), (30, "soon", 1), (31, "due", 0), (400, "due", -369)],
)
def test_it_is_due_from_the_day_on_which_it_must_be_gone(days, state, left):
    """Not a day later; before that it is `soon`, and before that `ok`."""
    found = expiry(START, 31, START + timedelta(days))
    assert found == {"since": "2025-01-01", "expires": "2025-02-01", "days_left": left,
                     "state": state}  # fmt: skip


def test_what_is_deleted_is_erased_however_old():
    """Nothing is left to do; its twin whose key is there is due."""
    late = START + timedelta(9999)
    assert expiry(START, 30, late, erased=True)["state"] == "erased"
    assert expiry(START, 30, late)["state"] == "due"


def test_days_are_counted_in_utc():
    """The same moment told in another zone, in which it is the next day, gives the same."""
    local = START.astimezone(timezone(timedelta(hours=14)))
    assert local.day == 2 and expiry(local, 30, local) == expiry(START, 30, START)


def test_a_window_beyond_the_calendar_ends_with_it():
    """A slip of the pen in a declaration does not break the report."""
    assert expiry(START, 10**9, START)["expires"] == "9999-12-31"


@pytest.mark.parametrize(
    ("stated", "moment"),
    [("2025-01-01T12:00:00Z", START), ("2025-01-01T12:00:00", START), ("yesterday", None),
     (None, None), (7, None), ("2025-01-01", START.replace(hour=0))],
)  # fmt: skip
def test_the_age_that_a_dataset_states_is_read_or_passed_over(stated, moment):
    """Text without a zone is UTC; what is no time states nothing."""
    assert oldest(stated) == moment
