"""Only `passed` goes on, and nothing but evidence makes a gate pass."""

from __future__ import annotations

import json

import pytest

from workbench.policy import scorers
from workbench.policy.criteria import Criterion, Policy, PolicyRule
from workbench.policy.gates import compare, decide, evaluate, judge, preflight, rule_gate
from workbench.policy.looks import Looks
from workbench.policy.scorers import SCORERS, Verdict


def replies(n: int, failing: int = 0, unscored: int = 0, rule: str = "to_person"):
    said = ["no"] * failing + [None] * unscored + ["yes"] * (n - failing - unscored)
    return [
        {"case_id": f"c{i}", "model": "candidate", "rule": rule, "person": person}
        for i, person in enumerate(said)
    ]


def cases(n: int, wrong: int = 0):
    return [
        {"case_id": f"c{i}", "model": "candidate", "expected": "a", "predicted": "ba"[i >= wrong]}
        for i in range(n)
    ]


@pytest.fixture
def gate(rule):
    return PolicyRule.parse(rule)


@pytest.fixture
def accuracy(criterion):
    return Criterion.parse(criterion)


def test_a_rule_kept_by_all_its_cases_passes(gate):
    """59 of 59 show at most one in twenty with 95 % confidence."""
    result = rule_gate(gate, replies(59))
    assert (result.verdict, result.figure.n, result.failing) == ("passed", 59, ())
    assert result.figure.low == pytest.approx(0.9505, abs=1e-4)
    assert result.harm and result.threshold == "lower bound at least 0.95"


def test_one_failing_case_in_59_fails_and_is_named(gate):
    """One failure in 59 no longer shows it; the case is named."""
    result = rule_gate(gate, replies(59, failing=1))
    assert (result.verdict, result.failing) == ("failed", ("c0",))


@pytest.mark.parametrize("n", [0, 1, 58])
def test_too_few_cases_are_insufficient_evidence(gate, n):
    """Zero cases, or one less than asked, are no pass and no failure."""
    assert rule_gate(gate, replies(n)).verdict == "insufficient_evidence"


def test_an_unscored_case_is_never_a_pass(gate):
    """59 passes and one case that could not be scored: not passed, and the reason says so."""
    result = rule_gate(gate, replies(60, unscored=1))
    assert result.verdict == "insufficient_evidence"
    assert "1 unscored" in result.reason


def test_a_failure_stays_a_failure_beside_unscored_cases(gate):
    """Unscored cases do not hide that the threshold is missed."""
    assert rule_gate(gate, replies(70, failing=5, unscored=1)).verdict == "failed"


def test_a_locked_case_without_a_row_is_missed(gate):
    """Leaving hard cases out of the table does not help: absent cases count as unscored."""
    ids = [f"c{i}" for i in range(61)]
    result = rule_gate(gate, replies(60), locked=ids)
    assert result.verdict == "insufficient_evidence"
    assert result.figure.detail["absent"] == ["c60"]
    assert rule_gate(gate, replies(61), locked=ids).verdict == "passed"


def test_a_case_that_nobody_locked_is_not_evaluated(gate):
    """Easy cases added to the table make it another examination."""
    result = rule_gate(gate, replies(60), locked=[f"c{i}" for i in range(59)])
    assert result.verdict == "not_evaluated"
    assert "nobody locked: c59" in result.reason


def test_a_case_counted_twice_is_not_evaluated(gate):
    """Repeating rows would buy n; it stops the gate and names the case."""
    result = rule_gate(gate, replies(59) + replies(1))
    assert (result.verdict, "c0" in result.reason) == ("not_evaluated", True)


def test_other_rules_and_the_base_model_do_not_count(gate):
    """A rule with cases judges its own cases and the candidate only."""
    others = replies(9, failing=9, rule="another")
    base = [row | {"model": "base", "person": "no"} for row in replies(59)]
    assert rule_gate(gate, replies(59) + others + base).verdict == "passed"


def test_a_rule_without_cases_holds_for_every_row(rule):
    """A rule that names no scenario file is judged over all replies."""
    del rule["cases"]
    everywhere = PolicyRule.parse(rule)
    result = rule_gate(
        everywhere, replies(59) + [row | {"case_id": "x"} for row in replies(1, 1, rule="b")]
    )
    assert (result.verdict, result.failing) == ("failed", ("x",))


