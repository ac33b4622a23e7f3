"""Shares with intervals, confusion, and rows by class and set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, QUIET, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def confusion(matrix: pd.DataFrame) -> Figure:
    """Confusion matrix, rows expected, columns predicted, counts; names only where they fit."""
    size = min(11.0, max(4.5, 0.55 * len(matrix)))
    drawing, axes = axes_for(
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
    drawing, axes = axes_for(title, height=max(2.2, 0.42 * len(table) + 1.2))
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
    drawing, axes = axes_for(title, height=max(2.2, 0.3 * min(len(table), 30) + 1.2))
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
