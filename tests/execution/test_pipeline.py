"""The life cycle as a graph: what is reused and why, what a changed record does, who runs alone."""

from __future__ import annotations

import fcntl
import shutil

import pytest

from workbench.errors import GateNotPassed, InputError, IntegrityError
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project

FIRST = ["05_inspection", "10_intake", "20_dataset"]


def pipeline(lab, track="research", **more):
    project = Project.load(lab.usecase)
    return Pipeline(project, project.store(track), **more)


def reasons(made):
    return {stage.name: (bool(step and step.reuse), why) for stage, step, why in made.plan()}


def test_an_unchanged_life_cycle_is_reused_whole_and_adds_no_record(done):
    """Equal key, equal result: nothing runs a second time."""
    before = len(done.ledger())
    ended = pipeline(done).run()
    assert all(one.reused and one.reason == "unchanged" for one in ended)
    assert len(done.ledger()) == before


def test_a_changed_parameter_is_named_and_only_what_follows_runs(done):
    """The reason names the parameter with both values; stages before it are reused."""
    found = reasons(pipeline(done, given={"30_adapt": ["epochs=4"]}))
    assert found["20_dataset"] == (True, "unchanged")
    assert found["30_adapt"] == (False, "changed: parameter epochs (3 → 4)")
    assert found["40_functional"] == (False, "follows 30_adapt")


def test_a_changed_input_is_named(done):
    """The reason names the input whose bytes differ."""
    with (done.usecase / "data" / "messages.csv").open("a") as file:
        file.write("one more about a card,cards\n")
    found = reasons(pipeline(done))
    assert found["05_inspection"] == (False, "changed: input data")
    assert found["20_dataset"] == (False, "follows 05_inspection")


def test_a_changed_template_is_named(done):
    """The reason says that the notebook itself changed; outputs and cell ids are no change."""
    done.stage("30_adapt", "print('more')")
    assert reasons(pipeline(done))["30_adapt"] == (False, "changed: the notebook")


def test_own_steps_are_part_of_the_key_and_caches_are_not(done):
    """A changed step re-runs what may use it; what Python leaves beside it decides nothing."""
    steps = done.usecase / "steps"
    steps.mkdir()
    (steps / "own.py").write_text("A = 1\n")
    made = pipeline(done)
    assert reasons(made)["10_intake"] == (False, "changed: steps")
    key = made.step(made.stages[0]).key["digest"]
    (steps / "__pycache__").mkdir()
    (steps / "__pycache__" / "own.pyc").write_bytes(b"\0")
    assert made.step(made.stages[0]).key["digest"] == key


def test_fresh_runs_what_is_unchanged(done):
    """`fresh` asks for everything anew and says so."""
    assert reasons(pipeline(done, fresh=True))["10_intake"] == (False, "asked for anew")


def test_base_results_are_taken_over_when_only_the_candidate_changed(done):
    """`reuses`: an output is an input of the next run while what decides it is the same."""
    pipeline(done, given={"30_adapt": ["epochs=4"]}).run(until="40_functional")
    record = done.record("40_functional")
    assert "base reused" in (record.path / "notebook.ipynb").read_text()
    assert "base_cases" in {item.annotations["input"] for item in record.statement.inputs}


def test_base_results_of_another_snapshot_are_not_mixed_in(done):
    """Rows of two snapshots never meet in one stage: one key, one deletion. Only a training row
    changed here, so the locked set and with it the base's results would fit."""
    text = (done.usecase / "data" / "messages.csv").read_text()
    done.data(text.replace("no 0 about", "no 0 regarding"))
    pipeline(done, given={"30_adapt": ["epochs=4"]}).run(until="40_functional")
    assert "base computed" in (done.record("40_functional").path / "notebook.ipynb").read_text()


def test_a_tampered_record_is_not_reused(done):
    """A record that would be reused has to verify: IntegrityError names the file."""
    file = done.record("30_adapt").path / "outputs" / "adapter" / "weights.json"
    file.chmod(0o644)
    file.write_text(file.read_text().replace("cards", "fees!"))
    with pytest.raises(IntegrityError, match="does not verify") as refused:
        pipeline(done).run()
    assert "adapter/weights.json" in str(refused.value)


def test_a_failed_run_is_a_record_and_is_never_reused(done):
    """What broke is sealed and in the ledger; the next run does not take it for a result."""
    done.stage("30_adapt", "raise OSError('no such luck')")
    told = done.cli("run")
    assert told.code == 2 and "no such luck" in told.err
    failed = done.record("30_adapt")
    assert failed.outcome == "failed"
    assert done.ledger("record")[-1].body["outcome"] == "failed"
    assert failed.statement.predicate.workbench_error["ename"] == "OSError"
    assert reasons(pipeline(done))["30_adapt"][0] is False


