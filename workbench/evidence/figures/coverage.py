"""Which hazards were met under which conditions, and which were not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import CANDIDATE, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WORDS = {"empty": "none", "not applicable": "–"}


@styled
def coverage(table: pd.DataFrame) -> Figure:
    """Scenarios by hazard (rows) and condition; `none` where one is lacking, a dash where none can be.

    Columns: library, hazard, condition, scenarios, cell (covered, empty, not applicable).
    """
    named = table.assign(row=table["library"] + " · " + table["hazard"])
    grid = named.pivot_table(index="row", columns="condition", values="scenarios", sort=False)
    n, empty = int(table["scenarios"].sum()), int((table["cell"] == "empty").sum())
    title = f"Scenarios by hazard and condition, n={n}; {empty} of {len(table)} cells empty"
    width, height = max(7.2, 0.8 * grid.shape[1] + 4), max(2.4, 0.3 * len(grid) + 1.8)
    drawing, axes = axes_for(title, width, height)
    axes.grid(False)
    axes.imshow(grid.to_numpy(float), cmap="cividis", aspect="auto", vmin=0)
    for one in named.itertuples():
        place = grid.columns.get_loc(one.condition), grid.index.get_loc(one.row)
        dark = one.scenarios < grid.max().max() / 2
        framed = {"edgecolor": CANDIDATE, "facecolor": "none", "linewidth": 2}
        axes.text(*place, WORDS.get(one.cell, str(one.scenarios)), ha="center", va="center",
                  fontsize=8, color="white" if dark else "black",
                  bbox=framed if one.cell == "empty" else None)  # fmt: skip
    axes.set_xticks(range(grid.shape[1]), grid.columns, rotation=30, ha="right")
    axes.set_yticks(range(len(grid)), grid.index)
    return drawing
