"""The one style of all figures. matplotlib is imported on use: readers without it can verify."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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


def axes_for(title: str, width: float = 7.2, height: float = 3.6):
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=(width, height))
    axes.set_title(title, loc="left", fontsize=11)
    return drawing, axes
