"""The evidence of a release comes from sealed records and signed entries, never from a notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import InputError, IntegrityError
from workbench.execution.project import Project
from workbench.execution.release import request, standing
from workbench.policy.release import judge
from workbench.record.digest import canonical
from workbench.record.statement import build

WHEN = "2026-01-01T00:00:00Z"


def collected(lab):
    project, store = Project.load(lab.usecase), lab.store("governed")
    return standing.collect(project, store, request.find(project, store, None))


def test_what_an_approval_names_is_what_the_ledger_and_the_records_say(unsigned):
    """The evaluation set and the criteria as they were committed; every record under the bundle."""
    store, found = unsigned.store("governed"), collected(unsigned)
    [lock] = store.ledger.entries("evaluation-lock")
    [criteria] = store.ledger.entries("criteria")
    assert found.subject["lock"] == lock.body["sha256"]
    assert found.subject["policy"] == criteria.body["sha256"]
    assert set(found.subject["records"]) == {one.digest for one in store.records()}
    assert found.adapter == unsigned.record("30_adapt", "governed").ref


def test_the_age_of_evidence_is_that_of_what_examined_the_adapter(unsigned):
    """Neither the training nor the decision is a validation."""
    found = collected(unsigned)
    assert {ref.partition("/")[0] for ref in found.validated} == {"40_functional"}
    [when] = found.validated.values()
    finished = unsigned.record("40_functional", "governed").statement.predicate.runDetails.metadata
    assert when == finished.finishedOn
    assert found.subject["expires"] > when


def test_who_ran_and_who_signed_is_known_by_name_and_others_stand_apart(unsigned):
    """Dora ran the stages; the commit is by somebody whom no keyring knows."""
    found = collected(unsigned)
    acts = {(one.person, one.act) for one in found.touches}
    assert {("Dora Data", "built"), ("Vera Validator", "approved_templates")} <= acts
    assert any("t@e" in one for one in found.unidentified)


def test_holders_are_those_with_a_key_in_force(releasable):
    """A key that was revoked, or has expired, holds no role."""
    store = releasable.store("governed")
    assert standing.holders(store, WHEN.replace("2026", "2099")) == {}
    assert collected(releasable).holders["risk_manager"] == ["Rita Risk"]
    ring = store.keyring().revoke((releasable.keys / "Rita.pub").read_text(), "left")
    store.update_keyring(ring, releasable.keys / "Dora")
    assert "risk_manager" not in collected(releasable).holders


def certified(store, record: str, grade: str, declared: dict) -> None:
    """Seal a certificate as a replay of that record does."""
    run = store.begin("replay", "somebody")
    outputs = run.record / "outputs"
    outputs.mkdir()
    (outputs / "certificate.json").write_bytes(canonical({"grade": grade, "declared": declared}))
    store.publish(run, build(
        stage="replay", track="governed", parameters={"record": record}, usecase="tiny",
        started=WHEN, finished=WHEN, outcome="succeeded", inputs=[], isolation="none",
        environment={}, internal={}, builder_version="0",
    ))  # fmt: skip


def test_a_certificate_counts_for_the_adapters_record_and_another_place(releasable):
    """Of another record it is none; the training's own environment is no other place."""
    lab = releasable
    store, adapter = lab.store("governed"), lab.record("30_adapt", "governed")
    certified(store, "0" * 64, "bitwise", {"second": []})
    assert collected(lab).replays == []
    declared = {"training": [], "second": [], "third": ["os"]}
    certified(store, adapter.digest, "tolerance", declared)
    [one] = collected(lab).replays
    assert (one["grade"], one["environments"]) == ("tolerance", ["second"])
    changed(store.record(one["ref"]).path / "outputs/certificate.json", b"tolerance", b"bitwise")
    with pytest.raises(IntegrityError, match="sealed file was changed"):
        collected(lab)


def changed(path: Path, old: bytes, new: bytes) -> None:
    path.chmod(0o644)
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("outputs/bundle/plan.json", b'"quorum":2', b'"quorum":0'),
        ("statement.json", b'"track":"governed"', b'"track":"research"'),
    ],
)
def test_a_plan_that_was_changed_on_disk_lowers_no_quorum(released, file, old, new):
    """Nor does a statement that would vouch for it: whoever asks is told, at once."""
    changed(released.record("50_candidate", "governed").path / file, old, new)
    with pytest.raises(IntegrityError, match="changed"):
        collected(released)


def test_a_record_that_is_gone_is_missed(releasable):
    """Nobody signs over less than the candidate was decided from."""
    gone = releasable.record("40_functional", "governed").path
    gone.chmod(0o755)
    gone.rename(releasable.home / "gone")
    told = releasable.cli("release", "request")
    assert told.code != 0 and "release request" not in told.out
    assert not list(releasable.runs.glob("request-*.json"))


def test_an_open_finding_blocks_a_release_that_was_in_order(released):
    """Exit 3, with whom it waits for; closed, it passes again."""
    lab, by = released, ("--by", "Rita Risk", "--sign-with", released.keys / "Rita")
    told = lab.cli("finding", "raise", "--severity", "major", "--text", "one class is never found",
                   "--owner", "Olga Owner", "--due", "2099-01-01", *by)  # fmt: skip
    assert told.code == 0, told.err
    status = lab.cli("release", "status")
    assert status.code == 3 and "findings failed" in status.err and "Olga Owner:" in status.out
    assert {one.criterion for one in judge(collected(lab)) if one.verdict != "passed"} == {
        "findings"
    }


def test_nothing_is_collected_of_a_candidate_that_nobody_validated(unsigned, monkeypatch):
    """Without a record that examined the adapter there is nothing to sign for."""
    monkeypatch.setattr(standing, "finished", lambda *_: {})
    with pytest.raises(InputError, match="no record of validation"):
        collected(unsigned)
