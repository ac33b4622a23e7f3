"""Calibration figures: published and hand-made values, and nothing chosen on locked rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.policy import statistics
from workbench.policy.figures import calibration, compute
from workbench.policy.figures.calibration import Scores, scaled, scores, temperature, threshold


def row(told: float, right: bool, split: str = "locked", case: object = 0) -> dict:
    """An answer `a` told with a probability, of two labels."""
    return {
        "case_id": f"{split}{case}", "set": split, "expected": "a" if right else "b",
        "predicted": "a", "labels": ["a", "b"], "probabilities": [told, 1 - told],
    }  # fmt: skip


def rows(told: float, right: int, n: int, split: str = "locked") -> list[dict]:
    return [row(told, i < right, split, i) for i in range(n)]


def drawn(n: int, temper: float, seed: int, split: str = "locked", labels: int = 5) -> list[dict]:
    """Answers of a calibrated model, its log probabilities divided by a temperature."""
    rng, made = np.random.default_rng(seed), []
    names = [f"l{i}" for i in range(labels)]
    for i in range(n):
        true = rng.dirichlet(np.full(labels, 0.4))
        told = scaled(np.maximum(true, 1e-9), temper)
        made.append({
            "case_id": f"{split}{i}", "set": split, "labels": names, "probabilities": told.tolist(),
            "expected": names[rng.choice(labels, p=true)], "predicted": names[int(told.argmax())],
        })  # fmt: skip
    return made


def found(confidence, hit) -> Scores:
    return Scores(np.asarray(hit, bool), np.asarray(confidence, float), None, None)


def test_brier_published():
    """Brier 1950, Monthly Weather Review 78:1, table 1: ten rain forecasts, P = 0.19."""
    told = [0.7, 0.9, 0.8, 0.4, 0.2, 0, 0, 0, 0, 0.1]
    rain = [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    table = [row(p, bool(r), case=i) for i, (p, r) in enumerate(zip(told, rain, strict=True))]
    assert compute("brier", table).value == pytest.approx(0.19, abs=1e-9)


def test_brier_and_nll_agree_with_scikit_learn():
    """Several labels, in any order of the lists, which may differ from row to row."""
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    table = drawn(60, 1.0, 0)
    y, p = [one["expected"] for one in table], [one["probabilities"] for one in table]
    table = [one | {"labels": one["labels"][::-1], "probabilities": one["probabilities"][::-1]}
             if i % 2 else one for i, one in enumerate(table)]  # fmt: skip
    labels = [f"l{i}" for i in range(5)]
    theirs = metrics.brier_score_loss(y, p, labels=labels, scale_by_half=False)
    assert compute("brier", table).value == pytest.approx(theirs)
    assert compute("nll", table).value == pytest.approx(metrics.log_loss(y, p, labels=labels))


def test_ece_by_hand():
    """Ten told 0.9 of which 7 are right, thirty told 0.6 of which 21: (10 x 0.2 + 30 x 0.1) / 40."""
    table = rows(0.9, 7, 10) + rows(0.6, 21, 30)
    for binning in ("equal_mass", "equal_width"):
        figure = compute("ece", table, binning=binning)
        assert figure.value == pytest.approx(0.125)
        assert figure.low <= 0.125 <= figure.high and figure.n == 40


def test_bins_of_equal_mass_and_of_equal_width():
    """Equal mass cuts at quantiles and parts no equal confidences; equal width cuts evenly."""
    confidence = [0.5] * 4 + [0.91, 0.92, 0.93, 0.94]
    one = found(confidence, [True] * 8)
    assert [b["n"] for b in calibration.reliability(one, 2)] == [4, 4]
    assert [b["n"] for b in calibration.reliability(one, 4)] == [4, 2, 2]
    wide = calibration.reliability(one, 10, "equal_width")
    assert [(b["start"], b["n"]) for b in wide] == [(0.5, 4), (0.9, 4)]
    shuffled = found(confidence[::-1], [True] * 8)
    assert calibration.reliability(shuffled, 4) == calibration.reliability(one, 4)


def test_the_debiased_gap_is_nothing_where_the_gap_is_chance():
    """Mean of 40 calibrated samples: the plain gap stays open, the debiased one nearly closes."""
    plain, debiased = (
        np.mean([calibration._gap(scores(drawn(200, 1.0, s)), 10, "equal_mass", d) ** 2
                 for s in range(40)]) for d in (False, True)
    )  # fmt: skip
    assert debiased < plain / 2


@pytest.mark.parametrize("excess", [0.05, 0.1])
def test_the_high_end_of_ece_is_a_bound(excess, monkeypatch):
    """Of 100 simulated examinations of an overconfident model it lies above the true gap in 97.5 %
    or more; the low end is no claim."""
    monkeypatch.setattr(calibration, "REPEATS", 200)
    rng, above = np.random.default_rng(1), 0
    for _ in range(100):
        told = rng.choice([0.65, 0.75, 0.85, 0.95], size=200)
        right = rng.random(200) < told - excess
        table = [row(t, bool(r)) for t, r in zip(told, right, strict=True)]
        figure = compute("ece", table, bins=4)
        above += figure.high >= excess
        assert figure.low == 0.0 < figure.value < figure.high
    assert above >= 97


def test_the_temperature_is_the_one_that_the_rows_were_made_with():
    """Closed form: told 0.9 and right in 70 %, T = logit 0.9 / logit 0.7; and drawn rows of 3,000."""
    told = math.log(9) / math.log(7 / 3)
    assert temperature(rows(0.9, 70, 100)) == pytest.approx(told, rel=1e-4)
    assert temperature(drawn(3000, 0.5, 2)) == pytest.approx(2.0, rel=0.08)


def test_a_temperature_changes_no_answer():
    """Guo et al. 2017, section 4.2: the order of the labels stays, so accuracy does."""
    table = drawn(200, 0.5, 3)
    for t in (0.2, 1.7, 9.0):
        for one in table:
            assert np.argmax(scaled(one["probabilities"], t)) == np.argmax(one["probabilities"])
        assert (scores(table, t).hit == scores(table).hit).all()


def test_scaling_mends_what_was_too_sure():
    """A model twice too sure: on other rows NLL and ECE fall at the temperature of the dev rows."""
    table = drawn(400, 0.5, 4, "dev") + drawn(400, 0.5, 5)
    for name in ("nll", "ece", "brier"):
        raw, mended = (compute(name, table, calibrated=c).value for c in (False, True))
        assert mended < raw


def test_locked_rows_have_no_say_in_temperature_and_threshold():
    """Other locked rows, other figures, but the same temperature and threshold to the last digit;
    other dev rows change both."""
    dev, other = drawn(300, 0.5, 6, "dev"), drawn(300, 0.9, 7, "dev")
    locked, hostile = drawn(100, 0.5, 8), drawn(100, 3.0, 9)
    one, two, three = (
        compute("abstention", table, target=0.3)
        for table in (dev + locked, dev + hostile, other + locked)
    )
    chosen = [(f.detail["temperature"], f.detail["threshold"]) for f in (one, two, three)]
    assert chosen[0] == chosen[1] != chosen[2]
    assert one.value != two.value


def test_dev_rows_are_never_judged():
    """They are no cases of the figure, and without them nothing can be calibrated."""
    locked = rows(0.9, 80, 100)
    assert compute("ece", rows(0.9, 0, 50, "dev") + locked) == compute("ece", locked)
    for name, how in (("nll", {"calibrated": True}), ("abstention", {"target": 0.1})):
        with pytest.raises(InputError):
            compute(name, locked, **how)


def test_the_threshold_keeps_the_bound_of_geifman_and_el_yaniv():
    """59 dev cases without an error show 5 % (95 %), 58 don't; the 60th, wrong, is left out."""
    confidence = np.linspace(0.99, 0.5, 60)
    perfect = np.ones(60, bool)
    assert threshold(found(confidence[:58], perfect[:58]), 0.05) is None
    assert threshold(found(confidence[:59], perfect[:59]), 0.05) == confidence[58]
    last_wrong = perfect.copy()
    last_wrong[59] = False
    assert threshold(found(confidence, last_wrong), 0.05) == confidence[58]


