"""What a number of cases can show is exact, and known before the run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from workbench.errors import InputError
from workbench.policy import power, statistics
from workbench.policy.criteria import Policy

TEXTS = {"harm": "h", "why": "w", "blocking": True, "stage": "40_functional", "table": "t.parquet"}


def gate(figure="recall", **more):
    asked = {"at_least": 0.95, "bound": "lower", "level": 0.90, "min_n": 59} | more
    criterion = {"id": "g", "figure": figure, **TEXTS, **asked}
    return Policy.parse({"version": 1, "criteria": [criterion]}, "test").criteria[0]


@pytest.mark.parametrize(("misses", "n"), list(enumerate([59, 93, 124, 153, 181, 208])))
def test_cases_that_bear_misses_published(misses, n):
    """Wilks' sample sizes for 95/95, first to sixth order: Nutt and Wallis 2004, Reliability
    Engineering and System Safety 83:57; with one case less one miss less can be borne."""
    assert n - power.demand(gate(), n) == misses
    assert n - 1 - power.demand(gate(), n - 1) == misses - 1


def test_the_chance_to_pass_is_the_binomial_tail():
    """Of 93 cases one may be missed; a figure that counts failures is the same gate mirrored."""
    assert power.chance(gate(), 93, 0.99) == pytest.approx(binom.cdf(1, 93, 0.01))
    mirrored = gate(at_least=None, at_most=0.05, bound="upper")
    assert power.chance(mirrored, 93, 0.99) == pytest.approx(power.chance(gate(), 93, 0.99))
    assert power.chance(gate(), 58, 1.0) == 0.0


def test_a_model_at_the_threshold_passes_no_more_often_than_the_level_says():
    """The other risk: not the model's, but of those whom it serves."""
    for n in (59, 100, 153, 400):
        assert power.chance(gate(), n, 0.95) <= 0.05


def test_the_truth_that_passes_and_the_failure_rate_that_is_stopped():
    """59 cases without a miss stop a failure rate of 5 % in 19 of 20 runs, and no smaller one."""
    assert 1 - power.truth_for(gate(), 59, 0.05) == pytest.approx(statistics.zero_failure_upper(59))
    needed = power.truth_for(gate(), 59, 0.8)
    assert power.chance(gate(), 59, needed) == pytest.approx(0.8)


def test_cases_for_a_true_rate():
    """The first number with that chance; one that the truth can't reach is refused."""
    n = power.cases(gate(), 0.99)
    assert power.chance(gate(), n, 0.99) >= 0.8 > power.chance(gate(), n - 1, 0.99)
    with pytest.raises(InputError):
        power.cases(gate(), 0.95, most=2000)


def test_paired_cases_by_hand():
    """(1.960 + 0.842)² x 0.1 / 0.02², rounded up; shares that are none are refused."""
    assert power.paired_cases(0.1, 0.02) == 1963
    with pytest.raises(InputError):
        power.paired_cases(0.1, 0)


def test_the_exact_chance_of_pairs_agrees_with_the_formula_and_with_simulation():
    """At Nam's number of pairs it is near 80 %; at 150 pairs what 2,000 draws give."""
    assert power.paired_chance(power.paired_cases(0.1, 0.04), 0.04) == pytest.approx(0.8, abs=0.02)
    rng = np.random.default_rng(0)
    differ = rng.binomial(150, 0.1, size=2000)
    gained = rng.binomial(differ, 0.5)
    passed = [
        statistics.tango(int(g), int(d - g), 150, 0.90).low >= -0.05
        for g, d in zip(gained, differ, strict=True)
    ]
    assert power.paired_chance(150, 0.05, 0.90) == pytest.approx(np.mean(passed), abs=0.03)


def test_every_gate_of_a_policy_has_a_line():
    """A share with its power, a difference with its chance at equality, a count with neither; the
    looks that the policy allows are paid for."""
    criteria = [
        {"id": "a", "figure": "recall", **TEXTS, "at_least": 0.95, "bound": "lower",
         "level": 0.90, "min_n": 59},
        {"id": "b", "figure": "paired_difference", **TEXTS, "at_least": -0.05, "bound": "lower",
         "min_n": 200},
        {"id": "c", "figure": "count", **TEXTS, "at_most": 0, "bound": "value", "min_n": 0},
    ]  # fmt: skip
    once, thrice = (
        power.of(Policy.parse({"version": 1, "look_budget": k, "criteria": criteria}, "test"))
        for k in (1, 3)
    )
    assert [line["gate"] for line in once] == ["a", "b", "c"]
    assert once[0]["misses"] == 0 and once[0]["stops"] == pytest.approx(0.0495, abs=1e-4)
    assert 0 < once[1]["chance"] < 1 and "chance" not in once[2]
    assert thrice[0]["misses"] == -1 and thrice[0]["chance"] == 0.0
    assert thrice[1]["chance"] < once[1]["chance"]
