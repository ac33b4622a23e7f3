"""A candidate is a folder that the engine froze from sealed records, named by its manifest (L1)."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from workbench.errors import InputError, IntegrityError, RunError
from workbench.execution import bundle, freezing, gating
from workbench.execution.facts import Sealed, card_facts
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
from workbench.execution.runner import Job
from workbench.record import clock

WRITTEN = {
    "MODEL_CARD.md", "annex-iv.json", "annex-iv.md", "briefs/risk.html", "briefs/engineer.html",
    "environment.json", "usecase.json", "plan.json", "criteria.json", "evaluation.json",
    "inference/predict.py", "inference/workbench.zip", "inference/settings.json",
    "adapter/weights.json",
}  # fmt: skip
LARGEST = 5_000_000  # bytes of a bundle without its weights: nobody keeps releases by the gigabyte


def job_of(lab) -> Job:
    """The deciding stage's job as the pipeline would start it, on the records that there are."""
    pipeline = Pipeline(Project.load(lab.usecase), lab.store())
    stage = [one for one, _, _ in pipeline.plan()][-1]
    step = pipeline.step(stage)
    return Job(
        project=pipeline.project, stage=stage, store=pipeline.store, parameters=step.parameters,
        inputs=step.inputs, key=step.key, level="none", who={"name": "w"}, records=pipeline.records,
    )  # fmt: skip


def verdicts_of(lab) -> list[dict]:
    return bundle.find(lab.store()).read("evaluation.json")["verdicts"]


