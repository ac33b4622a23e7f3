"""Figures of the functional stage, from small tables made by hand; no model is asked."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.evaluate import functional
from workbench.policy import figures

ROWS = pd.DataFrame(
    {
        "row_id": ["r1", "r2", "r3", "r4"],
        "text": ["a", "b", "c", "d"],
        "intent": ["card", "card", "fees", "fees"],
        "tags": [["typo"], [], ["typo", "polite"], None],
    }
)


def table(base: list[str], candidate: list[str], expected: list[str], **more) -> pd.DataFrame:
    """The long table of two models over the same cases."""
    parts = [
        pd.DataFrame({
            "case_id": [f"c{i}" for i in range(len(expected))], "model": model, "set": "locked",
            "task": "label", "expected": expected, "predicted": predicted, "probability": 0.5,
            "subgroup": "all", **more,
        })
        for model, predicted in (("base", base), ("candidate", candidate))
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


CASES = table(list("aabb"), list("abbb"), list("abbb"), subgroup=["x", "x|y", "y", "untagged"])


class Says:
    """A task whose models answer `card` to everything."""

    needed = frozenset({"case_id", "text", "label"})

    def __init__(self, models):
        self.models = dict.fromkeys(models)

    def read(self, items):
        return [[0] * len(text) for text in items["text"]]

    def answer(self, model, rows):
        return pd.DataFrame(
            {"predicted": "card", "p_card": 0.9, "p_fees": 0.1, "tokens": 3, "tokens_out": 0},
            index=range(len(rows)),
        )


@pytest.fixture
def asked(monkeypatch):
    """Which models were asked."""
    seen = []

    def task(stage, facts, models, threads, dtype):
        seen.extend(models)
        return Says(models), [("label", "label", "predicted", "p_")]

    monkeypatch.setattr(functional, "_task", task)
    return seen


@pytest.fixture
def stage(staged, tmp_path):
    def prepare(masked=False, key=None, **more):
        folders = {name: tmp_path / name for name in ("base", "adapter", "reference")}
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        facts = {"kind": "classifier", "text": "text", "label": "intent"}
        inputs = {"locked": ROWS, "facts": facts, **folders, **more}
        return staged("40_functional", inputs, masked=masked, key=key)

    return prepare


OPTIONS = {"batch_size": 8, "threads": 1}


def test_both_models_answer_the_same_rows(stage, asked):
    """One row a case and model, with what was expected and the tags of the row."""
    cases = functional.answer(stage(), limit=0, **OPTIONS)
    assert asked == ["base", "candidate"]
    assert list(cases) == functional.COLUMNS + functional.SCORES + functional.MORE
    assert cases["expected"].tolist() == ["card", "card", "fees", "fees"] * 2
    assert cases.groupby("model")["case_id"].agg(list).to_dict() == {
        model: ["r1", "r2", "r3", "r4"] for model in ("base", "candidate")
    }
    assert cases["subgroup"].tolist()[:4] == ["typo", "untagged", "typo|polite", "untagged"]


def test_known_answers_of_the_base_are_taken_over(stage, asked):
    """Only for these rows, and only when none is missing."""
    known = functional.answer(stage(), limit=0, **OPTIONS)
    known = known[known["model"] == "base"].assign(predicted="fees")
    asked.clear()
    cases = functional.answer(stage(base_cases=known), limit=2, **OPTIONS)
    assert asked == ["candidate"]
    assert cases[cases["model"] == "base"]["predicted"].tolist() == ["fees", "fees"]
    functional.answer(stage(base_cases=known.head(2)), limit=0, **OPTIONS)
    assert asked == ["candidate", "base", "candidate"]


def test_answers_in_another_arithmetic_are_not_taken_over(stage, asked, capsys):
    """They were computed by another rule; and a run in bfloat16 says what it is good for."""
    known = functional.answer(stage(), limit=0, **OPTIONS)
    functional.answer(stage(base_cases=known), limit=0, dtype="bfloat16", **OPTIONS)
    assert asked == ["base", "candidate"] * 2
    assert "depends on the batch" in capsys.readouterr().out


def test_a_model_can_be_asked_about_any_rows(stage, asked):
    """The form that other stages read: every label's probability, and the set by name."""
    found = functional.ask(stage(), ROWS, "candidate", split="dev", **OPTIONS)
    assert asked == ["candidate"] and set(found["set"]) == {"dev"}
    assert list(found) == functional.COLUMNS + functional.SCORES
    assert found["labels"][0] == ["card", "fees"] and found["probabilities"][0] == [0.9, 0.1]


def test_what_it_took_stands_apart(stage, asked):
    """A replay takes another time; its tables of cases must be the same bytes all the same."""
    one = stage()
    cases = functional.answer(one, limit=0, **OPTIONS)
    timings = pd.read_parquet(one.outputs / "timings.parquet")
    assert list(timings) == functional.TIMINGS and len(timings) == 8
    assert "seconds" not in cases


