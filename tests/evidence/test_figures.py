"""Figures: one style, and threshold, interval and n drawn whatever the table holds."""

from __future__ import annotations

import io
import subprocess
import sys

import matplotlib
import pandas as pd
import pytest

from workbench.evidence import figures
from workbench.evidence.figures import style

matplotlib.use("Agg")

ROW = {
    "name": "card", "n": 5, "base_value": 0.5, "base_low": 0.2, "base_high": 0.8,
    "candidate_value": 0.6, "candidate_low": 0.3, "candidate_high": 0.9,
}  # fmt: skip
UNMEASURED = {**{key: None for key in ROW}, "name": "fees", "n": 0}
HISTORY = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "validation_loss": [2.0, 1.5]})
MATRIX = pd.DataFrame([[3, 1], [0, 4]], index=["card", "fees"], columns=["card", "fees"])
COUNTS = pd.DataFrame({"train": [3, 4], "dev": [1, 1], "locked": [2, 2]}, index=["card", "fees"])


@pytest.fixture(autouse=True)
def closed():
    """Figures are closed, and the reader's own settings are as they were."""
    import matplotlib.pyplot as plt

    before = dict(plt.rcParams)
    yield
    plt.close("all")
    assert dict(plt.rcParams) == before


def texts(drawing) -> str:
    axes = drawing.axes[0]
    titles = [axes.get_title(side) for side in ("left", "center")]
    found = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    return " | ".join([*(one.get_text() for one in found), *titles])


def bytes_of(drawing) -> bytes:
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def test_loading_the_module_loads_no_plotting_library():
    """Readers without matplotlib can still verify."""
    code = "import sys, workbench.evidence.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_interval_threshold_and_n_are_drawn():
    """Both models with point and interval; the threshold as a line with its value."""
    drawing = figures.intervals(pd.DataFrame([ROW, {**ROW, "name": "fees", "n": 7}]), "Recall", 0.9)
    shown = texts(drawing)
    assert "card  (n=5)" in shown and "fees  (n=7)" in shown and "asked 0.9" in shown
    axes = drawing.axes[0]
    assert sorted(axes.get_legend_handles_labels()[1]) == ["base", "candidate"]
    segments = [tuple(s[:, 0]) for lines in axes.collections for s in lines.get_segments()]
    assert segments.count((0.2, 0.8)) == segments.count((0.3, 0.9)) == 2
    assert [0.9, 0.9] in [list(line.get_xdata()) for line in axes.lines]


@pytest.mark.parametrize("rows", [[ROW], [ROW] * 12])
@pytest.mark.parametrize("threshold", [0.02, 0.5, 0.98])
def test_the_threshold_is_inked_wherever_it_lies(rows, threshold):
    """Its words stand inside the picture: without them the picture is another."""
    drawing = figures.intervals(pd.DataFrame(rows), "t", threshold)
    drawing.draw_without_rendering()
    words = next(text for text in drawing.axes[0].texts if "asked" in text.get_text())
    box, inside = words.get_window_extent(), drawing.bbox
    assert inside.y0 <= box.y0 and box.y1 <= inside.y1
    before = bytes_of(drawing)
    words.remove()
    assert bytes_of(drawing) != before


def test_what_was_not_measured_is_a_gap_and_not_a_zero():
    """A class without cases keeps its line, with n=0 and no point."""
    drawing = figures.intervals(pd.DataFrame([ROW, UNMEASURED]), "t")
    assert "fees  (n=0)" in texts(drawing)
    for line in drawing.axes[0].lines:
        assert pd.isna(line.get_xdata()[1])
    assert bytes_of(drawing)


def test_a_table_of_one_model_is_drawn_as_one():
    """No base was asked: no empty entry in the legend."""
    table = pd.DataFrame([ROW])[["name", "n", "candidate_value", "candidate_low", "candidate_high"]]
    assert figures.intervals(table, "t").axes[0].get_legend_handles_labels()[1] == ["candidate"]


def test_loss_lines_are_labelled_directly():
    """Which line is which stands beside it; epochs are whole numbers."""
    drawing = figures.loss_curve(HISTORY)
    assert "training" in texts(drawing) and "validation" in texts(drawing)
    drawing.draw_without_rendering()
    ticks = drawing.axes[0].get_xticks()
    assert all(float(tick).is_integer() for tick in ticks)


def test_the_confusion_matrix_shows_counts_and_n():
    """Names and numbers where they fit; n always."""
    shown = texts(figures.confusion(MATRIX))
    assert "n=8" in shown and "card" in shown and " 4 " in f" {shown} "
    wide = pd.DataFrame([[1] * 80] * 80)
    assert "n=6400" in texts(figures.confusion(wide)) and not figures.confusion(wide).axes[0].texts
    assert bytes_of(figures.confusion(MATRIX * 0))


def test_counts_stack_to_the_rows_of_the_class():
    """The bars of a class are as long as it has rows."""
    axes = figures.counts(COUNTS, "Rows").axes[0]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert ends == [3, 4, 4, 5, 6, 7]
    assert axes.get_legend_handles_labels()[1] == ["train", "dev", "locked"]


@pytest.mark.parametrize("name", ["cost $5 or $6", "$a_{$", "x^2_", "<b>", "100 %"])
def test_a_name_is_drawn_as_it_is_written(name):
    """The user's class names are text, never formulas."""
    rows = pd.DataFrame([{**ROW, "name": name}])
    named = MATRIX.set_axis([name, "b"], axis=0).set_axis([name, "b"], axis=1)
    for drawing in (
        figures.intervals(rows, name, 0.5),
        figures.confusion(named),
        figures.counts(COUNTS.set_axis([name, "b"], axis=0), name),
    ):
        assert bytes_of(drawing) and name in texts(drawing)


def test_the_same_table_gives_the_same_bytes():
    """A replay can compare pictures."""
    pairs = [(figures.loss_curve, (HISTORY,)), (figures.intervals, (pd.DataFrame([ROW]), "t", 0.5))]
    for draw, given in pairs:
        assert bytes_of(draw(*given)) == bytes_of(draw(*given))


def test_base_and_candidate_can_be_told_apart_without_red_and_green():
    """Okabe and Ito's palette; the two differ in lightness too."""
    from matplotlib.colors import rgb_to_hsv, to_rgb

    light = [sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), to_rgb(one), strict=True))
             for one in (style.BASE, style.CANDIDATE)]  # fmt: skip
    assert abs(light[0] - light[1]) > 0.03
    hues = [rgb_to_hsv(to_rgb(one))[0] for one in (style.BASE, style.CANDIDATE)]
    assert abs(hues[0] - hues[1]) > 0.3
