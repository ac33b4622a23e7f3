"""Data classes fail closed (D1)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.classes import (
    Column,
    DataClass,
    check,
    is_encrypted_class,
    problems,
    strictest,
)


def column(name: str = "public", **more) -> Column:
    return Column.parse({"class": name, "purpose": "input", "owner": "desk", **more})


PERSONAL = {"legal_basis": "contract", "retention_days": 30}


def test_fully_classified_columns_pass():
    """Columns that are all declared, with what their class asks for, may be used."""
    declared = {"text": column("personal", **PERSONAL), "label": column()}
    check(["text", "label"], declared, ["personal", "public"], classified_by="S. Teward")


def test_an_unclassified_column_is_refused_by_name():
    """A column that nobody classified stops the run and is named."""
    with pytest.raises(InputError, match="classified") as caught:
        check(["text", "phone"], {"text": column()})
    assert "phone: not classified" in str(caught.value)


def test_a_declaration_without_its_column_is_refused():
    """A classified column that the data lacks is a misspelling or another file."""
    assert problems([], {"txet": column()}) == ["txet: classified, but not in the data"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("licensed", "licence"),
        ("personal", "legal_basis, retention_days"),
        ("health", "legal_basis, retention_days"),
        ("safety_incident", "retention_days"),
        ("retention_bound", "retention_days"),
    ],
)
def test_a_class_without_its_attributes_is_refused(name, asked):
    """Each class asks for attributes, and what is lacking is named."""
    assert problems(["text"], {"text": column(name)}) == [f"text: {name} asks for {asked}"]


def test_a_class_outside_the_plan_is_refused():
    """A class that the control plan does not allow is refused even if well declared."""
    declared = {"text": column("personal", **PERSONAL)}
    with pytest.raises(InputError) as caught:
        check(["text"], declared, ["public"])
    assert "does not allow personal" in str(caught.value)


def test_nobody_confirmed_is_refused():
    """An empty `classified_by` is a proposal, not a classification."""
    with pytest.raises(InputError) as caught:
        check(["text"], {"text": column()}, classified_by=" ")
    assert "no person has confirmed" in str(caught.value)


def test_the_strictest_class_of_a_lineage():
    """Health over personal over all others; nothing known is refused, not public."""
    assert strictest(["public", "personal", "licensed"]) is DataClass.PERSONAL
    assert strictest(["personal", "health"]) is DataClass.HEALTH
    with pytest.raises(InputError):
        strictest([])


def test_personal_and_health_rows_are_encrypted_and_no_others():
    """Encryption at rest follows from the class (D3)."""
    assert [c.value for c in DataClass if is_encrypted_class(c)] == ["personal", "health"]
    assert is_encrypted_class("personal") and not is_encrypted_class("public")
