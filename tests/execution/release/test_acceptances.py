"""A person may answer for a gate that failed, where the plan leaves it to them; it stays failed (L3)."""

from __future__ import annotations

import json

import pytest

from workbench.errors import GateNotPassed
from workbench.execution import bundle, gating
from workbench.execution.pipeline import Done, Pipeline
from workbench.execution.project import Project
from workbench.execution.release import acceptances, standing
from workbench.methods import candidate
from workbench.policy import release, risks
from workbench.policy.criteria import Policy
from workbench.policy.gates import GateVerdict
from workbench.record import clock, person
from workbench.record.verify import verify_store

SAID = ["--residual", "One in twenty waits a day.", "--control", "The desk reads it each hour.",
        "--owner", "Olga Owner"]  # fmt: skip
SOON = clock.text(clock.parse(clock.now()))[:10]  # today: it holds to the end of this day
LATER = "2099-01-01T00:00:00.000000Z"


VERDICT = {"criterion": "accuracy", "stage": "40_functional", "verdict": "failed", "blocking": True,
           "harm": "h", "reason": "0.8", "threshold": "at least 0.9", "figure": None,
           "failing": []}  # fmt: skip
CRITERION = {"id": "accuracy", "stage": "s", "table": "t", "figure": "accuracy", "at_least": 0.9,
             "bound": "value", "blocking": True, "harm": "h", "why": "w"}  # fmt: skip


@pytest.fixture
def accept(desk):
    """`workbench accept risk GATE`, signed by a person of the desk."""

    def said(record, name="Rita Risk", gate="accuracy", expires=SOON, key=None, **_):
        key = desk.keys / (key or name.split()[0])
        return desk.lab.cli("accept", "risk", gate, "--record", record.id, *SAID, "--expires",
                            expires, "--by", name, "--sign-with", key)  # fmt: skip

    return said


def in_force(desk, **when):
    return acceptances.in_force(desk.store, "tiny", **when)


def test_signed_and_beside_the_verdict_which_stays_failed(desk, accept):
    """Bound to the gate and to the record that gave the verdict."""
    record, other = desk.judged(), desk.judged()
    told = accept(record)
    assert told.code == 0 and "stays failed" in told.out, told.err
    [one] = in_force(desk)
    assert (one["record"], one["gate"], one["by"]) == (record.digest, "accuracy", "Rita Risk")
    [verdict] = acceptances.beside(desk.store, record)
    assert verdict["verdict"] == "failed" and verdict["accepted"]["entry"] == one["entry"]
    assert "accepted" not in acceptances.beside(desk.store, other)[0]
    assert verify_store(desk.store).ok


def test_it_ends_with_its_last_day(desk, accept):
    record = desk.judged()
    assert accept(record).code == 0
    assert in_force(desk, now=f"{SOON}T23:59:59.000000Z") and not in_force(desk, now=LATER)
    assert in_force(desk)[0]["expires"] == SOON


def test_the_last_word_on_a_gate_counts(desk, accept):
    record = desk.judged()
    accept(record), accept(record, "Olga Owner")
    assert [one["by"] for one in in_force(desk)] == ["Olga Owner"]


def test_who_may_not_accept_enters_nothing(desk, accept):
    """Another role, nobody known, another's key, too long, a gate that did not fail."""
    record = desk.judged()
    for words, says in (
        ({"name": "Vera Validator"}, "Not theirs to accept"),
        ({"name": "Nobody", "key": "Rita"}, "no one person of that name"),
        ({"key": "Olga"}, "another person's"),
        ({"expires": "2099-01-01"}, "end within the days"),
        ({"expires": "2020-01-01"}, "end within the days"),
        ({"gate": "isolation"}, "No one gate of that name"),
    ):
        told = accept(record, **words)
        assert told.code == 1 and says in told.err, told.err
    assert desk.store.ledger.entries("risk-acceptance") == []


@pytest.mark.parametrize(
    ("severity", "marked", "name", "code"),
    [("low", False, "Olga Owner", 0), ("moderate", False, "Rita Risk", 1), ("high", True, "Rita Risk", 0),
     ("high", True, "Olga Owner", 1), ("critical", True, "Rita Risk", 1)],
)  # fmt: skip
def test_the_plan_that_the_record_stands_on_decides(desk, accept, severity, marked, name, code):
    """By tier: which gates, and whose acceptance; a lower tier stated later changes nothing."""
    public = {"class": "public", "purpose": "p", "owner": "o"}
    data = desk.project.usecase.data.model_dump(mode="json", by_alias=True)
    columns = {"message": public, "intent": public}
    config = {"data": data | {"columns": columns}, "autonomy": "advisory"}
    desk.lab.configure(severity=severity, **config)
    record = desk.judged(acceptable=marked)
    desk.lab.configure(severity="low", **config)
    assert accept(record, name).code == code


