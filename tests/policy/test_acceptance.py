"""Acceptance: redaction and synthesis pass only when they were measured and reach what was asked."""

from __future__ import annotations

import pytest

from workbench.policy.acceptance import redaction, synthesis
from workbench.policy.statistics import clopper_pearson, tango, wilson

ACCEPT = {"recall": 0.9, "precision": 0.8, "utility_loss": 0.05}
SYNTHESIS = {"distance": 0.3, "js": 0.5, "edge_case:typo": 2}


def spans(found: int, missed: int = 0, false: int = 0) -> list[dict]:
    kinds = [(True, True)] * found + [(True, False)] * missed + [(False, True)] * false
    return [
        {"case_id": f"s{i}", "entity": "EMAIL_ADDRESS", "expected": e, "found": f}
        for i, (e, f) in enumerate(kinds)
    ]


def answers(both: int, lost: int = 0, won: int = 0) -> list[dict]:
    pairs = [(True, True)] * both + [(True, False)] * lost + [(False, True)] * won
    return [{"row_id": str(i), "before": b, "after": a} for i, (b, a) in enumerate(pairs)]


def made(n: int = 4, **odd) -> list[dict]:
    row = {"parent": "r1", "marked": True, "nearest_id": "r2", "distance": 0.7, "edge_case": "typo"}
    rows = [row | {"row_id": f"s{i}"} for i in range(n)]
    return [*rows[:-1], rows[-1] | odd]


CLASSES = [{"label": "a", "real": 9, "synthetic": 4, "distance": 0.4}]


def verdicts(results) -> list[str]:
    return [str(result.verdict) for result in results]


def test_what_reaches_its_thresholds_passes():
    assert verdicts(redaction(ACCEPT, spans(200), answers(1000))) == ["passed"] * 3
    assert verdicts(synthesis(SYNTHESIS, made(), CLASSES)) == ["passed"] * 4


def test_the_bound_decides_and_not_the_estimate():
    """92 of 100 is above 0.9, but what is known of it is not."""
    recall, precision, _ = redaction(ACCEPT, spans(92, 8), None)
    assert recall.verdict == "failed" and recall.figure.value == 0.92
    assert (recall.figure.low, recall.figure.high) == clopper_pearson(92, 100)
    assert recall.failing == tuple(sorted(f"s{i}" for i in range(92, 100)))
    assert precision.figure.low == wilson(92, 92).low


def test_precision_counts_what_was_blotted_out_for_nothing():
    assert verdicts(redaction(ACCEPT, spans(200, 0, 60), None))[:2] == ["passed", "failed"]


def test_the_loss_is_paired():
    """Answers won pay for answers lost; the upper end of Tango's interval decides."""
    result = redaction(ACCEPT, None, answers(900, 80, 10))[2]
    assert result.verdict == "failed" and result.figure.high == tango(80, 10, 990).high
    assert redaction(ACCEPT, None, answers(900, 10, 80))[2].verdict == "passed"
    unsure = redaction(ACCEPT, None, answers(193, 7))[2]
    assert unsure.verdict == "failed" and unsure.figure.value < ACCEPT["utility_loss"]


@pytest.mark.parametrize("n", [0, 1, 20])
def test_of_too_few_nothing_is_shown(n):
    """So few that even without an error the bound misses: not enough, and neither pass nor fail."""
    assert set(verdicts(redaction(ACCEPT, spans(n), answers(n)))) <= {
        "insufficient_evidence",
        "passed",
    }
    assert verdicts(redaction(ACCEPT, spans(n), answers(n)))[::2] == ["insufficient_evidence"] * 2


def test_an_entity_without_a_labelled_span_is_not_enough():
    unmeasured = {"case_id": "", "entity": "PERSON", "expected": None, "found": None}
    result = redaction(ACCEPT, [*spans(200), unmeasured], None)[0]
    assert result.verdict == "insufficient_evidence"
    assert result.figure.detail == {
        "by_entity": {"EMAIL_ADDRESS": "200/200"},
        "unmeasured": ["PERSON"],
    }


@pytest.mark.parametrize("accept", [{}, {"other": 1.0}])
def test_without_a_threshold_nothing_is_evaluated(accept):
    """A step that says nothing of what it must reach is refused, not waved through."""
    assert verdicts(redaction(accept, spans(200), answers(1000))) == ["not_evaluated"] * 3
    assert verdicts(synthesis(accept, made(), CLASSES))[1:] == ["not_evaluated"] * 3


def test_without_a_table_nothing_is_evaluated():
    assert set(verdicts(redaction(ACCEPT, None, None))) == {"not_evaluated"}
    assert set(verdicts(synthesis(SYNTHESIS, None, None))) == {"not_evaluated"}
    assert set(verdicts(redaction(ACCEPT, [{}], [{}]))) == {"not_evaluated"}


@pytest.mark.parametrize(
    ("odd", "failing"),
    [
        ({"marked": False}, 0),
        ({"marked": None}, 0),
        ({"marked": float("nan")}, 0),
        ({"distance": 0.29}, 1),
    ],
)
def test_one_row_is_enough_to_fail(odd, failing):
    results = synthesis(SYNTHESIS, made(9, **odd), CLASSES)
    expected = ["passed"] * 4
    expected[failing] = "failed"
    assert verdicts(results) == expected and results[failing].failing == ("s8",)


def test_what_was_not_measured_is_no_pass():
    """A distance that is missing; no made row at all."""
    assert (
        verdicts(synthesis(SYNTHESIS, made(4, distance=None), CLASSES))[1]
        == "insufficient_evidence"
    )
    assert set(verdicts(synthesis(SYNTHESIS, [], []))) == {"insufficient_evidence", "failed"} - {
        "failed"
    }


def test_a_class_that_is_written_otherwise_fails():
    far = [*CLASSES, {"label": "b", "real": 9, "synthetic": 4, "distance": 0.51}]
    result = synthesis(SYNTHESIS, made(), far)[2]
    assert result.verdict == "failed" and result.failing == ("b",)


def test_each_edge_case_that_was_asked_is_there():
    """One that no row stands for fails; none asked must be said."""
    absent = synthesis(SYNTHESIS | {"edge_case:irony": 1}, made(), CLASSES)[3]
    assert absent.verdict == "failed" and absent.failing == ("irony: 0 of 1",)
    thin = synthesis(SYNTHESIS | {"edge_case:typo": 5}, made(4), CLASSES)[3]
    assert thin.verdict == "failed" and thin.failing == ("typo: 4 of 5",)
    plain = {"distance": 0.3, "js": 0.5}
    said = [
        synthesis(plain | extra, made(), CLASSES)[3].verdict for extra in ({}, {"edge_cases": 0})
    ]
    assert said == ["not_evaluated", "passed"]
    assert synthesis(plain | {"edge_cases": 3}, made(), CLASSES)[3].verdict == "not_evaluated"


def test_each_result_blocks_the_dataset_and_names_the_harm():
    for result in (*redaction(ACCEPT, None, None), *synthesis(SYNTHESIS, None, None)):
        assert result.blocking and result.stage == "20_dataset" and result.harm and result.threshold
