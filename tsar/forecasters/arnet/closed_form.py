"""Closed-form fit of a standardized panel: one equation per series, or one for all."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, Unpack

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression import (
    ARResults,
    Design,
    MissingFit,
    Segments,
    concatenate,
    fit_incomplete,
    fit_orders,
    observed_segments,
)
from tsar.autoregression.expectation_maximization import MAX_STEPS
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.arnet.options import Penalties, check_windows, count_windows

MIN_COMPLETE = 0.8  # share of the windows without a gap below which a fit warns
MIN_OBSERVED = 0.6  # share of a series that must be observed for an equation that can be trusted


class Scales(NamedTuple):
    """Scaling of the series of each group, and of the covariates."""

    series: Scaling
    past: Scaling
    future: Scaling


def group_scaling(scope: str, series: Scaling) -> Scaling:
    """Scaling of the groups: that of each series, or none where all series share one equation."""
    if scope == "local":
        return series
    one = torch.ones(1, dtype=torch.float64)
    return Scaling(one - 1, one)


def fit_panel(
    scaled: Panel,
    scales: Scales,
    design: Design,
    orders: Int[Tensor, " group"],
    device: torch.device,
    *,
    local: bool,
    holds_back: bool,
    bias_correction: bool,
    **penalties: Unpack[Penalties],
) -> ARResults:
    """Fit one equation per series (`local`) of its own order, or one for all.

    `design` has the largest order. The series are standardized, the covariates in their own
    units. `holds_back`, whether newer points were held back, is for the text of errors.
    """
    channels = stack_channels(scaled, scales.past, scales.future).to(device)
    by_series = observed_segments(channels, scaled.offsets.to(device))
    segments = by_series if local else by_series.pooled()
    origin = _standardized_zero(scales)
    ids = list(scaled.labels.ids) if local else []
    gaps = _inner_gaps(by_series) if local and len(channels) == 1 else None
    if gaps is not None and bool(gaps.any()):
        bridged = by_series.bridged()
        check_windows(bridged, design, orders, ids, holds_back, **penalties)
        options: dict[str, Any] = {"bias_correction": bias_correction, **penalties}
        return _fit_with_gaps(channels.cpu(), bridged, gaps, design, orders, origin, ids, options)
    check_windows(segments, design, orders, ids, holds_back, **penalties)
    _warn_of_unused_windows(by_series, design.max_lag)
    n_series = (count_windows(by_series, design.max_lag) > 0).double().sum().clamp(min=1)
    return fit_orders(
        channels,
        segments,
        design,
        orders,
        origin=origin,
        n_series=None if local else n_series[None],
        bias_correction=bias_correction,
        **penalties,
    ).to("cpu")


def _inner_gaps(segments: Segments) -> Bool[Tensor, " group"]:
    """Whether points are missing between the observed ones of each series."""
    count = torch.zeros(segments.n_groups, dtype=torch.int64)
    return count.index_add(0, segments.group.cpu(), torch.ones_like(segments.group).cpu()) > 1


def _fit_with_gaps(
    channels: Float[Tensor, "1 total"],
    segments: Segments,
    gaps: Bool[Tensor, " group"],
    design: Design,
    orders: Int[Tensor, " group"],
    origin: Float[Tensor, "group 1"],
    ids: Sequence[Any],
    options: dict[str, Any],
) -> ARResults:
    """Fit series with gaps by all that is observed of them, the others by least squares."""
    segments = Segments(*segments.on(torch.device("cpu")), segments.n_groups)
    rows = [part.nonzero()[:, 0] for part in (~gaps, gaps)]
    parts = []
    if len(rows[0]):
        complete = segments.take(rows[0])
        parts.append(
            fit_orders(
                channels, complete, design, orders[rows[0]], origin=origin[rows[0]], **options
            )
        )
    incomplete = segments.take(rows[1])
    fit = fit_incomplete(
        channels[0],
        incomplete.starts,
        incomplete.lengths,
        design,
        orders[rows[1]],
        origin=origin[rows[1]],
        **options,
    )
    _warn_of_gaps(fit, [ids[row] for row in rows[1].tolist()])
    return concatenate([*parts, fit.results]).take(torch.cat(rows).argsort())


def _warn_of_gaps(fit: MissingFit, ids: Sequence[Any]) -> None:
    """Warn of equations that are uncertain because much is missing, or that did not converge."""
    weak = (fit.observed_share < MIN_OBSERVED).nonzero()[:, 0].tolist()
    if weak:
        share = 1 - float(fit.observed_share[weak[0]])
        warnings.warn(
            f"{share:.0%} of the points of series {_name(weak, ids)} are missing: its equation is "
            "uncertain. Give the frequency at which it is observed, or drop it.",
            stacklevel=2,
        )
    enough = fit.observed_share >= MIN_OBSERVED
    unfinished = (~fit.converged & enough).nonzero()[:, 0].tolist()
    if unfinished:
        warnings.warn(
            f"the equation of series {_name(unfinished, ids)} with missing points still changes "
            f"after {MAX_STEPS} steps of expectation-maximization. Set a lower order.",
            stacklevel=2,
        )


def _warn_of_unused_windows(segments: Segments, max_lag: int) -> None:
    """Warn where gaps leave few complete windows: of covariates, or of one equation for all."""
    complete, total = (
        int(count_windows(part, max_lag).sum()) for part in (segments, segments.bridged())
    )
    if complete < MIN_COMPLETE * total:
        warnings.warn(
            f"only {complete} of {total} windows of {max_lag + 1} points have no missing value, "
            "and the others are not used. Fill the gaps of covariates or lower order; without "
            "covariates and with scope='local' all that is observed counts.",
            stacklevel=2,
        )


def _name(rows: Sequence[int], ids: Sequence[Any]) -> str:
    """Id of the first of some series, and how many more they are."""
    others = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
    return f"{ids[rows[0]]!r}{others}"


def stack_channels(panel: Panel, past: Scaling, future: Scaling) -> Float[Tensor, "channel time"]:
    """The target of a panel, then its standardized covariates; a view if there are none."""
    if not len(past.mean) + len(future.mean):
        return panel.values[None]
    covariates = [past.scale(panel.past.T), future.scale(panel.future.T)]
    return torch.cat([panel.values[None], *covariates])


def _standardized_zero(scales: Scales) -> Float[Tensor, "group channel"]:
    """Standardized value of zero, for each channel of each group."""
    shared = torch.cat([-scale.mean / scale.deviation for scale in scales[1:]])
    target = (-scales.series.mean / scales.series.deviation)[:, None]
    return torch.cat([target, shared.expand(len(target), -1)], dim=1)
