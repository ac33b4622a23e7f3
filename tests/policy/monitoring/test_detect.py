"""A stream of served lines and its alarms: what feeds which signal, and what each is worth (M1)."""

from __future__ import annotations

import math

import pytest

from workbench.errors import InputError
from workbench.policy.gates import GateVerdict
from workbench.policy.monitoring import profile as profiles
from workbench.policy.monitoring.detect import Watch, gate, windows
from workbench.policy.operations import Monitor

from .conftest import WHY, Traffic, monitor_of


@pytest.fixture(scope="module")
def profile() -> dict:
    return profiles.build(*Traffic(99).rehearsed())


def alarms(watch: Watch, lines: list[dict]) -> list[str]:
    return [one.signal for line in lines for one in watch.see(line)]


def test_quiet_traffic_gives_no_alarm(profile, traffic):
    """All signals, 1,500 lines, a sentinel case every tenth."""
    lines = traffic.lines(1500) + traffic.asked(150, 0.0)
    assert alarms(Watch(monitor_of(), profile), lines) == []


CHANGES = {
    "chars": lambda t, i: {"shape": t.line()["shape"] | {"chars": 300 + i % 50}},
    "shape": lambda t, i: {"shape": t.line()["shape"] | {"language": "de"}} if i % 2 else {},
    "meaning": lambda t, i: {"sketch": [9.0 + i % 7] * 16},
    "mix": lambda t, i: {"answer": {"label": "t0"}},
    "sure": lambda t, i: {"confidence": {"label": 0.3 + (i % 9) / 100}},
    "silent": lambda t, i: {"abstained": i % 2 == 0},
    "rule": lambda t, i: {"verdicts": {"polite": "fail" if i % 5 == 0 else "pass"}},
    "errors": lambda t, i: {"reason": "timeout"} if i % 8 == 0 else {},
    "slow": lambda t, i: {"latency_ms": 900.0} if i % 5 == 0 else {},
}


@pytest.mark.parametrize("signal", CHANGES)
def test_each_signal_sees_its_own_change_and_no_other_signal_does(signal, profile, traffic):
    """After 400 quiet lines, within 300."""
    watch = Watch(monitor_of(), profile)
    assert alarms(watch, traffic.lines(400)) == []
    changed = traffic.lines(300, lambda i: CHANGES[signal](traffic, i))
    assert alarms(watch, changed) == [signal]


def test_only_traffic_feeds_the_signals(profile, traffic):
    """A rehearsal, or sentinel cases, that look like anything are not the world."""
    watch = Watch(monitor_of(), profile)
    for kind in ("rehearsal", "sentinel"):
        odd = {"kind": kind, "sentinel": "row-1", "reason": "timeout", "abstained": True,
               "verdicts": {"polite": "fail"}, "latency_ms": 9e9}  # fmt: skip
        assert alarms(watch, [traffic.line(**odd) for _ in range(300)]) == []
    assert all(row["lines"] == 0 for row in watch.report())


def test_a_sentinel_case_that_failed_offline_is_known_and_one_answered_otherwise_is_new(
    profile, traffic
):
    """4 of 20 failed offline, 0.3 is borne: a tenth more is left. Answering half of
    the others otherwise is an alarm."""
    watch = Watch(monitor_of("regression"), profile)
    assert alarms(watch, traffic.asked(600, 0.0)) == []
    assert watch.report()[0]["value"] == pytest.approx(4 / 20, abs=0.1)
    assert alarms(watch, traffic.asked(200, 0.5)) == ["regression"]


def test_a_sentinel_case_without_an_answer_has_failed(profile, traffic):
    """Whoever is at risk got none."""
    watch = Watch(monitor_of("regression"), profile)
    lines = [one | {"answer": {}} for one in traffic.asked(200, 0.0)]
    assert alarms(watch, lines) == ["regression"]


def test_a_case_that_nobody_rehearsed_tells_nothing(profile, traffic):
    """There is nothing to hold it to."""
    watch = Watch(monitor_of("regression"), profile)
    odd = [traffic.line(kind="sentinel", sentinel="unheard", answer={}) for _ in range(200)]
    assert alarms(watch, odd) == []
    assert watch.report()[0]["lines"] == 0


def test_a_reply_that_a_guard_could_not_score_counts_against_it_and_is_counted_apart(
    profile, traffic
):
    """The guard kept it back like one that broke the rule."""
    watch = Watch(monitor_of("rule"), profile)
    lines = traffic.lines(200, lambda i: {"verdicts": {"polite": "unscored"}} if i % 4 == 0 else {})
    assert alarms(watch, lines) == ["rule"]
    assert watch.report()[0]["unscored"] == 50