def test_a_gate_of_a_stage_that_does_not_continue_stops_the_run(lab):
    """20_dataset is not to be weighed later: exit at once, the gate named, the record kept."""
    lab.data("message,intent\na card,cards\na fee,fees\n")
    with pytest.raises(GateNotPassed, match="20_dataset: enough_rows failed") as stopped:
        pipeline(lab).run()
    assert [one.stage for one in stopped.value.done] == FIRST
    assert lab.record("20_dataset").outcome == "succeeded"


def test_two_runs_at_once_of_a_use_case_are_refused(done):
    """The second one is told which process runs; another track is free."""
    made = pipeline(done)
    with (done.runs / "research" / "scratch" / ".run-tiny.lock").open("w+") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another run") as refused:
            made.run()
    assert "process 4711" in str(refused.value)
    assert len(made.run()) == 6


def test_only_records_that_this_ledger_saw_made_are_reused(done, tmp_path, monkeypatch):
    """Of an imported record this ledger can't tell what came before what: it is kept, verified,
    and made again here."""
    from workbench.record.pack import import_pack, pack

    pack(done.store(), [done.record("50_candidate").digest], tmp_path / "all.tar")
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "team"))
    made = pipeline(done)
    assert len(import_pack(made.store, tmp_path / "all.tar")) == 6
    assert reasons(made)["10_intake"] == (False, "first run")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parameters", {"30_adpt": {"epochs": 2}}),
        ("profiles", {"demo": {"30_adpt": {"epochs": 2}}}),
    ],
)
def test_parameters_of_a_stage_that_is_not_there_are_refused(lab, field, value):
    """A misspelt stage in usecase.yaml is no silent default."""
    lab.configure(**{field: value})
    with pytest.raises(InputError, match="no stage 30_adpt") as refused:
        pipeline(lab)
    assert field in str(refused.value)


def test_an_unknown_profile_is_refused(lab):
    """The error names those that there are."""
    lab.configure(profiles={"demo": {"30_adapt": {"epochs": 1}}})
    with pytest.raises(InputError, match="no such profile") as refused:
        pipeline(lab, profile="dmo")
    assert "demo" in str(refused.value)
    assert pipeline(lab, profile="demo").parameters["30_adapt"] == {"epochs": 1}


def test_a_policy_that_cannot_be_evaluated_is_refused_before_anything_runs(lab):
    """An unknown figure would make its gate `not_evaluated` whatever the model does."""
    lab.criteria(figure="acuracy")
    with pytest.raises(InputError, match="can't be evaluated") as refused:
        pipeline(lab).run()
    assert "acuracy" in str(refused.value) and not lab.store().records()


UNCLASSIFIED = {"path": "data/messages.csv", "text": "message", "label": "intent"}


@pytest.mark.parametrize("track", ["research", "governed"])
def test_unclassified_data_is_refused_on_both_tracks(lab, track):
    """No class, no run; nothing is recorded."""
    lab.configure(data=UNCLASSIFIED)
    with pytest.raises(InputError, match="may not run") as refused:
        pipeline(lab, track).run()
    assert "no column is classified" in str(refused.value)
    assert "no person has confirmed" in str(refused.value)
    assert not lab.store(track).records()


def test_what_is_missing_is_told_with_who_and_how(lab):
    """One error for all; the research track takes the same use case as it is."""
    with pytest.raises(InputError, match="may not run on the governed track") as refused:
        pipeline(lab, "governed").check()
    assert "not in a git repository" in str(refused.value)
    assert "(whoever commits: git init" in str(refused.value)
    assert "(model validator: workbench approve templates" in str(refused.value)
    assert pipeline(lab).check()


def test_a_stage_that_is_asked_for_must_exist(lab):
    """`until` names a stage, and runs only what it stands on."""
    with pytest.raises(InputError, match="no such stage"):
        pipeline(lab).run(until="30_adpt")
    wanted = [stage.name for stage in pipeline(lab).upto("20_dataset")]
    assert wanted == FIRST


def test_a_commitment_that_a_crash_left_out_is_entered_by_the_next_run(done, monkeypatch):
    """Died between sealing the intake and entering its criteria: the next run makes up for it,
    before anything is trained."""
    shutil.rmtree(done.runs)
    monkeypatch.setattr("workbench.execution.commitments.commit", lambda *facts: None)
    pipeline(done).run(until="10_intake")
    assert done.ledger("criteria") == []
    monkeypatch.undo()
    for name in ("WORKBENCH_RUNS", "WORKBENCH_KEYS"):
        monkeypatch.setenv(name, str(done.home / name.removeprefix("WORKBENCH_").lower()))
    pipeline(done).run(until="10_intake")
    pipeline(done).run(until="10_intake")
    assert len(done.ledger("criteria")) == 1
