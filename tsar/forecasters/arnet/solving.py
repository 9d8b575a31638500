"""From a standardized panel to the closed form of every group."""

from typing import NamedTuple, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.autoregression import ClosedForm, Runs, Terms, complete_runs, fit_closed_form
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.arnet.equations import flat_channels, origin
from tsar.forecasters.arnet.options import Penalties, check_windows, complete_windows


class Scales(NamedTuple):
    """Units of the groups' series, and of the covariates."""

    series: Scaling
    past: Scaling
    future: Scaling


def solve(
    scaled: Panel,
    scales: Scales,
    terms: Terms,
    device: torch.device,
    *,
    local: bool,
    held: bool,
    corrected: bool,
    **penalties: Unpack[Penalties],
) -> ClosedForm:
    """Fit an equation to each series, or one to all.

    Parameters
    ----------
    held
        Whether newer points were held back, for what errors say.
    corrected
        Whether the bias of the persistence is corrected.
    """
    flat = flat_channels(scaled, scales.past, scales.future).to(device)
    series = complete_runs(flat, scaled.offsets.to(device))
    runs = series if local else series.pooled()
    names = list(scaled.labels.ids) if local else []
    check_windows(runs, terms, names, held, **penalties)
    return fit_closed_form(
        flat,
        runs,
        terms,
        origin=origin(*scales),
        series=None if local else _members(series, terms),
        corrected=corrected,
        **penalties,
    ).to("cpu")


def _members(series: Runs, terms: Terms) -> Float[Tensor, " group"]:
    """Series that have a window, of the one group of all."""
    return (complete_windows(series, terms) > 0).double().sum().clamp(min=1)[None]
