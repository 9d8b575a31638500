"""Least squares fit of autoregressions with covariates, one or many steps ahead, in closed form."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.autoregression.design import Design
from tsar.autoregression.estimation import FitSpec, Sparsity, fit_groups
from tsar.autoregression.results import ARResults, concatenate
from tsar.autoregression.segments import Segments
from tsar.runtime.memory import MAX_ELEMENTS, chunked, rows_within


def fit_closed_form(
    channels: Float[Tensor, "channel total"],
    segments: Segments,
    design: Design,
    *,
    ridge: float = 0.0,
    sparsity: Sparsity = None,
    origin: Float[Tensor, "group channel"] | None = None,
    n_series: Float[Tensor, " group"] | None = None,
    bias_correction: bool = False,
    share: Float[Tensor, " group"] | None = None,
    selected: Bool[Tensor, "group term"] | None = None,
) -> ARResults:
    """Fit every group and every step of the horizon by least squares, in float64.

    Parameters
    ----------
    channels
        The target, then past, then future covariates, series end to end.
    segments
        Observed segments of the channels, and the group of each.
    design
        Regressors.
    ridge
        See `least_squares`; must be 0 with a `sparsity`.
    sparsity
        None: all regressors. ``"auto"``: those chosen by an information criterion (`select_lags`).
        A density in (0, 1]: AR-Net's penalty (`fit_penalized`); the selected ones are refitted.
    origin
        Value of each channel that was zero before it was shifted and scaled, for the standard
        errors of the intercepts; None: zero.
    n_series
        Number of series in each group, each with its own mean; None: one.
    bias_correction
        Whether to correct the bias of a one-step equation and limit its explosive roots and drift
        (`correct_bias`, `limit_roots`, `drift_shrinkage`), as far as the fit allows.
    share
        Weight of each window of a group, where several are of one observation; None: 1.
    selected
        Regressors of each group, instead of those that `sparsity` would choose.

    Returns
    -------
    ARResults
        Always finite; a group without a complete window has coefficients of zero.

    Raises
    ------
    ValueError
        Bias correction of several steps was asked for.

    Examples
    --------
    >>> import torch
    >>> series = torch.arange(40, dtype=torch.float64).sin()[None]
    >>> segments = Segments(torch.tensor([0]), torch.tensor([40]), torch.tensor([0]), 1)
    >>> fit_closed_form(series, segments, Design(order=2, horizon=1)).coef.round(decimals=4)
    tensor([[[ 1.0806, -1.0000]]], dtype=torch.float64)
    """
    if bias_correction and design.horizon > 1:
        raise ValueError(
            "bias_correction must be False with several steps, whose bias is not known; got a "
            f"horizon of {design.horizon}. Leave it out."
        )
    n_groups = segments.n_groups
    ones = torch.ones(n_groups, dtype=torch.float64, device=channels.device)
    origin = ones.new_zeros(n_groups, len(channels)) if origin is None else origin.to(ones)
    n_series = ones if n_series is None else n_series.to(ones)
    share = None if share is None else share.to(ones)
    selected = None if selected is None else selected.to(channels.device)
    regressor_origin = design.per_regressor(origin)
    spec = FitSpec(
        design, ridge, sparsity, regressor_origin, n_series, bias_correction, share, selected
    )
    size = (len(channels) * (design.max_lag + 1)) ** 2  # of a Gram matrix

    def fit(groups: slice) -> ARResults:
        return fit_groups(channels, segments.select(groups), spec.select(groups))

    chunks = list(chunked(fit, n_groups, rows_within(MAX_ELEMENTS, size)))
    return chunks[0] if len(chunks) == 1 else concatenate(chunks)