def test_who_wrote_the_criteria_may_not_waive_them(desk, accept):
    """The refusal says where they wrote; another person may."""
    policy = (desk.lab.usecase / "policy.yaml").read_text()
    commit = desk.commit("policy.yaml", policy + "# mine\n", "Rita Risk", "rita@example.org")
    desk.facts = {"repository": {"commit": commit, "dirty": False}}
    record = desk.judged()
    told = accept(record)
    assert told.code == 1 and f"edited policy: policy.yaml in commit {commit[:7]}" in told.err
    assert accept(record, "Olga Owner").code == 0


def test_one_person_at_a_low_tier_goes_on_unless_they_wrote_the_criteria(desk, accept):
    """Who ran everything may answer for the risk; the plan bars only who set the threshold."""
    public = {"class": "public", "purpose": "p", "owner": "o"}
    data = desk.project.usecase.data.model_dump(mode="json", by_alias=True)
    desk.lab.configure(severity="low", autonomy="advisory",
                       data=data | {"columns": {"message": public, "intent": public}})  # fmt: skip
    desk.facts = {"actor": {"name": "Olga Owner", "email": ""}}
    assert accept(desk.judged(acceptable=False), "Olga Owner").code == 0


FORGED = ["unsigned", "words changed", "record changed", "by another", "for another meaning",
          "another stage", "no criterion", "nothing"]  # fmt: skip


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_acceptance_excuses_nothing_and_is_named(how, desk):
    """Left out, edited after it was signed, moved to another record, in another's name."""
    record, other = desk.judged(), desk.judged()
    said = {"usecase": "tiny", "gate": "accuracy", "stage": "40_functional", "record": record.digest,
            "residual": "r", "control": "c", "owner": "Olga Owner", "expires": SOON,
            "by": "Rita Risk", "time": "2026-01-01T00:00:00Z"}  # fmt: skip
    said |= {"another stage": {"stage": "41_policy"}, "no criterion": {"gate": "isolation"}}.get(
        how, {}
    )
    key = desk.keys / ("Vera" if how == "by another" else "Rita")
    namespace = "finding@workbench" if how == "for another meaning" else acceptances.NAMESPACE
    envelope = person.sign(said, namespace, key)
    changed = {
        "words changed": {"expires": "2099-01-01"},
        "record changed": {"record": other.digest},
    }
    body = {"envelope": envelope | {"statement": said | changed.get(how, {})}}
    body = {"unsigned": {"statement": said}, "nothing": {}}.get(how, body)
    entry = desk.store.ledger.append("risk-acceptance", body)
    found, ignored = acceptances.read(desk.store, "tiny")
    assert found == [] and [one.entry for one in ignored] == [entry.index]
    assert in_force(desk) == []


def test_one_of_another_record_does_not_count_for_the_decision(desk, accept):
    """After another examination it is another risk."""
    record, other = desk.judged(), desk.judged()
    assert accept(record).code == 0
    accepted = in_force(desk)
    for one, stays in ((record, True), (other, False)):
        criteria = one.statement.inputs[0]
        sealed = type("Sealed", (), {"digest": criteria.digest["sha256"], "record": None})
        [verdict] = gating.given_under(sealed, [one], accepted)
        assert ("accepted" in verdict) == stays


def test_the_decision_goes_on_and_names_it_and_is_refused_without(desk):
    """Failed and accepted is no refusal; anything else that did not pass still is."""
    failed = {"criterion": "accuracy", "stage": "s", "verdict": "failed", "blocking": True}
    said = {"by": "Rita Risk", "expires": "2026-12-01", "residual": "r"}
    other = failed | {"criterion": "speed", "verdict": "insufficient_evidence"}
    policy = Policy.parse({"version": 1, "criteria": [CRITERION]})

    def decided(*verdicts):
        return gating.decided("50_candidate", policy, list(verdicts), True, standing=())

    result = decided(failed | {"accepted": said})
    assert result.verdict == GateVerdict.PASSED and "accepted by Rita Risk" in result.reason
    assert result.failing == ("accuracy",)
    assert decided(failed).verdict == GateVerdict.FAILED
    assert decided(failed | {"accepted": said}, other).verdict == GateVerdict.FAILED
    odd = failed | {"accepted": said, "verdict": "not_evaluated"}
    assert decided(odd).verdict == GateVerdict.FAILED


