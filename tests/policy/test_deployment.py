"""What serves, and who may change it when: rules over ledger entries (E5)."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from workbench.errors import InputError
from workbench.policy import deployment as rules
from workbench.policy.deployment import Deployment, State
from workbench.policy.gates import GateVerdict
from workbench.policy.operations import Canary, Window
from workbench.policy.release import Approval, Evidence, since
from workbench.record import clock

NOON = "2026-03-02T12:00:00Z"  # a Monday


def entries(*said):
    """Deployments in order from (action, bundle) or (action, bundle, reason)."""
    return [
        Deployment(i, NOON, "tiny", "production", bundle, "r", action, "Otto", reason="".join(why))
        for i, (action, bundle, *why) in enumerate(said)
    ]


def serving(*said):
    held = rules.state(entries(*said))
    return tuple(one and one.bundle for one in (held.stable, held.canary))


@pytest.mark.parametrize(
    ("said", "serves"),
    [
        ((), (None, None)),
        ((("start", "a"),), ("a", None)),
        ((("start", "a"), ("start", "b")), ("b", None)),
        ((("canary", "a"),), (None, "a")),
        ((("start", "a"), ("canary", "b")), ("a", "b")),
        ((("start", "a"), ("canary", "b"), ("promote", "b")), ("b", None)),
        ((("start", "a"), ("canary", "b"), ("halt", "b")), ("a", None)),
        ((("start", "a"), ("start", "b"), ("roll_back", "a")), ("a", None)),
        ((("start", "a"), ("canary", "b"), ("stop", "a")), (None, None)),
    ],
)
def test_what_serves_follows_from_the_entries_in_their_order(said, serves):
    """All by one release, or a share of it by a canary beside it."""
    assert serving(*said) == serves


@pytest.mark.parametrize(
    ("said", "gone"),
    [
        ((("canary", "a"), ("halt", "a")), {"a": 1}),
        ((("start", "a"), ("start", "b"), ("roll_back", "a")), {"b": 2}),
        ((("start", "a"), ("stop", "a", "a fault")), {"a": 1}),
        ((("start", "a"), ("stop", "a")), {}),
        ((("start", "a"), ("start", "b")), {}),
        ((("canary", "a"), ("halt", "a"), ("start", "a")), {"a": 1}),
    ],
)
def test_what_was_taken_back_is_remembered(said, gone):
    """Halted, rolled back from, stopped for a reason; not what was merely replaced or stopped. It
    stays so when it serves again: only later approvals count."""
    assert rules.state(entries(*said)).taken_back == gone


def test_the_way_back_leads_to_what_served_before_and_was_not_taken_back():
    """The newest first, each once, and not what serves now."""
    held = rules.state(entries(("start", "a"), ("start", "b"), ("start", "c"), ("start", "d"),
                               ("roll_back", "c"), ("start", "b"), ("start", "e")))  # fmt: skip
    assert [one.bundle for one in rules.back(held)] == ["b", "c", "a"]
    assert rules.back(State()) == []


@pytest.mark.parametrize(
    ("action", "bundle", "share", "says"),
    [
        ("start", "a", None, "already"), ("canary", "b", 0.1, "already"),
        ("start", "c", None, "promote or halt"), ("canary", "c", 0.1, "promote or halt"),
        ("promote", "a", None, "no canary"), ("halt", "a", None, "no canary"),
        ("stop", "c", None, "does not serve"), ("roll_back", "c", None, "does not serve"),
        ("promote", "b", None, ""), ("halt", "b", None, ""), ("stop", "a", None, ""),
    ],
)  # fmt: skip
def test_an_action_follows_on_what_serves(action, bundle, share, says):
    """`a` serves all, `b` is a canary: nothing starts twice, and no second canary beside one."""
    held = rules.state(entries(("start", "a"), ("canary", "b")))
    said = rules.fault(held, action, bundle, share)
    assert says in said and bool(says) == bool(said)


@pytest.mark.parametrize("share", [None, 0, 1, 1.5])
def test_a_canary_has_a_share_of_some_and_not_all(share):
    """Nothing, all and more is none."""
    assert "share" in rules.fault(State(), "canary", "a", share)
    assert rules.fault(State(), "canary", "a", 0.5) == ""


@pytest.mark.parametrize("action", [*rules.FORWARD, *rules.BACK])
def test_a_machine_only_takes_back(action):
    """A person deploys; whoever is neither operator nor owner nor a machine does nothing."""
    assert rules.may(["automation"], action) == (action in rules.BACK)
    assert rules.may(["operator"], action) and rules.may(["use_case_owner"], action)
    assert not rules.may(["model_validator", "keyholder"], action)


LONDON = Window(days=["mon", "tue"], start="08:00", end="16:00", zone="Europe/London")


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-03-02T09:00:00Z", "2026-03-02T09:00:00Z"),  # a Monday, open
        ("2026-03-02T07:59:59Z", "2026-03-02T08:00:00Z"),
        ("2026-03-02T16:00:00Z", "2026-03-03T08:00:00Z"),  # its end is no part of it
        ("2026-03-03T17:00:00Z", "2026-03-09T08:00:00Z"),  # Tuesday night: next Monday
        ("2026-03-30T07:30:00Z", "2026-03-30T07:30:00Z"),  # summer time since the day before
        ("2026-03-28T12:00:00Z", "2026-03-30T07:00:00Z"),  # across the change of the clocks
        ("2026-03-30T15:30:00Z", "2026-03-31T07:00:00Z"),
    ],
)
def test_a_window_opens_by_the_clock_of_its_zone(now, opens):
    """On its days, from its beginning and before its end, summer time and all."""
    assert rules.opens(LONDON, now) == clock.parse(opens)


def test_a_zone_that_nobody_knows_is_refused():
    """It names the field."""
    with pytest.raises(InputError, match="time zone") as refused:
        rules.opens(Window(zone="Mars/Olympus"), NOON)
    assert refused.value.where == "window.zone"


def line(**said):
    return {"kind": "traffic", "arm": "canary", "entry": 1, "time": NOON, "outcome": "answered",
            "reason": "", "status": 200, "latency_ms": 1.0, "abstained": False} | said  # fmt: skip


CANARY = rules.state(entries(("start", "a"), ("canary", "b")))


def test_only_what_callers_got_since_the_canary_began_is_counted():
    """Not sentinels, rehearsals, an earlier canary, what came before, or what nobody served."""
    early = clock.text(clock.parse(NOON) - timedelta(seconds=1))
    lines = [line(), line(arm="stable", entry=0), line(kind="sentinel"), line(kind="rehearsal"),
             line(entry=0), line(time=early), line(arm=None, entry=None)]  # fmt: skip
    assert [row["arm"] for row in rules.served(lines, CANARY)] == ["canary", "stable"]
    with pytest.raises(InputError, match="No canary"):
        rules.served(lines, State())


@pytest.mark.parametrize(
    ("n", "minutes", "verdict"),
    [(3, 10, "passed"), (2, 10, "insufficient_evidence"), (3, 9.9, "insufficient_evidence")],
)
def test_a_canary_grows_after_so_many_answers_and_minutes(n, minutes, verdict):
    """Both; what was refused or answered by the fallback is no answer of the canary's."""
    rows = rules.served(
        [line()] * n + [line(outcome="fallback"), line(arm="stable", entry=0)], CANARY
    )
    now = clock.text(clock.parse(NOON) + timedelta(minutes=minutes))
    found = rules.grown(Canary(requests=3, minutes=10), CANARY, rows, now)
    assert found.verdict == verdict and found.blocking and found.criterion == "canary"


