"""Intervals and tests agree with published values, and hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.policy import statistics as s

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(k, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    assert s.wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_published(k, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 5."""
    assert s.clopper_pearson(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("gained", "lost", "n", "low", "high"),
    [(1, 7, 21, -0.517, -0.026), (6, 16, 161, -0.1240, -0.0054)],
)
def test_tango_published(gained, lost, n, low, high):
    """Fagerland, Lydersen, Laake 2014, Statistics in Medicine 33:2850: both of its examples."""
    assert s.tango(gained, lost, n) == pytest.approx((low, high), abs=5e-4)


def test_tango_without_discordance_is_closed_form():
    """With no discordant pair the ends are z²/(n + z²) either side (Tango 1998, section 3)."""
    z2 = 1.959964**2
    assert s.tango(0, 0, 44) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), abs=1e-6)


def test_tango_agrees_with_mcnemar_at_zero():
    """At difference 0 Tango's score is McNemar's: at level 1 - p an end lies on 0."""
    p = 0.033006  # asymptotic McNemar of (6, 16), Fagerland et al. 2014
    assert s.tango(6, 16, 161, level=1 - p).high == pytest.approx(0, abs=1e-5)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 100))
def test_tango_is_antisymmetric_and_holds_the_estimate(gained, lost, same):
    """Swapping the models mirrors the interval; the difference seen lies inside."""
    n = gained + lost + same
    if n:
        one, other = s.tango(gained, lost, n), s.tango(lost, gained, n)
        assert one.low == pytest.approx(-other.high, abs=1e-9)
        assert one.low - 1e-9 <= (gained - lost) / n <= one.high + 1e-9
        assert -1 <= one.low <= one.high <= 1


@pytest.mark.parametrize(("gained", "lost", "p"), [(1, 7, 0.0703), (6, 16, 0.0525), (0, 0, 1.0)])
def test_mcnemar_exact_published(gained, lost, p):
    """Fagerland et al. 2014: exact conditional McNemar; no discordant pair says nothing."""
    assert s.mcnemar_exact(gained, lost) == pytest.approx(p, abs=5e-5)


@pytest.mark.parametrize(
    ("rate", "cases"), [(0.10, 29), (0.05, 59), (0.02, 149), (0.01, 299), (0.001, 2995)]
)
def test_zero_failure_cases_published(rate, cases):
    """The success-run numbers: 59 for 95/95, 299 for 99/95; one case less does not show it."""
    assert s.zero_failure_cases(rate) == cases
    assert s.zero_failure_upper(cases) <= rate < s.zero_failure_upper(cases - 1)


def test_zero_failures_agree_with_clopper_pearson():
    """The one-sided bound is the end of the two-sided 90 % interval, near three over n."""
    assert 1 - s.clopper_pearson(59, 59, 0.90).low == pytest.approx(s.zero_failure_upper(59))
    assert s.zero_failure_upper(1000) == pytest.approx(3 / 1000, rel=5e-3)


@given(COUNTS)
def test_proportion_intervals_hold_the_estimate_and_mirror(counts):
    """k/n lies inside; failures have the mirrored interval; a higher level is wider."""
    k, n = counts
    for interval in (s.wilson, s.clopper_pearson):
        low, high = interval(k, n)
        assert 0 <= low <= k / n <= high <= 1
        assert low == pytest.approx(1 - interval(n - k, n).high, abs=1e-9)
        assert interval(k, n, 0.99).low <= low


@pytest.mark.parametrize("p", [0.01, 0.05, 0.3, 0.5])
def test_clopper_pearson_never_covers_less_than_its_level(p):
    """Its promise, counted over all outcomes of 40 cases."""
    n = 40
    weight = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    inside = [
        s.clopper_pearson(k, n).low <= p <= s.clopper_pearson(k, n).high for k in range(n + 1)
    ]
    assert sum(w for w, hit in zip(weight, inside, strict=True) if hit) >= 0.95


def test_looks_spend_the_error():
    """Three looks at 95 % each take a third of the error (Bonferroni); one look costs nothing."""
    assert s.for_looks(0.95, 1) == pytest.approx(0.95)
    assert s.for_looks(0.95, 5) == pytest.approx(0.99)


LITTERS = {
    "control": "13/13 12/12 9/9 9/9 8/8 8/8 12/13 11/12 9/10 9/10 8/9 11/13 4/5 5/7 7/10 7/10",
    "treated": "12/12 11/11 10/10 9/9 10/11 9/10 9/10 8/9 8/9 4/5 7/9 4/7 5/10 3/6 3/10 0/7",
}
"""Pups that survived of each litter: Weil 1970, Food and Cosmetics Toxicology 8:177."""


def litters(group: str) -> dict[str, list[bool]]:
    counts = [tuple(map(int, one.split("/"))) for one in LITTERS[group].split()]
    return {str(i): [True] * k + [False] * (n - k) for i, (k, n) in enumerate(counts)}


