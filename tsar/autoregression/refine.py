"""Coefficients as precise as by orthogonal factorization, by Fourier transforms of the data."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from tsar.autoregression.gram import Regression, cross_correlate, group_means
from tsar.autoregression.runs import Blocks, Runs, blocks
from tsar.autoregression.solve import LeastSquares


@dataclass(frozen=True)
class Residuals:
    """Sums over the residuals of every system.

    Parameters
    ----------
    power : Tensor
        Sums of squared residuals.
    cross : Tensor
        Their products with the regressors: zero at the least squares solution.
    """

    power: Float[Tensor, "group target"]
    cross: Float[Tensor, "group term target"]


def refine(
    solution: LeastSquares,
    regression: Regression,
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    *,
    steps: int = 3,
) -> LeastSquares:
    """Correct the coefficients of ill-conditioned systems; the others stay as they are.

    The normal equations square the condition of the lag matrix X. Each step computes the residual
    r = y - X w and X'r from the data and solves for the correction with the factor at hand
    (corrected seminormal equations), which restores the digits as long as cond(X) < 1e7 or so.

    Parameters
    ----------
    solution : LeastSquares
        From `least_squares` on `regression`.
    regression : Regression
        From moments of the same channels and runs.
    channels, runs : Tensor, Runs
        As for `lagged_moments`.
    steps : int
        Corrections, at least 1. Each costs about as much as the moments.

    Returns
    -------
    LeastSquares
        With the same factorization. The host waits once, to see if a system is ill-conditioned.

    Raises
    ------
    ValueError
        If `steps` is less than 1.

    References
    ----------
    Å. Björck, Stability analysis of the method of seminormal equations for linear least squares
    problems, Linear Algebra and its Applications 88 (1987).

    Examples
    --------
    >>> import torch
    >>> from tsar.autoregression import lagged_moments, least_squares
    >>> series = torch.arange(200, dtype=torch.float64).sin().cumsum(0).cumsum(0)[None]
    >>> runs = Runs(torch.tensor([0]), torch.tensor([200]), torch.tensor([0]), 1)
    >>> moments = lagged_moments(series, runs, 2)
    >>> regression = moments.regression(moments.terms(0, 1, 2), moments.terms(0, 0, 0))
    >>> rough = least_squares(regression.gram, regression.cross)
    >>> refine(rough, regression, series, runs).coef.shape
    torch.Size([1, 2, 1])
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}. Three suffice.")
    ill = solution.factorization.ill_conditioned
    if not bool(ill.any()):
        return solution
    hard = _of_groups(runs, ill)
    coef, factorization = solution.coef, solution.factorization
    diagonal = regression.gram.diagonal(dim1=1, dim2=2)[:, :, None] * factorization.ridge
    for _ in range(steps):
        gradient = residuals(coef, regression, channels, hard).cross - diagonal * coef
        coef = coef + factorization.solve(gradient * ill[:, None, None])
    return LeastSquares(coef, factorization)


def residuals(
    coef: Float[Tensor, "group term target"],
    regression: Regression,
    channels: Float[Tensor, "channel total"],
    runs: Runs,
) -> Residuals:
    """Filter the series with coefficients and sum the residuals, without keeping them.

    Unlike `Regression.residual_power` this loses no digits when the residuals are tiny against the
    series. Parameters are as for `refine`; `coef` may be any coefficients of the regression.
    """
    shift, _ = group_means(channels, runs, regression.max_lag)
    lags = regression.max_lag + 1
    filters = _filters(coef, regression, len(channels))
    level = shift.repeat_interleave(lags, dim=1)
    mean = regression.regressor_mean - level[:, regression.regressors]
    target_mean = regression.target_mean - level[:, regression.targets]
    offset = target_mean - torch.einsum("gk,gkr->gr", mean, coef)
    total = torch.zeros_like(offset)
    power = torch.zeros_like(offset)
    cross = offset.new_zeros(*offset.shape, len(channels), lags)
    width = (len(channels) + 3) * (len(regression.targets) + 2)
    for part in blocks(runs, lags - 1, channels.shape[1], channels.device, width=width):
        spectrum = torch.fft.rfft(part.read(channels, shift))
        residual = _filter(part, spectrum, filters) - offset[part.members[part.local]][:, :, None]
        residual *= part.targets()[:, None]
        weighted = residual * part.weights[:, None, None]
        total.index_add_(0, part.members, part.sum(weighted.sum(-1)))
        power.index_add_(0, part.members, part.sum((weighted * residual).sum(-1)))
        products = cross_correlate(part, weighted, spectrum, lags - 1)
        cross.index_add_(0, part.members, products)
    # The means are known to eps of the level, so the offset leaves a mean residual: take it out.
    chosen = cross.flatten(2)[:, :, regression.regressors].mT - mean[:, :, None] * total[:, None]
    count = regression.count.clamp(min=torch.finfo(torch.float64).tiny)
    return Residuals(power - total.square() / count[:, None], chosen)


def _of_groups(runs: Runs, chosen: Bool[Tensor, " group"]) -> Runs:
    """Keep the runs of the chosen groups."""
    kept = chosen.to(runs.group.device)[runs.group]
    weights = None if runs.weights is None else runs.weights[kept]
    return Runs(runs.starts[kept], runs.lengths[kept], runs.group[kept], runs.n_groups, weights)


def _filters(
    coef: Float[Tensor, "group term target"], regression: Regression, n_channels: int
) -> Float[Tensor, "group target channel lag"]:
    """Return the filters whose output is the residual: 1 at the target, -coef elsewhere."""
    lags = regression.max_lag + 1
    filters = coef.new_zeros(len(coef), len(regression.targets), n_channels * lags)
    filters[:, :, regression.regressors] = -coef.mT
    order = torch.arange(len(regression.targets), device=coef.device)
    filters[:, order, regression.targets] += 1.0
    return filters.unflatten(2, (n_channels, lags))


def _filter(
    part: Blocks,
    spectrum: Complex[Tensor, "block channel frequency"],
    filters: Float[Tensor, "group target channel lag"],
) -> Float[Tensor, "block target size"]:
    """Convolve the windows of each block with the filters of its group."""
    response = torch.fft.rfft(filters[part.members], n=part.size)[part.local]
    return torch.fft.irfft(torch.einsum("btcf,bcf->btf", response, spectrum), n=part.size)
