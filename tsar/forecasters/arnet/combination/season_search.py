"""Search for the season of series whose times do not tell it."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.data.panel import Panel
from tsar.forecasters.arnet.combination.padded import (
    interpolate,
    last_points,
    length_classes,
    padded_values,
)
from tsar.runtime.memory import BLOCK_ELEMENTS, chunked, rows_within

MAX_SEASON, MAX_POINTS = 400, 4000  # longest season, and newest points that are read
# Peaks of the autocorrelation that are compared: the highest, and the first that is nearly as high.
CANDIDATES, NEARLY = 6, 0.6
MIN_CORRELATION, MIN_EXPLAINED = 0.15, 0.2  # at a season, and of the variance of differences by it
MARGIN = 2.0  # by which Bayes' information criterion must prefer a season to none
MIN_CYCLES = 3  # seasons that a series must have
# Points of a short season inside a long one, and its cycles: hours of a day in a week, not months.
MIN_INSIDE, MIN_RATIO = 4, 5
MAX_DEVIATIONS = 4.0  # beyond which differences count no more


def find_seasons(panel: Panel) -> list[tuple[int, ...]]:
    """Seasons of each series by its values alone, the shortest first; empty without one.

    Examples
    --------
    >>> wave = torch.tensor([0.0, 2.0, 5.0, 1.0]).double().repeat(20)
    >>> noise = torch.sin(torch.arange(80) ** 2.0)
    >>> find_seasons(Panel.from_tensor(torch.stack([wave + 0.1 * noise, noise.double()])))
    [(4,), ()]
    """
    values = padded_values(panel, MAX_POINTS)
    found: list[tuple[int, ...]] = [()] * len(panel)
    for rows, width in length_classes(panel.lengths, MAX_POINTS):
        series = interpolate(last_points(values[rows], width))

        def search(some: slice, series: Tensor = series) -> Int[Tensor, "row 2"]:
            return search_seasons(series[some])

        chunks = chunked(search, len(rows), rows_within(BLOCK_ELEMENTS, 4 * width))
        for row, pair in zip(rows.tolist(), torch.cat(list(chunks)).tolist(), strict=True):
            found[row] = tuple(sorted({season for season in pair if season > 1}))
    return found


def search_seasons(values: Float[Tensor, "series time"]) -> Int[Tensor, "series 2"]:
    """The season of each series and a shorter one inside it; 1 for none.

    Candidates are the highest peaks of the autocorrelation of the differences. The best is that
    whose phase means explain most of them by Bayes' information criterion.

    Parameters
    ----------
    values
        Newest last, NaN before the first point of a series only.
    """
    changes = _clipped(values.diff(dim=1))
    lags = _peaks(changes)
    squares = torch.stack([_within(changes, lag) for lag in lags.T], dim=1)
    total = changes.square().nansum(dim=1)[:, None]
    count = (~changes.isnan()).sum(dim=1).clamp(min=2).double()[:, None]
    tiny = torch.finfo(values.dtype).tiny
    unexplained = (squares / total.clamp(min=tiny)).clamp(min=1e-12)
    criterion = count * unexplained.log() + (lags - 1) * count.log()
    usable = (lags > 1) & (unexplained < 1 - MIN_EXPLAINED) & (total > 0) & (criterion < -MARGIN)
    season = _best(criterion, lags, usable)
    inside = (season % lags == 0) & (season >= MIN_RATIO * lags) & (lags >= MIN_INSIDE)
    return torch.cat([season, _best(criterion, lags, usable & inside)], dim=1)


def _clipped(changes: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Differences less their mean, without outliers."""
    changes = changes - changes.nanmean(dim=1, keepdim=True)
    deviation = 1.4826 * changes.abs().nanmedian(dim=1, keepdim=True).values
    limit = torch.where(deviation > 0, MAX_DEVIATIONS * deviation, torch.inf).nan_to_num(torch.inf)
    return changes.clamp(-limit, limit)


def _peaks(changes: Float[Tensor, "series time"]) -> Int[Tensor, "series candidate"]:
    """Lags of the highest peaks of the autocorrelation and the first; 1 where there are fewer."""
    time = changes.shape[1]
    longest = min(time // MIN_CYCLES, MAX_SEASON)
    if longest < 2:
        return torch.ones(len(changes), CANDIDATES, dtype=torch.int64)
    spectrum = torch.fft.rfft(changes.nan_to_num(0.0), n=2 * time)
    power = spectrum.real.square() + spectrum.imag.square()
    covariance = torch.fft.irfft(torch.complex(power, torch.zeros_like(power)))[:, : longest + 2]
    tiny = torch.finfo(changes.dtype).tiny
    correlation = covariance / covariance[:, :1].clamp(min=tiny)
    middle = correlation[:, 2:-1]  # lags 2 to the longest
    is_peak = (middle >= correlation[:, 1:-2]) & (middle >= correlation[:, 3:])
    count = (~changes.isnan()).sum(dim=1)[:, None]
    lag = torch.arange(2, longest + 1)
    threshold = (2 / count.clamp(min=1).sqrt()).clamp(min=MIN_CORRELATION)
    usable = is_peak & (middle > threshold) & (MIN_CYCLES * lag <= count)
    ordered = torch.where(usable, middle, -1.0).sort(dim=1, descending=True, stable=True)
    highest = torch.where(ordered.values > 0, lag[ordered.indices], 1)[:, : CANDIDATES - 1]
    high = usable & (middle >= NEARLY * ordered.values[:, :1])
    first = torch.where(high.any(dim=1), lag[high.int().argmax(dim=1)], 1)
    lags = torch.cat([first[:, None], highest], dim=1)
    return torch.nn.functional.pad(lags, (0, CANDIDATES - lags.shape[1]), value=1)


def _within(
    changes: Float[Tensor, "series time"], season: Int[Tensor, " series"]
) -> Float[Tensor, " series"]:
    """Sum of squares around the means of the phases of a season of each series."""
    phase = torch.arange(changes.shape[1]) % season[:, None]
    observed = (~changes.isnan()).to(changes)
    values = changes.nan_to_num(0.0)
    empty = changes.new_zeros(len(changes), int(season.max()))
    total, count = (empty.scatter_add(1, phase, part) for part in (values, observed))
    explained = (total.square() / count.clamp(min=1)).sum(dim=1)
    return (values.square().sum(dim=1) - explained).clamp(min=0)


def _best(
    criterion: Float[Tensor, "series candidate"],
    lags: Int[Tensor, "series candidate"],
    usable: Bool[Tensor, "series candidate"],
) -> Int[Tensor, "series 1"]:
    """Usable candidate of the smallest criterion; 1 without any."""
    best = torch.where(usable, criterion, torch.inf).argmin(dim=1, keepdim=True)
    return torch.where(usable.any(dim=1, keepdim=True), lags.gather(1, best), 1)
