"""The index is a cache and nothing else."""

from __future__ import annotations

import pytest

from workbench.record import index


@pytest.fixture
def filled(store, seal):
    first = seal(store)
    seal(store, "20_dataset", inputs=[first.as_input("notebook.ipynb")])
    return store


COUNT = "SELECT count(*) AS n FROM records"


def test_records_inputs_and_entries_can_be_asked_for(filled):
    """By stage, by input's digest, by kind of entry."""
    rows = index.query(filled, "SELECT stage, outcome FROM records ORDER BY stage")
    assert [tuple(row.values()) for row in rows] == [
        ("10_intake", "succeeded"),
        ("20_dataset", "succeeded"),
    ]
    first = filled.records("10_intake")[0]
    (row,) = index.query(filled, "SELECT name FROM inputs WHERE source = ?", first.digest)
    assert row["name"] == "notebook.ipynb"
    assert len(index.query(filled, "SELECT * FROM entries WHERE kind = 'start'")) == 2


@pytest.mark.parametrize("harm", ["delete", "damage", "empty"])
def test_losing_the_index_does_no_harm(filled, harm):
    """Deleted, damaged or emptied: it is rebuilt."""
    path = index.rebuild(filled)
    path.unlink() if harm == "delete" else path.write_bytes(b"x" * 5000 * (harm == "damage"))
    assert index.query(filled, COUNT) == [{"n": 2}]


def test_a_stale_index_is_rebuilt(filled, seal):
    """A new record shows at once."""
    assert index.query(filled, COUNT) == [{"n": 2}]
    seal(filled, "30_adapt")
    assert index.query(filled, COUNT) == [{"n": 3}]
