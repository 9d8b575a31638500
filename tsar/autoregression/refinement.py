"""Iterative refinement of ill-conditioned least squares, by residuals computed from the data."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from tsar.autoregression.gram import NormalEquations, approximate_means, cross_correlate
from tsar.autoregression.least_squares import LeastSquares
from tsar.autoregression.overlap_save import Blocks, overlap_save_blocks
from tsar.autoregression.segments import Segments
from tsar.autoregression.spectra import multiply


@dataclass(frozen=True)
class ResidualSums:
    """Sums over the residuals of every system.

    Parameters
    ----------
    rss : Tensor
        Residual sums of squares.
    cross : Tensor
        Products of the residuals with the regressors: zero at the least squares solution.
    """

    rss: Float[Tensor, "group target"]
    cross: Float[Tensor, "group term target"]


def refine(
    solution: LeastSquares,
    equations: NormalEquations,
    channels: Float[Tensor, "channel total"],
    segments: Segments,
    *,
    steps: int = 3,
) -> LeastSquares:
    """Correct the coefficients of ill-conditioned systems; the others do not change.

    The normal equations square the condition number of the lag matrix X. Each step computes the
    residual r = y - X w and X'r from the data and solves for the correction with the existing
    factor (corrected seminormal equations), which restores the digits up to about cond(X) = 1e7.

    Parameters
    ----------
    solution : LeastSquares
        From `least_squares` on `equations`.
    equations : NormalEquations
        From moments of the same channels and segments.
    channels, segments : Tensor, Segments
        As for `lagged_moments`.
    steps : int
        Corrections, at least 1. Each costs about as much as the moments.

    Returns
    -------
    LeastSquares
        With the same factorization. One device synchronization, to find ill-conditioned systems.

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
    >>> segments = Segments(torch.tensor([0]), torch.tensor([200]), torch.tensor([0]), 1)
    >>> moments = lagged_moments(series, segments, 2)
    >>> equations = moments.normal_equations(moments.terms(0, 1, 2), moments.terms(0, 0, 0))
    >>> rough = least_squares(equations.gram, equations.cross)
    >>> refine(rough, equations, series, segments).coef.shape
    torch.Size([1, 2, 1])
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; got {steps}. Three suffice.")
    coef, factorization = solution.coef, solution.factorization
    ill_conditioned = factorization.ill_conditioned
    if not bool(ill_conditioned.any()):
        return solution
    inside = ill_conditioned.to(segments.group.device)[segments.group]
    starts, lengths = segments.starts[inside], segments.lengths[inside]
    segments = Segments(starts, lengths, segments.group[inside], segments.n_groups)
    diagonal = equations.gram.diagonal(dim1=1, dim2=2)[:, :, None] * factorization.ridge
    for _ in range(steps):
        gradient = residual_sums(coef, equations, channels, segments).cross - diagonal * coef
        coef = coef + factorization.solve(gradient * ill_conditioned[:, None, None])
    return LeastSquares(coef, factorization)


def residual_sums(
    coef: Float[Tensor, "group term target"],
    equations: NormalEquations,
    channels: Float[Tensor, "channel total"],
    segments: Segments,
) -> ResidualSums:
    """Filter the series with coefficients and sum the residuals, without storing them.

    Unlike `NormalEquations.rss` this loses no digits when the residuals are tiny relative to the
    series. Parameters are those of `refine`; `coef` may be any coefficients of the equations.
    """
    shift, _ = approximate_means(channels, segments, equations.max_lag)
    lags = equations.max_lag + 1
    filters = _residual_filters(coef, equations, len(channels))
    shift_by_term = shift.repeat_interleave(lags, dim=1)
    mean = equations.regressor_mean - shift_by_term[:, equations.regressors]
    target_mean = equations.target_mean - shift_by_term[:, equations.targets]
    offset = target_mean - torch.einsum("gk,gkr->gr", mean, coef)
    total, rss = torch.zeros_like(offset), torch.zeros_like(offset)
    cross = offset.new_zeros(*offset.shape, len(channels), lags)
    width = (len(channels) + 3) * (len(equations.targets) + 2)
    for blocks in overlap_save_blocks(
        segments, lags - 1, channels.shape[1], channels.device, width=width
    ):
        groups = blocks.groups
        spectrum = torch.fft.rfft(blocks.read(channels, shift))
        residual = _apply_filters(blocks, spectrum, filters)
        residual = residual - offset[groups[blocks.group_index]][:, :, None]
        residual *= blocks.target_mask()[:, None]
        total.index_add_(0, groups, blocks.sum_by_group(residual.sum(-1)))
        rss.index_add_(0, groups, blocks.sum_by_group(residual.square().sum(-1)))
        cross.index_add_(0, groups, cross_correlate(blocks, residual, spectrum, lags - 1))
    # The means are known to eps of the level, so the offset leaves a mean residual: remove it.
    chosen = cross.flatten(2)[:, :, equations.regressors].mT - mean[:, :, None] * total[:, None]
    nobs = equations.nobs.clamp(min=torch.finfo(torch.float64).tiny)
    if equations.share is None:
        return ResidualSums(rss - total.square() / nobs[:, None], chosen)
    share = equations.share[:, None]
    rss = share * (rss - share * total.square() / nobs[:, None])
    return ResidualSums(rss, share[:, :, None] * chosen)


def _residual_filters(
    coef: Float[Tensor, "group term target"], equations: NormalEquations, n_channels: int
) -> Float[Tensor, "group target channel lag"]:
    """Filters whose output is the residual: 1 at the target, -coef at the regressors."""
    n_targets, lags = len(equations.targets), equations.max_lag + 1
    filters = coef.new_zeros(len(coef), n_targets, n_channels * lags)
    filters[:, :, equations.regressors] = -coef.mT
    filters[:, torch.arange(n_targets, device=coef.device), equations.targets] += 1.0
    return filters.unflatten(2, (n_channels, lags))


def _apply_filters(
    blocks: Blocks,
    spectrum: Complex[Tensor, "block channel frequency"],
    filters: Float[Tensor, "group target channel lag"],
) -> Float[Tensor, "block target size"]:
    """Convolve the windows of each block with the filters of its group."""
    response = torch.fft.rfft(filters[blocks.groups], n=blocks.size)[blocks.group_index]
    filtered = multiply(response, spectrum[:, None]).sum(dim=2)
    return torch.fft.irfft(filtered, n=blocks.size)
