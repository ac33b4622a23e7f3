"""Where an environment asks for it: window, rehearsal, parity, canary, then all (E5)."""

from __future__ import annotations

import json
import platform
import time
from datetime import datetime, timedelta

import pytest
import yaml

from workbench.errors import GateNotPassed, InputError, IntegrityError
from workbench.execution import bundle
from workbench.execution.operate import deploying, observe, places
from workbench.execution.project import Project
from workbench.execution.release import registry
from workbench.policy.environment import Environment
from workbench.policy.operations import Window
from workbench.record import clock
from workbench.record.decisions import FIRST, head
from workbench.record.digest import canonical
from workbench.record.statement import ResourceDescriptor, build
from workbench.record.verify import verify_record, verify_store

HERE = "guarded"
PYTHON = platform.python_version()
PASSED = {"stage": "60_preproduction", "verdict": "passed", "blocking": True, "harm": "h",
          "reason": "r", "threshold": "t", "figure": None, "failing": []}  # fmt: skip


class Guarded:
    """A release, and a declared environment that asks for all that there is."""

    def __init__(self, lab):
        self.lab, self.store = lab, lab.store("governed")
        self.candidate = bundle.find(self.store)
        folder = lab.usecase / "environments"
        folder.mkdir()
        (folder / "guarded.yaml").write_text(yaml.safe_dump({"name": HERE, "python": PYTHON}))
        rules = [{"field": "python", "kind": "must_equal", "reason": "r"},
                 {"field": "*", "kind": "not_applicable", "reason": "not of this test"}]  # fmt: skip
        (folder / "parity.yaml").write_text(yaml.safe_dump({"rules": rules}))
        file = lab.usecase / "usecase.yaml"
        plain = yaml.safe_load(file.read_text())
        plain["environments"][HERE] = "environments/guarded.yaml"
        file.write_text(yaml.safe_dump(plain))
        lab.commit()
        self.folder = places.prepare(places.served(self.project, HERE))
        self.seen()

    @property
    def project(self):
        return Project.load(self.lab.usecase)

    def seen(self, python=PYTHON):
        """What was observed where it is to serve."""
        observe.signed(self.folder, "tiny", Environment(name=HERE, python=python))

    def rehearse(self, python=PYTHON, **verdicts):
        """A sealed record of 60_preproduction, with these verdicts in place of passed ones."""
        run = self.store.begin("60_preproduction", "Otto")
        (run.record / "notebook.ipynb").write_text("{}")
        (run.record / "outputs").mkdir()
        found = Environment(name="preproduction", python=python).model_dump(mode="json")
        (run.record / "outputs" / "observed.json").write_bytes(canonical(found))
        said = [PASSED | {"criterion": name, "verdict": verdicts.get(name, "passed")}
                for name in ("as_validated", "parity", "log") if verdicts.get(name) != "absent"]  # fmt: skip
        one = self.candidate.record
        read = ResourceDescriptor(name="outputs/bundle/manifest.json", digest={"sha256":
            one.statement.subject[0].digest["sha256"]}, annotations={"record": one.digest})  # fmt: skip
        read.digest["sha256"] = next(s.digest["sha256"] for s in one.statement.subject
                                     if s.name == read.name)  # fmt: skip
        return self.store.publish(run, build(
            stage="60_preproduction", parameters={}, usecase="tiny", track="governed",
            started=clock.now(), finished=clock.now(), outcome="succeeded", inputs=[read],
            internal={}, builder_version="1", verdicts=said,
        ))  # fmt: skip

    def deploy(self, action="canary", **more):
        return registry.deploy(self.project, self.store, self.candidate, HERE, action=action,
                               by="Otto Operator", sign_with=self.lab.keys / "Otto", **more)  # fmt: skip

    def served(self, entry, *outcomes):
        """Lines of a decision log, as a gateway writes it."""
        previous, lines = FIRST, []
        for number, outcome in enumerate(outcomes):
            said = {"number": number, "previous": previous, "time": clock.now(), "arm": "canary",
                    "entry": entry, "kind": "traffic", "outcome": outcome, "status": 200,
                    "latency_ms": 5.0, "abstained": False, "reason": "", "shape": SHAPE}  # fmt: skip
            lines.append(canonical(said))
            previous = head(lines[-1])
        path = self.folder / places.DECISIONS / "000000.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return path


