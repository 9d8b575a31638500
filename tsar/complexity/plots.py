"""Plot of risk against size: test and training risk, excess risk, bias, variance and theory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tsar.plotting.style import BLUE, DARK_GREY, DASHED, DOTTED, GREY, LIGHT_GREY, ORANGE, new_axes

GREEN, PURPLE = "#00795c", "#7a4fa3"
SIZE = (8.6, 3.7)  # inches of a panel
MIN_TRAIN_RISK = 0.01  # of the test risk; below it a head interpolates
MAX_NULL_RISKS = 30  # a peak is cut off at so many times the null risk


class Style(NamedTuple):
    """Label, colour and marker of a head."""

    label: str
    color: str
    marker: str


STYLES = {
    "ridgeless": Style("no penalty", BLUE, "o-"),
    "ridge": Style("tuned ridge", ORANGE, "s-"),
    "logistic": Style("logistic", BLUE, "o-"),
}


def plot_risk(
    table: pd.DataFrame,
    *,
    n_train: int,
    null_risk: float,
    bayes_risk: float | None = None,
    head: str | None = None,
    recommended: int | None = None,
    title: str = "",
    unit: str = "features",
) -> Any:
    """Plot risk against size: total risk above, excess risk below.

    Parameters
    ----------
    table
        `ComplexityAnalysis.curves_`, or a frame with some of its columns: ``size, head, test``, and
        ``bias, variance`` if it has ``excess``.
    n_train
        Training rows: the interpolation threshold.
    null_risk, bayes_risk
        Risk of the mean, and of the best possible forecast, where it is known.
    head
        Whose excess risk, training risk and theory are plotted; None for the first of the table.
    recommended
        A size to mark.
    title, unit
        Title of the plot; what sizes count.

    Returns
    -------
    matplotlib.figure.Figure
    """
    heads = [name for name in table["head"].unique() if name != "mean"]
    head = heads[0] if head is None else head
    curve = table[table["head"] == head]
    has_excess = "excess" in curve and bool(curve["excess"].notna().any())
    axes = np.atleast_1d(new_axes(figsize=SIZE, rows=1 + has_excess))
    _plot_total(axes[0], table, head, null_risk, bayes_risk)
    if has_excess:
        _plot_excess(axes[1], curve, STYLES[head])
    for ax in axes:
        _format(ax, curve["size"].to_numpy(), n_train, recommended)
    axes[0].set_title(title, loc="left", fontsize=11, color=DARK_GREY, fontweight="bold", pad=12)
    axes[0].set_ylabel("total risk")
    axes[-1].set_xlabel(f"size: number of {unit}")
    _add_ratio_axis(axes[0], n_train)
    return axes[0].figure


def _plot_total(
    ax: Any, table: pd.DataFrame, head: str, null_risk: float, bayes_risk: float | None
) -> None:
    plotted = list(table["test"][table["head"] != "mean"])
    for name, style in STYLES.items():
        part = table[table["head"] == name]
        if len(part):
            line = {"color": style.color, "linewidth": 1.8, "markersize": 4}
            line |= {"label": f"test, {style.label}", "zorder": 4 if name == head else 3}
            ax.plot(part["size"], part["test"], style.marker, **line)
    curve, style = table[table["head"] == head], STYLES[head]
    if "train" in curve:
        # A logarithmic axis can't show the training risk of a head that interpolates.
        train = curve["train"].where(curve["train"] > MIN_TRAIN_RISK * curve["test"])
        line = {"color": style.color, "linewidth": 1.2, "linestyle": DOTTED}
        ax.plot(curve["size"], train, label=f"train, {style.label}", **line)
        plotted += [*train]
    if {"theory_excess", "irreducible"} <= set(curve) and curve["irreducible"].notna().any():
        theory = (curve["irreducible"] + curve["theory_excess"]).replace(np.inf, np.nan)
        _plot_theory(ax, curve["size"], theory)
        plotted += [*theory]
    lines = (GREY, "null risk (mean)", null_risk), (GREEN, "Bayes risk", bayes_risk)
    for color, label, risk in lines:
        if risk is not None:
            ax.axhline(risk, color=color, linewidth=1.4, label=label, zorder=1)
            plotted.append(risk)
    _set_limits(ax, plotted, null_risk)


def _plot_excess(ax: Any, curve: pd.DataFrame, style: Style) -> None:
    size, excess = curve["size"], curve["excess"]
    # Wide and pale: where a part is nearly all of the sum, its line lies within that of the sum.
    ax.plot(size, excess, color=style.color, alpha=0.3, linewidth=7, label="excess", zorder=2)
    negligible = 1e-3 * float(excess.min())
    for name, color, marker in (("variance", PURPLE, "o-"), ("bias", GREEN, "s-")):
        part = curve[name].where(curve[name] > negligible)
        if part.notna().any():
            ax.plot(size, part, marker, color=color, linewidth=1.6, markersize=3, label=name)
    plotted = [*excess, *curve["bias"][curve["bias"] > negligible]]
    if "theory_excess" in curve:
        theory = curve["theory_excess"].replace([np.inf, 0.0], np.nan)
        _plot_theory(ax, size, theory)
        plotted += [*theory[theory.between(excess.min() / 10, excess.max() * 10)]]
    ax.set_ylabel(f"excess risk, {style.label}")
    _set_limits(ax, plotted, None)


def _plot_theory(ax: Any, size: pd.Series, theory: pd.Series) -> None:
    line = {"color": DARK_GREY, "linewidth": 1.1, "linestyle": DASHED}
    ax.plot(size, theory, **line, label="theory", zorder=5)


def _set_limits(ax: Any, values: Sequence[float], null_risk: float | None) -> None:
    """Logarithmic axis over the values; a peak far above the null risk is cut off."""
    positive = np.array([value for value in values if np.isfinite(value) and value > 0])
    if not len(positive):
        return
    low, high = positive.min(), positive.max()
    if null_risk is not None:
        high = min(high, max(MAX_NULL_RISKS * null_risk, low))
    ax.set_yscale("log")
    ax.set_ylim(low / 1.3, high * 1.4)


def _format(ax: Any, sizes: Any, n_train: int, recommended: int | None) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.set_xlim(max(sizes.min(), 1) / 1.15, sizes.max() * 1.15)
    if sizes.min() <= n_train <= sizes.max():
        label = "interpolation threshold"
        ax.axvline(n_train, color=DARK_GREY, linewidth=1, linestyle=DOTTED, zorder=0, label=label)
        last = min(2 * n_train, 2 * sizes.max())
        ax.axvspan(n_train / 2, last, color=LIGHT_GREY, alpha=0.6, zorder=-1)
    if recommended:
        label = f"recommended: {recommended:,}"
        ax.axvline(recommended, color=GREEN, linewidth=5, alpha=0.25, zorder=0, label=label)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    low, high = ax.get_ylim()
    few_decades = np.log10(high / low) < 2.2
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few_decades else (1,), numticks=8))
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=14))
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GREY)
    ax.tick_params(colors=DARK_GREY, labelsize=9, length=0, which="both")
    ax.tick_params(axis="x", length=3, color=GREY, which="major")
    ax.grid(axis="y", color=LIGHT_GREY, linewidth=0.8)
    ax.set_axisbelow(True)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=DARK_GREY, size=10)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)


def _add_ratio_axis(ax: Any, n_train: int) -> None:
    """Features per row, on top."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    functions = (lambda size: size / n_train, lambda ratio: ratio * n_train)
    top = ax.secondary_xaxis("top", functions=functions)
    low, high = (bound / n_train for bound in ax.get_xlim())
    ticks = [tick for tick in (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30) if low <= tick <= high]
    top.xaxis.set_major_locator(FixedLocator(ticks))
    top.xaxis.set_minor_locator(NullLocator())
    top.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    top.tick_params(colors=GREY, labelsize=8.5, length=0)
    top.spines["top"].set_visible(False)
    top.set_xlabel(f"features per row (n = {n_train:,})", color=GREY, fontsize=9)