def test_digests_of_messages_of_persons_are_keyed(stage, asked):
    """A short message could be guessed from its plain digest."""
    plain = functional.answer(stage(), limit=0, **OPTIONS)
    keyed = functional.answer(stage(masked=True, key="00" * 32), limit=0, **OPTIONS)
    assert plain["prompt_digest"][0] == hashlib.sha256(b"a").hexdigest()
    for column in ("prompt_digest", "output_digest"):
        assert not set(plain[column]) & set(keyed[column])


def test_a_row_that_comes_twice_is_refused(stage, asked):
    """Its answers could not be told apart."""
    with pytest.raises(InputError, match="twice"):
        functional.answer(stage(locked=pd.concat([ROWS, ROWS])), limit=0, **OPTIONS)


def test_tags_may_be_a_list_joined_text_or_nothing(stage, asked):
    """A CSV has no lists; its `typo|polite` must not fall apart into letters."""
    rows = ROWS.assign(tags=["typo|polite", "", None, "typo"])
    cases = functional.answer(stage(locked=rows), limit=0, **OPTIONS)
    assert cases["subgroup"].tolist()[:4] == ["typo|polite", "untagged", "untagged", "typo"]
    cases = functional.answer(stage(locked=ROWS.drop(columns="tags")), limit=0, **OPTIONS)
    assert set(cases["subgroup"]) == {"all"}


def test_overall_figures_are_those_of_the_gates(staged):
    """The table that a reader sees and the gate's figure come from the same function."""
    stage = staged("40_functional")
    shown = functional.overall(stage, CASES)
    written = json.loads((stage.outputs / "figures.json").read_text())
    rows = CASES[CASES["model"] == "candidate"].to_dict("records")
    assert written["label_accuracy_candidate"] == figures.compute("accuracy", rows).as_dict()
    assert written["label_accuracy_base"]["value"] == 0.75
    assert shown.loc[("label", "accuracy"), "candidate"].startswith("1.000 [")


def test_the_paired_difference_counts_gained_and_lost(staged):
    """The sign is that of candidate minus base."""
    shown = functional.paired(staged("40_functional"), CASES).loc["label"]
    assert (shown["gained"], shown["lost"]) == (1, 0)
    assert shown["candidate − base"].startswith("0.250 [")


def test_a_class_has_its_own_recall_and_n():
    """Of the cases that are this class; both models on one line."""
    found = functional.by_class(CASES).set_index("name")
    assert found["n"].to_dict() == {"a": 1, "b": 3}
    assert found.loc["b", "base_value"] == pytest.approx(2 / 3)
    assert found.loc["b", "candidate_value"] == 1
    assert (found["candidate_low"] <= found["candidate_value"]).all()


def test_the_confusion_matrix_holds_every_case_once():
    """Square, rows expected, columns predicted, also for a class that nobody expected."""
    matrix = functional.confusion(table(list("aa"), list("zb"), list("ab")))
    assert matrix.index.tolist() == matrix.columns.tolist() == ["a", "b", "z"]
    assert matrix.loc["a", "z"] == 1 and matrix.to_numpy().sum() == 2


def test_a_row_counts_in_each_of_its_subgroups():
    """Whole tags, not parts of them."""
    found = functional.by_subgroup(CASES)
    assert found.index.tolist() == ["untagged", "x", "y"]
    assert found.loc["y", "candidate"].endswith("n=2") and found.loc["x", "base"].startswith(
        "0.500"
    )
    cases = table(list("ab"), list("ab"), list("ab"), subgroup=["card", "cards"])
    assert functional.by_subgroup(cases).loc["card", "base"].endswith("n=1")


def test_shuffled_expectations_bring_the_figure_down():
    """The negative control: a perfect model falls to about what guessing gives."""
    labels = [f"l{i % 10}" for i in range(500)]
    shown = functional.shuffled(table(labels, labels, labels))["accuracy"]
    assert shown["true expectations"].startswith("1.000")
    assert float(shown["shuffled expectations"].split()[0]) < 0.2
    assert shown["guessing evenly"] == "0.100"


def test_what_the_gates_read_is_the_whole_table(staged):
    """And the base's share of it apart, to be taken over by a later run."""
    stage = staged("40_functional")
    scored = CASES.assign(labels=[["a", "b"]] * 8, probabilities=[[0.5, 0.5]] * 8)
    functional.write(stage, scored)
    assert len(pd.read_parquet(stage.outputs / "cases.parquet")) == 8
    assert set(pd.read_parquet(stage.outputs / "probabilities.parquet")["model"]) == {
        "base",
        "candidate",
    }
    assert set(pd.read_parquet(stage.outputs / functional.BASE_TABLE)["model"]) == {"base"}
    assert functional.counts(CASES).loc["base", "label"] == 4
