"""Least squares of series with missing points, by expectation-maximization."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.design import Design
from tsar.autoregression.missing import complete
from tsar.autoregression.orders import fit_orders
from tsar.autoregression.results import ARResults, concatenate
from tsar.autoregression.segments import Segments, power_of_two_class
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

MAX_STEPS = 40
# Steps after which the lags stay, and completions move by half of what they would: fits whose sum
# is corrected overshoot, and two sets of lags may follow each other for ever.
SELECTION_STEPS, FULL_STEPS = 10, 3
TOLERANCE = 1e-3  # largest change of a coefficient at convergence
# Draws of the missing points, each used with both signs; a long series averages over its own.
LONG, LONG_DRAWS, DRAWS = 8192, 1, 8


class MissingFit(NamedTuple):
    """Results, whether the coefficients converged, and the observed share of each series."""

    results: ARResults
    converged: Bool[Tensor, " series"]
    observed_share: Float[Tensor, " series"]


def fit_incomplete(
    values: Float[Tensor, " total"],
    starts: Int[Tensor, " series"],
    lengths: Int[Tensor, " series"],
    design: Design,
    orders: Int[Tensor, " series"],
    *,
    origin: Float[Tensor, "series channel"],
    **options: Any,
) -> MissingFit:
    """Fit one equation to each series by all that is observed of it.

    The missing points are replaced by their conditional mean given the observed ones, plus and
    minus draws around it, so that the products of two points have their conditional expectation.
    The equations are fitted to the completed series, and so on from linear interpolation until they
    change no more. A series stops by itself, whatever the others do.

    Parameters
    ----------
    values
        Standardized series in one flat tensor; NaN where missing.
    starts, lengths
        Position of the first observed point of each series, and points to the last one.
    design, orders, origin, options
        See `fit_orders`; without covariates.

    References
    ----------
    R. H. Shumway, D. S. Stoffer, An approach to time series smoothing and forecasting using the EM
    algorithm, Journal of Time Series Analysis 3 (1982).

    Examples
    --------
    >>> wave = torch.arange(60, dtype=torch.float64).sin()
    >>> wave[[9, 30, 31]] = torch.nan
    >>> one, design = torch.tensor([1]), Design(order=2, horizon=1)
    >>> origin = torch.zeros(1, 1, dtype=torch.float64)
    >>> fit = fit_incomplete(wave, 0 * one, 60 * one, design, 2 * one, origin=origin)
    >>> fit.results.coef.round(decimals=2)
    tensor([[[ 1.0800, -1.0000]]], dtype=torch.float64)
    """
    rows, parts = [], []
    for row, width in _length_classes(lengths):
        time = torch.arange(width)
        inside = time < lengths[row, None]
        index = (starts[row, None] + time).clamp(max=len(values) - 1)
        series = _Incomplete(torch.where(inside, values[index], torch.nan), lengths[row])
        parts.append(_fit_class(series, design, orders[row], origin[row], options))
        rows.append(row)
    order = torch.cat(rows).argsort()
    results = concatenate([part.results for part in parts]).take(order)
    converged, share = (
        torch.cat([getattr(part, name) for part in parts])[order]
        for name in ("converged", "observed_share")
    )
    return MissingFit(results, converged, share)


def fill_missing(
    values: Float[Tensor, " total"],
    starts: Int[Tensor, " series"],
    lengths: Int[Tensor, " series"],
    results: ARResults,
) -> Float[Tensor, " total"]:
    """Series with their missing points replaced by the conditional mean given the observed ones.

    Parameters
    ----------
    values, starts, lengths
        See `fit_incomplete`.
    results
        Equations of the series, of which the first step is used.
    """
    return _fill(values, starts, lengths, results, 0)[0]


def draw_missing(
    values: Float[Tensor, " total"],
    starts: Int[Tensor, " series"],
    lengths: Int[Tensor, " series"],
    results: ARResults,
    n_draws: int,
) -> Float[Tensor, "copy total"]:
    """Copies of series, two a draw, whose missing points are drawn given the observed ones.

    Parameters
    ----------
    values, starts, lengths, results
        See `fill_missing`.
    n_draws
        Number of draws; each is used with both signs.
    """
    return _fill(values, starts, lengths, results, n_draws)


def _fill(
    values: Float[Tensor, " total"],
    starts: Int[Tensor, " series"],
    lengths: Int[Tensor, " series"],
    results: ARResults,
    n_draws: int,
) -> Float[Tensor, "copy total"]:
    """Conditional means of missing points, plus and minus draws if there are any."""
    filled = values.expand(max(2 * n_draws, 1), -1).clone()
    for row, width in _length_classes(lengths):
        time = torch.arange(width)
        inside = time < lengths[row, None]
        index = (starts[row, None] + time).clamp(max=len(values) - 1)
        series = torch.where(inside, values[index], torch.nan)
        part = results.take(row)
        equation = part.coef[:, 0], part.intercept[:, 0], part.resid_std[:, 0]
        completion = complete(series, lengths[row], *equation, n_draws)
        drawn = completion.mean + torch.cat([completion.draws, -completion.draws])
        missing = inside & series.isnan()
        filled[:, index[missing]] = (drawn if n_draws else completion.mean[None])[:, missing]
    return filled


def _length_classes(lengths: Int[Tensor, " series"]) -> Iterator[tuple[Tensor, int]]:
    """Rows of series of similar lengths, few at a time, and the power of two that holds them.

    The rounding of a Fourier transform depends on its size, which thus depends on the series alone.
    """
    classes = power_of_two_class(lengths)
    for exponent in classes.unique().tolist():
        width = 2**exponent
        rows = (classes == exponent).nonzero()[:, 0]
        for some in rows.split(rows_within(BLOCK_ELEMENTS, 2 * _count_draws(width) * width)):
            yield some, width


@dataclass(frozen=True)
class _Incomplete:
    """Series that begin and end with an observed point; NaN where missing and after the end."""

    values: Float[Tensor, "series time"]
    lengths: Int[Tensor, " series"]

    def take(self, rows: Int[Tensor, " row"]) -> "_Incomplete":
        """Some of the series."""
        return _Incomplete(self.values[rows], self.lengths[rows])

    @property
    def observed_share(self) -> Float[Tensor, " series"]:
        return (~self.values.isnan()).sum(dim=1) / self.lengths.double()


def _fit_class(
    series: _Incomplete,
    design: Design,
    orders: Int[Tensor, " series"],
    origin: Float[Tensor, "series channel"],
    options: dict[str, Any],
) -> MissingFit:
    """Alternate completion and fit."""
    n_draws = _count_draws(series.values.shape[1])
    completed = _interpolate(series.values).expand(2 * n_draws, -1, -1).clone()
    one_step = replace(design, horizon=1)
    coef = series.values.new_full((len(orders), design.order), torch.inf)
    active = torch.zeros_like(coef, dtype=torch.bool)
    rows, selected = torch.arange(len(orders)), None
    for step in range(MAX_STEPS):
        results = _fit_completed(
            series.take(rows),
            completed[:, rows],
            one_step,
            orders[rows],
            origin[rows],
            {**options, "selected": selected},
        )
        active[rows] = results.active[:, 0]
        changes = (results.coef[:, 0] - coef[rows]).abs().amax(dim=1) >= TOLERANCE
        rows, results = rows[changes], results.take(changes.nonzero()[:, 0])
        if not len(rows):
            break
        coef[rows] = results.coef[:, 0]
        selected = None if step < SELECTION_STEPS else active[rows]
        part = series.take(rows)
        completion = complete(
            part.values,
            part.lengths,
            results.coef[:, 0],
            results.intercept[:, 0],
            results.resid_std[:, 0],
            n_draws,
        )
        mean = part.values.nan_to_num(0.0) + completion.mean
        new = torch.cat([mean + completion.draws, mean - completion.draws])
        completed[:, rows] = new if step < FULL_STEPS else (new + completed[:, rows]) / 2
    converged = torch.ones(len(orders), dtype=torch.bool).index_fill(0, rows, False)
    final = options if design.horizon > 1 else {**options, "selected": active}
    results = _fit_completed(series, completed, design, orders, origin, final)
    return MissingFit(results, converged, series.observed_share)


def _count_draws(length: int) -> int:
    return LONG_DRAWS if length > LONG else DRAWS


def _fit_completed(
    series: _Incomplete,
    completed: Float[Tensor, "copy series time"],
    design: Design,
    orders: Int[Tensor, " series"],
    origin: Float[Tensor, "series channel"],
    options: dict[str, Any],
) -> ARResults:
    """Fit to all copies of each series, which count as often as it has observed points."""
    copies, n_series, time = completed.shape
    starts = torch.arange(copies * n_series) * time
    group = torch.arange(n_series).repeat(copies)
    segments = Segments(starts, series.lengths.repeat(copies), group, n_series)
    return fit_orders(
        completed.reshape(1, -1),
        segments,
        design,
        orders,
        origin=origin,
        share=series.observed_share / copies,
        **options,
    )


def _interpolate(values: Float[Tensor, "series time"]) -> Float[Tensor, "series time"]:
    """Values with the points between observed ones interpolated linearly; 0 after the last."""
    time = torch.arange(values.shape[1]).expand_as(values)
    missing = values.isnan()
    before = torch.where(missing, 0, time).cummax(dim=1).values
    end = values.shape[1] - 1
    after = torch.where(missing, end, time).flip(1).cummin(dim=1).values.flip(1)
    left, right = values.gather(1, before), values.gather(1, after)
    share = ((time - before) / (after - before).clamp(min=1)).to(values)
    return torch.where(missing, torch.lerp(left, right, share), values).nan_to_num(0.0)
