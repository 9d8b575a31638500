"""Plot of a series with its regimes as colored spans."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsar.plotting.style import (
    BLUE,
    DARK_GREY,
    ORANGE,
    Floats,
    add_legend_above,
    format_ticks,
    new_axes,
    plot_times,
    style_axes,
)

REGIME_COLORS = (BLUE, ORANGE, "#4c9f70", "#8e6bb0", "#c9a227", "#3aa6b9")


def plot_regimes(
    times: Any,
    values: Floats,
    regimes: NDArray[np.int64],
    levels: Floats,
    *,
    differenced: bool = False,
    title: str = "",
    ax: Any = None,
) -> Any:
    """Plot a series over colored spans of its regimes, and the level of each.

    Parameters
    ----------
    times, values
        The series.
    regimes
        Index of the regime at each point.
    levels
        Mean of each regime.
    differenced
        Whether `levels` are means of the changes per step, which are named but not drawn.
    title
        Title of the axes.
    ax
        Matplotlib axes to draw on; None for new ones.

    Returns
    -------
    matplotlib.axes.Axes
    """
    ax = new_axes(figsize=(9, 3.4)) if ax is None else ax
    times = plot_times(times)
    changes = np.flatnonzero(np.diff(regimes)) + 1
    labeled: set[int] = set()
    quantity = "change" if differenced else "level"
    for first, last in zip([0, *changes], [*changes, len(regimes)], strict=True):
        regime = int(regimes[first])
        label = None
        if regime not in labeled:
            label = f"regime {regime} ({quantity} {levels[regime]:.4g})"
            labeled.add(regime)
        color = REGIME_COLORS[regime % len(REGIME_COLORS)]
        span = times[first], times[min(last, len(regimes) - 1)]
        ax.axvspan(*span, color=color, alpha=0.22, linewidth=0, label=label)
        if not differenced:
            ax.hlines(levels[regime], *span, color=color, linewidth=1.6)
    ax.plot(times, values, color=DARK_GREY, linewidth=1.0)
    style_axes(ax, title)
    format_ticks(ax, dates=times.dtype.kind == "M")
    add_legend_above(ax, max_columns=4, sort=True)
    return ax
