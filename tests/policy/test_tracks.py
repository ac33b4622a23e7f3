"""The governed track refuses what research allows; both refuse unclassified data (A6, D1)."""

from __future__ import annotations

import pytest

from workbench.policy.tiers import control_plan
from workbench.policy.tracks import refusals
from workbench.policy.usecase import UseCase


@pytest.fixture
def facts(usecase):
    plan = control_plan(UseCase.parse(usecase | {"severity": "moderate"}))
    return {
        "plan": plan,
        "dirty": False,
        "isolation": "namespace",
        "unclassified": [],
        "classes": ["public"],
    }


def test_a_governed_run_in_order_may_start(facts):
    """Clean tree, isolation as planned, allowed classes: no reason against it."""
    assert refusals("governed", **facts) == []
    assert refusals("governed", **facts | {"isolation": "container"}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dirty": True}, "uncommitted"),
        ({"dirty": None}, "not in a git repository"),
        ({"isolation": "none"}, "asks for `namespace`"),
        ({"classes": ["health"]}, "does not allow the data class `health`"),
    ],
)
def test_the_governed_track_refuses_and_research_does_not(facts, change, said):
    """Each departure is one reason on the governed track, and none on the research track."""
    [reason] = refusals("governed", **facts | change)
    assert said in reason
    assert refusals("research", **facts | change) == []


@pytest.mark.parametrize("track", ["research", "governed"])
def test_unclassified_data_is_refused_on_both_tracks(facts, track):
    """Unclassified fails closed everywhere."""
    [reason] = refusals(track, **facts | {"unclassified": ["phone: not classified"]})
    assert "phone" in reason


def test_all_reasons_are_given_at_once(facts):
    """A person reads one to-do list, not one reason a run."""
    assert len(refusals("governed", **facts | {"dirty": True, "isolation": "none"})) == 2
