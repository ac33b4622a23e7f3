"""The notebook of a release shows who signed for what, and that without one it is none."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from workbench.methods import release
from workbench.policy.duties import Touch
from workbench.policy.release import Approval, Evidence
from workbench.record.digest import canonical

SUBJECT = {"usecase": "tiny", "bundle": "b", "candidate": "c", "records": ["1"], "lock": "l",
           "policy": "p", "expires": "2026-06-30T00:00:00Z"}  # fmt: skip
PLAN = {"tier": "low", "approver_roles": ["model_validator"], "quorum": 1,
        "replay_certificate": False, "conflicts": {"approve": ["built"]}, "evidence_expiry_days": 365}  # fmt: skip
VERDICT = {"criterion": "accuracy", "verdict": "failed", "threshold": "at least 0.9", "harm": "h",
           "figure": None, "blocking": True}  # fmt: skip
ACCEPTED = {"by": "Rita", "expires": "2026-05-01", "residual": "some wait"}


def approval(by: str, **more) -> Approval:
    said = SUBJECT | {"by": by}
    return Approval(
        **{"by": by, "role": "model_validator", "meaning": "approved", "key": "ssh-ed25519 AAAA",
           "time": "2026-01-02T03:04:05Z", "expires": SUBJECT["expires"], "nonce": by,
           "bundle": "b", "entry": 3, "identity": (by,), "said": said} | more)  # fmt: skip


@pytest.fixture
def stage(staged):
    """The stage of a release that a demonstration's identity signed, and a person only read."""
    found = Evidence(
        plan=SimpleNamespace(**PLAN), subject=SUBJECT, now="2026-02-01T00:00:00Z",
        approvals=[approval("Vera (DEMO)"), approval("Rita", meaning="reviewed", entry=4)],
        touches=[Touch("Dora", "built", "ran 30_adapt/x"), Touch("Vera (DEMO)", "classified", "e")],
        unidentified=["T <t@e>: edited code"],
        validated={"40_functional/x": "2026-01-01T00:00:00Z"},
    )  # fmt: skip
    stage = staged("55_release", {"standing": found.as_dict()})
    bundle = stage.folder / "inputs" / "bundle"
    bundle.mkdir(parents=True)
    stage.facts["inputs"]["bundle"] = {"path": str(bundle), "digest": "0" * 64, "uri": "record:x"}
    files = [{"path": "a", "size": 1, "sha256": "0"}]
    about = {"usecase": "tiny", "name": "n", "number": 2, "parent": None, "files": files}
    (bundle / "manifest.json").write_bytes(canonical(about))
    verdicts = [VERDICT | {"accepted": ACCEPTED}, VERDICT | {"blocking": False}]
    told = {"verdicts": verdicts, "validation": {"not_shown": ["irony"]}}
    (bundle / "evaluation.json").write_bytes(canonical(told))
    return stage


def test_a_signature_is_shown_with_name_time_and_meaning(stage):
    """And whether it counts; a demonstration's identity says so before its name."""
    shown = release.signatures(stage)
    assert list(shown.index) == ["DEMO, no person: Vera (DEMO)", "Rita"]
    assert list(shown["meaning"]) == ["approved", "reviewed"]
    assert set(shown["signed at (UTC)"]) == {"2026-01-02T03:04:05Z"}
    assert list(shown["counts"]) == ["yes", "no: it means `reviewed`"]


def test_what_was_accepted_has_still_failed(stage):
    """Both verdicts stand there as failed, one with who bears it."""
    shown = release.not_passed(stage)
    assert list(shown["verdict"]) == ["✗ failed"] * 2
    assert list(shown["accepted"]) == ["ACCEPTED RISK, by Rita until 2026-05-01: some wait",
                                       "does not block"]  # fmt: skip
    assert release.not_shown(stage) == "- irony\n- Anything that no gate above asks about."


def test_who_touched_it_and_who_is_unknown_stand_in_one_table(stage):
    """With whether it bars them; the table stops where the parameter says."""
    shown = release.people(stage, 9)
    assert list(shown["bars from approving"]) == ["yes", "no", "unknown"]
    assert len(release.people(stage, 2)) == 2


def test_the_identity_is_the_bundles(stage):
    """By its digest, with what it was judged by."""
    shown = release.identity(stage)[""]
    assert (shown["bundle"], shown["lock"], shown["policy"], shown["number"]) == (
        "b",
        "l",
        "p",
        "2",
    )
    assert list(release.files(stage).index) == ["a"]


def test_without_a_signature_that_counts_it_is_no_release(stage, monkeypatch):
    """The notebook fails where the judge would let it pass."""
    assert list(release.without_one(stage)["approvals"]) == ["insufficient_evidence"]
    lax = SimpleNamespace(criterion="approvals", verdict="passed", reason="")
    monkeypatch.setattr(release.release, "judge", lambda _: [lax])
    with pytest.raises(AssertionError, match="released without a signature"):
        release.without_one(stage)
