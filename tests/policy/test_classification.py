"""Versions of a person's decision: they follow each other, and the declaration may not depart (D1)."""

from __future__ import annotations

import pytest

from workbench.errors import IntegrityError
from workbench.policy.classes import Column
from workbench.policy.classification import departures, following, history


def column(kind: str = "personal") -> Column:
    return Column.parse({"class": kind, "purpose": "routing", "owner": "ops",
                         "legal_basis": "contract", "retention_days": 30})  # fmt: skip


def version(before=None, **columns: Column):
    return following(before, "tiny", "data/a.csv", columns or {"text": column()}, "Dora")


def bodies(*versions) -> list[dict]:
    return [{"statement": one.data()} for one in versions]


def test_versions_count_up_and_name_the_one_before():
    """Each names the digest of the last, so none is slipped in or left out."""
    first = version()
    second = version(first, text=column("health"))
    assert (second.number, second.previous) == (2, first.sha256)
    assert history(bodies(first, second), "tiny", "data/a.csv") == [first, second]


@pytest.mark.parametrize("pick", [[1], [0, 0], [1, 0], [0, 2]])
def test_a_version_that_does_not_follow_is_refused(pick):
    """One left out, entered twice, or out of order."""
    first = version()
    second = version(first)
    every = [first, second, version(second)]
    with pytest.raises(IntegrityError, match="does not follow"):
        history(bodies(*(every[i] for i in pick)), "tiny", "data/a.csv")


def test_other_datasets_have_versions_of_their_own():
    """A use case's second file starts at version 1."""
    other = following(None, "tiny", "data/b.csv", {}, "Dora")
    assert history(bodies(other, version()), "tiny", "data/a.csv") == [version()]


def test_a_signed_version_says_so():
    """The envelope's statement is the version; only it counts as signed."""
    [found] = history([{"envelope": {"statement": version().data()}}], "tiny", "data/a.csv")
    assert found.signed and not history(bodies(version()), "tiny", "data/a.csv")[0].signed


def test_a_class_lowered_after_the_decision_is_named():
    """By whom it had been decided, from which class to which."""
    decided = version(text=column("health"), label=column())
    [found] = departures(decided, {"text": column("internal_operational"), "label": column()})
    assert "lowered from health to internal_operational after Dora" in found


def test_any_other_difference_is_named_too():
    """A raised class, a changed purpose, a column more or less: none is as it was decided."""
    decided = version(text=column())
    assert departures(decided, {"text": column()}) == []
    assert departures(decided, {"text": column("health")}) == ["text: not as Dora decided it"]
    assert departures(decided, {}) == ["text: not as Dora decided it"]
    assert departures(decided, {"text": column(), "new": column()}) == [
        "new: not as Dora decided it"
    ]


def test_without_a_version_nothing_departs():
    """On the research track a name in usecase.yaml is enough until somebody decides here."""
    assert departures(None, {"text": column()}) == []
