"""Sets, and the way out of a leak: which row may judge a model that learned from which."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.methods.data.leaks import SETS, find_leaks
from workbench.methods.data.read import read_rows
from workbench.methods.data.split import LEFT_OUT, split, unleak
from workbench.policy.texts import NORMALISERS

REAL = Path(os.environ.get("WORKBENCH_REAL_DATA", Path(__file__).parents[4] / "shared/data"))
BANKING77 = REAL / "banking77"


def table(*rows, columns=("text", "label", "set")) -> pd.DataFrame:
    made = pd.DataFrame(list(rows), columns=list(columns)[: len(rows[0])])
    made.insert(0, "row_id", [f"r{i}" for i in range(1, len(made) + 1)])
    return made


def distinct(classes: dict[str, int], owners: int = 0) -> pd.DataFrame:
    """So many rows a class, no text twice; `owners` groups a class, or none."""
    rows = [
        (f"{label} {i}", label, f"{label}-{i % owners}" if owners else "")
        for label, n in classes.items()
        for i in range(n)
    ]
    return table(*rows, columns=("text", "label", "owner")).sample(frac=1, random_state=1)


def sets_by(column: str, rows: pd.DataFrame, sets: pd.Series) -> dict[str, set[str]]:
    return sets.groupby(rows[column]).agg(set).to_dict()


# -- the split ----------------------------------------------------------------------------


@given(
    st.lists(st.integers(3, 30), min_size=1, max_size=6),
    st.sampled_from([(0.15, 0.25), (0.02, 0.05), (0.4, 0.5), (0.1, 0.4)]),
    st.integers(0, 100),
)
def test_every_class_of_three_rows_stands_in_every_set(sizes, shares, seed):
    """A class that was never examined counts as good, so that even a rare one must be."""
    rows = distinct({f"c{i}": n for i, n in enumerate(sizes)})
    sets = split(rows, "label", dev=shares[0], locked=shares[1], seed=seed)
    assert all(found == set(SETS) for found in sets_by("label", rows, sets).values())


@given(st.lists(st.integers(3, 9), min_size=1, max_size=5), st.integers(0, 100))
def test_groups_never_divide_and_classes_still_stand_everywhere(sizes, seed):
    """Rows of one customer are in one set; three groups of a class reach all three."""
    rows = distinct({f"c{i}": 4 * n for i, n in enumerate(sizes)}, owners=3)
    sets = split(rows, "label", group="owner", seed=seed)
    assert all(len(found) == 1 for found in sets_by("owner", rows, sets).values())
    assert all(found == set(SETS) for found in sets_by("label", rows, sets).values())


@given(st.data())
def test_groups_that_mix_classes_never_divide(data):
    """Whatever a customer writes about, all of it is in one set."""
    pair = st.tuples(st.sampled_from("abc"), st.sampled_from("tuvwxyz"))
    pairs = data.draw(st.lists(pair, min_size=20, max_size=60))
    rows = table(*((str(i), label, who) for i, (label, who) in enumerate(pairs)))
    try:
        sets = split(rows, "label", group="set")
    except InputError as error:
        assert "leaves no row" in str(error)
    else:
        assert all(len(found) == 1 for found in sets_by("set", rows, sets).values())


@pytest.mark.parametrize("dev, locked", [(0.15, 0.25), (0.1, 0.4), (0.4, 0.3), (0.05, 0.05)])
def test_the_shares_are_those_asked_for(dev, locked):
    """To within a row a class: 0.4 asked must not become 0.5."""
    rows = distinct({"a": 200, "b": 100, "c": 40})
    sets = split(rows, "label", dev=dev, locked=locked)
    for label, n in Counter(rows["label"]).items():
        found = sets[rows["label"] == label].value_counts()
        assert abs(found["dev"] - dev * n) <= 1 and abs(found["locked"] - locked * n) <= 1


def test_the_seed_decides_and_nothing_else():
    """The same rows, seed and shares give the same sets; another seed gives others."""
    rows = distinct({"a": 30, "b": 30})
    assert split(rows, "label", seed=7).equals(split(rows, "label", seed=7))
    assert not split(rows, "label", seed=7).equals(split(rows, "label", seed=8))


def test_given_sets_are_followed_and_dev_comes_from_train():
    """Rows that the data holds back for the test are never learned from."""
    rows = distinct({"a": 20, "b": 20})
    rows["part"] = ["test", "Train "] * 20
    sets = split(rows, "label", given="part")
    assert (sets[rows["part"] == "test"] == "locked").all()
    assert sets[rows["part"] != "test"].value_counts().to_dict() == {"train": 17, "dev": 3}
    rows["part"] = ["test", "train", "train", "validation"] * 10
    sets = split(rows, "label", given="part")
    assert sets.value_counts().to_dict() == {"train": 20, "dev": 10, "locked": 10}


@pytest.mark.parametrize("odd", ["tset", "", None, "holdout"])
def test_a_given_set_that_nobody_knows_is_refused(odd):
    """A slip of the pen in one row would train on a row of the test."""
    rows = distinct({"a": 6, "b": 6})
    rows["part"] = ["test", "train", "dev"] * 3 + ["test", "train", odd]
    with pytest.raises(InputError, match="1 rows do not say") as caught:
        split(rows, "label", given="part")
    assert rows["row_id"].iloc[-1] in str(caught.value)


def test_an_empty_set_is_refused():
    """Two rows can't be learned from, chosen on and examined."""
    with pytest.raises(InputError, match="leaves no row for"):
        split(distinct({"a": 1, "b": 1}), "label")
    rows = distinct({"a": 6}).assign(part="train")
    with pytest.raises(InputError, match="leaves no row for: locked"):
        split(rows, "label", given="part")