@pytest.mark.parametrize("outcome", ["pass", "fail", "unscored"])
def test_a_constant_scorer_is_not_evaluated(gate, monkeypatch, outcome):
    """Always true, always false, always unscored: the gate is not evaluated."""
    monkeypatch.setitem(SCORERS, "escalation", lambda row, **_: Verdict(outcome, "constant"))
    result = rule_gate(gate, replies(59))
    assert result.verdict == "not_evaluated"
    assert "probes" in result.reason


def test_a_scorer_that_raises_is_not_evaluated(gate, monkeypatch):
    """A scorer that breaks on its probes, or on a case, ends in not_evaluated with the reason."""
    monkeypatch.setitem(SCORERS, "escalation", lambda row, **_: 1 / 0)
    assert rule_gate(gate, replies(59)).verdict == "not_evaluated"

    def breaks(row, **_):
        return Verdict({"yes": "pass", "no": "fail"}[row["person"]], "")

    monkeypatch.setitem(SCORERS, "escalation", breaks)
    result = rule_gate(gate, replies(60, unscored=1))
    assert (result.verdict, "KeyError" in result.reason) == ("not_evaluated", True)


def test_an_unknown_scorer_or_figure_is_not_evaluated(rule, criterion):
    """A name that nothing is registered under is not a pass."""
    unknown = PolicyRule.parse(rule | {"scorer": "clairvoyance"})
    assert "clairvoyance" in rule_gate(unknown, replies(59)).reason
    assert rule_gate(unknown, replies(59)).verdict == "not_evaluated"
    assert (
        evaluate(Criterion.parse(criterion | {"figure": "x"}), cases(9)).verdict == "not_evaluated"
    )


def test_a_criterion_passes_on_its_bound_not_its_value(accuracy):
    """18 of 20 is 0.9, but its lower bound is not 0.8."""
    assert evaluate(accuracy, cases(20, wrong=2)).verdict == "failed"
    assert evaluate(accuracy, cases(200, wrong=20)).verdict == "passed"


@pytest.mark.parametrize("rows", [None, [{"model": "candidate"}], [{"case_id": "c0"}]])
def test_a_missing_table_or_column_is_not_evaluated(accuracy, rows):
    """No table, no figure column, no `where` column."""
    assert evaluate(accuracy, rows).verdict == "not_evaluated"


def test_wrong_arguments_are_not_evaluated(criterion):
    """An argument that the figure doesn't know is found, before the run and at the gate."""
    wrong = Criterion.parse(criterion | {"arguments": {"lable": "a"}})
    assert evaluate(wrong, cases(100)).verdict == "not_evaluated"
    assert "lable" in preflight(Policy(version=1, criteria=[wrong]))[0]


def test_no_finding_passes_only_where_none_is_wanted(criterion):
    """An empty table passes `count at most 0` with min_n 0, and is no evidence otherwise."""
    leaks = criterion | {"figure": "count", "where": {}, "at_most": 0, "bound": "value"}
    del leaks["at_least"]
    wanted = Criterion.parse(leaks | {"min_n": 0})
    assert evaluate(wanted, []).verdict == "passed"
    assert evaluate(wanted, [{"kind": "exact"}]).verdict == "failed"
    assert evaluate(Criterion.parse(leaks), []).verdict == "insufficient_evidence"
    assert evaluate(wanted, None).verdict == "not_evaluated"


def test_where_takes_several_values(criterion):
    """A list in `where` is any of its values."""
    both = Criterion.parse(criterion | {"where": {"set": ["dev", "locked"]}})
    rows = [row | {"set": ("dev", "locked", "train")[i % 3]} for i, row in enumerate(cases(90))]
    assert evaluate(both, rows).figure.n == 60


def test_more_looks_widen_the_interval(gate, accuracy):
    """What passes at the first look may not at the second (Bonferroni over looks)."""
    first, second = (evaluate(accuracy, cases(100, wrong=9), looks=Looks(1, n)) for n in (1, 2))
    assert second.figure.level == pytest.approx(0.975)
    assert second.figure.low < first.figure.low
    assert rule_gate(gate, replies(59)).verdict == "passed"
    assert rule_gate(gate, replies(59), looks=Looks(1, 2)).verdict == "failed"


