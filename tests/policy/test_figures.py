"""Figures count what was answered, and say what was not."""

from __future__ import annotations

import json

import pytest

from workbench.errors import InputError
from workbench.policy.figures import FIGURES, compute


def cases(*pairs, model="candidate"):
    return [
        {"case_id": f"c{i}", "model": model, "expected": e, "predicted": p}
        for i, (e, p) in enumerate(pairs)
    ]


def test_accuracy_with_interval_and_n():
    """81 right of 263 with Wilson's interval."""
    figure = compute("accuracy", cases(*[("a", "a")] * 81 + [("a", "b")] * 182))
    assert (figure.n, figure.unscored) == (263, 0)
    assert (figure.value, figure.low) == pytest.approx((81 / 263, 0.2553), abs=5e-5)


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_an_unanswered_case_is_unscored_not_wrong(nothing):
    """None, NaN and blank are counted apart, neither right nor wrong."""
    figure = compute("accuracy", cases(("a", "a"), ("a", nothing)))
    assert (figure.value, figure.n, figure.unscored) == (1.0, 1, 1)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "pass_rate", "paired_difference"])
def test_nothing_measured_has_no_value(name):
    """Without rows a share is None: not 0, not 1."""
    assert compute(name, []).value is None
    assert compute(name, []).low is None


def test_recall_counts_the_cases_of_its_label_only():
    """n is the number of cases that are the label; a case without an expected answer may be one."""
    rows = cases(("yes", "yes"), ("yes", "no"), ("no", "yes"), (None, "yes"))
    figure = compute("recall", rows, label="yes")
    assert (figure.value, figure.n, figure.unscored) == (0.5, 2, 1)


def test_the_worst_group_is_named_and_its_bound_pays_for_the_choice():
    """The lowest group's share, with a bound at 1 - 0.05 / groups, n of the smallest group."""
    rows = cases(*[("a", "a")] * 20 + [("b", "b")] * 8 + [("b", "a")] * 2)
    figure = compute("lowest_accuracy", rows)
    assert (figure.value, figure.n, figure.detail["group"]) == (0.8, 10, "b")
    alone = compute("recall", rows, label="b")
    assert figure.low < alone.low


def test_a_group_without_an_answer_leaves_the_worst_group_unknown():
    """If a whole group is unscored, nobody knows the worst group."""
    assert compute("lowest_accuracy", cases(("a", "a"), ("b", None))).value is None


def test_macro_f1_weighs_classes_equally():
    """Giving up the rare class costs macro-F1, though accuracy hardly moves."""
    rows = cases(*[("a", "a")] * 90 + [("b", "a")] * 10)
    assert compute("accuracy", rows).value == 0.9
    assert compute("macro_f1", rows).value < 0.5


def test_paired_difference_pairs_by_case():
    """Candidate less base on the same case, whatever the order of rows; McNemar beside it."""
    base = cases(("a", "a"), ("a", "b"), ("a", "b"), ("a", "b"), model="base")
    candidate = cases(("a", "b"), ("a", "a"), ("a", "a"), ("a", "b"))
    figure = compute("paired_difference", base[::-1] + candidate)
    assert (figure.value, figure.n) == (0.25, 4)
    assert figure.detail == {"gained": 2, "lost": 1, "mcnemar_p": 1.0}


def test_a_case_that_one_model_did_not_answer_is_unscored():
    """A case missing from either side, as a row or as an answer, is no pair."""
    base = cases(("a", "a"), ("a", "a"), ("a", None), model="base")
    figure = compute("paired_difference", base + cases(("a", "a")))
    assert (figure.n, figure.unscored) == (1, 2)


def test_pass_rate_takes_any_other_word_for_unscored():
    """Only pass and fail are scored."""
    rows = [{"verdict": v} for v in ("pass", "fail", "unscored", "PASS", None)]
    figure = compute("pass_rate", rows)
    assert (figure.value, figure.n, figure.unscored) == (0.5, 2, 3)


def test_counts():
    """No row counts 0; a class that one set lacks is an empty cell."""
    assert compute("count", []).value == 0
    rows = [{"split": s, "label": x} for s, x in [("train", "a"), ("train", "b"), ("locked", "a")]]
    assert compute("smallest_count", rows, by=["label"]).value == 1
    figure = compute("smallest_count", rows, by=["split", "label"])
    assert (figure.value, figure.detail["cell"]) == (0, ["locked", "b"])


def test_a_missing_column_is_refused_by_name():
    """A figure over a table without its column raises, rather than counting zero."""
    with pytest.raises(InputError) as caught:
        compute("accuracy", [{"expected": "a"}])
    assert "predicted" in str(caught.value)


def test_an_unknown_figure_is_refused_with_those_known():
    """A misspelt figure is named with the registered ones."""
    with pytest.raises(InputError) as caught:
        compute("acuracy", [])
    assert all(name in str(caught.value) for name in FIGURES)


def test_a_figure_is_plain_json():
    """What a figure says can be written down and read again unchanged."""
    facts = compute("macro_f1", cases(("a", "a"), ("b", "a"))).as_dict()
    assert json.loads(json.dumps(facts)) == facts
