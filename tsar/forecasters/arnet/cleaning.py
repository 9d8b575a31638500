"""Outliers of series and contexts, which robust losses read as missing."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.autoregression import find_outliers
from tsar.data.batch import Context
from tsar.data.panel import Panel
from tsar.data.panel.values import format_value
from tsar.forecasters.arnet.combination import seasons_by_series
from tsar.forecasters.arnet.combination.padded import last_points, length_classes, padded_values

Seasons = tuple[int, ...]
WARNED_SHARE = 0.1  # share of the points of a series that are seldom all errors
GROSS_SHARE = 0.5  # share of the squares that one point of a series seldom has
MIN_REACH, REACH_SEASONS = 60, 3  # newest points that outliers of a context are found among


def read_outliers(model: Any, panel: Panel) -> Panel:
    """Series of an `ARNet` without their outliers where its loss is robust; else it warns of them.

    Sets the seasons that outliers are judged by, and their number.
    """
    model.seasons_ = []
    if model.loss == "mse":
        warn_of_gross_outliers(panel, model.season_length)
        return panel
    model.seasons_ = seasons_by_series(panel, model.season_length)
    panel, outliers = remove_outliers(panel, model.seasons_)
    _warn_of_outliers(panel, outliers)
    model.n_outliers_ = outliers.numpy()
    return panel


def remove_outliers(
    panel: Panel, seasons: Sequence[Seasons]
) -> tuple[Panel, Int[Tensor, " series"]]:
    """Series whose outliers are missing, and the number of outliers of each.

    `seasons` are those of each series; see `find_outliers`.
    """
    values, count = panel.values.clone(), torch.zeros(len(panel), dtype=torch.int64)
    for rows, own in _by_seasons(seasons):
        for some, width in length_classes(panel.lengths[rows], int(panel.lengths.max())):
            inside = rows[some]
            part = panel.select(inside.numpy())
            outliers = find_outliers(last_points(padded_values(part, width), width), own)
            count[inside] = outliers.sum(dim=1)
            row, column = outliers.nonzero().T
            values[panel.offsets[1:][inside[row]] - width + column] = torch.nan
    return replace(panel, values=values), count


def clean_contexts(context: Context, seasons: Sequence[Seasons]) -> Context:
    """Contexts whose outliers are missing; series -1 was not fitted and has no season."""
    values = context.values.clone()
    for rows, own in _by_seasons([() if k < 0 else seasons[k] for k in context.series.tolist()]):
        rows = rows.to(values.device)
        outliers = find_outliers(values[rows], own)
        values[rows] = torch.where(outliers, torch.nan, values[rows])
    return replace(context, values=values, gapless=False)


def context_reach(seasons: Sequence[Seasons]) -> int:
    """Newest points that tell an outlier from the others."""
    longest = max((season for own in seasons for season in own), default=0)
    return max(MIN_REACH, REACH_SEASONS * longest)


def _by_seasons(seasons: Sequence[Seasons]) -> Iterator[tuple[Int[Tensor, " row"], Seasons]]:
    """Rows with the same seasons."""
    distinct = sorted(set(seasons))
    number = torch.tensor([distinct.index(own) for own in seasons])
    for index, own in enumerate(distinct):
        yield (number == index).nonzero()[:, 0], own


def warn_of_gross_outliers(panel: Panel, season_length: int | Sequence[int] | None) -> None:
    """Warn of series with an outlier that has a large part of their variance."""
    observed = ~panel.values.isnan()
    values, series = panel.values[observed], panel.series[observed]
    zeros = panel.values.new_zeros(len(panel))
    count = zeros.index_add(0, series, torch.ones_like(values)).clamp(min=1)
    means = zeros.index_add(0, series, values) / count
    squares = (values - means[series]).square()
    largest = zeros.scatter_reduce(0, series, squares, "amax")
    total = zeros.index_add(0, series, squares)
    rows = ((largest > GROSS_SHARE * total) & (count >= MIN_REACH)).nonzero()[:, 0]
    if not len(rows):
        return
    suspected = panel.select(rows.numpy())
    cleaned, _ = remove_outliers(suspected, seasons_by_series(suspected, season_length))
    outlying = cleaned.values.isnan() & ~suspected.values.isnan()
    gap = (suspected.values - means[rows][suspected.series]).square()
    far = (outlying & (gap > GROSS_SHARE * total[rows][suspected.series])).nonzero()[:, 0].tolist()
    if far:
        name = format_value(suspected.labels.ids[int(suspected.series[far[0]])])
        others = f", and {len(far) - 1} more series have such a value" if len(far) > 1 else ""
        warnings.warn(
            f"series {name} has a value, {float(suspected.values[far[0]]):.6g}, far from all "
            f"others{others}: least squares follows it. Set it to NaN if it is an error, or "
            "use loss='huber', which reads outliers as missing.",
            stacklevel=2,
        )


def _warn_of_outliers(panel: Panel, count: Int[Tensor, " series"]) -> None:
    """Warn of series of whose points many are outliers."""
    many = (count > WARNED_SHARE * panel.lengths).nonzero()[:, 0].tolist()
    if many:
        others = f" and {len(many) - 1} more" if len(many) > 1 else ""
        warnings.warn(
            f"{int(count[many[0]])} of {int(panel.lengths[many[0]])} points of series "
            f"{format_value(panel.labels.ids[many[0]])}{others} lie far from those around them and "
            "are read as missing. Plot them: if they are not errors, use loss='mse' or give "
            "season_length.",
            stacklevel=2,
        )
