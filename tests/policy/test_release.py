"""A release stands on signatures that count, by people who judge no work of their own (I2, L5)."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from workbench.errors import InputError
from workbench.policy import release
from workbench.policy.duties import Touch
from workbench.policy.gates import GateVerdict
from workbench.policy.release import Approval, Evidence
from workbench.policy.tracks import Missing
from workbench.record.digest import canonical

PASSED, FAILED, WAITS = GateVerdict.PASSED, GateVerdict.FAILED, GateVerdict.INSUFFICIENT_EVIDENCE
NOW, EXPIRES = "2026-02-01T00:00:00.000000Z", "2026-06-30T00:00:00.000000Z"
SUBJECT = {
    "usecase": "tiny", "bundle": "b" * 64, "candidate": "c" * 64, "records": ["1" * 64, "2" * 64],
    "lock": "3" * 64, "policy": "4" * 64, "expires": EXPIRES,
}  # fmt: skip
PLAN = {
    "tier": "moderate", "approver_roles": ["model_validator", "risk_manager"], "quorum": 2,
    "conflicts": {"approve": ["built", "edited_code"]}, "evidence_expiry_days": 180,
    "replay_certificate": False,
}  # fmt: skip


def signed(by: str, role: str, entry: int, *, said: dict | None = None, **more) -> Approval:
    """A signature over the subject, with fields changed: of the statement, and of what is known."""
    statement = SUBJECT | {"by": by, "role": role, "nonce": f"nonce {entry}"} | (said or {})
    facts = {
        "by": by, "role": role, "meaning": "approved", "key": f"ssh-ed25519 {by.replace(' ', '')}",
        "time": NOW, "expires": statement["expires"], "nonce": statement["nonce"],
        "bundle": statement["bundle"], "entry": entry, "said": statement,
        "identity": (by.lower(), by, f"{by}@example.org"),
    }  # fmt: skip
    return Approval(**facts | more)


VERA, RITA = signed("Vera", "model_validator", 7), signed("Rita", "risk_manager", 8)


def evidence(*approvals: Approval, plan: dict | None = None, **more) -> Evidence:
    """All in order, but for what is changed."""
    facts = {
        "plan": SimpleNamespace(**PLAN | (plan or {})), "subject": SUBJECT, "now": NOW,
        "approvals": approvals or (VERA, RITA), "adapter": "30_adapt/x",
        "holders": {"model_validator": ["Vera", "Viktor"], "risk_manager": ["Rita"]},
        "validated": {"40_functional/x": "2026-01-01T00:00:00Z"},
    }  # fmt: skip
    return Evidence(**facts | more)


def gate(name: str, found: Evidence) -> release.GateResult:
    return next(one for one in release.judge(found) if one.criterion == name)


def why(found: Evidence, entry: int) -> str:
    return next(text for one, text in release.weighed(found) if one.entry == entry)


def test_a_release_in_order_passes_every_gate_and_nobody_owes_anything():
    """Seven gates, each blocks and names the harm that it bounds."""
    results = release.judge(evidence())
    assert [one.criterion for one in results] == list(release.GATES)
    assert {one.verdict for one in results} == {PASSED}
    assert all(one.blocking and one.harm and one.stage == "55_release" for one in results)
    assert release.owed(evidence()) == []


def test_without_signatures_it_waits_and_says_for_whom():
    """By role, with those who hold it and may; waiting is no failure."""
    found = evidence(replace(VERA, meaning="reviewed"))
    assert gate("approvals", found).verdict == WAITS
    owed = release.owed(found)
    assert [one.who for one in owed] == ["Vera or Viktor", "Rita"]
    assert "--by 'Vera' --role model_validator" in owed[0].how


def test_a_role_that_nobody_free_holds_is_the_keyholders_to_fill():
    """Holders who built it, or who have signed in another role, are named."""
    touched = [Touch("Rita", "built", "ran 30_adapt")]
    last = release.owed(evidence(VERA, touches=touched))[-1]
    assert last.who == "keyholder" and "Rita may not or signed already" in last.what
    assert "--role risk_manager" in last.how
    both = {"model_validator": ["Vera"], "risk_manager": ["Vera"]}
    assert release.owed(evidence(VERA, holders=both))[-1].who == "keyholder"


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (replace(RITA, fault="signed for another meaning"), "another meaning"),
        (replace(RITA, fault="revoked by Rita"), "revoked by Rita"),
        (replace(RITA, meaning="reviewed"), "it means `reviewed`"),
        (replace(RITA, meaning="responsible"), "it means `responsible`"),
        (signed("Rita", "domain_expert", 8), "the plan asks for no domain_expert"),
        (replace(RITA, nonce=VERA.nonce), "nonce was used before"),
        (replace(RITA, key=VERA.key), "this person or this key has counted"),
        (signed("Vera", "risk_manager", 8), "this person or this key has counted"),
        (replace(RITA, identity=(VERA.identity[0], "Rita", "r")), "this person or this key"),
        (replace(RITA, identity=("r", "Rita", VERA.identity[2])), "this person or this key"),
    ],
)
def test_what_does_not_count_leaves_the_quorum_open(second, says):
    """Forged, revoked, of another meaning or role, a copy, the same key or person twice."""
    found = evidence(VERA, second)
    assert says in why(found, 8) and says in gate("approvals", found).reason
    assert gate("approvals", found).verdict == WAITS
    assert why(found, 7) == ""


@pytest.mark.parametrize("name", [n for n in release.NAMED_BY if n != "bundle"])
def test_an_approval_of_something_else_does_not_count(name):
    """Each thing that it must name: one that differs is enough, and is named."""
    other = "2027-01-01T00:00:00Z" if name == "expires" else "other"
    found = evidence(VERA, signed("Rita", "risk_manager", 8, said={name: other}))
    assert why(found, 8) == f"it names another {name}"
    assert gate("approvals", found).verdict == WAITS


def test_an_approval_of_another_bundle_is_not_of_this_release():
    """It is not even listed; but its nonce is used up."""
    other = signed("Rita", "risk_manager", 6, said={"bundle": "d" * 64})
    found = evidence(other, VERA)
    assert [one.entry for one, _ in release.weighed(found)] == [7]
    again = replace(RITA, nonce=other.nonce)
    assert "nonce was used before" in why(evidence(other, VERA, again), 8)


def test_an_approval_expires_with_the_evidence():
    """At that very moment; a microsecond before it still counts."""
    late = evidence(now=EXPIRES)
    assert "it expired at" in why(late, 7) and gate("approvals", late).verdict == WAITS
    assert why(evidence(now="2026-06-29T23:59:59.999999Z"), 7) == ""


def test_a_key_that_was_lost_later_is_flagged_and_counts():
    """What was signed before stays signed."""
    result = gate("approvals", evidence(VERA, replace(RITA, flag="the key was revoked later")))
    assert result.verdict == PASSED and "the key was revoked later" in result.reason


def test_who_built_it_may_not_approve_it():
    """The approval counts for nothing, and the touch is named; another touch bars nobody."""
    found = evidence(touches=[Touch("Rita", "built", "ran 30_adapt/x")])
    assert "Rita touched what they approve" in why(found, 8) and "30_adapt/x" in why(found, 8)
    separated = gate("separation_of_duties", found)
    assert separated.verdict == FAILED and "Rita approved (entry 8)" in separated.reason
    harmless = evidence(touches=[Touch("Rita", "classified", "entry 3")])
    assert {one.verdict for one in release.judge(harmless)} == {PASSED}


def test_a_revoked_approval_separates_again():
    """Whoever approved their own work can withdraw that."""
    found = evidence(VERA, replace(RITA, fault="revoked"), touches=[Touch("Rita", "built", "x")])
    assert gate("separation_of_duties", found).verdict == PASSED


@pytest.mark.parametrize(("tier", "verdict"), [("low", PASSED), ("moderate", PASSED),
                                               ("high", FAILED), ("critical", FAILED)])  # fmt: skip
def test_an_author_whom_nobody_knows_bars_from_tier_high_on(tier, verdict):
    """Below they are told."""
    result = gate("separation_of_duties", evidence(plan={"tier": tier}, unidentified=["T <t@e>"]))
    assert result.verdict == verdict and "T <t@e>" in result.reason


@pytest.mark.parametrize("name", ["findings", "acceptances"])
def test_an_open_finding_or_a_lapsed_acceptance_blocks(name):
    """And stands in the list of what is owed."""
    field = {"findings": "findings", "acceptances": "unaccepted"}[name]
    owed = Missing("accuracy is low", "Olga", "workbench ...")
    found = evidence(**{field: [owed]})
    assert gate(name, found).verdict == FAILED and "accuracy is low" in gate(name, found).reason
    assert owed in release.owed(found)


def test_an_acceptance_in_force_is_told():
    """Nobody overlooks that a gate failed."""
    found = evidence(accepted=["accuracy, accepted by Rita until 2026-03-01"])
    assert "accepted by Rita" in gate("acceptances", found).reason


def test_old_evidence_is_no_evidence():
    """The oldest record decides; it is named."""
    times = {"40_functional/x": "2025-01-01T00:00:00Z", "41_policy/y": "2026-01-01T00:00:00Z"}
    result = gate("evidence_fresh", evidence(validated=times))
    assert result.verdict == FAILED and result.failing == (
        "40_functional/x is older than 180 days",
    )
    assert gate("evidence_fresh", evidence(validated={})).verdict == GateVerdict.NOT_EVALUATED


@pytest.mark.parametrize(
    ("replays", "verdict"),
    [
        ([], WAITS),
        ([("bitwise", ["second"])], PASSED),
        ([("tolerance", ["second"])], PASSED),
        ([("bitwise", [])], FAILED),
        ([("not reproduced", ["second"])], FAILED),
        ([("not reproduced", ["second"]), ("bitwise", ["third"])], PASSED),
    ],
)
def test_from_tier_high_on_a_replay_in_another_declared_environment(replays, verdict):
    """Equal bits or within tolerance, elsewhere; below nobody asks."""
    held = [{"ref": "replay/x", "grade": g, "environments": e} for g, e in replays]
    asked = evidence(plan={"replay_certificate": True}, replays=held)
    assert gate("replay_certificate", asked).verdict == verdict
    assert gate("replay_certificate", evidence(replays=held)).verdict == PASSED
    assert bool(release.owed(asked)) == (verdict != PASSED)


def test_a_plan_that_cannot_be_read_lets_nothing_through():
    """No gate ever raises, and none that could not be computed passes."""
    broken = evidence(plan={"conflicts": {"approve": ["bilt"]}}, touches=[Touch("x", "built", "y")])
    verdicts = {one.criterion: one.verdict for one in release.judge(broken)}
    assert verdicts["approvals"] == verdicts["separation_of_duties"] == GateVerdict.NOT_EVALUATED


def test_the_evidence_is_judged_the_same_after_it_was_sealed():
    """Through JSON and back: whoever reads the record comes to the same verdicts."""
    found = evidence(touches=[Touch("Rita", "classified", "x")], accepted=["a"],
                     findings=[Missing("a", "b", "c")])  # fmt: skip
    sealed = canonical(found.as_dict())
    again = Evidence.parse(json.loads(sealed))
    assert release.judge(again) == release.judge(found)
    assert canonical(again.as_dict()) == sealed


def test_nothing_that_validated_it_expires_never_counts():
    """No record, no expiry."""
    with pytest.raises(InputError, match="no record of validation"):
        release.fresh_until([], 30)


def test_a_fingerprint_is_that_of_openssh(tmp_path):
    """As `ssh-keygen -lf` prints it."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    told = subprocess.run(["ssh-keygen", "-lf", key], capture_output=True, text=True, check=True)
    found = replace(VERA, key=key.with_suffix(".pub").read_text()).fingerprint
    assert found == told.stdout.split()[1]


def test_a_demonstration_says_that_it_is_one():
    """By the end of the printed name."""
    assert replace(VERA, by="Vera (DEMO)").demo and not VERA.demo
