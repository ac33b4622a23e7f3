"""The source registry: what a source must state, and who approved it (D1)."""

from __future__ import annotations

from datetime import date

import pytest

from workbench.errors import InputError
from workbench.policy.classes import DataClass
from workbench.policy.sources import DataSource, missing, problems, stated

APPROVED = {"approved_by": "Ann Approver", "approved_at": "2026-01-05", "licence": "CC-BY-4.0"}
# the 25 fields of data-standard-1.0.0.schema.json, `version` aside
STANDARD = """title id location issuer description source origin origin-geography date previous-date
    generation-period generation-method format classification consents privacy-indicators
    processing-included processing-excluded storage-allowed storage-forbidden license
    intended-purpose copyright patent trademark""".split()


def source(**facts) -> DataSource:
    return DataSource.parse({"id": "desk"} | APPROVED | facts)


def test_the_checklist_is_the_standard():
    """Every field of the Data Provenance Standards 1.0.0 is asked for, and no other."""
    assert sorted(stated(source())) == sorted(STANDARD)


def test_what_is_not_stated_is_on_the_checklist():
    """None is not stated; an empty list, or `none`, states that there is none."""
    told = missing(source(title="Desk", patent=[], previous_date="none", date="2026-01-01"))
    assert not {"title", "patent", "previous-date", "date", "id", "license"} & set(told)
    assert {"issuer", "trademark", "origin-geography"} <= set(told)
    assert len(told) == 25 - 6


def test_what_is_stated_is_plain():
    """Dates in ISO form, as YAML and JSON both give them."""
    assert stated(source(date=date(2026, 1, 2)))["date"] == "2026-01-02"


def test_a_misspelt_field_is_refused():
    """Else a source would seem to have stated it."""
    with pytest.raises(InputError, match="licens"):
        source(license="MIT")


def test_an_approved_source_with_its_rows_is_no_problem():
    """Nothing to object to: the list is empty."""
    assert problems([source()], {"desk"}, {DataClass.LICENSED}) == []
    assert problems([source()], set()) == []


@pytest.mark.parametrize(
    ("sources", "ids", "says"),
    [
        ([], set(), "no source"),
        ([source()], {"desk", "4111 1111 1111 1111"}, "1 source ids"),
        ([source(licence=None)], {"desk"}, "without a licence"),
        ([source(approved_by=None)], {"desk"}, "not approved"),
        ([source(approved_at=None)], {"desk"}, "not approved"),
        ([source(), source()], {"desk"}, "twice"),
        ([source(), source(id="other")], set(), "no row says"),
    ],
)
def test_what_stands_in_the_way_is_named(sources, ids, says):
    """Each thing that the governed track refuses is its own line, and quotes no row."""
    [found] = problems(sources, ids, {DataClass.LICENSED})
    assert says in found
    assert "4111" not in found


def test_a_licence_is_asked_for_by_class():
    """Only licensed data needs one."""
    assert problems([source(licence=None)], {"desk"}, {DataClass.PERSONAL}) == []