@pytest.mark.parametrize(
    ("group", "share", "effect"), [("control", 0.899, 1.23), ("treated", 0.772, 3.95)]
)
def test_design_effect_is_that_of_cluster_robust_errors(group, share, effect):
    """On the litters with which Rao and Scott 1992 show it; statsmodels' robust variance, whose
    small-sample factor has (n - 1)/(n - k) in it, gives the same."""
    import statsmodels.api as sm

    found = litters(group)
    hits = [float(hit) for one in found.values() for hit in one]
    names = [int(name) for name, one in found.items() for _ in one]
    totals, sizes = [sum(one) for one in found.values()], [len(one) for one in found.values()]
    p = np.mean(hits)
    ours = s.design_effect(totals, sizes, p * (1 - p))
    fit = sm.OLS(hits, np.ones(len(hits))).fit(cov_type="cluster", cov_kwds={"groups": names})
    assert (p, ours) == pytest.approx((share, effect), abs=5e-3)
    assert ours == pytest.approx(fit.bse[0] ** 2 * len(hits) / (p * (1 - p)))


def test_a_clustered_share_is_korn_and_graubards():
    """By hand from their formula: n over the effect, times (t at n - 1 over t at clusters - 1)²."""
    from scipy.stats import t

    value, low, high = s.clustered_share(litters("treated"))
    n = 145 / 3.9528606 * (t.ppf(0.975, 144) / t.ppf(0.975, 15)) ** 2
    assert value == 112 / 145
    assert (low, high) == pytest.approx(tuple(s.clopper_pearson(value * n, n)), abs=1e-6)


def test_families_without_a_failure_count_as_families():
    """300 cases in 50 families, none failed: shown for 50, not for 300; and one failure more never
    makes the bound better."""
    families = {str(i): [True] * 6 for i in range(50)}
    assert s.clustered_share(families).low == s.clopper_pearson(50, 50).low
    lows = [s.clustered_share(families).low]
    for i in range(6):
        families[str(i)] = [False] + [True] * 5
        lows.append(s.clustered_share(families).low)
    assert lows == sorted(lows, reverse=True)


@pytest.mark.parametrize("share", [0.7, 0.95])
def test_a_clustered_interval_covers_where_the_plain_one_does_not(share):
    """400 simulated sets, 40 families of 6 that mostly do the same (beta-binomial, ICC 0.5)."""
    rng, covered, plain = np.random.default_rng(3), 0, 0
    for _ in range(400):
        rates = rng.beta(share, 1 - share, size=40)
        hits = rng.random((40, 6)) < rates[:, None]
        _, low, high = s.clustered_share({str(i): list(row) for i, row in enumerate(hits)})
        covered += low <= share <= high
        low, high = s.clopper_pearson(int(hits.sum()), hits.size)
        plain += low <= share <= high
    assert covered / 400 >= 0.93 > 0.9 > plain / 400


def test_a_clustered_difference_is_tangos_where_families_are_single():
    """Singletons have no design effect, so only Student's tails widen it, by a hair."""
    pairs = [1] * 6 + [-1] * 16 + [0] * 139
    value, low, high = s.clustered_difference({str(i): [pair] for i, pair in enumerate(pairs)})
    assert value == pytest.approx(-10 / 161)
    assert (low, high) == pytest.approx(tuple(s.tango(6, 16, 161)), abs=2e-3)


def test_a_clustered_difference_covers():
    """300 simulated comparisons of equal models whose families change as one."""
    rng, covered, plain = np.random.default_rng(4), 0, 0
    for _ in range(300):
        families = rng.choice([-1, 0, 1], size=40, p=[0.1, 0.8, 0.1])
        pairs = families[:, None] * (rng.random((40, 5)) < 0.8)
        _, low, high = s.clustered_difference({str(i): row.tolist() for i, row in enumerate(pairs)})
        covered += low <= 0 <= high
        low, high = s.tango(int((pairs == 1).sum()), int((pairs == -1).sum()), pairs.size)
        plain += low <= 0 <= high
    assert covered / 300 >= 0.93 > 0.9 > plain / 300


def test_holm_by_hand():
    """The smallest times 4, the next times 3, and never below the one before (Holm 1979)."""
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([]) == []


def test_blocking_gates_need_no_correction_for_each_other():
    """Intersection-union: a model that truly misses one of ten gates, and is perfect at the rest,
    passes them all in 5 % at most; nine gates more do not add to it."""
    rng, level = np.random.default_rng(5), 0.90
    missed = rng.binomial(59, 0.95, size=4000)
    passed = [s.clopper_pearson(int(k), 59, level).low >= 0.95 for k in missed]
    assert np.mean(passed) <= s.release_error([level] * 10) + 0.01
    assert s.release_error([0.95, 0.90, 0.99]) == pytest.approx(0.05)


