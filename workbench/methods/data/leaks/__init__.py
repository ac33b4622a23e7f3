"""What one set tells another: every leak check that is asked for, in one table of findings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .contamination import contamination
from .exact import exact
from .findings import COLUMNS, SETS
from .near import near, near_copies
from .semantic import Calibration, Embed, calibrate, semantic
from .structure import shared_group, temporal

__all__ = ["COLUMNS", "SETS", "Calibration", "calibrate", "find_leaks", "near_copies",
           "semantic"]  # fmt: skip


def find_leaks(
    table: pd.DataFrame, text: str, group: str | None = None, *, equal: bool = True,
    jaccard: float | None = None, embed: Embed | None = None, cosine: float | None = None,
    time: str | None = None, benchmarks: Iterable[Path] = (),
) -> pd.DataFrame:  # fmt: skip
    """Pairs of rows in different sets that should not be, side by side, the weaker set left.

    `table` has row_id, set and `text`. A check runs when what it needs is given: `jaccard` the
    threshold of near-duplicates, `embed` and `cosine` for paraphrases, `group` and `time` columns,
    `benchmarks` files. Of two texts only the strictest finding is told, so those of one normaliser
    are those of its kind and of all kinds before it. Columns: `COLUMNS`; score is 1 for what is
    equal, else Jaccard, cosine, or for `temporal` the days that the left row is too late.
    """
    texts = exact(table, text) if equal else []
    if jaccard is not None:
        texts.append(near(table, text, jaccard))
    if embed is not None and cosine is not None:
        texts.append(semantic(table, text, embed, cosine))
    texts += [one for path in benchmarks for one in contamination(table, text, Path(path))]
    nothing, pair = pd.DataFrame(columns=COLUMNS), ["left_id", "right_id"]
    told = [pd.concat([nothing, *texts]).drop_duplicates(pair)]
    if group:
        told.append(shared_group(table, text, group))
    if time:
        told.append(temporal(table, text, time))
    return pd.concat(told, ignore_index=True)
