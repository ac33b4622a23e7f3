"""Grades of a second run: bitwise > tolerance > statistical > failed, and the worst counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.policy.reproduction import (
    Comparison,
    Tolerance,
    arrays,
    cases,
    reaches,
    settled,
    unpaired,
    values,
    worst,
)

STRICT = Tolerance(absolute=0.0, relative=1e-3)


def test_the_whole_is_as_good_as_its_worst_output():
    """One failed output fails the run; a run without outputs shows nothing."""
    assert worst(["bitwise", "bitwise"]) == "bitwise"
    assert worst(["bitwise", "statistical", "tolerance"]) == "statistical"
    assert worst(["failed", "bitwise"]) == "failed"
    assert worst([]) == "failed"


def test_a_grade_reaches_what_is_not_better_than_itself():
    """And a word that is no grade is refused, not taken for the lowest."""
    assert reaches("bitwise", "tolerance") and reaches("tolerance", "tolerance")
    assert not reaches("failed", "statistical") and not reaches("tolerance", "bitwise")
    with pytest.raises(InputError, match="no such grade"):
        reaches("bitwise", "roughly")


def test_an_output_of_one_run_only_is_a_failure():
    """Missing or extra: both by name."""
    found = unpaired({"a", "b"}, {"b", "c"})
    assert [(o.output, o.grade) for o in found] == [("a", "failed"), ("c", "failed")]
    assert "missing" in found[0].why and "not in the record" in found[1].why
    assert unpaired({"a"}, {"a"}) == []


def test_the_largest_difference_is_named_with_its_place():
    """Inside the tolerance or outside: how far, and where."""
    one = {"loss": 1.0, "by_class": [{"f1": 0.5}, {"f1": 0.25}]}
    near = {"loss": 1.0005, "by_class": [{"f1": 0.5}, {"f1": 0.2501}]}
    found = values("figures.json", one, near, STRICT)
    assert (found.grade, found.where) == ("tolerance", "loss")
    assert found.largest == pytest.approx(0.0005)
    far = {"loss": 1.0, "by_class": [{"f1": 0.5}, {"f1": 0.3}]}
    found = values("figures.json", one, far, STRICT)
    assert (found.grade, found.where, found.why) == (
        "failed", "by_class[1].f1", "1 numbers outside the tolerance")  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": 1.5}, {"b": 1.5}),
        ({"a": 1.5}, {"a": 1.5, "b": 1.5}),
        ([1.5], [1.5, 1.5]),
        ("yes", "no"),
        (None, 0.0),
        (True, False),
        (True, 1),
        (1.5, "1.5"),
        (1_000_000, 1_000_001),
    ],
)
def test_another_structure_is_no_matter_of_tolerance(first, second):
    """Names, lengths, texts, types and whole numbers are exact, however wide the tolerance."""
    assert values("x", first, second, Tolerance(absolute=1e9)).grade == "failed"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_equals_itself_and_nothing_else(odd):
    """NaN and infinities compare by kind: a relative tolerance of infinity would allow anything."""
    assert values("x", [odd, 1.0], [odd, 1.0], STRICT).grade == "tolerance"
    for pair in ([odd, 1.0], [1.0, odd], [-math.inf, math.inf]):
        found = values("x", [pair[0]], [pair[1]], Tolerance(absolute=1.0, relative=1.0))
        assert found.grade == "failed" and found.as_dict()["largest"] is None
        one, other = ({"w": np.array([value])} for value in pair)
        assert arrays("x", one, other, Tolerance(relative=1.0)).grade == "failed"


def test_tensors_within_the_tolerance_and_outside():
    """The largest difference over all tensors, with name and index."""
    one = {"a": np.zeros(3, "float32"), "b": np.ones((2, 2), "float32")}
    near = {"a": one["a"], "b": one["b"] + np.array([[0, 0], [5e-4, 0]], "float32")}
    found = arrays("w", one, near, STRICT)
    assert (found.grade, found.where) == ("tolerance", "b[1,0]")
    assert found.largest == pytest.approx(5e-4, rel=1e-3)
    far = {"a": one["a"] + np.float32(1e-9), "b": one["b"]}
    assert arrays("w", one, far, STRICT).why == "3 numbers outside the tolerance"
    assert arrays("w", {"a": np.zeros(0)}, {"a": np.zeros(0)}, STRICT).grade == "tolerance"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": np.zeros(2)}, {"b": np.zeros(2)}),
        ({"a": np.zeros(2), "b": np.zeros(2)}, {"b": np.zeros(2), "a": np.zeros(2)}),
        ({"a": np.zeros(2)}, {"a": np.zeros(3)}),
        ({"a": np.zeros(2, "float32")}, {"a": np.zeros(2, "float64")}),
        ({"a": np.array([1, 2])}, {"a": np.array([1, 3])}),
        ({"a": np.array(["x", "y"], object)}, {"a": np.array(["x", "z"], object)}),
    ],
)
def test_other_names_shapes_types_or_ids_are_failures(one, other):
    """However wide the tolerance of numbers is."""
    assert arrays("t", one, other, Tolerance(absolute=1e9)).grade == "failed"


def outcomes(n: int, wrong: range) -> dict[str, bool]:
    return {f"c{i}": i not in wrong for i in range(n)}


def test_equivalent_outcomes_are_statistical():
    """Of 1,000 cases 2 turned right and 2 wrong: the 90 % interval of Tango lies within ±2 points."""
    found = cases(
        "cases", outcomes(1000, range(0, 100)), outcomes(1000, range(2, 102)), Tolerance()
    )
    assert found.grade == "statistical"
    # Tango 1998 at level 0.90, 2 and 2 discordant of 1,000: symmetric about 0.
    assert found.interval.low == pytest.approx(-found.interval.high)
    assert 0.003 < found.interval.high < 0.005
    assert "n=1000" in found.why and found.largest == 0


def test_no_difference_in_few_cases_shows_nothing():
    """Twenty equal answers are no evidence of equivalence: absence of a difference isn't enough."""
    same = outcomes(20, range(2))
    found = cases("cases", same, same, Tolerance())
    assert found.grade == "failed" and found.interval.high > 0.02
    assert cases("cases", same, same, Tolerance(margin=0.2)).grade == "statistical"


