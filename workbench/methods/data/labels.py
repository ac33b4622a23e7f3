"""Labels that the rows themselves dispute, by confident learning: shown to a person, never changed.

Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels. JAIR 70
(2021), 1373-1411; the confident joint of section 3.1, its off-diagonal rows as in section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from ...errors import InputError


def disputed(
    table: pd.DataFrame, text: str, label: str, *,
    vectors: np.ndarray | None = None, folds: int = 5, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Rows that a model which never saw them gives another label with confidence, surest first.

    Columns row_id, text, given, suggested, margin: by how much the suggested label's probability
    exceeds the given one's. `vectors` (rows, width) are sentence vectors; without them TF-IDF.
    """
    given = table[label].astype(str)
    found = table[["row_id", text]].set_axis(["row_id", "text"], axis=1)
    probabilities, labels = out_of_fold(table[text].tolist(), given, vectors, folds, seed)
    number, rows = np.searchsorted(labels, given), np.arange(len(table))
    suggested = confident_labels(probabilities, number)
    found["given"], found["suggested"] = given, labels[suggested]
    found["margin"] = probabilities[rows, suggested] - probabilities[rows, number]
    found = found[suggested != number]
    return found.sort_values(["margin", "row_id"], ascending=[False, True], ignore_index=True)


def confident_labels(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The label that each row is confidently counted to, its own where there is none.

    A row is confident of a label when it gives it at least the mean probability that the rows so
    labelled give it (the paper's threshold t_j); of several the likeliest.
    """
    size = probabilities.shape[1]
    own = probabilities[np.arange(len(given)), given]
    mean = np.bincount(given, own, size) / np.maximum(np.bincount(given, minlength=size), 1)
    confident = np.where(probabilities >= mean, probabilities, -1.0)
    return np.where(confident.max(axis=1) < 0, given, confident.argmax(axis=1))


def out_of_fold(
    texts: Sequence[str], given: pd.Series, vectors: np.ndarray | None, folds: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, labels) probabilities by logistic regression fitted on the other folds; the labels.

    InputError when a label has fewer rows than there are folds: some fold could not learn it.
    """
    sizes = given.value_counts()
    if len(sizes) < 2 or sizes.min() < folds:
        given_rows = f"{len(sizes)} labels, the rarest with {min(sizes, default=0)} rows"
        raise InputError("Disputed labels cannot be estimated on so few rows.", given=given_rows,
                         expected=f"two labels or more, each with at least {folds} rows")  # fmt: skip
    model = LogisticRegression(max_iter=300)
    if vectors is None:
        model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), model)
    features = np.array(texts, dtype=object) if vectors is None else vectors
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    found = cross_val_predict(model, features, given.to_numpy(), cv=parts, method="predict_proba")
    return found, np.unique(given)