# -- by time ------------------------------------------------------------------------------


def dated(days: list[int], owners: list[str] | None = None) -> pd.DataFrame:
    when = [f"2026-01-{day:02}" for day in days]
    rows = [(f"text {i}", "a", who) for i, who in enumerate(owners or when)]
    return table(*rows, columns=("text", "label", "owner")).assign(day=when)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 28), min_size=12, max_size=60), st.randoms())
def test_by_time_what_judges_is_later_and_a_moment_never_divides(days, chance):
    """Train ends before dev begins, dev before locked, in whatever order the rows come."""
    chance.shuffle(days)
    rows = dated(days)
    try:
        rows["set"] = split(rows, "label", time="day")
    except InputError as error:
        assert "leaves no row" in str(error)
        return
    spans = [rows.loc[rows["set"] == name, "day"] for name in SETS]
    assert spans[0].max() < spans[1].min() and spans[1].max() < spans[2].min()
    assert find_leaks(rows, "text", time="day").empty


def test_by_time_the_shares_are_those_asked_for():
    """Where no two rows share a moment; numbers are times too."""
    rows = distinct({"a": 100}).assign(day=range(100))
    found = split(rows, "label", time="day", dev=0.1, locked=0.3).value_counts()
    assert found.to_dict() == {"train": 60, "dev": 10, "locked": 30}


def test_a_group_stays_in_the_set_of_its_first_row_and_what_comes_later_leaves():
    """It is neither learned from nor judged by; that it left is said, not hidden."""
    rows = dated(list(range(1, 11)), ["old", *"bcdefgh", "old", "i"])
    sets = split(rows, "label", time="day", group="owner", dev=0.2, locked=0.3)
    assert sets.tolist() == ["train"] * 5 + ["dev"] * 2 + ["locked", LEFT_OUT, "locked"]
    rows["set"] = sets
    assert find_leaks(rows[sets != LEFT_OUT], "text", "owner", time="day").empty


def test_given_sets_by_time_take_dev_from_the_end_of_training():
    """What chooses is nearest in time to what judges."""
    rows = dated(list(range(1, 11))).assign(part=["train"] * 8 + ["test"] * 2)
    sets = split(rows, "label", given="part", time="day", dev=0.25)
    assert sets.tolist() == ["train"] * 6 + ["dev"] * 2 + ["locked"] * 2


@pytest.mark.parametrize("odd", ["", None, "soon"])
def test_a_row_without_a_time_is_refused(odd):
    """It could be from the time that the judges are from."""
    rows = dated([*range(1, 11)]).assign(day=[*(f"2026-01-{d:02}" for d in range(1, 10)), odd])
    with pytest.raises(InputError, match="1 rows do not say when") as caught:
        split(rows, "label", time="day")
    assert "r10" in str(caught.value)
    with pytest.raises(InputError, match="do not say when"):
        split(rows.assign(day=pd.to_datetime(rows["day"], errors="coerce")), "label", time="day")


# -- leaks --------------------------------------------------------------------------------


def test_a_leaking_row_goes_from_the_weaker_set():
    """Locked judges dev and train; dev judges train. What judges stays whole."""
    rows = table(
        ("hi", "a", "train"), ("Hi!", "a", "dev"), ("HI", "a", "locked"),
        ("so", "a", "train"), ("so.", "a", "dev"), ("alone", "a", "train"),
    )  # fmt: skip
    kept, removed = unleak(rows, "text", "label")
    assert kept["row_id"].tolist() == ["r3", "r5", "r6"]
    assert dict(zip(removed["row_id"], removed["same_as"], strict=True)) == {
        "r1": "r3",
        "r2": "r3",
        "r4": "r5",
    }
    assert find_leaks(kept, "text").empty


