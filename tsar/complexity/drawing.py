"""The double-descent picture: what a size costs in total, and what of it is bias and variance."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsar.plotting import BLUE, DASHES, DOTS, GREY, INK, ORANGE, PALE, new_axes

GREEN, PURPLE = "#00795c", "#7a4fa3"
SIZE = (8.6, 3.7)  # inches of a panel
LEAST = 0.01  # of the test risk, below which training risk is that of a head that interpolates
HEADROOM = 30  # times the null risk, above which a peak is cut off


class Line(NamedTuple):
    """How a head is drawn, and called."""

    label: str
    color: str
    marker: str


LINES = {
    "ridgeless": Line("no penalty", BLUE, "o-"),
    "ridge": Line("tuned ridge", ORANGE, "s-"),
    "logistic": Line("logistic", BLUE, "o-"),
}


def plot_risk(
    table: pd.DataFrame,
    *,
    rows: int,
    null: float,
    bayes: float | None = None,
    head: str | None = None,
    chosen: int | None = None,
    title: str = "",
    unit: str = "features",
) -> Any:
    """Draw risk against size, total risk above and excess risk below.

    Parameters
    ----------
    table
        `ComplexityAnalysis.curves_`, or a frame with the columns of it that are known.
    rows
        Training rows: where the peak stands.
    null, bayes
        Risk of the mean, and that of the best forecast there is, where it is known.
    head
        Whose excess risk, training risk and theory are drawn; None for the first of the table.
    chosen
        The size that is recommended.
    title, unit
        Above the picture; what sizes count.

    Returns
    -------
    matplotlib.figure.Figure
    """
    heads = [name for name in table["head"].unique() if name != "mean"]
    main = heads[0] if head is None else head
    curve = table[table["head"] == main]
    split = "excess" in curve and bool(curve["excess"].notna().any())
    axes = np.atleast_1d(new_axes(figsize=SIZE, rows=1 + split))
    _draw_total(axes[0], table, main, {"the mean alone": null, "best possible": bayes})
    if split:
        _draw_excess(axes[1], curve, LINES[main])
    for ax in axes:
        _dress(ax, curve["size"].to_numpy(), rows, chosen)
    axes[0].set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=12)
    axes[0].set_ylabel("total risk")
    axes[-1].set_xlabel(f"size: {unit}")
    _add_ratio(axes[0], rows)
    return axes[0].figure


def _draw_total(ax: Any, table: pd.DataFrame, main: str, lines: dict[str, float | None]) -> None:
    shown = list(table["test"][table["head"] != "mean"])
    for name, line in LINES.items():
        part = table[table["head"] == name]
        if len(part):
            style = {"color": line.color, "linewidth": 1.8, "markersize": 4}
            order = 4 if name == main else 3
            label = f"test, {line.label}"
            ax.plot(part["size"], part["test"], line.marker, label=label, zorder=order, **style)
    curve, line = table[table["head"] == main], LINES[main]
    size = curve["size"]
    if "train" in curve:
        # Where a head interpolates there is nothing to draw on a logarithmic axis.
        train = curve["train"].where(curve["train"] > LEAST * curve["test"])
        label = f"train, {line.label}"
        ax.plot(size, train, color=line.color, linewidth=1.2, linestyle=DOTS, label=label)
        shown += [*train]
    if {"theory_excess", "irreducible"} <= set(curve) and curve["irreducible"].notna().any():
        theory = (curve["irreducible"] + curve["theory_excess"]).replace(np.inf, np.nan)
        ax.plot(size, theory, color=INK, linewidth=1.1, linestyle=DASHES, label="theory", zorder=5)
        shown += [*theory]
    for color, (name, value) in zip((GREY, GREEN), lines.items(), strict=True):
        if value is not None:
            ax.axhline(value, color=color, linewidth=1.4, label=name, zorder=1)
    known = [value for value in lines.values() if value is not None]
    _limit(ax, [*shown, *known], known[0])


def _draw_excess(ax: Any, curve: pd.DataFrame, line: Line) -> None:
    size, excess = curve["size"], curve["excess"]
    floor = 1e-3 * float(excess.min())
    # Where one part is nearly all of it, its line runs within that of the sum.
    ax.plot(size, excess, color=line.color, alpha=0.3, linewidth=7, label="excess", zorder=2)
    for name, color, marker in (("variance", PURPLE, "o-"), ("bias", GREEN, "s-")):
        value = curve[name].where(curve[name] > floor)
        if value.notna().any():
            ax.plot(size, value, marker, color=color, linewidth=1.6, markersize=3, label=name)
    shown = [*excess, *curve["bias"][curve["bias"] > floor]]
    if "theory_excess" in curve:
        theory = curve["theory_excess"].replace([np.inf, 0.0], np.nan)
        ax.plot(size, theory, color=INK, linewidth=1.1, linestyle=DASHES, label="theory", zorder=5)
        near = theory.between(excess.min() / 10, excess.max() * 10)
        shown += [*theory[near]]
    ax.set_ylabel(f"excess risk, {line.label}")
    _limit(ax, shown, None)


def _limit(ax: Any, values: Sequence[float], null: float | None) -> None:
    """Logarithmic axis over what is measured; a peak far above the null risk runs out of it."""
    shown = np.array([value for value in values if np.isfinite(value) and value > 0])
    if not len(shown):
        return
    top = shown.max() if null is None else min(shown.max(), max(HEADROOM * null, shown.min()))
    ax.set_yscale("log")
    ax.set_ylim(shown.min() / 1.3, top * 1.4)


def _dress(ax: Any, sizes: Any, rows: int, chosen: int | None) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.set_xlim(max(sizes.min(), 1) / 1.15, sizes.max() * 1.15)
    if sizes.min() <= rows <= sizes.max():
        ax.axvline(rows, color=INK, linewidth=1, linestyle=DOTS, zorder=0)
        ax.axvspan(rows / 2, min(2 * rows, 2 * sizes.max()), color=PALE, alpha=0.6, zorder=-1)
    if chosen:
        text = f"recommended: {chosen:,}"
        ax.axvline(chosen, color=GREEN, linewidth=5, alpha=0.25, zorder=0, label=text)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    low, high = ax.get_ylim()
    few = np.log10(high / low) < 2.2
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=8))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=14))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(colors=INK, labelsize=9, length=0, which="both")
    ax.tick_params(axis="x", length=3, color=GREY, which="major")
    ax.grid(axis="y", color=PALE, linewidth=0.8)
    ax.set_axisbelow(True)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, size=10)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _add_ratio(ax: Any, rows: int) -> None:
    """Features a row, on top."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    top = ax.secondary_xaxis("top", functions=(lambda size: size / rows, lambda r: r * rows))
    low, high = (bound / rows for bound in ax.get_xlim())
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if low <= tick <= high]
    top.xaxis.set_major_locator(FixedLocator(ticks))
    top.xaxis.set_minor_locator(NullLocator())
    top.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    top.tick_params(colors=GREY, labelsize=8.5, length=0)
    top.spines["top"].set_visible(False)
    top.set_xlabel(f"features a row (n = {rows:,})", color=GREY, fontsize=9)
