"""Figures of memorisation: exposure of a secret, and how well members are told from others."""

from __future__ import annotations

import random
from math import log2
from statistics import NormalDist

import pytest

from workbench.errors import InputError
from workbench.policy.figures import compute
from workbench.policy.figures.memorisation import auc_deviation, auc_interval, bits


def canary(rank, tried=1000, space=1000):
    return {"rank": rank, "tried": tried, "space": space}


def scored(members, others, names=("member", "nonmember")):
    parts = zip(names, (members, others), strict=True)
    return [{"group": name, "score": one} for name, part in parts for one in part]


def test_exposure_is_that_of_the_paper():
    """Carlini et al. 2019: log2 of the space less log2 of the rank; first of 10^9 has 30 bits."""
    assert bits(1, 10**9, 10**9) == pytest.approx(29.897, abs=1e-3)
    assert bits(500, 1000, 1000) == 1.0 and bits(1000, 1000, 1000) == 0.0
    assert bits(1, 100, 1000) == pytest.approx(log2(100))  # a sample can't show more than its size


def test_the_largest_exposure_is_exact_where_all_was_tried():
    """One secret that is the first guess is enough, however many are not; the ends are the value."""
    figure = compute("exposure", [canary(700), canary(1), canary(40)])
    assert figure.value == figure.low == figure.high == pytest.approx(log2(1000))
    assert (figure.n, figure.unit) == (3, "bits")


def test_of_a_sample_the_rank_has_an_interval():
    """The upper end lies above, never above what the space holds; more tried, narrower."""
    few, many = (compute("exposure", [canary(n // 100, n, 10_000)]) for n in (100, 1000))
    assert few.low < few.value < few.high <= log2(10_000)
    assert many.high - many.low < few.high - few.low


def test_without_a_canary_nothing_is_shown():
    """No row is no evidence of nothing kept: refused, so that the gate is not evaluated."""
    with pytest.raises(InputError, match="no canary"):
        compute("exposure", [])
    assert compute("exposure", [canary(None)]).unscored == 1


def test_the_area_is_the_chance_to_score_higher():
    """Half for a tie; the groups are named, and a missing score is counted apart."""
    figure = compute("membership_auc", scored([3, 2], [2, 1]))
    assert figure.value == 0.875 and figure.n == 2
    swapped = compute("membership_auc", scored([3, 2], [2, 1]), groups=("nonmember", "member"))
    assert swapped.value == 0.125
    assert compute("membership_auc", scored([3, None], [2, 1])).unscored == 1
    assert compute("membership_auc", scored([3], [])).value is None


def test_the_standard_error_is_hanley_and_mcneils():
    """Radiology 1982, 143:29: 51 abnormal and 58 normal images, area 0.893, standard error 0.032."""
    assert auc_deviation(0.893, 51, 58) == pytest.approx(0.032, abs=1e-3)


def test_the_interval_is_where_the_score_test_turns():
    """Newcombe 2006: at either end the area lies z standard errors away, taken at that end."""
    z = NormalDist().inv_cdf(0.975)
    for auc, yes, no in ((0.893, 51, 58), (0.5, 8, 8), (0.97, 10, 200)):
        for end in auc_interval(auc, yes, no):
            assert abs(auc - end) == pytest.approx(z * auc_deviation(end, yes, no))
    assert auc_interval(1.0, 4, 4).high == 1 and 0.4 < auc_interval(1.0, 4, 4).low < 0.75
    low, high = auc_interval(0.2, 30, 30)
    assert auc_interval(0.8, 30, 30) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("shift", "sizes"), [(0.0, (8, 8)), (1.0, (8, 8)), (0.5, (60, 40))])
def test_the_interval_holds_the_truth_as_often_as_it_says(shift, sizes):
    """600 draws from two normal distributions: at least 92 in 100 for 95 %, also of 8 canaries."""
    chance, truth = random.Random(4), NormalDist().cdf(shift / 2**0.5)
    held = 0
    for _ in range(600):
        yes, no = ([chance.gauss(mean, 1) for _ in range(n)]
                   for mean, n in zip((shift, 0), sizes, strict=True))  # fmt: skip
        auc = sum(a > b for a in yes for b in no) / (len(yes) * len(no))
        low, high = auc_interval(auc, *sizes)
        held += low <= truth <= high
    assert held >= 0.92 * 600


def test_members_that_are_known_for_sure_are_told():
    """Ten of 100 far above all others: an area near one half, and a tenth found at no mistake."""
    rows = scored(
        [100.0] * 10 + [float(n % 9) for n in range(90)], [float(n % 9) for n in range(200)]
    )
    figure = compute("membership_auc", rows)
    assert figure.value < 0.56 and figure.detail["found at 1% false"] == 0.1
    assert (figure.detail["member"], figure.detail["nonmember"]) == (100, 200)
