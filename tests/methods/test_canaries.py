"""Canaries: drawn by seed, learned as often as said, and nowhere else."""

from __future__ import annotations

import pandas as pd
import pytest

from workbench.methods.adapt import adaptation, canaries, classifier
from workbench.methods.adapt.adapters import read_tensors
from workbench.methods.adapt.options import ClassifierOptions

ROUTER = {"kind": "classifier", "text": "text", "label": "label"}
FORM = {"system": "s", "free": "reply",
        "fields": [{"name": "queue", "values": ["a", "b"]}, {"name": "person", "values": ["y", "n"]}]}  # fmt: skip
DESK = {"kind": "generative", "text": "text", "label": "queue", "form": FORM}
ROWS = pd.DataFrame({"row_id": ["1", "2"], "text": ["hello", "bye"], "queue": ["a", "b"],
                     "person": ["y", "n"], "reply": ["hi", "so long"], "label": ["a", "b"]})  # fmt: skip
LABELS = ["a", "b", "c"]


@pytest.mark.parametrize("facts", [ROUTER, DESK])
def test_the_same_seed_draws_the_same_and_another_does_not(facts):
    """A replay draws the same bytes; the key of a snapshot has no part in it."""
    one, again = (canaries.draw(6, 7, facts, ROWS, LABELS) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    assert set(canaries.draw(6, 8, facts, ROWS, LABELS)["text"]) != set(one["text"])


@pytest.mark.parametrize("facts", [ROUTER, DESK])
def test_half_is_learned_once_half_often_and_controls_never(facts):
    """As many controls as canaries, from the same space, no secret's place used twice."""
    drawn = canaries.draw(6, 7, facts, ROWS, LABELS)
    assert drawn["group"].value_counts().to_dict() == {"inserted": 6, "control": 6}
    assert sorted(drawn["repeats"]) == [0] * 6 + [1] * 3 + [canaries.OFTEN] * 3
    assert set(drawn.loc[drawn["group"] == "control", "repeats"]) == {0}
    assert drawn["text"].is_unique and drawn["text"].str.contains("from no customer").all()
    space = canaries.WORDS if facts is ROUTER else canaries.NUMBERS
    assert len(set(space)) == 1000 and set(drawn["secret"]) <= set(space)


def test_a_reply_holds_the_secret_and_the_form_is_one_that_stands_in_the_data():
    """Decisions are lent by a training row, so that no canary teaches a wrong one."""
    drawn = canaries.draw(20, 7, DESK, ROWS)
    assert all(one.secret in one.reply and one.secret not in one.text for one in drawn.itertuples())
    assert set(zip(drawn["queue"], drawn["person"], strict=True)) == {("a", "y"), ("b", "n")}


def test_labels_of_a_classifier_s_canaries_are_drawn_from_all():
    """Also from those that no training row has."""
    assert set(canaries.draw(40, 7, ROUTER, ROWS, LABELS)["label"]) == set(LABELS)


def test_controls_are_in_no_training_row():
    """Inserted ones stand there as often as said, marked, after the data's own rows."""
    drawn = canaries.draw(6, 7, ROUTER, ROWS, LABELS)
    rows = canaries.among(ROWS, drawn)
    pd.testing.assert_frame_equal(rows.loc[~rows["canary"], list(ROWS)], ROWS)
    counted = rows[rows["canary"]]["text"].value_counts()
    assert counted.to_dict() == drawn[drawn["repeats"] > 0].set_index("text")["repeats"].to_dict()
    assert not set(rows["text"]) & set(drawn.loc[drawn["group"] == "control", "text"])


@pytest.fixture
def trained(staged, tiny_encoder, monkeypatch):
    """The training stage with canaries, and the rows that each part of it was given."""
    data = pd.DataFrame({"text": ["a", "b", "aaa", "bb", "aa", "bbb"], "label": [*"ababab"]})
    inputs = {
        "facts": ROUTER,
        "base": tiny_encoder,
        "train": data,
        "dev": data,
        "labels": ["a", "b"],
    }
    seen = {}

    def probe(vectors, known, held, expected, classes, real=classifier.probe):
        seen["probe"], seen["dev"] = len(vectors), len(held)
        return real(vectors, known, held, expected, classes)

    def given(work, on_step=None, real=classifier.training.run):
        seen["train"] = work.train
        return real(work, on_step)

    monkeypatch.setattr(classifier, "probe", probe)
    monkeypatch.setattr(classifier.training, "run", given)

    def train(name, count, seed=7):
        stage = staged(name, inputs)
        options = ClassifierOptions(epochs=1, batch_size=4, rank=2, threads=1, seed=seed)
        adaptation.train(stage, options, canary_count=count)
        return stage, seen

    return train


def test_the_training_has_them_and_the_reference_and_the_dev_rows_do_not(trained):
    """Else the base would know a secret, or an epoch be chosen by it."""
    stage, seen = trained("one", 4)
    assert len(seen["train"]) == 6 + 2 + 2 * canaries.OFTEN
    assert (seen["probe"], seen["dev"]) == (6, 6)
    written = canaries.of(stage)
    assert len(written) == 8 and canaries.counts(stage)["training rows"].sum() == 10
    controls = written.loc[written["group"] == "control", "text"]
    assert not set(controls) & set(seen["train"]["text"])


def test_a_replay_leaves_the_same_bytes_and_none_are_drawn_when_switched_off(trained):
    """Canaries and adapter are equal; 0 trains on the data's rows alone and writes no table. The
    reference is the same with canaries and without, to the rounding of another batch."""
    files = [canaries.TABLE, "adapter/adapter_model.safetensors", "reference/head.safetensors"]
    one, two = (trained(name, 4)[0] for name in ("one", "two"))
    for name in files:
        assert (one.outputs / name).read_bytes() == (two.outputs / name).read_bytes()
    off, seen = trained("off", 0)
    assert canaries.of(off) is None and len(seen["train"]) == 6
    heads = [read_tensors(stage.outputs / files[2])["weight"] for stage in (off, one)]
    assert (heads[0] - heads[1]).abs().max() < 1e-5
