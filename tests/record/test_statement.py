"""Statements: in-toto and SLSA on the outside, nothing lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError, IntegrityError
from workbench.record.digest import Entry, canonical, read_canonical
from workbench.record.statement import Statement, file_input, subjects

FIELDS = st.dictionaries(st.text(min_size=1, max_size=5).map("x_".__add__), st.integers(0, 9))


def test_the_shape_is_that_of_in_toto_and_slsa(about):
    """in-toto Statement v1 and SLSA provenance v1: names and places of the fields."""
    data = about("30_adapt", inputs=[file_input("data.csv", "0" * 64)]).data()
    assert data["_type"] == "https://in-toto.io/Statement/v1"
    assert data["predicateType"] == "https://slsa.dev/provenance/v1"
    definition, details = data["predicate"]["buildDefinition"], data["predicate"]["runDetails"]
    assert definition["externalParameters"] == {
        "stage": "30_adapt",
        "parameters": {"seed": 1},
        "usecase": {"id": "demo"},
        "track": "research",
    }
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": "0" * 64}
    assert set(details["metadata"]) == {"invocationId", "startedOn", "finishedOn"}
    assert set(details["builder"]) == {"id", "version"}


@given(FIELDS, FIELDS, FIELDS)
def test_unknown_fields_survive(about_data, top, predicate, subject):
    """Reading and writing keeps every field that this version does not know, byte for byte."""
    data = read_canonical(about_data)
    data |= top
    data["predicate"] |= predicate
    data["predicate"]["buildDefinition"] |= predicate
    data["subject"] = [{"name": "a", "digest": {"sha256": "0" * 64, "gitCommit": "1"}} | subject]
    written = canonical(data)
    assert Statement.parse(written).to_bytes() == written


@pytest.fixture(scope="module")
def about_data():
    from workbench.record import statement

    return statement.build(
        stage="s",
        parameters={"big": 1e17, "small": 1e-7},
        usecase="u",
        track="research",
        started="2025-01-01T00:00:00Z",
        finished="2025-01-01T00:00:00Z",
        outcome="succeeded",
    ).to_bytes()


def test_subjects_are_all_files_but_the_seals():
    """Every file becomes a subject with size and exec bit; the two seals can't cover themselves."""
    files = [
        Entry(n, "0" * 64, 3, n == "b") for n in ("b", "a", "statement.json", "x/statement.json")
    ]
    files.append(Entry("statement.sigs.json", "0" * 64, 3, False))
    found = subjects(files)
    assert [item.name for item in found] == ["a", "b", "x/statement.json"]
    assert found[1].annotations == {"size": 3, "executable": True}


def test_an_outcome_is_one_of_two(about):
    """Anything but succeeded and failed: InputError."""
    with pytest.raises(InputError, match="unknown outcome"):
        about(outcome="fine")


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"predicateType": "https://slsa.dev/provenance/v0.2"},
        {"subject": "none"},
        {"predicate": {}},
    ],
)
def test_a_statement_of_another_type_is_refused(about, change):
    """Another in-toto or SLSA version, or a missing part: IntegrityError."""
    with pytest.raises(IntegrityError):
        Statement.parse(canonical({**about().data(), **change}))