def test_macro_f1_agrees_with_scikit_learn():
    """The same number as scikit-learn's over labels that occur on either side."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    expected, predicted = list("aabbccccdd"), list("abbbccdcde")
    theirs = metrics.f1_score(expected, predicted, average="macro", zero_division=0)
    assert s.macro_f1(expected, predicted) == pytest.approx(theirs)


def test_macro_f1_interval_is_seeded():
    """The same seed gives the same interval; another seed nearly the same; it holds the value."""
    expected, predicted = list("aabbccddd") * 20, list("aabbcaddb") * 15 + list("babbccdad") * 5
    one = s.macro_f1_interval(expected, predicted, seed=1)
    assert one == s.macro_f1_interval(expected, predicted, seed=1)
    other = s.macro_f1_interval(expected, predicted, seed=2)
    assert one != other and one == pytest.approx(other, abs=0.02)
    assert one.low < s.macro_f1(expected, predicted) < one.high


def test_macro_f1_interval_is_not_as_narrow_as_a_plain_bootstrap():
    """In small classes a plain redraw is too narrow; ours is wider (Rao and Wu 1988)."""
    import numpy as np

    rng, expected = np.random.default_rng(1), list("abcdefgh") * 4
    predicted = list("abcdefgh") * 3 + list("bbddffhh")
    cells = [[i for i, e in enumerate(expected) if e == label] for label in "abcdefgh"]
    plain = []
    for _ in range(1000):
        drawn = np.concatenate([rng.choice(cell, len(cell)) for cell in cells])
        plain.append(s.macro_f1([expected[i] for i in drawn], [predicted[i] for i in drawn]))
    low, high = s.macro_f1_interval(expected, predicted)
    assert high - low > 1.05 * np.subtract(*np.quantile(plain, [0.975, 0.025]))


def test_macro_f1_without_an_error_is_not_certain():
    """A faultless sample does not give the interval [1, 1]; rare classes make it wider."""
    even, rare = list("ab") * 30, ["a"] * 55 + ["b"] * 5
    assert s.macro_f1_interval(even, even).low == pytest.approx(s.clopper_pearson(60, 60).low)
    assert s.macro_f1_interval(rare, rare).low < s.macro_f1_interval(even, even).low < 1


def test_macro_f1_interval_covers_about_its_level():
    """Of 300 simulated examinations at 160 cases, the interval holds the truth in about 95 %."""
    import numpy as np

    rng, labels = np.random.default_rng(7), [str(i) for i in range(8)]
    truth = [labels[i % 8] for i in range(160)]
    right, covered = 0.93, 0
    for trial in range(300):
        said = [
            t if rng.random() < right else labels[(int(t) + rng.integers(1, 8)) % 8] for t in truth
        ]
        # Errors fall evenly, so that precision, recall and F1 of each label are `right`.
        low, high = s.macro_f1_interval(truth, said, seed=trial, repeats=400)
        covered += low <= right <= high
    assert 0.91 <= covered / 300 <= 0.98


@pytest.mark.parametrize(
    "call",
    [
        lambda: s.wilson(5, 0),
        lambda: s.wilson(6, 5),
        lambda: s.clopper_pearson(-1, 5),
        lambda: s.tango(3, 3, 5),
        lambda: s.mcnemar_exact(-1, 2),
        lambda: s.wilson(1, 2, level=95),
        lambda: s.zero_failure_cases(0),
        lambda: s.zero_failure_upper(0),
        lambda: s.for_looks(0.95, 0),
        lambda: s.release_error([]),
        lambda: s.release_error([5]),
        lambda: s.clustered_share({}),
        lambda: s.clustered_share({"a": [True]}),
        lambda: s.clustered_share({"a": [True], "b": []}),
        lambda: s.clustered_difference({"a": [1]}),
        lambda: s.macro_f1([], []),
        lambda: s.macro_f1(["a"], ["a", "b"]),
    ],
)
def test_counts_that_do_not_fit_are_refused(call):
    """Impossible counts and levels raise InputError, not a number."""
    with pytest.raises(InputError):
        call()


def test_macro_f1_at_a_level_beyond_its_draws_still_widens():
    """Late looks ask for levels that 2,000 draws can't resolve; the ends go out all the same."""
    expected = ["a"] * 60 + ["b"] * 60
    predicted = ["a"] * 50 + ["b"] * 10 + ["b"] * 52 + ["a"] * 8
    levels = (0.95, 0.99, 0.999, 0.99999, 0.9999995)
    widths = [np.ptp(s.macro_f1_interval(expected, predicted, level)) for level in levels]
    assert all(b > a * 1.1 for a, b in zip(widths, widths[1:], strict=False))
    assert widths[-1] == pytest.approx(widths[0] * 5.03 / 1.96, rel=0.15)
