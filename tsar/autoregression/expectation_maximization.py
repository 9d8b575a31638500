"""Least squares of series with missing points, by expectation-maximization."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.closed_form import concatenate
from tsar.autoregression.design import Design
from tsar.autoregression.missing import complete
from tsar.autoregression.orders import fit_orders
from tsar.autoregression.results import ARResults
from tsar.autoregression.segments import Segments, power_of_two_class

MAX_STEPS = 12
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


def _length_classes(lengths: Int[Tensor, " series"]) -> Iterator[tuple[Tensor, int]]:
    """Rows of series of similar lengths, and the power of two that holds them.

    The rounding of a Fourier transform depends on its size, which thus depends on the series alone.
    """
    classes = power_of_two_class(lengths)
    for exponent in classes.unique().tolist():
        yield (classes == exponent).nonzero()[:, 0], 2**exponent


@dataclass(frozen=True)
class _Incomplete:
    """Series that begin and end with an observed point; NaN where missing and after the end."""

    values: Float[Tensor, "series time"]
    lengths: Int[Tensor, " series"]

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
    n_draws = LONG_DRAWS if series.values.shape[1] > LONG else DRAWS
    completed = _interpolate(series.values).expand(2 * n_draws, -1, -1).clone()
    one_step = replace(design, horizon=1)
    coef = series.values.new_full((len(orders), design.order), torch.inf)
    converged = torch.zeros(len(orders), dtype=torch.bool)
    for _ in range(MAX_STEPS):
        results = _fit_completed(series, completed, one_step, orders, origin, options)
        converged |= (results.coef[:, 0] - coef).abs().amax(dim=1) < TOLERANCE
        if bool(converged.all()):
            break
        coef = results.coef[:, 0]
        rows = (~converged).nonzero()[:, 0]
        part = results.take(rows)
        completion = complete(
            series.values[rows],
            series.lengths[rows],
            part.coef[:, 0],
            part.intercept[:, 0],
            part.resid_std[:, 0],
            n_draws,
        )
        mean = series.values[rows].nan_to_num(0.0) + completion.mean
        completed[:, rows] = torch.cat([mean + completion.draws, mean - completion.draws])
    results = _fit_completed(series, completed, design, orders, origin, options)
    return MissingFit(results, converged, series.observed_share)


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
