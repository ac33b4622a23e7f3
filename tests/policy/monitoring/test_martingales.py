"""Evidence that may be looked at after every line: rare while nothing changed, soon when it did."""

from __future__ import annotations

import random
from collections import Counter
from itertools import count

import numpy as np
import pytest

from workbench.policy.monitoring.martingales import Categories, Numbers, Rate, psi
from workbench.policy.statistics import clopper_pearson

TRIALS, BOUND = 200, 20.0


def first(martingale, values, bound=BOUND) -> int | None:
    """The line from which on the evidence is enough."""
    return next((i for i, one in zip(count(1), values, strict=False)
                 if martingale.see(one) >= bound), None)  # fmt: skip


def chance(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_share_at_its_limit_is_hardly_ever_an_alarm_however_often_it_is_looked_at(share):
    """Ville 1939: while the share is what is borne, evidence of 20 comes with chance 0.05 at most,
    over 2,000 looks; looks at a plain test each time would be wrong nearly always."""
    wrong = sum(first(Rate(share), chance(seed).random(2000) < share) is not None
                for seed in range(TRIALS))  # fmt: skip
    assert clopper_pearson(wrong, TRIALS).low <= 0.05


def test_no_dependence_between_lines_makes_a_share_look_worse_than_it_is():
    """Failures in clusters, a tenth each given what came before: still no more alarms."""
    wrong = 0
    for seed in range(TRIALS):
        draws, run = random.Random(seed), []
        for _ in range(500):  # the worst that the rule allows: exactly the borne share, given all
            run.append(draws.random() < (0.1 if run[-1:] == [True] else 0.09))
        wrong += first(Rate(0.1), run) is not None
    assert clopper_pearson(wrong, TRIALS).low <= 0.05


@pytest.mark.parametrize("quiet", [0, 1000, 10_000])
def test_ten_points_too_many_are_found_as_fast_after_a_long_quiet_time(quiet):
    """Who had bet on every quiet line would have nothing left to bet with."""
    found = []
    for seed in range(40):
        draws = chance(seed)
        values = np.concatenate([draws.random(quiet) < 0.005, draws.random(600) < 0.15])
        found.append((first(Rate(0.05), values, bound=60.0) or 10**6) - quiet)
    assert min(found) > 0
    assert np.median(found) <= 120
    assert np.mean(np.array(found) <= 300) >= 0.95


def test_a_small_excess_is_found_too_only_later():
    """Four points: not in 300 lines, but for sure."""
    found = [first(Rate(0.05), chance(seed).random(4000) < 0.09, bound=60.0) for seed in range(20)]
    assert None not in found
    assert np.median(found) > 200


def test_where_no_failure_is_borne_the_second_is_an_alarm():
    """A single one could not be told from a fault of the measurement."""
    assert first(Rate(0.0), [False] * 500 + [True, False, True], bound=1000.0) == 503


@pytest.mark.parametrize("n", [40, 300])
def test_exchangeable_values_are_hardly_ever_an_alarm_however_small_the_reference(n):
    """Conformal p-values are exactly even: a small reference makes it slow, never wrong. Ties and
    categories as well."""
    wrong = Counter()
    for seed in range(TRIALS):
        draws = chance(seed)
        numbers = draws.lognormal(size=n + 600).round(1).tolist()
        names = draws.choice(["a", "b", "c", "d"], p=[0.4, 0.3, 0.2, 0.1], size=n + 600).tolist()
        wrong["numbers"] += first(Numbers(numbers[:n], seed), numbers[n:]) is not None
        wrong["names"] += first(Categories(Counter(names[:n]), seed), names[n:]) is not None
    for name, found in wrong.items():
        assert clopper_pearson(found, TRIALS).low <= 0.05, name


def test_a_shift_is_found_after_a_long_quiet_time_too():
    """10,000 lines, then three fifths of a standard deviation."""
    found = []
    for seed in range(5):
        draws = chance(seed)
        martingale = Numbers(draws.normal(size=300).tolist(), seed)
        assert first(martingale, draws.normal(size=10_000).tolist(), 100.0) is None
        found.append(first(martingale, draws.normal(0.6, 1.0, 600).tolist(), 100.0))
    assert None not in found
    assert np.median(found) <= 150


@pytest.mark.parametrize("moved", [
    lambda draws, n: draws.normal(1.0, 1.0, n),
    lambda draws, n: draws.normal(-1.0, 1.0, n),
    lambda draws, n: draws.normal(0.0, 2.5, n),
    lambda draws, n: draws.normal(0.0, 0.2, n),
])  # fmt: skip
def test_numbers_that_move_or_spread_are_found(moved):
    """Up, down, wider and narrower, after 1,000 quiet lines."""
    for seed in range(5):
        draws = chance(seed)
        reference, quiet = draws.normal(size=300), draws.normal(size=1000)
        martingale = Numbers(reference.tolist(), seed)
        assert first(martingale, quiet.tolist(), 100.0) is None
        assert first(martingale, moved(draws, 400).tolist(), 100.0) <= 300


def test_a_mix_that_moves_among_equally_frequent_categories_is_found():
    """None was rare before."""
    names = [f"t{i}" for i in range(8)]
    draws = chance(1)
    martingale = Categories(Counter(draws.choice(names, size=300).tolist()), 1)
    assert first(martingale, draws.choice(names, size=800).tolist(), 100.0) is None
    assert first(martingale, draws.choice(names, p=[0.44] + [0.08] * 7, size=500), 100.0) <= 400


def test_the_same_lines_and_seed_are_the_same_evidence():
    """What was judged can be judged again."""
    values = chance(3).normal(size=200).tolist()
    runs = [[m.see(v) for v in values] for m in (Numbers([0.0] * 9, 5), Numbers([0.0] * 9, 5))]
    assert runs[0] == runs[1]


def test_psi_is_as_defined_less_what_chance_gives():
    """By hand: shares 0.5, 0.5 and 0.8, 0.2 of 1,000 each: 0.4159; chance 2/1000. Never below 0."""
    assert psi([500, 500], [800, 200]) == pytest.approx(0.4159 - 0.002, abs=1e-3)
    assert psi([500, 500], [500, 500]) == 0.0


def test_psi_of_small_windows_of_one_distribution_is_near_nothing():
    """Ten bins, 200 lines: the plain index would be 0.07 on average, and be taken for drift."""
    draws = chance(2)
    even = [0.1] * 10
    found = [psi(draws.multinomial(300, even), draws.multinomial(200, even)) for _ in range(300)]
    assert np.mean(found) < 0.02
    assert np.quantile(found, 0.99) < 0.125  # half of the usual mark
