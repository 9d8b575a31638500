"""Closed-form fit of a standardized panel: one equation per series, or one for all."""

from typing import NamedTuple, Unpack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression import ARResults, Design, fit_orders, observed_segments
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.arnet.options import Penalties, check_windows, count_windows


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
    channels = _stack_channels(scaled, scales.past, scales.future).to(device)
    by_series = observed_segments(channels, scaled.offsets.to(device))
    segments = by_series if local else by_series.pooled()
    ids = list(scaled.labels.ids) if local else []
    check_windows(segments, design, orders, ids, holds_back, **penalties)
    n_series = (count_windows(by_series, design.max_lag) > 0).double().sum().clamp(min=1)
    return fit_orders(
        channels,
        segments,
        design,
        orders,
        origin=_standardized_zero(scales),
        n_series=None if local else n_series[None],
        bias_correction=bias_correction,
        **penalties,
    ).to("cpu")


def _stack_channels(panel: Panel, past: Scaling, future: Scaling) -> Float[Tensor, "channel time"]:
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
