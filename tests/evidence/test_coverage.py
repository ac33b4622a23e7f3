"""The coverage of scenarios: every cell is drawn, and the empty ones can't be overlooked."""

from __future__ import annotations

import matplotlib
import pandas as pd

from workbench.evidence import figures

matplotlib.use("Agg")

CELLS = pd.DataFrame(
    [("money", "scam", "plain", 3, "covered"), ("money", "scam", "hidden", 0, "empty"),
     ("money", "delay", "plain", 1, "covered"), ("money", "delay", "hidden", 0, "not applicable"),
     ("cards", "theft", "abroad", 2, "covered")],
    columns=["library", "hazard", "condition", "scenarios", "cell"],
)  # fmt: skip


def test_every_cell_has_its_word_and_an_empty_one_a_frame():
    """Its condition with a count, `none` or a dash; a library shows its own conditions only."""
    axes = figures.coverage(CELLS).axes[0]
    words = {text.get_position(): text for text in axes.texts}
    assert {place: text.get_text() for place, text in words.items()} == {
        (0, 0): "plain\n3", (1, 0): "hidden\nnone", (0, 1): "plain\n1", (1, 1): "hidden\n–",
        (0, 2): "abroad\n2"}  # fmt: skip
    assert [place for place, text in words.items() if text.get_bbox_patch()] == [(1, 0)]
    assert axes.get_title(loc="left").endswith("n=6; 1 of 5 cells empty")
    assert [tick.get_text() for tick in axes.get_yticklabels()][2] == "cards · theft"