SHAPE = {"chars": 5, "words": 1, "language": "en", "ascii": 1.0, "missing": 0}


@pytest.fixture
def guarded(released):
    return Guarded(released)


def test_from_canary_to_all_each_step_sealed_with_what_it_rests_on(guarded):
    """The record names rehearsal, parity, criteria and runbook; the entry names the record."""
    with pytest.raises(GateNotPassed, match="begins as a canary"):
        guarded.deploy("start")
    rehearsed = guarded.rehearse()
    done = guarded.deploy()
    assert (done.action, done.share) == ("canary", 0.5)
    record = guarded.store.record(done.sealed)
    plan = json.loads(record.file("outputs/deployment.json").read_bytes())
    assert plan["rehearsal"] == rehearsed.digest and plan["by"] == "Otto Operator"
    assert "--action roll_back" in plan["runbook"]
    assert {v["criterion"] for v in record.statement.predicate.workbench_verdicts} == {
        "rehearsal", "parity"}  # fmt: skip
    with pytest.raises(GateNotPassed, match="can't promote") as refused:
        guarded.deploy("promote")
    assert "0 requests answered, 3 needed" in refused.value.given
    guarded.served(done.entry, *["answered"] * 4)
    time.sleep(0.7)  # the canary's hundredth of a minute
    told = guarded.deploy("promote")
    verdicts = guarded.store.record(told.sealed).statement.predicate.workbench_verdicts
    assert {v["criterion"]: v["verdict"] for v in verdicts} == dict.fromkeys(
        ("rehearsal", "parity", "canary", "canary_answers"), "passed")  # fmt: skip
    found = registry.at(guarded.store, HERE)
    assert found["serving"]["deployment"]["action"] == "promote" and found["canary"] is None
    assert "70_deploy" in {one["stage"] for one in found["serving"]["records"]}
    page = guarded.lab.home / "way.html"
    assert guarded.lab.cli("at", "-e", HERE, "--lineage", page).code == 0 and page.exists()
    assert verify_record(record, guarded.store.public_keys) == []
    assert verify_store(guarded.store).ok


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [({}, "parity failed"), ({"as_validated": "failed"}, "as_validated failed"),
     ({"parity": "absent"}, "parity not_evaluated"), ({"log": "failed"}, "log failed"),
     (None, "never rehearsed")],
)  # fmt: skip
def test_without_a_rehearsal_that_passed_there_is_no_canary(guarded, verdicts, says):
    """None, one that failed a gate or lacks one that is owed, or another place than was rehearsed."""
    if verdicts is not None:
        guarded.rehearse(**verdicts)
    guarded.seen("0.0.0")
    with pytest.raises(GateNotPassed, match="can't canary") as refused:
        guarded.deploy()
    assert says in refused.value.given
    assert guarded.store.ledger.entries("deployment") == []
    assert guarded.store.records("70_deploy") == []


@pytest.mark.parametrize("what", ["changed", "of another"])
def test_a_rehearsal_that_was_changed_or_is_of_another_bundle_does_not_count(guarded, what):
    """Its bytes against its seal; the record that it read against the candidate."""
    record = guarded.rehearse()
    if what == "changed":
        path = record.path / "outputs" / "observed.json"
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(PYTHON.encode(), b"0.0.0"))
    else:
        guarded.candidate.record.__dict__["digest"] = "0" * 64
    with pytest.raises((GateNotPassed, IntegrityError, InputError)):
        guarded.deploy()
    assert guarded.store.ledger.entries("deployment") == []


