"""The index is a cache and nothing else."""

from __future__ import annotations

import pytest

from workbench.record import index
from workbench.record.sealed import Record
from workbench.record.store import Store


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


def test_a_grown_ledger_is_read_from_where_the_index_ended(filled, seal, monkeypatch):
    """New entries and their records are added; no old record is read again."""
    index.rebuild(filled)
    new = seal(filled, "30_adapt")
    read, at = [], Record.at
    monkeypatch.setattr(index.Record, "at", lambda path: read.append(path.name) or at(path))
    assert index.query(filled, COUNT) == [{"n": 3}] and read == [new.id]
    entries = [row["number"] for row in index.query(filled, "SELECT number FROM entries")]
    assert entries == [entry.index for entry in filled.ledger.entries()]


def test_an_index_of_another_ledger_is_made_afresh(filled, seal, tmp_path):
    """One whose checkpoint the ledger does not extend says nothing about it."""
    other = Store.create(tmp_path / "other", "research")
    seal(other, "99_foreign")
    (filled.path / "index.sqlite").write_bytes(index.rebuild(other).read_bytes())
    stages = index.query(filled, "SELECT stage FROM records ORDER BY stage")
    assert [row["stage"] for row in stages] == ["10_intake", "20_dataset"]


def test_places_are_hints_by_digest(filled):
    """The folder of each record that is here; of another nothing."""
    first, second = filled.records()
    found = index.places(filled, {first.digest, "0" * 64})
    assert found == {first.digest: first.path} and second.digest not in found


def test_a_record_that_is_gone_leaves_no_row(filled):
    """`verify` names it; the index tells only what it saw."""
    gone = filled.records()[0]
    gone.path.chmod(0o755)
    gone.path.rename(filled.path / "elsewhere")
    index.rebuild(filled)
    assert index.query(filled, COUNT) == [{"n": 1}]
