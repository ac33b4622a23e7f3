"""Monitoring: how the evidence of each signal grew, against what makes it an alarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .style import BASE, CANDIDATE, LIMIT, QUIET, styled

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COLOURS = {"quiet": BASE, "alarm": CANDIDATE, "blind": QUIET}


@styled
def evidence(table: pd.DataFrame) -> Figure:
    """A panel a signal: log e-value by line of the stream, the threshold dashed, n named.

    Columns: line, signal, evidence, needed, lines, state. The axes are shared.
    """
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(table["signal"]))
    drawing, panels = plt.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False,
                                   figsize=(7.2, 0.8 + 0.75 * len(names)))  # fmt: skip
    floor, top = -5.0, float(table["needed"].max()) * 2
    for axes, name in zip(panels[:, 0], names, strict=True):
        of = table[table["signal"] == name]
        last = of.iloc[-1]
        axes.plot(of["line"], of["evidence"].clip(floor, top), color=COLOURS[last["state"]])
        axes.axhline(last["needed"], color=LIMIT, linestyle="--", linewidth=1)
        words = f"{name}: {last['state']}, n={last['lines']}"
        axes.text(0.01, 0.9, words, transform=axes.transAxes, fontsize=8, va="top")
    panels[0, 0].set_title("Evidence by signal (log e-value); an alarm above the dashed line",
                           loc="left", fontsize=11)  # fmt: skip
    panels[-1, 0].set_xlabel("line of the stream")
    return drawing