def test_an_observation_that_nobody_signed_is_none(guarded):
    """Changed after the server signed it: it names the file."""
    guarded.rehearse()
    path = guarded.folder / places.OBSERVED
    path.write_bytes(path.read_bytes().replace(PYTHON.encode(), b"3.99.1"))
    with pytest.raises(IntegrityError):
        guarded.deploy()


def test_a_canary_is_promoted_by_what_the_log_says_and_no_line_may_be_missing(guarded, monkeypatch):
    """Criteria that fail, or a log that was changed, keep it a canary; nothing is sealed."""
    monkeypatch.setattr(deploying.sealing, "seal", lambda *a, **k: guarded.candidate.record)
    guarded.rehearse()
    done = guarded.deploy()
    time.sleep(0.7)
    path = guarded.served(done.entry, *["answered"] * 3, *["fallback"] * 9)
    with pytest.raises(GateNotPassed, match="can't promote") as refused:
        guarded.deploy("promote")
    assert refused.value.given.startswith("canary_answers failed")
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(lines[:3] + lines[6:]))
    with pytest.raises(IntegrityError, match="does not verify"):
        guarded.deploy("promote")


def test_outside_its_window_nothing_is_changed_but_taken_back(guarded, monkeypatch):
    """It says when it opens. The way back and a stop need no window."""
    monkeypatch.setattr(deploying.sealing, "seal", lambda *a, **k: guarded.candidate.record)
    guarded.rehearse()
    done, project = guarded.deploy(), guarded.project
    tomorrow = datetime.now() + timedelta(days=2)
    day = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[tomorrow.weekday()]
    asked = project.operations.deployments[HERE].model_copy(update={"window": Window(days=[day])})
    project.operations.deployments[HERE] = asked
    how = {"by": "Otto Operator", "sign_with": guarded.lab.keys / "Otto"}
    with pytest.raises(GateNotPassed, match="may not be changed now") as refused:
        registry.deploy(project, guarded.store, guarded.candidate, HERE, action="promote", **how)
    assert refused.value.expected.lower().startswith(f"from {day}")
    back = registry.take_back(project, guarded.store, HERE, reason="r", **how)
    assert (back.action, back.bundle) == ("halt", done.bundle)


def test_more_than_the_declared_share_is_no_canary(guarded):
    """And less is."""
    guarded.rehearse()
    with pytest.raises(GateNotPassed, match="begins as a canary"):
        guarded.deploy(share=0.9)


def test_a_machine_takes_back_and_deploys_nothing(guarded):
    """By its own key; whoever is neither is refused before a notebook runs."""
    from workbench.execution.operate import machines

    name, key = machines.create(guarded.project, guarded.store, "production", "monitor",
                                name="monitor-production", by="Dora Data",
                                sign_with=guarded.lab.keys / "Dora")  # fmt: skip
    how = {"by": name, "sign_with": key}
    place = guarded.project, guarded.store, guarded.candidate, "production"
    with pytest.raises(InputError, match="does not start"):
        registry.deploy(*place, action="start", **how)
    registry.deploy(*place, action="start", by="Otto Operator",
                    sign_with=guarded.lab.keys / "Otto")  # fmt: skip
    done = registry.take_back(*place[:2], "production", reason="errors", **how)
    assert (done.action, done.by, done.reason) == ("stop", name, "errors")
    with pytest.raises(InputError, match="Nothing serves"):
        registry.take_back(*place[:2], "production", reason="errors", **how)


def test_the_runbook_is_printed_as_things_stand(guarded):
    """By a verb; without an operations.yaml there is none."""
    told = guarded.lab.cli("deploy", "-e", HERE, "--runbook")
    assert told.code == 0 and "# Runbook: tiny in guarded" in told.out and "- nothing" in told.out
    assert guarded.lab.cli("deploy", "-e", HERE).code == 1  # unsigned