def test_a_candidate_is_frozen_under_an_acceptance_and_not_after_it(releasable, monkeypatch):
    """Only the deciding stage runs again; the bundle says failed, and who answers; when the last day
    is over the same candidate is refused, and a release that stood on it is too."""
    lab = releasable
    lab.criteria(at_least=1.5, acceptable=True)
    lab.commit()
    given = ["--set", "50_candidate.insist=true", "--set", "30_adapt.epochs=2"]
    run = ["run", "--track", "governed", *given]
    assert lab.cli(*run).code == 3
    refused = lab.record("50_candidate", "governed")
    assert not (refused.path / "outputs" / "bundle").exists()
    failed = lab.record("40_functional", "governed")
    told = lab.cli("accept", "risk", "accuracy", "--record", failed.id, *SAID, "--expires", SOON,
                   "--by", "Rita Risk", "--sign-with", lab.keys / "Rita")  # fmt: skip
    assert told.code == 0, told.err
    done = lab.cli(*run, "--json")
    assert done.code == 0, done.err
    assert [one["stage"] for one in done.json if not one["reused"]] == ["50_candidate"]
    shown = lab.cli("show", lab.record("50_candidate", "governed").id, "--track", "governed")
    assert "failed and accepted: accuracy" in " ".join(shown.out.split())
    frozen = lab.record("50_candidate", "governed")
    [decision, _] = frozen.statement.predicate.workbench_verdicts
    assert decision["verdict"] == "passed" and "accepted by Rita Risk" in decision["reason"]
    folder = frozen.path / "outputs" / "bundle"
    verdicts = json.loads((folder / "evaluation.json").read_text())["verdicts"]
    [held] = [one for one in verdicts if one["criterion"] == "accuracy"]
    assert held["verdict"] == "failed" and held["accepted"]["by"] == "Rita Risk"
    assert "Rita Risk" in (folder / "MODEL_CARD.md").read_text()
    status = lab.cli("release", "status", "--json")
    gates = {one["criterion"]: one["verdict"] for one in status.json["gates"]}
    assert gates["acceptances"] == "passed"
    monkeypatch.setattr(clock, "now", lambda: LATER)
    again = lab.cli(*run)
    assert again.code == 3 and f"record 50_candidate/{refused.id}" in again.err, again.err
    store = lab.store("governed")
    evidence = standing.collect(Project.load(lab.usecase), store, bundle.find(store))
    [gate] = [one for one in release.judge(evidence) if one.criterion == "acceptances"]
    assert gate.verdict == GateVerdict.FAILED and "accuracy" in gate.reason


def test_a_stage_that_ends_a_run_does_not_where_its_failure_is_accepted(desk, accept):
    """Of that very record; another gate that did not pass still ends it."""
    lost = VERDICT | {"criterion": "speed", "verdict": "not_evaluated"}
    record, other = desk.judged(), desk.judged(VERDICT, lost)
    pipeline = Pipeline(desk.project, desk.store)

    def stop(held):
        pipeline._stop_at("20_dataset", [Done("20_dataset", held, False, "", 0.0)])

    with pytest.raises(GateNotPassed, match="accuracy"):
        stop(record)
    assert accept(record).code == accept(other).code == 0
    stop(record)
    with pytest.raises(GateNotPassed, match="speed") as stopped:
        stop(other)
    assert "accuracy" not in stopped.value.what


def test_the_notebook_says_it_and_its_negative_control_still_refuses():
    """A failure that a person accepted is in the words of the decision; take its evidence away, and
    the acceptance carries nothing."""
    said = {"stage": "40_functional", "gate": "accuracy", "by": "Rita Risk", "residual": "r",
            "control": "c", "owner": "Olga Owner", "expires": "2026-12-01", "entry": 7}  # fmt: skip
    verdicts = risks.marked([VERDICT], [said])
    decision = candidate.judged(verdicts, "n")
    assert decision["frozen"] and "accuracy: failed, accepted by Rita Risk" in decision["text"]
    assert "All" not in decision["text"] and not candidate.judged([VERDICT], "n")["frozen"]
    assert not candidate.with_one_gate_missing(verdicts, name="n")["frozen"]
