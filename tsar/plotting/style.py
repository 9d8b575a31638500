"""Shared style of all plots: colors, figures, axes, ticks and legends."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Distinguishable with color blindness and in greyscale (Okabe & Ito 2008, darker for thin lines).
BLUE, ORANGE = "#1f66b0", "#d55e00"
DARK_GREY, GREY, LIGHT_GREY = "#333a44", "#8d949e", "#e4e7eb"
DASHED, DOTTED = (0, (4, 2)), (0, (2, 3))


def new_figure(size: tuple[float | int, float | int]) -> Any:
    """Return a new figure, with its width and height in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("plots need the plot extra. Run: pip install 'tsar[plot]'") from error
    # Without pyplot: no global state, no window, no backend to choose.
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)  # inches
    figure = Figure(figsize=size, layout=layout, dpi=150)
    FigureCanvasAgg(figure)
    return figure


def new_axes(*, figsize: tuple[float | int, float | int], rows: int = 1) -> Any:
    """Return new matplotlib axes: one, or an array of `rows` axes in one column.

    Parameters
    ----------
    figsize
        Width and height of one of the axes, in inches.
    rows
        Number of axes.

    Raises
    ------
    ImportError
        The plot extra is not installed.
    """
    figure = new_figure((figsize[0], figsize[1] * rows))
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    return axes[0] if rows == 1 else axes


def new_grid(count: int) -> tuple[Any, list[Any]]:
    """Return a figure and its axes: up to two in one column, more in two columns.

    The first of an odd number spans both columns.
    """
    columns = 1 if count <= 2 else 2
    rows = -(-count // columns)
    figure = new_figure((10, 2.7 * rows + 0.7))
    grid = figure.add_gridspec(rows, columns)
    is_odd = bool(count % columns)
    wide = [figure.add_subplot(grid[0, :])] if is_odd else []
    cells = range(columns if is_odd else 0, rows * columns)
    return figure, wide + [figure.add_subplot(grid[divmod(cell, columns)]) for cell in cells]


def style_axes(ax: Any, title: str) -> None:
    """Set the title, remove spines and draw a light horizontal grid."""
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(colors=DARK_GREY, labelsize=8.5, length=0)
    ax.tick_params(axis="x", length=3, color=GREY)
    ax.grid(axis="y", color=LIGHT_GREY, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.margins(x=0.01)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=DARK_GREY, size=9)
    ax.set_title(title, loc="left", fontsize=10, color=DARK_GREY, fontweight="bold")


def format_ticks(ax: Any, *, dates: bool) -> None:
    """Write dates in short form, and values with a separator of thousands."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if dates:
        locator = AutoDateLocator(minticks=3, maxticks=8)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def add_legend_above(ax: Any, *, max_columns: int | None = None, sort: bool = False) -> None:
    """Add a legend above the axes, at the right of the title; sorted by label if asked for."""
    entries = list(zip(*ax.get_legend_handles_labels(), strict=True))
    if sort:
        entries.sort(key=lambda entry: entry[1])
    ax.legend(
        *zip(*entries, strict=True),
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        frameon=False,
        fontsize=8,
        ncols=min(len(entries), max_columns or len(entries)),
    )


def plot_times(times: Any) -> Any:
    """Times of a pandas Series as matplotlib draws them: local dates and times, or integers."""
    if hasattr(times.dtype, "freq"):
        return times.dt.to_timestamp().to_numpy()
    if getattr(times.dtype, "tz", None) is not None:
        return times.dt.tz_localize(None).to_numpy()
    return times.to_numpy()
