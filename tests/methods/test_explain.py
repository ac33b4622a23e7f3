"""Explanations that bear on the answer, and that show nothing of persons (V7)."""

from __future__ import annotations

import json
import random

import pandas as pd
import pytest

from workbench.methods.evaluate import explain, functional

FACTS = {"kind": "classifier", "text": "text", "label": "label"}
ASKED = {"batch_size": 32, "threads": 2}
TELLS = {"zebra": "fees", "quartz": "card"}
FILL = ["my", "bank", "please", "help", "with", "this", "today", "again"]


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """A model that goes by one word: certain with it, even without it."""

    def ask(stage, rows, model, *, batch_size, threads, split="locked"):
        labels = sorted(TELLS.values())
        told = [next((TELLS[w] for w in text.split() if w in TELLS), None) for text in rows["text"]]
        sure = [[0.9 if label == one else 0.1 for label in labels] if one else [0.51, 0.49]
                for one in told]  # fmt: skip
        return pd.DataFrame({"case_id": rows["row_id"], "task": "label", "labels": [labels] * len(rows),
                             "probabilities": sure}).sample(frac=1, random_state=0)  # fmt: skip

    monkeypatch.setattr(functional, "ask", ask)


def rows(tell: str, n: int, first: int = 0) -> pd.DataFrame:
    chance = random.Random(first)
    texts = [" ".join(chance.sample([tell, *FILL], 1 + len(FILL))) for _ in range(n)]
    return pd.DataFrame({"row_id": [f"r{first + i}" for i in range(n)], "text": texts, "label": TELLS[tell]})  # fmt: skip


@pytest.fixture
def stage(staged, tiny_encoder):
    """make(dev, masked=False) -> a stage with its training rows and lineage."""

    def make(dev: pd.DataFrame, **facts):
        train = pd.concat([rows("zebra", 6, 100), rows("quartz", 6, 200)], ignore_index=True)
        lineage = pd.DataFrame({"row_id": train["row_id"], "source_id": "s" + train["row_id"]})
        given = {"dev": dev, "train": train, "lineage": lineage, "facts": FACTS,
                 "encoder": tiny_encoder, "criteria": {"version": 1}}  # fmt: skip
        return staged("47_attribution", given, **facts)

    return make


def test_the_word_that_decides_weighs_most(stage):
    """By as much as the probability of the answer falls without it; the others weigh nothing."""
    found = explain.occluded(stage(rows("zebra", 3)), ["my zebra bank", "quartz today"], **ASKED)
    assert found["answer"].tolist() == ["fees", "card"]
    assert found["weights"][0] == pytest.approx([0.0, 0.41, 0.0])
    assert found["weights"][1] == pytest.approx([0.39, 0.0])


def test_occlusion_is_held_against_words_at_random(stage):
    """The words that count change the answer, random ones seldom; equal counts, seeded."""
    made = stage(rows("zebra", 30))
    told = explain.held_against_chance(made, limit=30, seed=1, **ASKED)
    table = pd.read_parquet(made.outputs / "occlusion.parquet")
    assert table["top"].all() and 0 < table["random"].sum() < 15
    figure = json.loads((made.outputs / "figures.json").read_text())["faithfulness"]
    assert figure["n"] == 30 and figure["low"] > 0
    assert told.loc["words that count most", "answers that change"] == "1.000"
    again = stage(rows("zebra", 30))
    explain.held_against_chance(again, limit=30, seed=1, **ASKED)
    assert (again.outputs / "occlusion.parquet").read_bytes() == (made.outputs / "occlusion.parquet").read_bytes()  # fmt: skip


def test_words_that_do_not_count_are_not_faithful(stage, monkeypatch):
    """The negative case: a model that goes by no word is changed by neither."""
    made = stage(rows("zebra", 30).assign(text="my bank please help"))
    explain.held_against_chance(made, limit=30, seed=1, **ASKED)
    assert json.loads((made.outputs / "figures.json").read_text())["faithfulness"]["low"] < 0


