"""The governed track refuses what research allows; both refuse unclassified data (A6, D1)."""

from __future__ import annotations

import pytest

from workbench.errors import InputError
from workbench.policy.envelope import Outside
from workbench.policy.environment import Difference
from workbench.policy.tiers import control_plan
from workbench.policy.tracks import Facts, refusals
from workbench.policy.usecase import UseCase

NOW = {
    "templates": {"30_adapt": "a" * 64, "steps/": "b" * 64},
    "envelope": {"envelope.yaml": "c" * 64},
}
HOLDERS = {"keyholder": "Dora", "use_case_owner": "Olga", "model_validator": "Vera"}
STEWARD, OWNER, VALIDATOR = "data steward", "use-case owner", "model validator"


def approved(**changes) -> dict:
    """Both approvals as they should be, or one in which a name was another thing when approved."""
    said = {kind: names | changes.get(kind, {}) for kind, names in NOW.items()}
    return {kind: (NOW[kind], said[kind]) for kind in NOW}


@pytest.fixture
def facts(usecase):
    """A run in order."""
    return {
        "plan": control_plan(UseCase.parse(usecase | {"severity": "moderate"})),
        "dirty": False,
        "isolation": "namespace",
        "classes": ["public"],
        "approvals": approved(),
        "holders": HOLDERS,
        "method": "lora",
        "environment": [],
    }


def test_a_governed_run_in_order_may_start(facts):
    """Nothing is missing; more isolation than was asked is no fault."""
    assert refusals("governed", Facts(**facts)) == []
    assert refusals("governed", Facts(**facts | {"isolation": "container"})) == []


@pytest.mark.parametrize(
    ("change", "said", "who", "how"),
    [
        ({"dirty": True}, "uncommitted", "whoever commits", "git commit"),
        ({"dirty": None}, "not in a git repository", "whoever commits", "git init"),
        ({"isolation": "none"}, "asks for `namespace`", "engineer", "machine"),
        ({"isolation": "none", "lacking": "install bwrap"}, "isolation", "engineer", "bwrap"),
        ({"classes": ["health"]}, "not allow the data class `health`", STEWARD, "data"),
        ({"zone": InputError("It may not enter.", expected="public", given="health", next_step="Go.")},
         "It may not enter. Expected public, given health", "engineer", "Go."),
        ({"method": "full"}, "full fine-tuning", "engineer", "usecase.yaml: parameters"),
        ({"outside": [Outside("rank", "4 to 8", "16")]}, "rank: expected 4 to 8, given 16",
         "engineer", "usecase.yaml: parameters"),
        ({"environment": None}, "environment is not declared", "engineer", "environments.training"),
        ({"environment": [Difference("python", "3.12", "3.13")]}, "python is 3.13, not 3.12",
         "engineer", "as declared"),
        ({"approvals": approved(templates={"30_adapt": "0" * 64})},
         f"30_adapt is not what was approved: {'0' * 12} then, {'a' * 12} now", VALIDATOR,
         "workbench approve templates --by 'Vera'"),
        ({"approvals": approved() | {"templates": (NOW["templates"], {"30_adapt": "a" * 64})}},
         "steps/ is not what was approved: nothing then", VALIDATOR, "approve templates"),
        ({"approvals": approved() | {"templates": (NOW["templates"], None)}},
         "nobody has approved the templates: 30_adapt, steps/", VALIDATOR, "approve templates"),
        ({"approvals": approved() | {"envelope": ({}, None)}}, "there is no change envelope", OWNER,
         "usecase.yaml: envelope; then workbench approve envelope --by 'Olga'"),
        ({"approvals": approved() | {"envelope": (NOW["envelope"], None)}},
         "nobody has approved the envelope", OWNER, "workbench approve envelope"),
        ({"approvals": approved(envelope={"envelope.yaml": "0" * 64})},
         "envelope.yaml is not what was approved", OWNER, "workbench approve envelope"),
    ],
)  # fmt: skip
def test_the_governed_track_refuses_and_research_does_not(facts, change, said, who, how):
    """Each departure is one thing missing on the governed track, with who owes it and what that
    person does; on the research track it is none."""
    [found] = refusals("governed", Facts(**facts | change))
    assert said in found.what and found.who == who and how in found.how
    assert str(found) == f"{found.what} ({found.who}: {found.how})"
    assert refusals("research", Facts(**facts | change)) == []


def test_who_is_in_no_keyring_can_sign_nothing(facts):
    """The keyholder is told first, with the role; a role whose approval is there is not asked for."""
    change = {
        "holders": {"keyholder": "Dora"},
        "approvals": approved() | {"envelope": (NOW["envelope"], None)},
    }
    first, second = refusals("governed", Facts(**facts | change))
    assert first.who == "keyholder" and "--role use_case_owner" in first.how
    assert "--by 'NAME'" in second.how


@pytest.mark.parametrize("track", ["research", "governed"])
@pytest.mark.parametrize(
    ("finding", "how"),
    [
        ("phone: not classified", "workbench classify --by 'NAME' --confirm"),
        ("desk: not approved, or not dated", "data.sources"),
    ],
)
def test_unclassified_data_is_refused_on_both_tracks(facts, track, finding, how):
    """Unclassified fails closed everywhere; what no classification clears names what does."""
    [found] = refusals(track, Facts(**facts | {"unclassified": [finding]}))
    assert finding in found.what and found.who == STEWARD and how in found.how
    assert ("--track governed --sign-with" in found.how) == (
        track == "governed" and "classify" in how
    )


def test_all_that_is_missing_is_told_at_once(facts):
    """A person reads one to-do list, not one reason a run."""
    assert len(refusals("governed", Facts(**facts | {"dirty": True, "isolation": "none"}))) == 2


def test_what_nobody_collected_refuses(facts):
    """The defaults of the facts are no permission: repository, isolation, keyring and
    environment are missing."""
    said = [one.what for one in refusals("governed", Facts(plan=facts["plan"]))]
    assert len(said) == 4 and "git repository" in said[0] and "isolation" in said[1]
    assert "no keyring" in said[2] and "not declared" in said[3]
