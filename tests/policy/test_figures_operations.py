"""Figures of a server under load: order statistics, failures, and rows that are marked."""

from __future__ import annotations

import random

import pytest

from workbench.errors import InputError
from workbench.policy.figures import compute


def took(*milliseconds: float | None) -> list[dict]:
    return [{"latency_ms": one} for one in milliseconds]


def test_a_quantile_is_a_measured_latency():
    """The smallest below which at least the share q lies; the order of the rows is nothing."""
    rows = took(*range(100, 0, -1))
    assert compute("latency_quantile", rows, q=0.99).value == 99
    assert compute("latency_quantile", rows, q=0.5).value == 50
    assert compute("latency_quantile", took(7), q=0.99).value == 7


def test_its_ends_are_order_statistics():
    """Ranks 40 and 61 of 100 hold the median at 0.95 (David and Nagaraja, table of binomials)."""
    found = compute("latency_quantile", took(*range(1, 101)), q=0.5)
    assert (found.low, found.high, found.n, found.unit) == (40, 61, 100, "ms")


@pytest.mark.parametrize("q", [0.5, 0.95])
def test_the_interval_holds_the_true_quantile_as_often_as_it_says(q):
    """Of 2,000 samples with heavy tails at least 95 % less chance; no distribution is assumed."""
    chance, held = random.Random(3), 0
    true = (1 / (1 - q)) ** 0.5  # of Pareto's distribution with shape 2
    for _ in range(2000):
        found = compute(
            "latency_quantile", took(*(chance.paretovariate(2) for _ in range(150))), q=q
        )
        held += found.low <= true <= found.high
    assert held / 2000 > 0.94


@pytest.mark.parametrize("n, bounded", [(298, False), (299, True)])
def test_too_few_requests_bound_no_high_quantile(n, bounded):
    """0.99 at level 0.9 takes 299 requests (0.99^299 < 0.05); with fewer a bound that is asked for
    is not there, and a gate on it is not evaluated."""
    found = compute("latency_quantile", took(*range(n)), q=0.99, level=0.9)
    assert (found.high is not None) == (found.low is not None) == bounded


def test_a_request_without_a_latency_is_unscored():
    """It got no answer, and no gate passes over it; without any there is no figure."""
    assert compute("latency_quantile", took(5, None, float("nan"))).unscored == 2
    assert compute("latency_quantile", []).value is None
    with pytest.raises(InputError, match="between 0 and 1"):
        compute("latency_quantile", took(5), q=1)


def came(*outcomes: str | None, **more) -> list[dict]:
    return [{"outcome": one, **more} for one in outcomes]


def test_fallback_and_refusal_are_failures():
    """Exact interval; who was answered, or sent on to a person with an answer, is none."""
    rows = came(*["answered"] * 17, "escalated", "fallback", "refused")
    found = compute("failed_share", rows)
    assert (found.value, found.n) == (0.1, 20)
    assert (found.low, found.high) == pytest.approx((0.01235, 0.31698), abs=1e-5)
    assert compute("failed_share", came("answered", None)).unscored == 1
    assert compute("failed_share", []).value is None


@pytest.mark.parametrize(
    "reason, failed",
    [
        ("abstained", 0),
        ("guard reply_format", 0),
        ("timeout", 1),
        ("worker", 1),
        ("", 1),
        (None, 1),
    ],
)
def test_silence_by_rule_is_no_failure(reason, failed):
    """Abstaining and guarding are what the server is there for; an empty reason excuses nothing."""
    assert compute("failed_share", came("fallback", reason=reason)).value == failed


def test_none_of_many_is_not_none_of_none():
    """A count of marked rows says among how many; without a row nothing was measured."""
    rows = [{"wrong": n} for n in (0, 0, 1, None)]
    found = compute("marked", rows, column="wrong")
    assert (found.value, found.n, found.unscored) == (1, 3, 1)
    assert compute("marked", rows, column="wrong", value=0).value == 2
    assert compute("marked", [], column="wrong").value is None


def test_the_longest_recovery_counts():
    """One that never ended is unscored, so that no gate passes."""
    rows = [{"recovery_s": one} for one in (1.5, 8.0, None)]
    found = compute("highest", rows, column="recovery_s")
    assert (found.value, found.n, found.unscored) == (8.0, 2, 1)


def test_served_answers_that_differ_are_counted_as_the_row_says():
    """Where each case was held against its answer offline; one that was not is unscored."""
    rows = [{"case_id": str(n), "differs": d} for n, d in enumerate((0, 0, 1, None))]
    found = compute("differing", rows)
    assert (found.name, found.value, found.n, found.unscored) == ("differing", 1, 3, 1)
