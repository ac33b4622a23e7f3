from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from workbench.errors import InputError
from workbench.methods.adapt.classifier import (
    PROBE,
    fit_temperature,
    load_head,
    logits,
    predict_classifier,
    probe,
    train_classifier,
)
from workbench.methods.evaluate.classify import Labelling
from workbench.methods.evaluate.core import Evaluator

LABELS = ["access", "card", "fees", "never-seen"]
FROZEN = {"method": "frozen", "epochs": 1}
QUICK = {"epochs": 2, "batch_size": 4, "rank": 4, "seed": 3, "learning_rate": 5e-4}


@pytest.fixture(scope="module")
def trained(minilm, rows, tmp_path_factory):
    out = tmp_path_factory.mktemp("adapter")
    steps: list[dict] = []
    reference = out.with_name("reference")
    found = train_classifier(
        minilm, rows, rows, LABELS, QUICK, out, steps.append, reference=reference
    )
    return out, found, steps


@pytest.fixture(scope="module")
def reference(trained):
    """The folder of the head that the training started from."""
    return trained[0].with_name("reference")


def test_training_learns_and_states_what_it_chose(trained):
    """History has a row per epoch; the epoch and the temperature are named as choices."""
    _, result, steps = trained
    history = result["history"]
    assert list(history["epoch"]) == [1, 2]
    assert result["chosen"]["validation_accuracy"] == history["validation_accuracy"].max()
    assert 0 < result["trainable"]["share"] < 0.05 and result["resumed"] is None
    assert [step["step"] for step in steps] == list(range(1, 7)) and steps[-1]["steps"] == 6


def test_training_changes_adapter_and_head(trained, reference):
    """A run whose updates never reach the model fails here: both differ from where they began."""
    settings = json.loads((reference / "classifier.json").read_text())
    assert settings["method"] == "probe"
    assert trained[1]["chosen"]["probe"].items() <= settings.items()
    state = load_file(trained[0] / "adapter_model.safetensors")
    moved = [name for name in state if "lora_B" in name]
    assert moved and all(state[name].abs().max() > 0 for name in moved)
    heads = [load_file(folder / "head.safetensors")["weight"] for folder in (reference, trained[0])]
    assert not torch.equal(*heads)
    losses = list(trained[1]["history"]["validation_loss"])
    assert len(set(losses)) == len(losses)


