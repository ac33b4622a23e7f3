"""A document is read whole, or the field at fault is named."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.usecase import UseCase


def test_a_fitting_document_is_read_and_survives_json(usecase):
    """What is read, written as JSON and read again is equal, aliases included."""
    case = UseCase.parse(usecase, where="usecase.yaml")
    assert case.data.columns["text"].data_class == "public"
    assert UseCase.parse(case.model_dump(mode="json")) == case


def test_a_missing_field_is_named_with_where_and_what(usecase):
    """A missing field ends with file, field path and exit code 1."""
    del usecase["owner"]["email"]
    with pytest.raises(InputError) as caught:
        UseCase.parse(usecase, where="usecase.yaml")
    assert caught.value.where == "usecase.yaml: owner.email"
    assert caught.value.given == "nothing"
    assert caught.value.exit_code == 1


def test_an_unknown_field_is_refused_with_the_nearest_known(usecase):
    """An unknown field is an error, since a misspelt one would be ignored silently."""
    usecase["severty"] = "low"
    with pytest.raises(InputError, match="severty") as caught:
        UseCase.parse(usecase)
    assert "did you mean `severity`?" in str(caught.value)


def test_all_faults_are_named_at_once(usecase):
    """Several faults are told in one message, not one a run."""
    usecase["kind"], usecase["severity"] = "oracle", "dreadful"
    with pytest.raises(InputError, match=r"kind, severity"):
        UseCase.parse(usecase)


def test_a_long_wrong_value_is_not_repeated_whole(usecase):
    """An error shows the start of a wrong value only."""
    usecase["kind"] = "x" * 5000
    with pytest.raises(InputError) as caught:
        UseCase.parse(usecase)
    assert len(str(caught.value)) < 600


def test_something_else_than_a_mapping_is_refused():
    """A list where a document is expected is named as such."""
    with pytest.raises(InputError, match=r"\(whole\)"):
        UseCase.parse(["not", "a", "mapping"])
