"""Memorisation: how exposed the secret of each canary is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, axes_for, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@styled
def exposure(table: pd.DataFrame, threshold: float | None = None) -> Figure:
    """A dot a canary and model, a line for how often it was learned; right is better remembered.

    Columns: model, repeats (0 for controls), score (bits), space.
    """
    often = sorted(table["repeats"].unique())
    drawing, axes = axes_for("Exposure of the canaries' secrets", height=0.5 * len(often) + 1.8)
    for offset, colour, model in ((0.14, BASE, "base"), (-0.14, CANDIDATE, "candidate")):
        of = table[table["model"] == model]
        places = [often.index(times) + offset for times in of["repeats"]]
        axes.plot(of["score"], places, "o", color=colour, markersize=5, alpha=0.6, label=model)
    counts = table[table["model"] == "candidate"]["repeats"].value_counts()
    said = {0: "controls, never learned", 1: "learned once"}
    axes.set_yticks(range(len(often)), [
        f"{said.get(times, f'learned {times:g} times')}  (n={counts[times]})" for times in often
    ])  # fmt: skip
    axes.set_xlabel("exposure (bits); a guess has 1.4 on average, the first of 1,000 has 10")
    if threshold is not None:
        axes.axvline(threshold, color=LIMIT, linestyle="--", linewidth=1)
        words = {"fontsize": 8, "ha": "right", "va": "top"}
        axes.text(
            threshold, 0.98, f"asked {threshold:g} ", transform=axes.get_xaxis_transform(), **words
        )
    axes.set_ylim(-0.6, len(often) - 0.4)
    drawing.legend(frameon=False, fontsize=9, ncols=2, loc="outside lower right")
    return drawing