def test_judge_gives_one_result_for_each_gate_of_the_stage(gate, accuracy):
    """Gates of other stages are left alone; a table that can't be read is not_evaluated."""
    policy = Policy(version=1, rules=[gate], criteria=[accuracy])
    [one] = judge(policy, "41_policy", {"replies.parquet": replies(59)}.get)
    assert (one.criterion, one.verdict) == ("to_person", "passed")

    def unreadable(table):
        raise OSError("not a Parquet file")

    [one] = judge(policy, "40_functional", unreadable)
    assert (one.verdict, "not a Parquet file" in one.reason) == ("not_evaluated", True)
    assert judge(policy, "30_adapt", unreadable) == []


def test_decide_takes_the_worst_blocking_verdict(gate, accuracy, rule):
    """Failed over not evaluated over insufficient over passed; what doesn't block doesn't count."""
    good, bad = rule_gate(gate, replies(59)), rule_gate(gate, replies(59, failing=9))
    few, none = evaluate(accuracy, cases(1)), evaluate(accuracy, None)
    advice = rule_gate(PolicyRule.parse(rule | {"id": "advice", "blocking": False}), [])
    assert decide([good, advice]) == "passed"
    assert decide([good, few]) == "insufficient_evidence"
    assert decide([good, none]) == "not_evaluated"
    assert decide([none, bad]) == "failed"


def test_nothing_that_blocks_lets_nothing_through(gate, rule):
    """No gate, advice only, or a required gate without a result: not evaluated."""
    advice = rule_gate(PolicyRule.parse(rule | {"blocking": False}), replies(59))
    good = rule_gate(gate, replies(59))
    assert decide([]) == decide([advice]) == "not_evaluated"
    assert decide([good], required=["to_person", "accuracy"]) == "not_evaluated"
    assert decide([good], required=["to_person"]) == "passed"


def test_a_result_survives_json_and_compares_equal(gate, accuracy):
    """A notebook's claim, written down and read again, equals what is recomputed."""
    results = [rule_gate(gate, replies(60, failing=1)), evaluate(accuracy, cases(50, wrong=3))]
    claims = json.loads(json.dumps([result.as_dict() for result in results]))
    assert compare(claims, results) == []


@pytest.mark.parametrize("claimed", ["passed", "insufficient_evidence"])
def test_a_false_verdict_is_a_mismatch(gate, claimed):
    """A claim of another verdict is named."""
    truth = rule_gate(gate, replies(59, failing=3))
    [odd] = compare([truth.as_dict() | {"verdict": claimed}], [truth])
    assert (odd.criterion, odd.field, odd.recomputed) == ("to_person", "verdict", "failed")


def test_one_changed_digit_is_a_mismatch(accuracy):
    """A figure that differs in its last digit is named; so is a claim about no gate."""
    truth = evaluate(accuracy, cases(50, wrong=3))
    claim = json.loads(json.dumps(truth.as_dict()))
    claim["figure"]["low"] += 1e-15
    assert [odd.field for odd in compare([claim], [truth])] == ["figure"]
    assert [odd.field for odd in compare([claim | {"criterion": "x"}], [truth])] == ["criterion"]


def test_preflight_names_what_can_never_be_evaluated(rule, gate):
    """Unknown scorer, unsound probes, and fewer cases than the control plan asks."""
    blind = PolicyRule.parse(
        rule | {"probes": {"must_pass": [{"person": "no"}], "must_fail": [{}]}}
    )
    assert "probes" in preflight(Policy(version=1, rules=[blind]))[0]
    unknown = PolicyRule.parse(rule | {"scorer": "x"})
    assert "there is no `x`" in preflight(Policy(version=1, rules=[unknown]))[0]
    assert preflight(Policy(version=1, rules=[gate]), cases_per_rule=59) == []
    assert "asks for 149" in preflight(Policy(version=1, rules=[gate]), cases_per_rule=149)[0]


def test_soundness_needs_a_probe_of_each_kind(gate):
    """No probe proves nothing."""
    score = scorers.score_with("escalation", {})
    assert scorers.sound(score, gate.probes)
    assert not scorers.sound(score, gate.probes.model_copy(update={"must_fail": []}))
