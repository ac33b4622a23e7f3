"""Disputed labels: shown with what speaks against them, never changed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InputError
from workbench.methods.data.labels import confident_labels, disputed

TOPICS = {
    "card": "card chip plastic expired replace embossed",
    "fees": "fee charge cost price commission tariff",
    "login": "password login locked pin code sign",
}
FILLER = "please my the about help today now question account new".split()


def messages(seed: int, n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = rng.choice(list(TOPICS), n)
    texts = [
        " ".join(rng.permutation([*rng.choice(TOPICS[one].split(), 5), *rng.choice(FILLER, 3)]))
        for one in labels
    ]
    return pd.DataFrame({"row_id": [f"r{i:03}" for i in range(n)], "text": texts, "label": labels})


def test_the_confident_joint_is_that_of_the_paper():
    """Thresholds are the mean self-confidence; a row below all of them keeps its label."""
    given = np.array([0, 0, 0, 1, 1])
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.45, 0.55]])
    assert np.bincount(given, p[np.arange(5), given]) / [3, 2] == pytest.approx([0.6, 0.625])
    assert confident_labels(p, given).tolist() == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_were_changed_are_disputed_and_the_right_one_is_suggested(seed):
    """Of 15 drawn by seed most are found, and few others; a clean table has almost none."""
    rows = messages(seed)
    assert len(disputed(rows, "text", "label")) <= 3
    rng = np.random.default_rng(seed)
    wrong = rows.sample(15, random_state=seed).index
    true = rows.loc[wrong, "label"]
    rows.loc[wrong, "label"] = [rng.choice([t for t in TOPICS if t != one]) for one in true]
    before = rows.copy()
    found = disputed(rows, "text", "label").set_index("row_id")
    hits = found.index.intersection(rows.loc[wrong, "row_id"])
    assert len(hits) >= 9 and len(found) <= len(hits) + 5
    truth = dict(zip(rows.loc[wrong, "row_id"], true, strict=True))
    assert np.mean([found.loc[one, "suggested"] == truth[one] for one in hits]) > 0.9
    assert (found["suggested"] != found["given"]).all()
    assert rows.equals(before), "a label was changed"


def test_the_surest_come_first_and_the_same_seed_says_the_same():
    """Whoever reads ten reads the ten that matter; vectors may stand for words."""
    rows = messages(5)
    rows.loc[:9, "label"] = rows["label"].iloc[10:20].to_numpy()
    vectors = np.array(
        [[text.count(w) for t in TOPICS.values() for w in t.split()] for text in rows["text"]]
    )
    found = disputed(rows, "text", "label", vectors=vectors)
    assert found["margin"].is_monotonic_decreasing and len(found)
    assert found.equals(disputed(rows, "text", "label", vectors=vectors))


def test_too_few_rows_of_a_label_are_refused():
    """A fold that never saw a label would dispute all of it."""
    rows = messages(0, 40)
    rows.loc[0, "label"] = "rare"
    with pytest.raises(InputError, match="so few rows"):
        disputed(rows, "text", "label")
