"""Figures in one style: colour-blind-safe, direct labels, threshold, interval and n always drawn.

Each function takes a table and returns a matplotlib figure; the caller saves it together with the
table (`Stage.plot`). matplotlib is imported on use, so that readers without it can verify.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by every common form of colour vision.
BASE, CANDIDATE, LIMIT, QUIET = "#0072B2", "#D55E00", "#000000", "#8C8C8C"
STYLE = {
    "figure.figsize": (7.2, 3.6),
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "font.size": 10,
    "svg.hashsalt": "workbench",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # the name of a class may hold a dollar
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Everything that `draw` adds has the one style; the reader's own settings stay."""

    @wraps(draw)
    def drawn(*given, **named) -> Figure:
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            return draw(*given, **named)

    return drawn


def _axes(title: str, width: float = 7.2, height: float = 3.6):
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=(width, height))
    axes.set_title(title, loc="left", fontsize=11)
    return drawing, axes


@styled
def loss_curve(history: pd.DataFrame) -> Figure:
    """Training and validation loss by epoch. Columns: epoch, loss, validation_loss."""
    drawing, axes = _axes("Loss while training")
    last = history.iloc[-1]
    for column, colour, name in (
        ("loss", QUIET, "training"),
        ("validation_loss", CANDIDATE, "validation"),
    ):
        axes.plot(history["epoch"], history[column], color=colour, marker="o", markersize=4)
        axes.annotate(f"  {name}", (last["epoch"], last[column]), color=colour, va="center")
    axes.margins(x=0.15)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("epoch")
    axes.set_ylabel("cross-entropy (nats)")
    return drawing


@styled
def change(table: pd.DataFrame) -> Figure:
    """Relative change of the weights, a row a kind of module, a column a layer; where nothing
    learned, nothing is drawn. Columns: part, layer (none for what is in no layer), relative."""
    grid = table.pivot_table(index="part", columns="layer", values="relative", sort=False)
    drawing, axes = _axes(
        f"How far each module moved, n={grid.count().sum()}",
        height=max(2.2, 0.36 * len(grid) + 1.4),
    )
    axes.grid(False)
    if grid.empty:
        axes.set_axis_off()
        axes.text(0, 0.5, "No module of the base learned.", transform=axes.transAxes)
        return drawing
    shown = axes.imshow(grid.to_numpy(float), cmap="cividis", aspect="auto", vmin=0)
    axes.set_yticks(range(len(grid)), grid.index)
    axes.set_xticks(range(grid.shape[1]), grid.columns)
    axes.set_xlabel("layer, from the input to the output")
    drawing.colorbar(shown, label="norm of the change / of the base")
    return drawing


@styled
def confusion(matrix: pd.DataFrame) -> Figure:
    """Confusion matrix, rows expected, columns predicted, counts; names only where they fit."""
    size = min(11.0, max(4.5, 0.55 * len(matrix)))
    drawing, axes = _axes(
        f"Expected (rows) and predicted, n={int(matrix.to_numpy().sum())}", size, size
    )
    axes.imshow(matrix.to_numpy(), cmap="cividis", aspect="equal")
    axes.grid(False)
    if len(matrix) <= 25:
        axes.set_xticks(range(len(matrix)), matrix.columns, rotation=60, ha="right")
        axes.set_yticks(range(len(matrix)), matrix.index)
        top = matrix.to_numpy().max() or 1
        for i, row in enumerate(matrix.to_numpy()):
            for j, count in enumerate(row):
                if count:
                    axes.text(
                        j,
                        i,
                        int(count),
                        ha="center",
                        va="center",
                        fontsize=8,
                        color="white" if count < top / 2 else "black",
                    )
    return drawing


@styled
def intervals(table: pd.DataFrame, title: str, threshold: float | None = None) -> Figure:
    """One line a row of the table: point and interval of base and candidate, n beside the name.

    Columns: name, n, and for each of base_ and candidate_: value, low, high.
    """
    drawing, axes = _axes(title, height=max(2.2, 0.42 * len(table) + 1.2))
    for offset, colour, model in ((0.14, BASE, "base"), (-0.14, CANDIDATE, "candidate")):
        if f"{model}_value" not in table:
            continue
        places = [i + offset for i in range(len(table))]
        axes.hlines(places, table[f"{model}_low"], table[f"{model}_high"], color=colour)
        axes.plot(table[f"{model}_value"], places, "o", color=colour, markersize=5, label=model)
    axes.set_yticks(range(len(table)), [f"{r['name']}  (n={r['n']})" for _, r in table.iterrows()])
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share, with 95 % interval")
    if threshold is not None:
        across = axes.get_xaxis_transform()
        axes.axvline(threshold, color=LIMIT, linestyle="--", linewidth=1)
        words = {"fontsize": 8, "ha": "right", "va": "top"}
        axes.text(threshold, 0.98, f"asked {threshold:g} ", transform=across, **words)
    drawing.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower right")
    return drawing


@styled
def counts(table: pd.DataFrame, title: str) -> Figure:
    """Stacked bars: rows by class and set. Index: class; columns: sets; values: rows."""
    drawing, axes = _axes(title, height=max(2.2, 0.3 * min(len(table), 30) + 1.2))
    left = 0
    for column, colour in zip(table.columns, (BASE, QUIET, CANDIDATE), strict=False):
        axes.barh(range(len(table)), table[column], left=left, color=colour, label=column)
        left = table[column] + left
    if len(table) <= 30:
        axes.set_yticks(range(len(table)), table.index)
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    drawing.legend(frameon=False, fontsize=9, ncols=len(table.columns), loc="outside lower right")
    return drawing
