"""The reference that drift is held to is drawn from served lines and holds no text."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.monitoring import profile as profiles
from workbench.record.digest import canonical


def test_scenarios_become_sentinels_and_the_rest_is_the_reference(traffic):
    """Cases by what was answered in the rehearsal, and whether that passed offline."""
    found = profiles.build(*traffic.rehearsed(cases=10, known=3, n=80))
    assert found["lines"] == 80
    assert found["cases"]["c00"] == {"answer": {"label": "a0"}, "passed": False}
    assert sum(one["passed"] for one in found["cases"].values()) == 7
    assert sum(found["answers"].values()) == 80
    assert len(found["length"]) == 80


def test_sketches_are_measured_to_others_than_themselves(traffic):
    """A point is at no distance from itself; half are measured to the other half."""
    lines, passed = traffic.rehearsed(n=100)
    found = profiles.build(lines, passed)
    assert len(found["sketches"]) == len(found["meaning"]) == 50
    assert min(found["meaning"]) > 0


def test_it_is_canonical_and_the_same_each_time(traffic):
    """It is sealed, and its digest is compared."""
    lines, passed = traffic.rehearsed()
    assert canonical(profiles.build(lines, passed)) == canonical(profiles.build(lines, passed))


def test_lines_of_no_release_are_no_reference(traffic):
    """Nothing was granted, so nothing was answered."""
    lines, passed = traffic.rehearsed(n=100)
    more = [traffic.line(bundle=None, answer={}) for _ in range(50)]
    assert profiles.build([*lines, *more], passed)["lines"] == 100


def test_too_few_lines_are_no_reference(traffic):
    """Twenty at least."""
    with pytest.raises(InputError, match="Too few"):
        profiles.build(*traffic.rehearsed(n=19))


def test_as_many_sentinels_as_asked_are_spread_over_all(traffic):
    """The same ones each time, from all libraries."""
    found = profiles.build(*traffic.rehearsed(cases=20))
    assert len(profiles.sentinels(found, 50)) == 20
    assert profiles.sentinels(found, 4) == ["c00", "c05", "c10", "c15"]
    assert profiles.sentinels(found, 0) == []