def test_a_refused_text_and_a_request_without_a_lease_are_not_the_releases_errors(profile, traffic):
    """What it was not asked it did not fail."""
    watch = Watch(monitor_of("errors"), profile)
    for reason in ("input", "no lease", "abstained", "guard polite", "starting"):
        assert alarms(watch, traffic.lines(200, lambda i, r=reason: {"reason": r})) == []


def test_a_shift_that_is_borne_is_no_alarm_though_the_evidence_is_beyond_doubt(profile, traffic):
    """A distribution needs both: texts half as long again, where an index of 1.5 is borne."""

    def longer(i: int) -> dict:
        shape = traffic.line()["shape"]
        return {"shape": shape | {"chars": round(shape["chars"] * 1.5)}}

    borne = WHY | {"id": "chars", "watch": "length", "psi": 1.5}
    watch = Watch(Monitor.parse({"signals": [borne]}), profile)
    assert alarms(watch, traffic.lines(600, longer)) == []
    assert watch.signals[0].highest > watch.signals[0].needed
    assert alarms(Watch(monitor_of("chars"), profile), traffic.lines(600, longer)) == ["chars"]


def test_the_chance_of_a_false_alarm_is_shared_by_the_signals_that_roll_back(profile):
    """Four of them at 0.05: each needs evidence of 80; the six that report share as much again."""
    needed = {row["then"]: row["needed"] for row in Watch(monitor_of(), profile).report()}
    assert needed["roll_back"] == pytest.approx(math.log(4 / 0.05))
    assert needed["report"] == pytest.approx(math.log(6 / 0.05))
    stricter = Watch(monitor_of("errors", false_alarms=0.01), profile).report()[0]["needed"]
    assert stricter == pytest.approx(math.log(1 / 0.01))


def test_an_alarm_is_given_once(profile, traffic):
    """And its words hold the numbers that a reader of the ledger needs."""
    watch = Watch(monitor_of("errors"), profile)
    found = [one for line in traffic.lines(400, lambda i: {"reason": "worker"})
             for one in watch.see(line)]  # fmt: skip
    assert len(found) == 1
    assert found[0].then == "roll_back"
    assert "errors (error): 1.000 of the last window, 0.02 is borne" in str(found[0])
    assert watch.report()[0]["state"] == "alarm"


def test_a_profile_that_lacks_what_rolls_back_is_refused(traffic):
    """A signal that can never be an alarm must not look like one that is quiet."""
    with pytest.raises(InputError, match="regression"):
        Watch(monitor_of("regression", "errors"), profiles.EMPTY)
    with pytest.raises(InputError, match="regression"):
        Watch(monitor_of("regression", sentinels=0), profiles.build(*traffic.rehearsed()))


def test_a_report_that_has_nothing_to_hold_to_says_that_it_is_blind():
    """Shares are watched without a rehearsal; distributions can't be."""
    rows = Watch(monitor_of("chars", "errors"), profiles.EMPTY).report()
    assert {row["signal"]: row["state"] for row in rows} == {"chars": "blind", "errors": "quiet"}


def test_windows_are_what_the_watch_said_on_its_way(profile, traffic):
    """A row a signal after each 50 lines, and after the last."""
    rows = windows(Watch(monitor_of("errors", "chars"), profile), traffic.lines(120))
    assert [row["line"] for row in rows] == [50, 50, 100, 100, 120, 120]
    assert windows(Watch(monitor_of("errors"), profile), []) != []


def test_the_gate_fails_on_what_rolls_back_and_on_nothing_else(profile, traffic):
    """Drift that is only reported passes; without a line nothing was shown."""
    watch = Watch(monitor_of("chars", "errors"), profile)
    for line in traffic.lines(200, lambda i: CHANGES["chars"](traffic, i)):
        watch.see(line)
    assert [one.signal for one in watch.alarms] == ["chars"]
    assert gate(watch.alarms, 200).verdict == GateVerdict.PASSED
    assert gate([], 0).verdict == GateVerdict.INSUFFICIENT_EVIDENCE
    for line in traffic.lines(100, lambda i: {"reason": "worker"}):
        watch.see(line)
    found = gate(watch.alarms, 300)
    assert found.verdict == GateVerdict.FAILED
    assert found.failing == ("errors",)
    assert "0.02 is borne" in found.reason
