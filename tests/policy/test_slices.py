"""Exploratory slices are compared with the rest, and pay for their number."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact

from workbench.policy.slices import slices


def rows(**shares):
    """Slice -> (right, wrong)."""
    return [
        {"subgroup": name, "expected": "a", "predicted": said}
        for name, (right, wrong) in shares.items()
        for said in ["a"] * right + ["b"] * wrong
    ]


def test_each_slice_stands_against_the_rest():
    """Fisher's p of the slice and all other rows, and Holm's over the slices."""
    found = {one["slice"]: one for one in slices(rows(x=(10, 10), y=(50, 2), z=(40, 2)))}
    p = fisher_exact([[10, 10], [90, 4]]).pvalue
    assert (found["x"]["n"], found["x"]["value"]) == (20, 0.5)
    assert (found["x"]["p"], found["x"]["p_holm"]) == pytest.approx((p, 3 * p))


def test_a_row_counts_in_each_of_its_slices_and_unanswered_rows_in_none():
    """Whole names, and no row without an answer."""
    found = slices([
        {"subgroup": "x|y", "expected": "a", "predicted": "a"},
        {"subgroup": "y", "expected": "a", "predicted": "b"},
        {"subgroup": "y", "expected": "a", "predicted": None},
    ])  # fmt: skip
    assert {one["slice"]: one["n"] for one in found} == {"x": 1, "y": 2}
    assert slices([]) == []


def test_without_a_rest_nothing_differs():
    """One slice that holds all rows has nothing to be compared with."""
    assert slices(rows(all=(3, 4)))[0]["p_holm"] == 1.0


def test_twenty_slices_of_chance_seldom_raise_an_alarm(monkeypatch):
    """Unadjusted, one of them does in most runs; adjusted, in 5 % at most (60 simulated runs)."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels does it at each call
    rng, plain, adjusted = np.random.default_rng(0), 0, 0
    for _ in range(60):
        right = rng.binomial(30, 0.8, size=20)
        found = slices(rows(**{f"s{i}": (int(k), int(30 - k)) for i, k in enumerate(right)}))
        plain += min(one["p"] for one in found) < 0.05
        adjusted += min(one["p_holm"] for one in found) < 0.05
    assert adjusted <= 6 and plain > 24
