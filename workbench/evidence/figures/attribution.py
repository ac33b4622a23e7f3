"""Where the candidate changed against the base, group by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, QUIET, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLOURS = {"better": BASE, "within chance": QUIET, "worse": CANDIDATE}


@styled
def differences(table: pd.DataFrame) -> Figure:
    """Candidate less base, one line a group, with interval and n; the colour says the verdict.

    Columns: group, n, before, after, low, high, verdict, in the order in which they are drawn.
    """
    drawing, axes = axes_for("Candidate less base", height=max(2.2, 0.32 * len(table) + 1.2))
    for verdict, colour in COLOURS.items():
        mine = table[table["verdict"] == verdict]
        places, found = mine.index, mine["after"] - mine["before"]
        axes.hlines(places, mine["low"], mine["high"], color=colour)
        axes.plot(found, places, "o", color=colour, markersize=5, label=f"{verdict} ({len(mine)})")
    axes.axvline(0, color=LIMIT, linewidth=1)
    names = [f"{row['group']}  (n={row['n']})" for _, row in table.iterrows()]
    axes.set_yticks(range(len(table)), names)
    axes.invert_yaxis()
    axes.set_xlabel("difference of shares right, with 95 % interval")
    drawing.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower right")
    return drawing
