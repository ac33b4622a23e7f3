"""Equal texts in two sets, under each normaliser from the strictest to the weakest."""

from __future__ import annotations

import pandas as pd

from ....policy.texts import NORMALISERS
from .findings import equal, side_by_side


def exact(table: pd.DataFrame, text: str) -> list[pd.DataFrame]:
    """Findings of each normaliser; those of a weaker one include those of the stricter."""
    return [
        side_by_side(table, text, equal(table, table[text].map(normalise)), f"exact ({name})")
        for name, normalise in NORMALISERS.items()
    ]
