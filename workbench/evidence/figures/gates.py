"""All gates on one scale: figure, interval, and what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, QUIET, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLOURS = {"passed": BASE, "failed": CANDIDATE}
MARKS = {"passed": "o", "failed": "X"}


@styled
def margins(table: pd.DataFrame) -> Figure:
    """One line a gate: point, interval, and a tick where the threshold stands, which arrows to
    the side that is asked. Columns: name, n, value, low, high, verdict, asked, at_least."""
    drawing, axes = axes_for("Gates over a share", height=max(2.2, 0.34 * len(table) + 1.3))
    for place, row in enumerate(table.to_dict("records")):
        colour = COLOURS.get(row["verdict"], QUIET)
        axes.hlines(place, row["low"], row["high"], color=colour)
        axes.plot(row["value"], place, MARKS.get(row["verdict"], "s"), color=colour, markersize=6)
        axes.vlines(row["asked"], place - 0.32, place + 0.32, color=LIMIT, linewidth=1.4)
        side = ">" if row["at_least"] else "<"
        axes.plot(row["asked"], place - 0.32, side, color=LIMIT, markersize=4)
    names = [f"{row['name']}  (n={row['n']})" for row in table.to_dict("records")]
    axes.set_yticks(range(len(table)), names)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("share; | asked, > at least, < at most; ● passed, ✖ failed, ■ not enough")
    return drawing