def test_the_walk_stops_where_one_more_error_can_be_borne_and_ends_at_the_first_failure():
    """One error among the first 93 passes only if it stands behind the 59th; two end the walk."""
    confidence = np.linspace(0.99, 0.5, 200)
    hit = np.ones(200, bool)
    hit[70] = False
    assert threshold(found(confidence, hit), 0.05) == confidence[-1]
    hit[80] = False
    assert threshold(found(confidence, hit), 0.05) == confidence[58]
    hit[3] = False
    assert threshold(found(confidence, hit), 0.05) is None


def test_one_odd_case_among_the_first_does_not_end_the_walk():
    """It begins where a quarter is answered: 500 of 2,000, among which one error is borne."""
    hit = np.ones(2000, bool)
    hit[3] = False
    confidence = np.linspace(0.99, 0.5, 2000)
    assert threshold(found(confidence, hit), 0.05) == confidence[-1]


def test_the_chosen_threshold_seldom_breaks_its_promise():
    """Of 400 dev sets of a model whose errors grow as it doubts, at most 5 % (and chance) choose a
    threshold whose true error among the answered is above the target: walking costs nothing."""
    rng, broken, target = np.random.default_rng(0), 0, 0.1
    for _ in range(400):
        confidence = rng.uniform(0.6, 1, size=200)
        chosen = threshold(found(confidence, rng.random(200) < confidence), target)
        # Above c the confidence is uniform, so the true error is its mean distance from 1.
        broken += chosen is not None and (1 - chosen) / 2 > target
    assert broken / 400 <= 0.07


