"""`workbench open`: looking and working never break a seal, and opening rows is not silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.execution import scratch
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
from workbench.record.digest import file_digest
from workbench.record.verify import verify_store

MARKER = "Grandma Zebulon's private words"


def pipeline(lab):
    project = Project.load(lab.usecase)
    return Pipeline(project, project.store("research"))


def sealed(lab):
    """Digest of every file of the store, but of the scratch place."""
    store = lab.runs / "research"
    files = (p for p in store.rglob("*") if p.is_file() and "scratch" not in p.parts)
    return {str(path): file_digest(path) for path in files}


def test_a_copy_can_be_written_and_the_store_stays_as_it_was(done, tmp_path):
    """Every byte of the store is the same after the copy was opened and changed."""
    before = sealed(done)
    notebook = scratch.open_record(done.record("20_dataset"), done.store(), tmp_path / "look")
    notebook.write_text("{}")
    (notebook.parent / "outputs" / "labels.json").write_text("[]")
    after = sealed(done)
    assert after == before and verify_store(done.store()).ok


def test_rows_stay_encrypted_unless_asked_for(done, tmp_path):
    """Opened rows are in the ledger, by record and file."""
    record, store = done.record("20_dataset"), done.store()
    closed = scratch.open_record(record, store, tmp_path).parent
    assert not any(MARKER.encode() in p.read_bytes() for p in closed.rglob("*") if p.is_file())
    opened = scratch.open_record(record, store, tmp_path, decrypt=True).parent
    assert opened != closed  # nobody's work is written over
    assert MARKER in (opened / "outputs" / "raw" / "messages.csv").read_text()
    entry = done.ledger("rows-read")[-1]
    assert entry.body["record"] == record.digest
    assert "outputs/raw/messages.csv.enc" in entry.body["files"]


def test_a_stage_opens_with_its_inputs_in_place(done, tmp_path):
    """As the kernel would find it: `stage.json`, inputs, the notebook."""
    notebook = scratch.open_stage(pipeline(done), "30_adapt", tmp_path)
    facts = json.loads((notebook.parent / "stage.json").read_text())
    assert set(facts["inputs"]) == {"train", "criteria"} and facts["masked"]
    for item in facts["inputs"].values():
        assert (notebook.parent / item["path"]).is_file()
    assert (notebook.parent / facts["inputs"]["train"]["path"]).read_bytes()[:4] == b"PAR1"


def test_opening_a_stage_that_reads_rows_is_in_the_ledger_and_a_locked_set_is_a_look(
    done, tmp_path
):
    """Who works cell by cell on the locked set has looked at it."""
    scratch.open_stage(pipeline(done), "40_functional", tmp_path)
    assert done.ledger("rows-read")[-1].body["stage"] == "40_functional"
    assert [entry.body["look"] for entry in done.ledger("look")] == [1, 2]
    scratch.open_stage(pipeline(done), "30_adapt", tmp_path)
    assert len(done.ledger("look")) == 2


def test_a_stage_without_persons_leaves_no_entry(done, tmp_path):
    """Looking at the intake is nobody's business."""
    before = len(done.ledger())
    scratch.open_stage(pipeline(done), "10_intake", tmp_path)
    assert len(done.ledger()) == before


def test_an_unknown_stage_is_wrong_input(done, tmp_path: Path):
    """The stages there are, are named."""
    with pytest.raises(InputError, match="no such stage") as refused:
        scratch.open_stage(pipeline(done), "31_adapt", tmp_path)
    assert "30_adapt" in str(refused.value)