def test_a_rehearsal_that_did_not_pass_is_named():
    """None at all, or one with a fault, is not enough; one that passed is."""
    assert rules.rehearsed([], []).verdict == GateVerdict.INSUFFICIENT_EVIDENCE
    assert "never rehearsed" in rules.rehearsed([], []).reason
    assert "parity failed" in rules.rehearsed([], ["60/x: parity failed"]).reason
    assert rules.rehearsed(["60/y"], ["60/x: parity failed"]).verdict == GateVerdict.PASSED


def test_approvals_that_are_too_old_or_by_a_lost_key_let_nothing_serve():
    """After it was taken back only younger ones count, and no copy of an older one; nor does one by
    a key that is revoked by now."""

    def approval(entry, nonce, key="k"):
        return Approval("V", "r", "approved", key, NOON, NOON, nonce, "b", entry)

    held = Evidence(plan=SimpleNamespace(), subject={}, now=NOON, approvals=[
        approval(3, "one"), approval(7, "one"), approval(8, "two"), approval(9, "three", "l")])  # fmt: skip
    assert [one.entry for one in since(held, 5).approvals] == [8, 9]
    assert [one.entry for one in since(held, 5, {"l"}).approvals] == [8]
    assert [one.entry for one in since(held, None).approvals] == [3, 7, 8, 9]
