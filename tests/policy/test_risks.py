"""A failed gate can be accepted only where the plan allows it, and it stays failed (L3)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from workbench.errors import InputError
from workbench.policy import risks
from workbench.policy.criteria import Policy
from workbench.policy.risks import Acceptance, check, marked, stands, tally
from workbench.policy.tiers import control_plan
from workbench.policy.usecase import UseCase

DAY = date(2026, 11, 21)
SAID = {"usecase": "router", "gate": "accuracy", "stage": "40_functional", "record": "a" * 64,
        "residual": "One in twenty waits a day.", "control": "The desk reads the queue each hour.",
        "owner": "O. Wner", "expires": "2026-12-01", "by": "Rita Risk",
        "time": "2026-11-21T09:00:00.000000Z"}  # fmt: skip
FAILED = {"criterion": "accuracy", "stage": "40_functional", "verdict": "failed", "blocking": True}
PASSED = {"criterion": "speed", "stage": "40_functional", "verdict": "passed", "blocking": True}
ACCEPTED = SAID | {"entry": 7}


def plan_of(usecase, severity):
    return control_plan(UseCase.parse(usecase | {"severity": severity}))


@pytest.fixture
def policy(criterion):
    def made(acceptable=True):
        two = [criterion | {"id": name, "acceptable": acceptable} for name in ("accuracy", "speed")]
        return Policy.parse({"version": 1, "criteria": two})

    return made


@pytest.fixture
def refusal(usecase, policy):
    """The words in which an acceptance is refused; None where it counts."""

    def judged(said=SAID, roles=("risk_manager",), tier="moderate", verdicts=(FAILED, PASSED),
               acceptable=True, plan=None):  # fmt: skip
        try:
            plan = plan or plan_of(usecase, tier)
            check(Acceptance.parse(said), roles, DAY, verdicts, policy(acceptable), plan)
        except InputError as error:
            return error.what
        return None

    return judged


def test_an_acceptance_by_the_rules_counts(refusal):
    assert refusal() is None


@pytest.mark.parametrize("verdict", ["passed", "insufficient_evidence", "not_evaluated"])
def test_only_a_gate_that_failed_can_be_accepted(refusal, verdict):
    """What was not measured is no risk that anybody could know."""
    assert "failed in that record" in refusal(verdicts=[FAILED | {"verdict": verdict}])
    assert "failed in that record" in refusal(verdicts=[FAILED | {"blocking": False}])
    assert "failed in that record" in refusal(SAID | {"gate": "nothing"})


def test_a_standing_gate_can_never_be_accepted(refusal):
    """Nor by a criterion that takes its name."""
    standing = FAILED | {"criterion": "isolation"}
    assert "standing gate" in refusal(SAID | {"gate": "isolation"}, verdicts=[standing], tier="low")
    assert "No one gate" in refusal(verdicts=[FAILED, FAILED | {"stage": "45_operational"}])


@pytest.mark.parametrize(
    ("tier", "unmarked", "with_mark"),
    [
        ("low", True, True),
        ("moderate", False, True),
        ("high", False, True),
        ("critical", False, False),
    ],
)
def test_the_tier_says_which_gates_may_be_accepted(refusal, tier, unmarked, with_mark):
    """Any criterion, only a marked one, or none."""
    for mark, allowed in ((False, unmarked), (True, with_mark)):
        assert (refusal(tier=tier, acceptable=mark) is None) == allowed


def test_it_takes_a_risk_manager_or_at_a_lower_tier_the_owner(refusal):
    """No other role, and none at all, accepts a risk."""
    for tier, owner in (("low", True), ("moderate", True), ("high", False)):
        assert refusal(tier=tier) is None
        assert (refusal(roles=("use_case_owner",), tier=tier) is None) == owner
        for roles in ((), ("model_validator", "keyholder", "data_steward")):
            assert "Not theirs" in refusal(roles=roles, tier=tier)


def test_it_ends_within_the_days_that_the_plan_gives(refusal, usecase):
    days = plan_of(usecase, "moderate").acceptance_days
    last = DAY + timedelta(days=days)
    for day, allowed in ((DAY - timedelta(1), False), (DAY, True), (last, True),
                         (last + timedelta(1), False)):  # fmt: skip
        assert (refusal(SAID | {"expires": str(day)}) is None) == allowed


def test_a_plan_that_says_nothing_known_allows_nothing(refusal, usecase):
    """A word misspelt in the plan is no leave."""
    odd = replace(plan_of(usecase, "low"), acceptable="Criteria")
    assert "does not let" in refusal(plan=odd)


@pytest.mark.parametrize("field", ["residual", "control"])
@pytest.mark.parametrize("text", ["", "a\nb", "\x1b[8mhidden", "ask jane.doe@example.org"])
def test_words_that_break_their_line_or_tell_of_a_person_are_refused(field, text):
    with pytest.raises(InputError, match=field):
        Acceptance.parse(SAID | {field: text})


def test_the_verdict_stays_failed_with_the_acceptance_beside_it():
    """Only the gate of that stage, only where it failed; whatever was written there before goes."""
    planted = PASSED | {"verdict": "not_evaluated", "accepted": {"by": "me"}}
    other = FAILED | {"stage": "41_policy"}
    found = marked([FAILED, planted, other], [ACCEPTED])
    assert found[0] == FAILED | {"accepted": {name: ACCEPTED[name] for name in risks.SHOWN}}
    assert found[1:] == [PASSED | {"verdict": "not_evaluated"}, other]
    assert [stands(one) for one in found] == [True, False, False]


def test_an_acceptance_of_what_has_no_evidence_does_not_let_it_go_on():
    """As a negative control makes it: the verdict changed, the acceptance left where it was."""
    [one] = marked([FAILED], [ACCEPTED])
    assert stands(one) and not stands(one | {"verdict": "not_evaluated"})


def test_the_count_names_what_was_accepted():
    """Never "all passed" where one did not."""
    assert tally([PASSED]) == "all 1 blocking gates passed"
    told = tally(marked([FAILED, PASSED], [ACCEPTED]))
    assert told == ("1 of 2 blocking gates passed; accuracy: failed, accepted by Rita Risk until "
                    "2026-12-01: One in twenty waits a day.")  # fmt: skip
