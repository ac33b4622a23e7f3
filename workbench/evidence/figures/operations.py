"""Latency of a server under its load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import CANDIDATE, LIMIT, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def latencies(table: pd.DataFrame, threshold: float | None = None) -> Figure:
    """A dot and an interval a quantile, in milliseconds on a logarithmic axis; left is faster.

    Columns: name, value, low, high (both empty where too few were asked for an interval), n.
    """
    drawing, axes = axes_for("Latency under the stated load", height=0.5 * len(table) + 1.4)
    places = range(len(table))
    axes.hlines(places, table["low"].astype(float), table["high"].astype(float), color=CANDIDATE)
    axes.plot(table["value"], places, "o", color=CANDIDATE, markersize=5)
    axes.set_yticks(places, [f"{row.name}  (n={row.n})" for row in table.itertuples()])
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, with 90 % interval where there were requests enough for one")
    if threshold is not None:
        axes.axvline(threshold, color=LIMIT, linestyle="--", linewidth=1)
        words = {"fontsize": 8, "ha": "right", "va": "top"}
        axes.text(threshold, 0.98, f"asked {threshold:g} ms ",
                  transform=axes.get_xaxis_transform(), **words)  # fmt: skip
    axes.invert_yaxis()
    return drawing
