"""What changed a group of cases beyond chance, and which cause may be named for it (A5)."""

from __future__ import annotations

import pytest

from workbench.policy import figures
from workbench.policy.attribution import cause, changes, repaired

FEES = ("label", "fees")


def asked(model: str, group: str, right: int, wrong: int, *, of: str = "locked") -> list[dict]:
    """Cases of a group: the first ones answered right, then wrong."""
    return [
        {"case_id": f"{group}{n}", "model": model, "set": of, "task": "label", "group": group,
         "correct": n < right}
        for n in range(right + wrong)
    ]  # fmt: skip


def compared(*groups: tuple[str, tuple[int, int], tuple[int, int]]) -> list[dict]:
    return [row for group, base, candidate in groups
            for row in asked("base", group, *base) + asked("candidate", group, *candidate)]  # fmt: skip


def of(rows: list[dict]):
    return {change.group: change for change in changes(rows)}


def test_a_group_is_worse_only_beyond_chance():
    """Shares, paired counts and a verdict; a loss of two cases in twenty is within chance."""
    found = of(compared(("fees", (20, 0), (8, 12)), ("card", (20, 0), (18, 2)),
                        ("care", (5, 15), (20, 0))))  # fmt: skip
    fees = found["fees"]
    assert (fees.n, fees.before, fees.after, fees.lost, fees.gained) == (20, 1.0, 0.4, 12, 0)
    assert fees.high < 0 and fees.verdict == "worse"
    assert found["card"].verdict == "within chance" and found["care"].verdict == "better"


def test_many_groups_are_not_many_chances():
    """Six lost of six is beyond chance (p = 0.031) alone, and not among eleven groups (Holm)."""
    lone = of(compared(("fees", (6, 0), (0, 6))))["fees"]
    assert lone.p == pytest.approx(0.03125) and lone.verdict == "worse"
    many = of(compared(("fees", (6, 0), (0, 6)), *((f"g{n}", (6, 0), (6, 0)) for n in range(10))))
    assert many["fees"].p == pytest.approx(0.34375) and many["fees"].verdict == "within chance"


def test_a_case_that_was_not_scored_is_no_pair():
    """Neither right nor wrong; a group without a pair is not compared at all."""
    rows = compared(("fees", (3, 0), (3, 0)))
    rows[0]["correct"] = None
    assert of(rows)["fees"].n == 2
    assert of([row | {"correct": None} for row in rows]) == {}


def lost_and(**ablations: tuple[int, int]) -> tuple:
    """A group that the candidate lost, and what each ablation makes of it."""
    rows = compared(("fees", (20, 0), (5, 15)))
    rows += [r | {"set": "dev"} for r in rows]
    for name, counts in ablations.items():
        rows += asked(name, "fees", *counts, of="dev")
    (change,) = changes([row for row in rows if row["set"] == "locked"])
    found = repaired([r for r in rows if r["set"] == "dev"], [FEES], list(ablations))
    return change, found[FEES]


GOOD, BAD, LITTLE = (20, 0), (5, 15), (8, 12)


@pytest.mark.parametrize(
    ("ablations", "expected"),
    [
        ({"method": GOOD, "data": BAD}, "method"),
        ({"method": BAD, "data": GOOD}, "data"),
        ({"method": GOOD, "data": GOOD}, "interaction"),
        ({"data": GOOD, "source desk": GOOD, "source web": BAD}, "source desk"),
        ({"source desk": GOOD, "source web": GOOD}, "source desk, source web"),
        ({"method": LITTLE, "data": BAD}, "not decided"),
        ({}, "not decided"),
    ],
)
def test_the_cause_is_what_repairs_it_beyond_chance(ablations, expected):
    """One change alone that brings the group back; a little better is no repair."""
    found, because = cause(*lost_and(**ablations))
    assert found == expected
    assert all(name in because for name in expected.split(", ") if name.startswith("source"))


def test_more_ablations_are_not_more_chances():
    """Six of six repaired is beyond chance for one ablation, and not for one of ten."""
    rows = compared(("fees", (6, 0), (0, 6)))
    one, many = ["data"], ["data", *(f"source {n}" for n in range(9))]
    rows += asked("data", "fees", 6, 0)
    assert repaired(rows, [FEES], one)[FEES]["data"]
    assert not repaired(rows, [FEES], many)[FEES]["data"]


def test_what_the_base_had_is_told_from_what_is_new():
    """Within chance of the base: most errors its own, most of them new, or none at all."""
    (same,) = changes(compared(("fees", (4, 16), (5, 15))))
    assert cause(same, {}) == (
        "base already had it",
        "15 of 15 errors are the base's too; no ablation repairs it beyond chance (none was trained)",
    )
    assert cause(same, {"data": True})[0] == "data"
    (new,) = changes(compared(("fees", (20, 0), (18, 2))))
    assert cause(new, {})[0] == "not decided"
    (none,) = changes(compared(("fees", (4, 16), (20, 0))))
    assert cause(none, {})[0] == "none"


def test_the_figure_counts_what_got_worse_and_leaves_dev_rows_out():
    """Dev rows served for choices; what was not scored is counted apart."""
    rows = compared(("fees", (20, 0), (5, 15)), ("card", (20, 0), (20, 0)))
    found = figures.compute("regressions", rows)
    assert (found.value, found.n, found.detail["worse"]) == (1, 20, ["label fees"])
    assert figures.compute("regressions", [r | {"set": "dev"} for r in rows]).value is None
    assert figures.compute("regressions", [r | {"correct": None} for r in rows]).unscored == 80


@pytest.mark.parametrize(("top", "chance", "faithful"), [(15, 2, True), (5, 5, False)])
def test_an_explanation_is_faithful_when_its_words_beat_random_ones(top, chance, faithful):
    """The interval of the paired difference lies above 0, or it does not."""
    rows = [{"case_id": str(n), "top": n < top, "random": n < chance} for n in range(30)]
    found = figures.compute("faithfulness", rows)
    assert found.value == pytest.approx((top - chance) / 30) and found.n == 30
    assert (found.low > 0) == faithful
    assert figures.compute("faithfulness", []).value is None