def test_a_difference_as_large_as_the_margin_is_no_equivalence():
    """30 of 1,000 cases lost, margin 2 points: failed, whatever a test of difference would say."""
    found = cases("cases", outcomes(1000, range(0)), outcomes(1000, range(30)), Tolerance())
    assert found.grade == "failed" and found.interval.low < -0.02


def test_other_cases_are_no_pairs():
    """The same number of other cases, and none at all."""
    assert cases("x", {"a": 1, "b": 1}, {"a": 1, "c": 1}, Tolerance()).why == "not the same cases"
    assert cases("x", {}, {}, Tolerance()).grade == "failed"


def test_figures_follow_their_cases_within_the_margin():
    """Only where a table of cases is equivalent, only figures, and only as far as the margin."""
    table = Comparison("cases.parquet", "statistical")
    near = values("figures.json", {"f1": 0.9}, {"f1": 0.91}, Tolerance())
    far = values("other.json", {"f1": 0.9}, {"f1": 0.95}, Tolerance())
    weights = arrays("w", {"a": np.zeros(1)}, {"a": np.full(1, 0.01)}, Tolerance())
    assert [o.grade for o in settled([near], Tolerance())] == ["failed"]
    found = settled([table, near, far, weights], Tolerance())
    assert [o.grade for o in found] == ["statistical", "statistical", "failed", "failed"]


@pytest.mark.parametrize("field", [{"margin": 0}, {"error": 0.5}, {"absolute": -1}, {"margin": 2}])
def test_a_tolerance_that_makes_no_sense_is_refused(field):
    """A margin of nothing or of everything, a test worse than a coin, a negative distance."""
    with pytest.raises(InputError, match="makes no sense"):
        Tolerance(**field)
