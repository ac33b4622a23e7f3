"""The standing gate `isolation`: when it passes, fails, and can't be evaluated."""

from __future__ import annotations

import pytest

from workbench.policy import isolation
from workbench.policy.gates import GateVerdict

NOBODY = dict.fromkeys(isolation.WATCHED, 0)


def rows(**changed: str) -> list[dict[str, str]]:
    """A row an attempt, all held; `changed` by attempt, `_` for a space."""
    outcomes = dict.fromkeys(isolation.ATTEMPTS, isolation.HELD)
    outcomes[isolation.PROCESS] = isolation.LEFT
    outcomes |= {name.replace("_", " "): outcome for name, outcome in changed.items()}
    return [{"attempt": name, "outcome": outcome} for name, outcome in outcomes.items()]


def judged(table=None, seen=NOBODY, level="namespace"):
    return isolation.judge(rows() if table is None else table, seen, level, "30_adapt")


@pytest.mark.parametrize("level", ["namespace", "container"])
def test_it_passes_when_every_attempt_was_held_and_the_engine_saw_nobody(level):
    """And it blocks, so that a candidate needs it."""
    result = judged(level=level)
    assert result.verdict == GateVerdict.PASSED and result.blocking
    assert result.figure.value == 0 and result.figure.n == len(isolation.ATTEMPTS)


@pytest.mark.parametrize("name", isolation.ATTEMPTS)
def test_each_attempt_that_reached_its_target_fails_it_and_is_named(name):
    """No attempt is there for show."""
    result = judged(
        [row | {"outcome": "reached"} if row["attempt"] == name else row for row in rows()]
    )
    if name == isolation.PROCESS:  # the notebook can't know
        result = judged(seen=NOBODY | {name: 1})
    assert result.verdict == GateVerdict.FAILED and result.figure.value == 1
    assert result.failing[0].startswith(f"{name}: ")


@pytest.mark.parametrize("name", isolation.WATCHED)
def test_what_the_engine_counted_stands_against_the_notebooks_word(name):
    """The notebook says held; the engine counted two: failed, and both are named."""
    table = [row | {"outcome": "held"} for row in rows()]
    result = judged(table, NOBODY | {name: 2})
    assert result.verdict == GateVerdict.FAILED
    assert result.failing[0] == f"{name}: the engine counted 2, the notebook says held"


@pytest.mark.parametrize("name", isolation.ATTEMPTS)
def test_an_attempt_left_out_or_told_twice_is_no_pass(name):
    """Whoever leaves out the hard ones has shown nothing."""
    kept = [row for row in rows() if row["attempt"] != name]
    twice = [*rows(), {"attempt": name, "outcome": "held"}]
    for table in (kept, twice):
        result = judged(table)
        assert result.verdict == GateVerdict.NOT_EVALUATED and result.blocking
        assert any(one.startswith(f"{name}: ") for one in result.failing)


@pytest.mark.parametrize(
    "table",
    [
        None,
        [],
        rows(send_out_by_TCP="not tried"),
        rows(send_out_by_TCP="fine"),
        rows(send_out_by_TCP=isolation.LEFT),
        rows(fly="held"),
        [{"outcome": "held"}],
    ],
)
def test_rows_that_prove_nothing_are_not_evaluated(table):
    """No table, none tried, words that nobody defined, an attempt that nobody asked for."""
    result = isolation.judge(table, NOBODY, "namespace", "30_adapt")
    assert result.verdict == GateVerdict.NOT_EVALUATED and result.figure is None and result.failing


@pytest.mark.parametrize("name", isolation.WATCHED)
def test_an_engine_that_did_not_watch_is_no_pass(name):
    """The notebook's word alone is not enough."""
    result = judged(seen={one: 0 for one in isolation.WATCHED if one != name})
    assert result.verdict == GateVerdict.NOT_EVALUATED
    assert f"{name}: the engine did not watch" in result.failing


def test_one_that_was_reached_outweighs_what_is_missing():
    """A known breach is a failure, whatever else could not be evaluated."""
    result = judged(rows(fly="held", send_out_by_TCP="reached"))
    assert result.verdict == GateVerdict.FAILED and len(result.failing) == 2


def test_without_isolation_nothing_is_promised_and_nothing_blocked():
    """Level none says so in its reason, and may leave untried what would do harm."""
    open_ = judged(rows(send_out_by_TCP="reached"), level="none")
    assert open_.verdict == GateVerdict.FAILED and not open_.blocking
    assert open_.reason.startswith("level none isolates nothing, and this gate does not block")
    nothing = judged([row | {"outcome": "not tried"} for row in rows()], level="none")
    assert nothing.verdict == GateVerdict.NOT_EVALUATED
    untried = judged(rows(remount_an_input="not tried"), level="none")
    assert untried.verdict == GateVerdict.PASSED and not untried.blocking


def test_a_hostile_table_can_neither_break_nor_flood_the_gate():
    """Values that are no words, and rows without end: not evaluated, in a bounded number of words."""
    odd = [{"attempt": ["a"], "outcome": {"b": 1}}] * 10_000 + [{"attempt": "x" * 10**6}]
    result = judged([*rows(), *odd])
    assert result.verdict == GateVerdict.NOT_EVALUATED
    assert len(result.failing) <= isolation.NAMED and len(result.reason) < 20_000