def test_a_leak_is_told_once_under_the_strictest_rule_that_finds_it():
    """Weaker set left; equal rows of one set are no leak."""
    rows = table(
        ("hi there", "a", "locked"), (" hi there", "a", "train"), ("so  what", "a", "train"),
        ("So what", "a", "dev"), ("yes", "a", "train"), ("yes!", "a", "locked"),
        ("no", "a", "train"), ("no", "a", "train"),
    )  # fmt: skip
    found = find_leaks(rows, "text")
    assert found["kind"].tolist() == [f"exact ({name})" for name in NORMALISERS]
    assert found["left_id"].tolist() == ["r2", "r3", "r5"]
    assert found["right_id"].tolist() == ["r1", "r4", "r6"]
    assert found["left_set"].tolist() == ["train"] * 3


def test_one_group_in_two_sets_is_a_leak():
    """Also where the group is a number, and the texts differ."""
    rows = table(("hi", 7, "train"), ("bye", 7, "locked"), ("so", 8, "dev"))
    found = find_leaks(rows, "text", "label")
    assert found["kind"].tolist() == ["group (label)"]
    assert found[["left_id", "right_id"]].to_numpy().tolist() == [["r1", "r2"]]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "A", "a!", "b", "b "]), st.just("x"), st.sampled_from(SETS)
        ),
        min_size=1,
        max_size=14,
    )
)
def test_every_row_at_fault_is_named_and_no_other(drawn):
    """A row is in a finding just when another set holds its equal; after `unleak` none is left."""
    rows = table(*drawn)
    key = rows["text"].map(NORMALISERS["punctuation removed"])
    crossing = rows.groupby(key)["set"].transform("nunique") > 1
    found = find_leaks(rows, "text")
    assert {*found["left_id"], *found["right_id"]} == set(rows.loc[crossing, "row_id"])
    assert not found.duplicated(["left_id", "right_id"]).any()
    assert (found["left_set"].map(SETS.index) < found["right_set"].map(SETS.index)).all()
    assert find_leaks(unleak(rows, "text", "label")[0], "text").empty


@pytest.fixture(scope="module")
def banking77() -> pd.DataFrame:
    if not BANKING77.is_dir():
        pytest.skip(f"BANKING77 is not at {BANKING77}; set WORKBENCH_REAL_DATA")
    parts = [
        read_rows(BANKING77 / f"{name}.csv").assign(set=part)
        for name, part in (("train", "train"), ("test", "locked"))
    ]
    rows = pd.concat(parts, ignore_index=True)
    rows["row_id"] = rows["set"] + "-" + rows["row_id"]
    return rows


def test_banking77_has_the_leaks_that_are_known(banking77):
    """Pairs of a training and a test row; each normaliser also finds those of the one before."""
    assert banking77["set"].value_counts().to_dict() == {"train": 10_003, "locked": 3_080}
    found = find_leaks(banking77, "text")
    each = [(found["kind"] == f"exact ({name})").sum() for name in NORMALISERS]
    assert pd.Series(each).cumsum().tolist() == [6, 7, 11]
    assert found["left_id"].is_unique and found["right_id"].is_unique
    for finding in found.to_dict("records"):
        bare = NORMALISERS["punctuation removed"]
        assert bare(finding["left_text"]) == bare(finding["right_text"])


def test_banking77_loses_training_rows_only_to_its_test_set(banking77):
    """The published test rows stay, all of them."""
    kept, leaked = unleak(banking77, "text", "category")
    assert len(leaked) == 11 and leaked["row_id"].str.startswith("train").all()
    assert (kept["set"] == "locked").sum() == 3_080


def test_thirteen_thousand_rows_take_seconds(banking77):
    """Split, unleak and look for equal and nearly equal texts: 10 s at most on two cores."""
    started = time.process_time()
    rows = banking77.assign(set=split(banking77, "category", group="row_id"))
    kept, _ = unleak(rows, "text", "category", find_leaks(rows, "text", jaccard=0.8))
    assert find_leaks(kept, "text", jaccard=0.8).empty
    assert time.process_time() - started <= 10


def test_two_large_sets_of_one_group_are_told_in_time():
    """The findings grow with the rows, not with their pairs."""
    rows = distinct({"a": 12_000}).assign(owner="one")
    rows["set"] = ["train", "dev", "locked"] * 4_000
    started = time.process_time()
    found = find_leaks(rows, "text", "owner")
    assert {*found["left_id"], *found["right_id"]} == set(rows["row_id"])
    assert len(found) < 2 * len(rows)
    assert time.process_time() - started <= 5
