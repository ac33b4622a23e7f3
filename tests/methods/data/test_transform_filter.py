"""Filter, deduplicate, minimise: what leaves or becomes coarse, and the reason that stays behind."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.transform import Context, run
from workbench.policy.usecase import Step

CONTEXT = Context("text", "label", None, None, {}, b"k" * 32, 0, lambda name: None)
ROWS = pd.DataFrame(
    [
        ("r1", "Hello there", "a", "18", "2024-01-31", "ann"),
        ("r2", "card 4000 lost", "b", "35", "2024-06-01T12:00:00+02:00", "bob"),
        ("r3", "hello, there!", "b", "36", "", "cat"),
        ("r4", "hello there you", "a", None, "2025-01-01", "dan"),
        ("r5", "  ", "a", "7.5", None, "dan"),
    ],
    columns=["row_id", "text", "label", "age", "when", "who"],
)


def go(use: str, rows: pd.DataFrame = ROWS, context: Context = CONTEXT, **arguments):
    return run(rows, [Step(use=use, why="w", arguments=arguments)], context)


def left(done) -> dict[str, str]:
    gone = done.lineage[done.lineage["outcome"] == "removed"]
    return dict(zip(gone["row_id"], gone["detail"], strict=True))


# -- filter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "test", "value", "meets"),
    [
        ("label", "equals", "a", "145"),
        ("age", "equals", 35, "2"),
        ("label", "not_equals", "a", "23"),
        ("who", "one_of", ["ann", "dan"], "145"),
        ("age", "not_one_of", [18, 35], "35"),
        ("text", "matches", r"\d{4}", "2"),
        ("age", "at_least", 18, "123"),
        ("age", "at_most", 18, "15"),
        ("when", "before", "2024-06-01", "1"),
        ("when", "after", "2024-06-01T09:59:00Z", "24"),
        ("text", "longer_than", 13, "24"),
        ("text", "shorter_than", 3, "5"),
        ("when", "filled", True, "124"),
        ("text", "filled", False, "5"),
        ("age", "filled", False, "4"),
    ],
)
def test_a_condition_meets_these_rows(column, test, value, meets):
    """Drop takes them, keep takes the others; a missing value meets nothing but `filled: false`."""
    one = {"column": column, "test": test, "value": value}
    ids = {f"r{n}" for n in meets}
    assert set(left(go("filter", drop=[one]))) == ids
    assert set(go("filter", keep=[one]).table["row_id"]) == ids


def test_a_row_that_leaves_says_why():
    """The given reason or the test in words; the first condition by which it leaves."""
    drop = [{"column": "text", "test": "filled", "value": False},
            {"column": "label", "test": "equals", "value": "a", "reason": "class withdrawn"}]  # fmt: skip
    assert left(go("filter", drop=drop)) == {
        "r5": "text filled False", "r1": "class withdrawn", "r4": "class withdrawn"}  # fmt: skip


@pytest.mark.parametrize(
    ("column", "test", "value"),
    [
        ("nothing", "equals", 1),
        ("text", "at_least", 1),
        ("text", "before", "2024-01-01"),
        ("when", "before", "soon"),
        ("text", "matches", "("),
        ("age", "at_least", "many"),
        ("label", "one_of", 3),
        ("label", "one_of", "a"),
        ("label", "filled", "yes"),
        ("text", "longer_than", "3"),
    ],
)
def test_a_condition_that_does_not_suit_is_refused(column, test, value):
    """A test that can't be made must not let all rows pass, nor none; no value is quoted."""
    with pytest.raises(InputError) as refusal:
        go("filter", drop=[{"column": column, "test": test, "value": value}])
    assert "Hello" not in str(refusal.value)


def test_an_unknown_test_is_refused():
    with pytest.raises(InputError, match="drop.0.test"):
        go("filter", drop=[{"column": "text", "test": "equal", "value": 1}])


# -- deduplicate ---------------------------------------------------------------------------


def test_the_first_of_equal_texts_stays_and_is_named():
    """Under the weakest normaliser case and punctuation don't tell apart; labels that differ are
    told."""
    done = go("deduplicate")
    assert left(done) == {"r3": "duplicate with another label"}
    assert done.lineage.set_index("outcome").loc["removed", "other"] == "r1"
    assert done.manifest[0]["facts"] == {"another_label": 1}
    assert left(go("deduplicate", normaliser="lower-cased")) == {}


