"""The use-case record (I1)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.documents import Document
from workbench.policy.usecase import UseCase


@pytest.mark.parametrize(
    "field", ["decision", "affected", "harm", "severity", "owner", "base", "kind", "data"]
)
def test_what_the_record_must_state_is_required(usecase, field):
    """Decision, affected, harm, owner, base and data have no defaults."""
    del usecase[field]
    with pytest.raises(InputError, match=field):
        UseCase.parse(usecase)


def test_a_hub_model_needs_a_revision(usecase):
    """A hub id without revision is refused: its content could change under the record."""
    usecase["base"]["source"] = "hub:org/name"
    with pytest.raises(InputError, match="base") as caught:
        UseCase.parse(usecase)
    assert "revision" in str(caught.value)
    usecase["base"]["revision"] = "a" * 40
    assert UseCase.parse(usecase).base.revision == "a" * 40


@pytest.mark.parametrize("source", ["org/name", "ftp:host/model", "hub:", "pypi:a b"])
def test_a_source_of_another_form_is_refused(usecase, source):
    """Only folder:, hub: and pypi: sources are known."""
    usecase["base"]["source"] = source
    with pytest.raises(InputError, match="base.source"):
        UseCase.parse(usecase)


def test_labels_are_distinct_and_two_at_least(usecase):
    """A label schema that repeats itself or has one class is refused."""
    for labels in (["a", "a"], ["a"]):
        with pytest.raises(InputError, match="labels|whole"):
            UseCase.parse(usecase | {"labels": labels})


def test_a_form_is_for_generative_use_cases(usecase):
    """A generative use case says what is filled in; a classifier has nothing to fill in."""
    form = {"system": "Route it.", "fields": [{"name": "queue", "values": ["a", "b"]}]}
    assert UseCase.parse(usecase | {"kind": "generative", "form": form}).form.free == "reply"
    for odd in ({"kind": "generative"}, {"kind": "classifier", "form": form}):
        with pytest.raises(InputError, match="fit"):
            UseCase.parse(usecase | odd)


def _fields(model: type[Document]):
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}", field.description


def test_every_field_is_described():
    """Each field of every configuration document says what it means."""
    pending, models = [Document], []
    while pending:
        found = pending.pop().__subclasses__()
        models += found
        pending += found
    ours = [model for model in models if model.__module__.startswith("workbench.")]
    silent = [name for model in ours for name, text in _fields(model) if not text]
    assert not silent