JUDGED = pd.DataFrame(
    [("c1", "rules", "candidate", "fraud", "fraud", False, "my zebra bank", "fees", "R8", "no escalation", True),
     ("c2", "rules", "candidate", "tone", "tone", False, "my quartz", "card", "R6", "rude", False),
     ("c3", "rules", "base", "fraud", "fraud", False, "my quartz", "card", "R6", "no escalation", True),
     ("c4", "rules", "candidate", "fraud", "fraud", True, "my quartz", "card", "R6", "", True),
     ("c5", "rules", "candidate", "fraud", "fraud", pd.NA, "my quartz", "card", "R6", "", True)],
    columns=["case_id", "set", "model", "task", "group", "correct", "text", "queue", "reason",
             "because", "blocks"],
)  # fmt: skip
GROUPS = pd.DataFrame({"group": ["card", "fees"], "after": [0.5, 0.9]})


def explained(made, limit: int = 5) -> pd.DataFrame:
    failed = explain.failures(made, JUDGED, GROUPS, limit, **ASKED)
    return explain.explained(made, failed, **ASKED)


def test_what_blocks_and_misclassified_dev_rows_are_explained(stage):
    """Of the candidate, not of the base; the weakest class first; as many of each as asked."""
    dev = pd.concat([rows("zebra", 4, 10).assign(label="card"), rows("quartz", 4, 20).assign(label="fees"),
                     rows("quartz", 4, 30)], ignore_index=True)  # fmt: skip
    found = explained(stage(dev), limit=5)
    assert found["case_id"].tolist() == ["c1", "r10", "r11", "r12", "r13", "r20"]
    assert found["group"].tolist() == ["fraud", *["card"] * 4, "fees"]
    assert found["because"][0] == "no escalation"


def test_nearest_training_rows_come_with_their_source(stage):
    """Row, label, source row and similarity, the nearest first."""
    found = explain.nearest(stage(rows("zebra", 1)), [rows("quartz", 6, 200)["text"][2]])
    assert found[0][0] == {"row_id": "r202", "label": "card", "source": "sr202", "similarity": 1.0}
    likeness = [one["similarity"] for one in found[0]]
    assert len(likeness) == 3 and likeness == sorted(likeness, reverse=True)


def test_rows_of_persons_are_shown_by_place_only(stage):
    """In the notebook; cases of rules are nobody's words. No table holds the text again."""
    dev = rows("zebra", 2, 10).assign(label="card")
    for masked in (True, False):
        made = stage(dev, masked=masked)
        said = explain.shown(made, explained(made)).to_csv()
        assert "my zebra bank" in said and ("word " in said) == masked
        assert (dev["text"][0] in said) != masked
    kept = pd.read_parquet(made.outputs / "explanations.parquet")
    assert "text" not in kept and not kept.astype(str).map(lambda v: "zebra" in v).to_numpy().any()


def test_nothing_failed_is_an_empty_table(stage):
    """The same columns, no row."""
    made = stage(rows("zebra", 4))
    failed = explain.failures(made, JUDGED.head(0), GROUPS, 5, **ASKED)
    found = explain.explained(made, failed, **ASKED)
    assert found.empty and len(explain.shown(made, found)) == 0
    assert list(pd.read_parquet(made.outputs / "explanations.parquet")) == [
        name for name in [*explain.FAILED, *explain.ADDED] if name != "text"
    ]


RULE = {"id": "reasons", "text": "t", "scorer": "supported_reason", "at_least": 0.9, "bound": "lower", "harm": "h",
        "why": "w", "blocking": False, "arguments": {"allowed": {"fees": ["R2"]}},
        "probes": {"must_pass": [{"queue": "fees", "reason": "R2"}],
                   "must_fail": [{"queue": "fees", "reason": "R1"}]}}  # fmt: skip


def test_a_cited_rule_is_held_against_the_answer(stage, staged):
    """By the policy's own rule about reasons; without one nothing is said."""
    made = staged("47_attribution", {"criteria": {"version": 1, "rules": [RULE]}})
    assert (
        explain._supported(made, {"queue": "fees", "reason": "R8"}) == "R8 given, ['R2'] bear fees"
    )
    assert explain._supported(made, {"queue": "fees", "reason": ""}) == ""