def frozen(lab, folder: Path) -> dict[str, bytes]:
    """Path -> bytes of the same candidate, frozen again into `folder`."""
    freezing.freeze(job_of(lab), verdicts_of(lab), folder)
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def copy(done, tmp_path) -> Path:
    """A bundle outside its store, where anybody may change it."""
    folder = tmp_path / "copy"
    shutil.copytree(bundle.find(done.store()).folder, folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_a_bundle_holds_all_that_a_release_needs_and_its_manifest_covers_it(done):
    """Adapter, code, cards, surroundings, evaluation, and the seal of every record read; the
    manifest names the rest with size and digest, and the ledger names the manifest."""
    found = bundle.find(done.store())
    held = {p.relative_to(found.folder).as_posix() for p in found.folder.rglob("*") if p.is_file()}
    seals = {f"evidence/{stage}/statement.json" for stage in found.records}
    assert held >= WRITTEN | seals and len(seals) == 5
    assert {one["path"] for one in found.manifest["files"]} == held - {"manifest.json"}
    for one in found.manifest["files"]:
        data = (found.folder / one["path"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
    [entry] = done.ledger("candidate")
    assert entry.body["sha256"] == found.digest == bundle.digest_of(found.folder)
    assert set(found.manifest["made_from"]) == {"adapter", "criteria", "verdicts"}


def test_what_is_in_it_is_what_was_sealed(done):
    """Weights, criteria and figures are the records' very bytes; the verdicts are all that decided,
    the deciding stage's own among them."""
    found = bundle.find(done.store())
    weights = done.record("30_adapt").file("outputs/adapter/weights.json")
    assert (found.folder / "adapter/weights.json").read_bytes() == weights.read_bytes()
    criteria = done.record("10_intake").file("outputs/criteria.json")
    assert (found.folder / "criteria.json").read_bytes() == criteria.read_bytes()
    assert found.read("evaluation.json")["figures"]["30_adapt"]["loss_candidate"]["value"] == 1 / 3
    said = {one["criterion"]: one["verdict"] for one in found.read("evaluation.json")["verdicts"]}
    assert {"enough_rows", "accuracy", gating.DECISION, "data_classes"} <= set(said)
    surroundings = found.read("environment.json")
    assert surroundings["container"] is None
    assert surroundings["container_note"] == "not in a container"
    assert len(surroundings["stages"]["40_functional"]["observed"]) == 64


def test_the_same_records_give_the_same_bytes(done, tmp_path, monkeypatch):
    """Elsewhere, later, where no clock can be read, and whichever stage ended first."""
    job, verdicts = job_of(done), verdicts_of(done)
    first = frozen(done, tmp_path / "here")
    elsewhere = tmp_path / "somewhere" / "else"
    shutil.copytree(job.store.path, elsewhere / "store")
    monkeypatch.setattr(clock, "now", lambda: pytest.fail("the clock was read"))
    monkeypatch.setattr("time.time", lambda: 0.0)
    store = type(job.store)(elsewhere / "store")
    ended = list(reversed(job.records.items()))
    moved = {name: type(one).at(store.path / "records" / one.ref) for name, one in ended}
    verdicts.sort(key=lambda one: one["stage"], reverse=True)
    freezing.freeze(replace(job, store=store, records=moved), verdicts, elsewhere / "bundle")
    again = {path: (elsewhere / "bundle" / path).read_bytes() for path in first}
    assert again == first and bundle.check(elsewhere / "bundle") == []


def test_a_file_that_was_changed_added_or_taken_away_is_named(copy):
    """Each by its path, and what is wrong with it; an untouched copy has no problem."""
    assert bundle.check(copy) == []
    with (copy / "adapter/weights.json").open("ab") as file:
        file.write(b" ")
    (copy / "adapter" / "more.json").write_bytes(b"{}")
    (copy / "plan.json").unlink()
    (copy / "link").symlink_to("base.json")
    found = [(one.where, one.what) for one in bundle.check(copy)]
    assert found == [("adapter/more.json", "extra"), ("adapter/weights.json", "changed"),
                     ("link", "a link"), ("plan.json", "missing")]  # fmt: skip


@pytest.mark.parametrize("data", [None, b"{}", b"[1]", b'{"files": [] }', b"\x00"])
def test_without_a_manifest_nothing_is_a_bundle(copy, data):
    """No manifest, another form, another spelling: one problem, about the manifest."""
    (copy / "manifest.json").unlink()
    if data is not None:
        (copy / "manifest.json").write_bytes(data)
    assert [one.where for one in bundle.check(copy)] == ["manifest.json"]


def test_a_change_is_a_new_candidate_that_names_its_parent(done):
    """Numbers count a use case's candidates; the newest is found without a name, any by the
    beginning of its digest or its record's names."""
    store, first = done.store(), bundle.find(done.store())
    assert (first.number, first.manifest["parent"]) == (1, None)
    assert done.cli("run", "-p", "30_adapt.epochs=4").code == 0
    both = bundle.candidates(store, "tiny")
    assert [one.number for one in both] == [1, 2]
    second = both[1]
    assert second.manifest["parent"] == first.digest != second.digest
    assert bundle.find(store).digest == second.digest
    for ref in (first.digest, first.digest[:8], first.record.id, first.record.ref):
        assert bundle.find(store, ref).record == first.record
    assert bundle.candidates(store, "another") == []
    refused = {"no such": [("0" * 12, None), (first.digest[:3], None), (None, "another")],
               "More than one": [(first.record.id[:4], None)]}  # fmt: skip
    for what, asked in refused.items():
        for ref, usecase in asked:
            with pytest.raises(InputError, match=what):
                bundle.find(store, ref, usecase)


def test_an_unchanged_candidate_is_reused_and_not_counted_again(done):
    """The same key, the same record: nothing is frozen twice."""
    assert done.cli("run").code == 0
    assert len(bundle.candidates(done.store())) == len(done.ledger("candidate")) == 1


def test_a_bundle_that_the_kernel_wrote_is_none(done):
    """Only the engine freezes: what lies there when the notebook ends is replaced whole, and a
    notebook that says nothing freezes nothing."""
    forge = "(out / 'bundle').mkdir(); (out / 'bundle' / 'extra.txt').write_text('mine')"
    done.stage("50_candidate", forge)
    assert done.cli("run").code == 0
    found = bundle.find(done.store())
    assert not (found.folder / "extra.txt").exists() and bundle.check(found.folder) == []
    done.stage("50_candidate", forge, "(out / 'decision.json').unlink()")
    told = done.cli("run")
    assert told.code == 3 and "would freeze no candidate" in told.err
    assert not (done.record("50_candidate").path / "outputs" / "bundle").exists()


@pytest.mark.parametrize("text", ["{", '{"frozen": "yes"}', '["frozen"]', '{"frozen": 1}', "\x00"])
def test_only_a_plain_yes_proposes_a_candidate(tmp_path, text):
    """A decision that makes no sense is a refusal."""
    (tmp_path / "decision.json").write_text(text)
    assert not gating.proposed(tmp_path)
    (tmp_path / "decision.json").write_text('{"frozen": true}')
    assert gating.proposed(tmp_path)


def test_no_row_of_a_person_enters_a_bundle(done, tmp_path):
    """Neither in the clear nor encrypted; an adapter that holds such rows can't be frozen."""
    files = {path for path in bundle.find(done.store()).folder.rglob("*") if path.is_file()}
    assert not [path for path in files if path.suffix == ".enc" or b"Zebulon" in path.read_bytes()]
    job = job_of(done)
    rows = replace(job.inputs["adapter"], snapshot="0" * 16)
    with pytest.raises(RunError, match="no adapter that a bundle may hold"):
        freezing.freeze(replace(job, inputs={"adapter": rows}), [], tmp_path / "bundle")
    sealed = Sealed(job.records)
    assert sealed.bytes("20_dataset", "train.parquet") is None  # it is there, encrypted
    assert sealed.source("20_dataset", "train.parquet").path == "outputs/train.parquet.enc"


def test_what_is_frozen_is_the_code_that_validated(done, tmp_path):
    """Where the package is no longer the one in the record's key, nothing is frozen."""
    job = job_of(done)
    job.key["parts"]["workbench"] = "0" * 64
    with pytest.raises(IntegrityError, match="code changed"):
        freezing.freeze(job, verdicts_of(done), tmp_path / "bundle")


@pytest.mark.parametrize("name", ["criteria.json", "usecase.json"])
def test_a_sealed_file_that_was_changed_is_not_frozen(done, tmp_path, name):
    """The statement says what it was; the error names the file."""
    job, verdicts = job_of(done), verdicts_of(done)
    path = job.records["10_intake"].file(f"outputs/{name}")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"w", b"v", 1))
    with pytest.raises(IntegrityError, match=name):
        freezing.freeze(job, verdicts, tmp_path / "bundle")


def test_every_fact_of_a_card_says_where_it_stands(done):
    """The source's digest is that of the file it names, in the record that it names."""
    job = job_of(done)
    facts = card_facts(Sealed(job.records), [], {"name": "c", "number": 1, "parent": None})
    assert set(facts.sources) >= {"usecase", "plan", "criteria", "locked", "environment",
                                  "data", "verdicts:40_functional", "figures:30_adapt"}  # fmt: skip
    for source in facts.sources.values():
        record = job.store.record(source.record)
        data = (record.path / source.path).read_bytes()
        assert record.ref == source.ref and hashlib.sha256(data).hexdigest() == source.sha256
    assert [one["stage"] for one in facts.records] == sorted(job.records)
    assert facts.adaptation["parameters"] == {"epochs": 3}


def test_the_lineage_is_the_record_and_all_that_it_stands_on(done):
    """Also a stage whose verdicts counted and whose files the decision did not read."""
    store = done.store()
    found = bundle.lineage(store, bundle.find(store))
    assert found[0] == done.record("50_candidate")
    assert {one.stage for one in found[1:]} == {"05_inspection", "10_intake", "20_dataset",
                                                "30_adapt", "40_functional"}  # fmt: skip
    assert len({one.digest for one in found}) == len(found)


def test_a_bundle_stays_small(done):
    """All but the weights, the archive of the code included."""
    files = bundle.find(done.store()).manifest["files"]
    assert sum(one["size"] for one in files if not one["path"].startswith("adapter/")) < LARGEST
    assert json.dumps(files).count("notebook") == 0  # outputs of cells are in the records alone


class InTheClear(Sealed):
    """Records of a use case that speaks of nobody: its locked rows are not encrypted."""

    def bytes(self, stage: str, name: str) -> bytes | None:
        return b"PAR1\xc0" if name == "locked.parquet" else super().bytes(stage, name)


def test_a_locked_set_in_the_clear_is_named_and_never_read(done):
    """Its digest is a source of the cards; its rows are not opened for them."""
    sealed, identity = InTheClear(job_of(done).records), {"name": "c", "number": 1, "parent": None}
    assert card_facts(sealed, verdicts_of(done), identity).usecase.id == "tiny"
