"""A release is entered when every standing gate passed, and stands while they pass (I2, L5)."""

from __future__ import annotations

import json

import nbformat
import pytest

from workbench.errors import GateNotPassed, InputError
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project
from workbench.execution.release import register, request
from workbench.policy.release import Evidence, judge
from workbench.record.verify import verify_store

VERA, RITA = ("Vera Validator", "model_validator"), ("Rita Risk", "risk_manager")


def test_a_release_is_a_bundle_and_the_approvals_that_name_it(released):
    """The ledger's entry names bundle, candidate, record and signatures; all of it verifies."""
    store = released.store("governed")
    [done] = register.releases(store, "tiny")
    project = Project.load(released.usecase)
    assert done.bundle == request.find(project, store, None).digest
    kinds = [store.ledger.entries()[index].kind for index in done.approvals]
    assert kinds == ["approval", "approval"] and register.releases(store, "other") == []
    record = store.record(done.record)
    verdicts = record.statement.predicate.workbench_verdicts
    assert record.stage == "55_release" and {v["verdict"] for v in verdicts} == {"passed"}
    assert verify_store(store).ok


def test_the_verdicts_follow_from_what_was_sealed_beside_them(released):
    """Whoever has the record comes to the same, and sees the notebook's input was the same."""
    record = released.record("55_release", "governed")
    sealed = record.file("outputs/standing.json")
    again = judge(Evidence.parse(json.loads(sealed.read_bytes())))
    plain = json.loads(json.dumps([one.as_dict() for one in again]))
    assert plain == record.statement.predicate.workbench_verdicts
    assert plain == json.loads(record.file("outputs/verdicts.json").read_bytes())
    [given] = [i for i in record.statement.inputs if i.annotations["input"] == "standing"]
    held = {one.name: one.digest for one in record.statement.subject}
    assert given.digest == held["outputs/standing.json"] and given.uri == "ledger:release"


def test_the_notebook_shows_the_three_elements_of_11_50(released):
    """Printed name, date and time, and meaning of each signature, as a reader sees them."""
    store = released.store("governed")
    notebook = nbformat.read(released.record("55_release", "governed").path / "notebook.ipynb", 4)
    text = "".join(out.data["text/html"] for cell in notebook.cells if cell.cell_type == "code"
                   for out in cell.outputs if "text/html" in out.get("data", {}))  # fmt: skip
    for entry in store.ledger.entries("approval")[-2:]:
        said = entry.body["envelope"]["statement"]
        assert all(said[name] in text for name in ("by", "time", "meaning"))
    assert "insufficient_evidence" in text  # the negative control


def test_the_brief_shows_them_too(released, tmp_path):
    """Written anew with the signatures; the frozen one has none."""
    to = tmp_path / "brief.html"
    assert released.cli("release", "brief", "--to", to).code == 0
    told = to.read_text()
    assert all(word in told for word in ("Vera Validator", "Rita Risk", "approved"))
    assert "already" in released.cli("release", "brief", "--to", to).err


def test_registering_the_same_signatures_again_changes_nothing(released):
    """It says the entry that there is, and starts no kernel."""
    before = released.store("governed").ledger.head()
    told = released.cli("release", "register", "--json")
    assert told.code == 0 and released.store("governed").ledger.head() == before
    assert told.json["entry"] == register.releases(released.store("governed"))[-1].entry


def test_it_waits_for_whom_it_names_and_runs_nothing(releasable):
    """Exit 4, by person, until the last has signed."""
    for who, left in ((None, "Vera Validator, Rita Risk"), (VERA, "for Rita Risk.")):
        if who:
            assert releasable.sign(*who).code == 0
        for verb in ("status", "register"):
            told = releasable.cli("release", verb)
            assert told.code == 4 and left in told.err
    assert "workbench approve REQUEST --by 'Rita Risk'" in told.err
    assert not releasable.store("governed").records("55_release")


def test_a_gate_that_failed_stops_it_before_a_kernel_starts(released):
    """Old evidence: exit 3, however many signed; a registered release stands no more."""
    project, store = Project.load(released.usecase), released.store("governed")
    before = store.ledger.head()
    with pytest.raises(GateNotPassed) as refused:
        register.register(project, store, now="2030-01-01T00:00:00.000000Z")
    assert "evidence_fresh failed" in str(refused.value) and refused.value.exit_code == 3
    assert store.ledger.head() == before


def test_an_uncommitted_change_is_not_released_over(releasable):
    """As every governed run: the state has a name."""
    assert releasable.sign(*VERA).code == releasable.sign(*RITA).code == 0
    (releasable.usecase / "note.txt").write_text("x")
    told = releasable.cli("release", "register")
    assert told.code == 1 and "uncommitted changes" in told.err


def test_the_stage_is_no_part_of_a_run(releasable):
    """A run ends with the deciding stage; nobody registers by running."""
    pipeline = Pipeline(Project.load(releasable.usecase), releasable.store("governed"))
    assert pipeline.upto()[-1].name == "50_candidate"
    with pytest.raises(InputError, match="no such stage"):
        pipeline.upto("55_release")
