"""The figure of exposures: one line for how often a canary was learned, n drawn."""

from __future__ import annotations

import matplotlib
import pandas as pd

from workbench.evidence import figures

matplotlib.use("Agg")


def test_each_dose_has_a_line_with_its_number_and_each_model_its_dots():
    """Controls at the bottom, what was learned most often on top; n is that of one model."""
    import matplotlib.pyplot as plt

    rows = [
        (model, times, 1.0 + times) for model in ("base", "candidate") for times in (0, 0, 1, 4)
    ]
    drawing = figures.exposure(pd.DataFrame(rows, columns=["model", "repeats", "score"]), 9)
    axes = drawing.axes[0]
    said = [label.get_text() for label in axes.get_yticklabels()]
    assert said == [
        "controls, never learned  (n=2)",
        "learned once  (n=1)",
        "learned 4 times  (n=1)",
    ]
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [sorted(one) for one in dots] == [[1.0, 1.0, 2.0, 5.0]] * 2
    assert any("asked 9" in text.get_text() for text in axes.texts)
    plt.close(drawing)
