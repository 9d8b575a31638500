"""Style of all plots: figure, logarithmic axes, colors and legend."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Okabe & Ito's palette for the color-blind.
COLORS = ("#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#000000")
PRINTED: dict[str, Any] = {
    **{"linestyle": "none", "marker": "x", "color": "#555555"},
    "label": "AR-Net, as printed in the paper (2019)",
}


def new(columns: int = 1) -> tuple[Figure, Any]:
    """Return a figure and its axes from left to right."""
    figure, axes = plt.subplots(1, columns, figsize=(5.2 * columns, 4.0), layout="constrained")
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#DDDDDD", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.title.set_fontsize(11)
    return figure, axes


def logarithmic(axes: Axes, ticks: Sequence[int]) -> None:
    """Make both axes logarithmic, with `ticks` on the first and powers of ten on the second."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def save(figure: Figure, path: Path, *, legend_columns: int) -> None:
    """Write the figure with one legend below it."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    layout: dict[str, Any] = {"loc": "outside lower center", "ncols": legend_columns}
    figure.legend(handles, labels, frameon=False, fontsize=9, **layout)
    figure.savefig(path, dpi=150)
    plt.close(figure)
