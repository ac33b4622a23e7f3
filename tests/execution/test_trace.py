"""One row, from the model back to its source; and the ledger knows who asked (D4)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.execution.trace import dataset_of, trace

ROW = "r0000003"


@pytest.mark.parametrize("stage", ["20_dataset", "30_adapt", "40_functional", "50_candidate"])
def test_from_any_record_to_the_row_s_source(done, stage):
    """Where from, under which classes, decided by whom, into which set; from the model too."""
    found = trace(done.store(), done.record(stage), ROW, "Ada Auditor")
    assert found["dataset"] == done.record("20_dataset").ref
    assert found["source"]["file"] == "data/messages.csv"
    assert found["classified_by"] == "Dora Data"
    assert found["columns"]["message"]["class"] == "personal"
    assert found["columns"]["message"]["legal_basis"] == "contract"
    assert [(s["outcome"], s["detail"]) for s in found["steps"]] == [("read", ""), ("set", "train")]


def test_the_ledger_says_that_rows_were_read_before_they_are(done):
    """Who, of which record, which file; a row that is not there leaves the entry too."""
    with pytest.raises(InputError, match="no such row"):
        trace(done.store(), done.record("30_adapt"), "r9999999", "Ada Auditor")
    [entry] = done.ledger("rows-read")
    assert entry.body == {
        "record": done.record("20_dataset").digest,
        "files": ["outputs/lineage.parquet.enc"],
        "who": "Ada Auditor",
    }


def test_nothing_decrypted_stays(done, tmp_path, monkeypatch):
    """The opened table lives in a temporary folder, and goes with the answer."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    trace(done.store(), done.record("20_dataset"), ROW, "Ada")
    assert not list(place.iterdir())


def test_a_record_that_stands_on_no_dataset_is_named(done):
    """The intake holds no rows."""
    with pytest.raises(InputError, match="no dataset with row lineage"):
        dataset_of(done.store(), done.record("10_intake"))


def test_a_step_that_left_the_row_as_it_was_is_told_too():
    """Through which code a row went, not only which code changed it; the split is no such step."""
    from workbench.execution.trace import _passed

    manifest = [{"step": n, "use": use, "version": "1", "why": f"why {use}", "code_sha256": str(n) * 64}
                for n, use in enumerate(("deduplicate", "redact", "filter"), start=1)]  # fmt: skip
    read = {"step": 0, "use": "read", "version": "", "outcome": "read", "detail": ""}
    changed = {
        "step": 2,
        "use": "redact",
        "version": "1",
        "outcome": "changed",
        "detail": "EMAIL 1",
    }
    ended = {"step": 4, "use": "split", "version": "", "outcome": "set", "detail": "train"}
    found = _passed([read, changed, ended], manifest)
    told = [(one["use"], one["outcome"], one.get("why")) for one in found]
    assert told == [
        ("read", "read", None),
        ("deduplicate", "unchanged", "why deduplicate"),
        ("redact", "changed", "why redact"),
        ("filter", "unchanged", "why filter"),
        ("split", "set", None),
    ]
    gone = {
        "step": 1,
        "use": "deduplicate",
        "version": "1",
        "outcome": "removed",
        "detail": "twice",
    }
    assert [one["use"] for one in _passed([read, gone], manifest)] == ["read", "deduplicate"]
