"""What training did: the loss, and how far each module moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import CANDIDATE, QUIET, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def loss_curve(history: pd.DataFrame) -> Figure:
    """Training and validation loss by epoch. Columns: epoch, loss, validation_loss."""
    drawing, axes = axes_for("Loss while training")
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
    drawing, axes = axes_for(
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
