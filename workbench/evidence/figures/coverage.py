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
    """Scenarios by hazard, a row each; its cells are the conditions of its library, by name.

    `none` framed where a scenario is lacking, a dash where none can be. Columns: library, hazard,
    condition, scenarios, cell (covered, empty, not applicable).
    """
    named = table.assign(row=table["library"] + " · " + table["hazard"])
    named["place"] = named.groupby("row").cumcount()
    grid = named.pivot_table(index="row", columns="place", values="scenarios", sort=False)
    n, empty = int(table["scenarios"].sum()), int((table["cell"] == "empty").sum())
    title = f"Scenarios by hazard and condition, n={n}; {empty} of {len(table)} cells empty"
    drawing, axes = axes_for(title, 4 + 1.05 * grid.shape[1], 0.8 + 0.42 * len(grid))
    axes.grid(False)
    axes.imshow(grid.to_numpy(float), cmap="cividis", aspect="auto", vmin=0)
    for one in named.itertuples():
        word = f"{one.condition}\n{WORDS.get(one.cell, one.scenarios)}"
        place, dark = grid.index.get_loc(one.row), one.scenarios < grid.max().max() / 2
        framed = {"edgecolor": CANDIDATE, "facecolor": "none"} if one.cell == "empty" else None
        style = {"color": "white" if dark else "black", "bbox": framed, "fontsize": 7}
        axes.text(one.place, place, word, ha="center", va="center", **style)
    axes.set_xticks([])
    axes.set_yticks(range(len(grid)), grid.index)
    return drawing
