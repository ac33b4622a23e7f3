"""Conservation: each source row is in one set or left for a reason; each row of a set has a source."""

from __future__ import annotations

import pytest

from workbench.policy.lineage_rows import gaps, trace

RAW = ["r1", "r2", "r3", "r4"]
FINAL = {"train": ["r1", "s1"], "dev": ["r2"], "locked": ["r3"]}


def row(row_id, step, outcome, detail="", other="", source=None):
    names = {"row_id": row_id, "source_id": source or row_id, "step": step, "use": "u"}
    return names | {"version": "1", "outcome": outcome, "detail": detail, "other": other}


def whole() -> list[dict]:
    made = row("s1", 2, "created", "typo", "r1", "r1")
    return [
        *(row(one, 0, "read") for one in RAW),
        row("r1", 1, "changed", "masked"),
        row("r4", 1, "removed", "duplicate", "r1"),
        made,
        row("r1", 3, "changed", "cut"),
        *(
            row(i, 4, "set", name, "", "r1" if i == "s1" else i)
            for name in FINAL
            for i in FINAL[name]
        ),
    ]


def test_rows_that_are_all_accounted_for_leave_no_gap():
    assert gaps(whole(), RAW, FINAL) == []


def test_a_row_is_traced_from_its_source():
    """A made row: what its parent had gone through by then, then its own way."""
    assert [(s["row_id"], s["step"]) for s in trace(whole(), "s1")] == [
        ("r1", 0), ("r1", 1), ("s1", 2), ("s1", 4)]  # fmt: skip
    assert [s["outcome"] for s in trace(whole(), "r4")] == ["read", "removed"]
    assert trace(whole(), "nobody") == []


def test_a_circle_of_parents_ends():
    """A forged lineage must not hang who reads it, and is found."""
    rows = [row("a", 1, "created", "x", "b"), row("b", 1, "created", "x", "a")]
    assert trace(rows, "a") and "a: its parent leads to no source row" in gaps(rows, [], {})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows, final: rows.remove(row("r3", 0, "read")), "r3: in the source, but not read"),
        (lambda rows, final: final["dev"].append("x9"), "x9: no lineage"),
        (lambda rows, final: final["dev"].append("r1"), "r1: its lineage says train"),
        (lambda rows, final: final["dev"].append("r4"), "r4: its lineage says no set"),
        (lambda rows, final: final["dev"].remove("r2"), "r2: its lineage says dev"),
        (lambda rows, final: final["train"].append("r1"), "r1: its lineage says train"),
        (lambda rows, final: rows.append(row("x", 0, "read")), "x: read, but not in the source"),
        (lambda rows, final: rows.append(row("r1", 9, "removed", "y")), "r1: begins 1 times and ends 2"),
        (lambda rows, final: rows.remove(row("r2", 4, "set", "dev")), "r2: begins 1 times and ends 0"),
        (lambda rows, final: rows[5].update(detail=" "), "r4: was removed without a reason"),
        (lambda rows, final: rows[6].update(other="zz"), "s1: its parent leads to no source row"),
        (lambda rows, final: rows[6].update(source_id="r2"), "s1: its parent leads to no source row"),
    ],
)  # fmt: skip
def test_every_gap_is_named(change, fault):
    """Each fault alone, and it is found as what it is."""
    rows, final = whole(), {name: list(ids) for name, ids in FINAL.items()}
    change(rows, final)
    assert [one for one in gaps(rows, RAW, final) if one.startswith(fault)]


def test_a_source_row_without_any_lineage_is_named():
    assert "r5: no lineage" in gaps(whole(), [*RAW, "r5"], FINAL)


@pytest.mark.parametrize("judge", ["r2", "r3"])
def test_a_made_row_never_judges_nor_leaks_what_judges(judge):
    """It is in train, and so is its source; one made from a locked row would give it away."""
    rows = whole()
    rows[6].update(other=judge, source_id=judge)
    for one in rows:
        if one["row_id"] == "s1":
            one["source_id"] = judge
    assert any("not for training" in fault for fault in gaps(rows, RAW, FINAL))
    rows, final = whole(), FINAL | {"train": ["r1"], "dev": ["r2", "s1"]}
    assert any("not for training" in fault for fault in gaps(rows, RAW, final))
