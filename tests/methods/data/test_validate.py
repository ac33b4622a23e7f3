"""Rows against their schema, before anything is learned from them."""

from __future__ import annotations

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.validate import validate


def rows(*pairs) -> pd.DataFrame:
    table = pd.DataFrame(list(pairs), columns=["text", "label"], dtype=object)
    table.insert(0, "row_id", [f"r{i}" for i in range(1, len(table) + 1)])
    return table


def refusal(table, labels=None, text="text") -> str:
    with pytest.raises(InputError) as caught:
        validate(table, text, "label", labels)
    return str(caught.value)


def test_the_schema_is_what_was_found_or_what_was_declared():
    """Sorted when found; in the declared order, with labels not seen yet, when declared."""
    table = rows(("a", "fees"), ("b", "card"))
    assert validate(table, "text", "label") == ["card", "fees"]
    assert validate(table, "text", "label", ["fees", "card", "care"]) == ["fees", "card", "care"]


def test_a_column_that_is_not_there_is_named_beside_those_that_are():
    """The most common slip in a first use case."""
    assert "message" in (found := refusal(rows(("a", "b")), text="message"))
    assert "text, label" in found


@pytest.mark.parametrize("text", ["", " \n", None, 7, float("nan")])
def test_a_text_must_be_text(text):
    """Empty, blank, absent, a number: named with its row."""
    found = refusal(rows(("a", "card"), (text, "fees")))
    assert "`text`" in found and "r2" in found and "r1" not in found


@pytest.mark.parametrize("label", ["", None, "frees", 3])
def test_a_label_that_the_schema_does_not_have_is_refused(label):
    """It is neither dropped nor learned as a class of its own."""
    found = refusal(rows(("a", "card"), ("b", "fees"), ("c", label)), ["card", "fees"])
    assert "`label`" in found and "r3" in found


def test_rows_are_named_with_the_fault_that_they_have():
    """Two faults in two columns: the rows named are those of the one that is described."""
    found = refusal(rows(("", "card"), ("b", "frees"), ("c", "fees")), ["card", "fees"])
    assert "2 values" in found
    assert ("r1" in found) != ("r2" in found) and "r3" not in found


def test_one_class_is_nothing_to_tell_apart():
    """A model that always answers the same would be perfect."""
    assert "at least two classes" in refusal(rows(("a", "card"), ("b", "card")))
