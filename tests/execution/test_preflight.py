"""Before a kernel starts: each thing that the governed track asks, refused and then cleared (A6)."""

from __future__ import annotations

import shutil

import pytest
import yaml

from workbench.errors import InputError, IntegrityError
from workbench.execution import preflight
from workbench.execution.pipeline import Pipeline
from workbench.execution.project import Project


def pipeline(lab, track="governed", **more):
    project = Project.load(lab.usecase)
    return Pipeline(project, project.store(track), **more)


def whats(lab, until=None, **more) -> list[str]:
    return [one.what for one in pipeline(lab, **more).missing(until)]


@pytest.fixture
def governed(lab):
    """A tiny use case of which every person did what is theirs."""
    lab.keys = lab.govern()
    return lab


def change(lab, name: str, old: str, new: str) -> None:
    path = lab.usecase / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    lab.commit()


def test_when_all_did_what_is_theirs_the_run_may_start(governed):
    """Nothing is missing, and the check says at which level kernels run."""
    assert pipeline(governed).missing() == []
    assert pipeline(governed).check() in ("namespace", "container")


def test_a_fresh_use_case_lists_everybody(lab):
    """One error, each reason with who and how; nothing was made but the store that was asked for."""
    with pytest.raises(InputError, match="may not run on the governed track") as refused:
        pipeline(lab).run()
    for said in (
        "no source is registered (data steward: register", "no signed classification",
        "not in a git repository", "(whoever commits: git init",
        "there is no keyring of people yet (keyholder: workbench keys add",
        "nobody in the keyring is a model validator (keyholder: workbench keys add",
        "nobody has approved the templates", "(model validator: workbench approve templates",
        "there is no change envelope (use-case owner: ",
        "the training environment is not declared (engineer: ",
    ):  # fmt: skip
        assert said in str(refused.value), said
    assert not lab.store("governed").records()
    assert pipeline(lab, "research").missing() == []


def test_a_template_that_changed_after_it_was_approved(governed):
    """The refusal names the stage with both digests; approved anew, it may run."""
    then = pipeline(governed).stages
    before = next(s.source_digest for s in then if s.name == "30_adapt")
    governed.stage("30_adapt", "print('more')")
    governed.commit()
    now = next(s.source_digest for s in pipeline(governed).stages if s.name == "30_adapt")
    [said] = whats(governed)
    assert said == f"30_adapt is not what was approved: {before[:12]} then, {now[:12]} now"
    assert whats(governed, until="20_dataset") == []  # that stage is not among them
    governed.cli("approve", "templates", "--by", "Vera Validator",
                 "--sign-with", governed.keys / "Vera")  # fmt: skip
    assert whats(governed) == []


def test_a_layer_that_the_plan_asks_for_and_no_gate_looks_at(governed):
    """Said before anything is trained, with who owes it; a gate that does not block is none."""
    governed.owed[-1]["blocking"] = False
    governed.criteria()
    governed.commit()
    [found] = pipeline(governed).missing()
    assert found.what == "tier moderate asks for the layer memorisation, and no gate of it blocks"
    assert found.who == "use-case owner" and "policy.yaml" in found.how
    assert whats(governed, until="40_functional") == []


def test_an_own_step_that_nobody_approved(governed):
    """It came after the approval."""
    (governed.usecase / "steps").mkdir()
    (governed.usecase / "steps" / "own.py").write_text("A = 1\n")
    governed.commit()
    [said] = whats(governed)
    assert said.startswith("steps/ is not what was approved: nothing then")


def test_an_envelope_that_changed_after_it_was_signed(governed):
    """Refused for runs that adapt, and for no other; signed anew, it may run."""
    change(governed, "envelope.yaml", "at_most: 5", "at_most: 9")
    [said] = whats(governed)
    assert said.startswith("envelope.yaml is not what was approved")
    assert whats(governed, until="20_dataset") == []
    governed.cli("approve", "envelope", "--by", "Olga Owner", "--sign-with", governed.keys / "Olga")
    assert whats(governed) == []


def test_no_envelope_at_all(governed):
    """Only what adapts needs one."""
    change(governed, "usecase.yaml", "envelope: envelope.yaml\n", "")
    assert whats(governed) == ["there is no change envelope"]
    assert whats(governed, until="20_dataset") == []


def test_a_planned_run_outside_the_envelope(governed):
    """By the parameters that it would run with: the field is named before anything is trained."""
    [said] = whats(governed, given={"30_adapt": ["epochs=6"]})
    assert "modifications.hyperparameters.epochs: expected 1 to 5, given 6" in said
    assert whats(governed, given={"30_adapt": ["epochs=5"]}) == []


