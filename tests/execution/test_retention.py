"""The report of a store: real records, real time of the ledger, real deletion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workbench.execution.retention import due
from workbench.record import statement
from workbench.record.pack import import_pack, pack
from workbench.record.store import Store


def test_a_finished_life_cycle_says_what_expires_when(done):
    """The window that the intake froze, from the ledger's time, and all that stands on the rows."""
    store, record = done.store(), done.record("20_dataset")
    (row,) = due(store)
    snapshot = record.encrypted("outputs/train.parquet.enc")["snapshot"]
    assert (row["snapshot"], row["record"]) == (snapshot, record.ref)
    assert (row["column"], row["class"], row["retention_days"]) == ("message", "personal", 30)
    first = next(e for e in done.ledger("record") if e.body["digest"] == record.digest)
    assert (row["since"], row["basis"]) == (first.time[:10], "first record")
    assert row["state"] == "soon" and row["days_left"] in (29, 30)
    names = {ref.split("/")[0] for ref in row["depends"]}
    assert names == {"30_adapt", "40_functional", "50_candidate"}


def test_time_makes_it_due_and_deletion_ends_that(done):
    """`now` is anybody's question; a destroyed key is `erased`, an entry without the deed is not."""
    store = done.store()
    late = datetime.now(UTC) + timedelta(days=31)
    (row,) = due(store, late)
    assert row["state"] == "due" and row["days_left"] < 0
    store.ledger.append("forgotten", {"snapshot": row["snapshot"], "reason": "a crash came next"})
    assert due(store, late)[0]["state"] == "due"
    store.cipher.destroy(row["snapshot"], "expired")
    assert due(store, late)[0]["state"] == "erased"


def plain(store, facts, figures=None):
    """An intake and a dataset in the clear, as the engine seals them."""
    common = {"parameters": {}, "usecase": "tiny", "track": store.track, "outcome": "succeeded",
              "started": "2025-01-01T00:00:00Z", "finished": "2025-01-01T00:00:01Z"}  # fmt: skip
    intake = store.begin("10_intake", "tester")
    (intake.record / "outputs").mkdir()
    (intake.record / "outputs" / "data.json").write_text(facts)
    made = store.publish(intake, statement.build(stage="10_intake", **common))
    run = store.begin("20_dataset", "tester")
    (run.record / "outputs").mkdir()
    (run.record / "outputs" / "labels.json").write_text("[]")
    if figures:
        (run.record / "outputs" / "figures.json").write_text(figures)
    data = statement.file_input("data", "ab" * 32, input="data")
    inputs = [data, made.as_input("outputs/data.json")]
    return store.publish(run, statement.build(stage="20_dataset", inputs=inputs, **common))


FACTS = '{"columns":{"log":{"class":"retention_bound","retention_days":10}}}'
STATED = '{"oldest_row":{"value":"2025-01-01T00:00:00Z"}}'


def test_the_oldest_row_counts_where_the_dataset_states_it(lab):
    """A snapshot is as old as its oldest row, whatever day it was taken in; rows in the clear are
    listed by the start of the file's digest."""
    store = Store.create(lab.runs / "research", "research")
    plain(store, FACTS)
    assert due(store)[0]["basis"] == "first record"
    newest = plain(store, FACTS.replace("10}", "20}"), STATED)
    (row,) = due(store)
    assert (row["snapshot"], row["since"], row["basis"]) == ("ab" * 8, "2025-01-01", "oldest row")
    assert (row["expires"], row["state"]) == ("2025-01-21", "due")
    assert row["record"] == newest.ref  # the newest declaration is the one in force


def test_imported_rows_are_their_own_stores_duty(lab, tmp_path):
    """Their key is there, and so is their deletion."""
    theirs = Store.create(tmp_path / "theirs", "research")
    pack(theirs, [plain(theirs, FACTS).digest], tmp_path / "p.tar")
    ours = Store.create(lab.runs / "research", "research")
    assert len(import_pack(ours, tmp_path / "p.tar")) == 2
    assert due(ours) == [] and len(due(theirs)) == 1