def test_rows_repeat_only_rows_of_their_own_part():
    """Where a column gives the sets, a test row is no duplicate of a training row."""
    rows = ROWS.assign(given=["train", "train", "test", "train", "train"])
    assert left(go("deduplicate", rows, within="given")) == {}
    assert left(go("deduplicate", rows, dataclasses.replace(CONTEXT, split="given"))) == {}
    with pytest.raises(InputError, match="no such column"):
        go("deduplicate", within="nowhere")


def test_near_copies_leave_when_they_are_asked_for():
    """Verified similarity, within a part only, and the row that it copies is named."""
    done = go("deduplicate", near=0.6)
    assert left(done) == {"r3": "duplicate with another label", "r4": "near-duplicate"}
    assert set(done.lineage.loc[done.lineage["outcome"] == "removed", "other"]) == {"r1"}
    rows = ROWS.assign(given=["train", "train", "train", "test", "test"])
    assert "r4" not in left(go("deduplicate", rows, near=0.6, within="given"))


# -- minimise ------------------------------------------------------------------------------


def test_what_nobody_needs_leaves_or_becomes_coarse():
    """Every changed row names its columns; one in which nothing changed is not named."""
    done = go("minimise", drop=["who"], truncate={"text": 11}, dates={"when": "month"},
              bins={"age": 10})  # fmt: skip
    table = done.table.set_index("row_id")
    assert "who" not in table and table.loc["r4", "text"] == "hello there"
    assert table["when"].fillna("").tolist() == ["2024-01", "2024-06", "", "2025-01", ""]
    assert table["age"].fillna("").tolist() == ["[10, 20)", "[30, 40)", "[30, 40)", "", "[0, 10)"]
    detail = done.lineage.set_index(["row_id", "outcome"])["detail"]
    assert detail["r1", "changed"] == "when made coarse; age made coarse; who dropped"
    assert go("minimise", ROWS.assign(n=range(5)), truncate={"n": 3}).manifest[0]["changed"] == 0
    untouched = go("minimise", truncate={"text": 50})
    assert untouched.manifest[0]["changed"] == 0


def test_large_numbers_do_not_fall_into_one_bin():
    rows = ROWS.assign(age=[1234567, 1234587, 1, 2, 3])
    assert go("minimise", rows, bins={"age": 10}).table["age"].nunique() == 3


def test_who_stands_almost_alone_is_suppressed():
    """k-anonymity counts persons, not rows: two rows of one person are one."""
    rows = pd.DataFrame(
        {
            "row_id": [f"r{i}" for i in range(7)],
            "text": [f"t{i}" for i in range(7)],
            "label": "a",
            "town": ["x", "x", "x", "y", "y", "y", "y"],
            "who": ["a", "b", "c", "d", "d", "d", "e"],
        }
    )
    by_row = go("minimise", rows, quasi=["town"], k=3)
    assert left(by_row) == {}
    by_person = go("minimise", rows, dataclasses.replace(CONTEXT, group="who"), quasi=["town"], k=3)
    assert left(by_person) == dict.fromkeys(["r3", "r4", "r5", "r6"], "fewer than 3 alike")
    assert by_person.manifest[0]["facts"] == {"persons_in_smallest_cell": 3}
    with pytest.raises(InputError, match="4 rows are shared by fewer than 5"):
        go("minimise", rows.iloc[3:], quasi=["town"], k=5, too_few="refuse")


@pytest.mark.parametrize(
    "arguments",
    [
        {"drop": ["text"]},
        {"drop": ["nothing"]},
        {"bins": {"label": 2}},
        {"bins": {"text": 2}},
        {"dates": {"who": "year"}},
        {"quasi": ["who"]},
        {"k": 3},
        {"quasi": ["nothing"], "k": 2},
    ],
)
def test_what_the_use_case_needs_is_not_taken_away(arguments):
    """Nor does a column that can't be read as numbers or times become something else."""
    with pytest.raises(InputError):
        go("minimise", **arguments)