def test_a_tree_with_changes(governed):
    """Committed, it is a state with a name."""
    (governed.usecase / "note.txt").write_text("later")
    assert whats(governed) == ["the working tree has uncommitted changes"]
    governed.commit()
    assert whats(governed) == []


def test_no_repository(governed):
    """A record could not say what it ran from."""
    shutil.rmtree(governed.usecase / ".git")
    [said] = whats(governed)
    assert "not in a git repository" in said


def test_an_environment_that_is_not_as_declared(governed):
    """Each field that differs, with what is declared and what is here; none declared is no pass."""
    path = governed.usecase / "training.yaml"
    declared = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(declared | {"python": "2.7.18", "egress": ["example.org"]}))
    governed.commit()
    first, second = sorted(whats(governed))
    assert "egress is [], not ['example.org']" in first
    assert f"python is {declared['python']}, not 2.7.18" in second
    change(governed, "usecase.yaml", "training: training.yaml", "serving: training.yaml")
    assert whats(governed) == ["the training environment is not declared"]


def test_a_zone_that_may_not_hold_the_data(governed):
    """The rows are personal, the zone holds less, or nobody said what it holds."""
    change(governed, "training.yaml", "holds: personal", "holds: public")
    [said] = whats(governed)
    assert "may not enter the zone bank" in said and "given personal" in said
    change(governed, "training.yaml", "zone:\n  holds: public\n  name: bank\n", "")
    [said] = whats(governed)
    assert "zone: {name, holds}" in said


def test_a_class_that_the_plan_bars(governed):
    """Health data at low severity: the tier's controls would be missing."""
    text = (governed.usecase / "usecase.yaml").read_text()
    assert "class: personal" in text
    change(governed, "usecase.yaml", "class: personal", "class: safety_incident")
    assert any("does not allow the data class `safety_incident`" in one for one in whats(governed))


@pytest.mark.parametrize(("severity", "barred"), [("moderate", True), ("low", False)])
def test_full_fine_tuning_where_the_plan_forbids_it(governed, severity, barred):
    """Above the lowest tier the base stays frozen."""
    governed.stage("30_adapt", parameters='method: str = "full"\nepochs: int = 3  # rounds [1..9]')
    case = yaml.safe_load((governed.usecase / "usecase.yaml").read_text())
    columns = {n: c | {"class": "internal_operational"} for n, c in case["data"]["columns"].items()}
    case |= {"severity": severity, "data": case["data"] | {"columns": columns}, "domain": "other"}
    (governed.usecase / "usecase.yaml").write_text(yaml.safe_dump(case))
    said = "does not allow full fine-tuning"
    assert any(said in one for one in whats(governed)) == barred


def test_isolation_below_the_plan_s(governed):
    """The level that the machine gives is asked of the machine, and compared with the plan's."""
    made = pipeline(governed)
    facts = (made.project, made.store, made.stages, made.parameters)
    assert preflight.missing(*facts, "container") == []
    assert any("asks for `namespace`" in one.what for one in preflight.missing(*facts, "none"))


def test_a_signature_that_does_not_count_stops_everything(governed):
    """A forged approval is no item of a to-do list."""
    store = governed.store("governed")
    entry = store.ledger.entries("approval")[0].body["envelope"]
    store.ledger.append("approval", {"envelope": entry})
    with pytest.raises(IntegrityError, match="does not count"):
        pipeline(governed).missing()


def test_looking_at_a_track_without_a_store_makes_none(lab):
    """The same list as with an empty store, and no folder after it."""
    project = Project.load(lab.usecase)
    made = Pipeline(project, preflight.governed(project))
    found = made.missing()
    assert found and not lab.runs.exists()
    assert [one.what for one in found] == whats(lab)


def test_a_dry_run_shows_what_is_missing(governed):
    """With the plan, as JSON too; the exit code is that of the run."""
    assert governed.cli("run", "--track", "governed", "--dry-run").code == 0
    (governed.usecase / "note.txt").write_text("later")
    told = governed.cli("run", "--track", "governed", "--dry-run")
    assert told.code == 1 and "30_adapt" in told.out and "uncommitted changes" in told.err
    [one] = governed.cli("run", "--track", "governed", "--dry-run", "--json").json["missing"]
    assert one["who"] == "whoever commits" and "git commit" in one["how"]