def test_risk_and_coverage_at_the_threshold():
    """Counted on the locked rows, with exact intervals; n is what was answered, or asked."""
    dev = rows(0.9, 100, 100, "dev") + rows(0.6, 60, 100, "dev")
    locked = rows(0.9, 48, 50) + rows(0.6, 30, 50)
    risk, coverage = (
        compute("abstention", dev + locked, target=0.05, of=of, calibrated=False)
        for of in ("risk", "coverage")
    )
    assert (risk.value, risk.n, coverage.value, coverage.n) == (0.04, 50, 0.5, 100)
    assert (risk.low, risk.high) == pytest.approx(tuple(statistics.clopper_pearson(2, 50)))
    assert risk.detail["threshold"] == pytest.approx(0.9)


def test_no_threshold_is_no_risk_and_no_coverage():
    """Where the dev rows show none, no risk was measured, and nothing is answered."""
    table = rows(0.9, 20, 40, "dev") + rows(0.9, 40, 40)
    risk, coverage = (compute("abstention", table, target=0.05, of=o) for o in ("risk", "coverage"))
    assert risk.value is None and risk.detail["threshold"] is None
    assert coverage.value == 0.0 and coverage.n == 40


def test_an_unanswered_case_is_unscored():
    """Counted apart, in no bin; figures of nothing have no value."""
    table = [*rows(0.9, 9, 10), row(0.9, True, case="x") | {"predicted": None}]
    figure = compute("ece", table)
    assert (figure.n, figure.unscored) == (10, 1)
    assert compute("nll", []).value is None


@pytest.mark.parametrize(
    "odd",
    [
        {"probabilities": [0.9, 0.9]},
        {"probabilities": [1.1, -0.1]},
        {"probabilities": [1.0]},
        {"probabilities": [float("nan"), 0.5]},
        {"expected": "c"},
        {"predicted": "c"},
    ],
)
def test_probabilities_that_are_none_are_refused(odd):
    """Not summing to 1, negative, too few, or without the label that is asked about."""
    with pytest.raises(InputError, match="case locked0"):
        compute("brier", [row(0.9, True) | odd])


def test_arguments_that_are_unknown_are_refused():
    """Other bins than the two, another side than risk and coverage."""
    for name, how in (("ece", {"binning": "odd"}), ("abstention", {"target": 0.1, "of": "odd"})):
        with pytest.raises(InputError):
            compute(name, rows(0.9, 9, 10) + rows(0.9, 9, 10, "dev"), **how)


def test_certainty_that_was_wrong_costs_much_but_is_a_number():
    """Probability 0 for the truth: 27.6 nats, not infinity."""
    assert compute("nll", [row(1.0, False)]).value == pytest.approx(-math.log(1e-12), rel=1e-6)


def test_third_powers_raise_nll_and_ece():
    """What the stage's negative control rests on."""
    table = drawn(300, 1.0, 10)
    sharp = [one | {"probabilities": scaled(one["probabilities"], 1 / 3)} for one in table]
    for name in ("nll", "ece"):
        assert compute(name, sharp).value > compute(name, table).value
