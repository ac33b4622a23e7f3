"""Calibration: reliability with what each bin holds, and error against the share answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODELS = (("base", BASE, -1), ("candidate", CANDIDATE, 1))


@styled
def reliability(table: pd.DataFrame, title: str) -> Figure:
    """Accuracy against mean confidence, a point a bin with its interval and n; the diagonal is
    perfect. Columns: model, confidence, accuracy, from, to, n."""
    drawing, axes = axes_for(title, 5.6, 5.2)
    axes.plot([0, 1], [0, 1], color=LIMIT, linestyle="--", linewidth=1)
    for model, colour, side in MODELS:
        mine = table[table["model"] == model]
        axes.vlines(mine["confidence"], mine["from"], mine["to"], color=colour, alpha=0.5)
        shown = {"color": colour, "label": f"{model} (n={mine['n'].sum()})", "markersize": 5}
        axes.plot(mine["confidence"], mine["accuracy"], "o-", **shown)
        for _, one in mine.iterrows():
            place, words = (one["confidence"], one["accuracy"]), {"fontsize": 7, "color": colour}
            axes.annotate(
                one["n"], place, (6 * side, -3 * side), textcoords="offset points", **words
            )
    axes.set(xlabel="mean confidence of the bin", ylabel="share right, with 95 % interval")
    return _named(drawing, axes)


@styled
def risk_coverage(table: pd.DataFrame, title: str, target: float) -> Figure:
    """Error among the answered against the share answered. Columns: model, coverage, risk."""
    drawing, axes = axes_for(title)
    for model, colour, _ in MODELS:
        mine = table[table["model"] == model]
        shown = {"color": colour, "label": f"{model} (n={len(mine)})"}
        axes.step(mine["coverage"], mine["risk"], where="post", **shown)
    axes.axhline(target, color=LIMIT, linestyle="--", linewidth=1)
    axes.text(0.0, target, f"target {target:g}", fontsize=8, va="bottom")
    axes.set(xlabel="share answered, most confident first", ylabel="share wrong among them")
    return _named(drawing, axes)


def _named(drawing: Figure, axes: Axes) -> Figure:
    """The same axes for every model and run."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    drawing.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower right")
    return drawing