def test_same_seed_and_threads_give_the_same_bytes(trained, minilm, rows, tmp_path):
    """Retraining is bit-identical in every file; another seed gives another adapter."""
    train_classifier(minilm, rows, rows, LABELS, QUICK, tmp_path / "again")
    train_classifier(minilm, rows, rows, LABELS, QUICK | {"seed": 4}, tmp_path / "other")
    names = sorted(file.name for file in trained[0].iterdir())
    assert "adapter_model.safetensors" in names and "adapter_config.json" in names
    for name in names:
        assert (trained[0] / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    one, other = (f / "adapter_model.safetensors" for f in (trained[0], tmp_path / "other"))
    assert one.read_bytes() != other.read_bytes()


def test_prediction_gives_probabilities_in_label_order(trained, minilm, rows):
    """(n, k), each row sums to one, and the training rows are recognised."""
    found = predict_classifier(minilm, trained[0], rows["text"].tolist())
    assert found.shape == (12, 4)
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert [LABELS[n] for n in found.argmax(axis=1)] == rows["label"].tolist()


def test_prediction_does_not_depend_on_the_batch(trained, minilm, rows):
    """V5: alone, in other company or in another order, a message's outputs agree to 1e-5 in
    float32, and its label is the same."""
    texts = [*rows["text"], "a much longer message " * 8, "?"]
    together = logits(minilm, trained[0], texts)
    for size, order in ((1, 1), (3, 1), (5, -1)):
        other = logits(minilm, trained[0], texts[::order], batch_size=size)
        other = other.flip(0) if order < 0 else other
        assert not torch.equal(other, together)  # the arithmetic was really another
        assert (other - together).abs().max() < 1e-5
        assert torch.equal(other.argmax(-1), together.argmax(-1))


def classifier_cases(base, adapter, items):
    """Every item labelled by the reference (`base`) or by a trained adapter (`candidate`)."""
    name = "base" if load_head(adapter)[1]["method"] == PROBE else "candidate"
    return Evaluator(Labelling(base, {name: adapter})).answers(items).drop(columns="label")


def test_cases_have_one_row_per_case_and_model(trained, minilm, rows, reference):
    """Base and candidate give tables of the same shape over the same items."""
    items = rows.assign(case_id=[f"c{n}" for n in range(len(rows))], channel="chat")
    base, ours = (classifier_cases(minilm, f, items) for f in (reference, trained[0]))
    assert set(base["model"]) == {"base"} and set(ours["model"]) == {"candidate"}
    assert list(base.columns) == list(ours.columns)
    assert {"case_id", "channel", "expected", "predicted", "p_card"} <= set(ours.columns)
    assert list(ours["expected"]) == rows["label"].tolist()


def test_a_case_id_that_comes_twice_is_refused(trained, minilm, rows):
    """A repeated id would count a case twice in a paired comparison."""
    with pytest.raises(InputError, match="twice"):
        classifier_cases(minilm, trained[0], rows.assign(case_id="same"))


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.iloc[:0], "no rows"),
        (lambda rows: rows[rows.label == "card"], "only one class"),
        (lambda rows: rows.replace({"label": {"card": "carde"}}), "not in the schema"),
        (lambda rows: rows.drop(columns="label"), "lack columns"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused(
    minilm, rows, tmp_path, split, spoil, message
):
    """Empty split, one class only, a label outside the schema: refused by name, nothing written."""
    given = {"train": rows, "validation": rows} | {split: spoil(rows)}
    with pytest.raises(InputError, match=message) as caught:
        out = tmp_path / "out"
        train_classifier(minilm, given["train"], given["validation"], LABELS, QUICK, out)
    assert caught.value.where == split
    assert not (tmp_path / "out").exists()


def test_a_frozen_base_learns_a_head_alone(minilm, rows, tmp_path):
    """Nothing of the encoder is written; the head alone predicts, and is a candidate's."""
    found = train_classifier(minilm, rows, rows, LABELS, FROZEN, tmp_path)
    assert found["trainable"]["trainable"] == 4 * 384 + 4
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"adaptation.json", "classifier.json", "head.safetensors"}
    items = rows.assign(case_id=[f"c{n}" for n in range(len(rows))])
    cases = classifier_cases(minilm, tmp_path, items)
    assert set(cases["model"]) == {"candidate"}
    assert (cases["predicted"] == cases["expected"]).all()


def test_head_of_another_base_is_refused(minilm, reference, tmp_path):
    """A head is fitted to one encoder's vectors."""
    shutil.copytree(reference, tmp_path / "head")
    settings = json.loads((reference / "classifier.json").read_text())
    other = json.dumps(settings | {"base": "0" * 64})
    (tmp_path / "head" / "classifier.json").write_text(other)
    with pytest.raises(InputError, match="another base"):
        predict_classifier(minilm, tmp_path / "head", ["hello"])
    with pytest.raises(InputError, match="no classifier"):
        predict_classifier(minilm, tmp_path / "nowhere", ["hello"])


def test_probe_of_two_classes_is_the_logistic_regression():
    """The linear layer gives the same probabilities as the regression that it came from."""
    from sklearn.linear_model import LogisticRegression

    chance = torch.Generator().manual_seed(0)
    vectors = torch.randn((40, 5), generator=chance)
    known = (vectors[:, 0] > 0).long()
    head, chosen = probe(vectors, known, vectors, known, 2)
    fitted = LogisticRegression(C=chosen["C"], max_iter=2000).fit(vectors.numpy(), known.numpy())
    ours = torch.softmax(head(vectors), dim=-1).detach().numpy()
    assert np.abs(ours - fitted.predict_proba(vectors.numpy())).max() < 1e-4


def test_temperature_softens_overconfidence():
    """Logits ten times too large on 75 % right answers get a temperature well above one."""
    expected = torch.tensor([0, 1] * 100)
    logits = torch.zeros((200, 2))
    logits[torch.arange(200), expected] = 11.0
    logits[:50] = logits[:50].flip(1)
    assert fit_temperature(logits, expected) == pytest.approx(10.0, rel=0.05)


def test_labels_may_be_any_type_that_reads_as_text(minilm, tmp_path):
    """A numeric label column is read as text, as the schema is."""
    rows = pd.DataFrame({"text": ["a card", "a fee", "my card", "the fee"], "label": [1, 2, 1, 2]})
    train_classifier(minilm, rows, rows, ["1", "2"], FROZEN, tmp_path)
    assert predict_classifier(minilm, tmp_path, ["a card"]).shape == (1, 2)
