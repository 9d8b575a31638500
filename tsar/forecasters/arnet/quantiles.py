"""Forecast quantiles of autoregressions in closed form, in standardized units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression import ARResults, ParameterUncertainty, horizon_map, psi_weights
from tsar.autoregression.parameter_uncertainty import ReadRegressors
from tsar.data.batch import Context
from tsar.forecasters.arnet.module import AutoregressionModule, imputed_points
from tsar.intervals import student_quantiles
from tsar.records import record
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within


@record("error_model")
@dataclass(frozen=True)
class ErrorModel:
    """Distribution of the forecast errors of closed-form equations, in standardized units.

    Attributes
    ----------
    sigma
        Standard deviation of the innovations.
    df_resid
        Degrees of freedom of `sigma`.
    estimation_share
        Share by which estimated coefficients raise the variance of a step.
    uncertainty
        Uncertainty of the coefficients of one-step equations, used instead of `estimation_share`.
    """

    sigma: Float[Tensor, "group step"]
    df_resid: Float[Tensor, "group step"]
    estimation_share: Float[Tensor, "group step"]
    uncertainty: ParameterUncertainty | None

    @classmethod
    def from_results(cls, results: ARResults) -> "ErrorModel":
        """Error model of fitted equations."""
        sigma, df_resid = results.innovation_std, results.df_within
        return cls(sigma, df_resid, results.estimation_share, results.uncertainty)


@torch.no_grad()
def closed_form_quantiles(
    module: AutoregressionModule,
    context: Context,
    point: Float[Tensor, "batch horizon"],
    errors: ErrorModel,
    levels: Sequence[float],
    gap: int | None,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles of forecasts by closed-form equations.

    `gap` is, for direct equations, the number of first steps that replace missing points at the end
    of the context; None: one equation, fed its own forecasts.
    """
    one_group = len(errors.sigma) == 1
    group = torch.zeros_like(context.series) if one_group else context.series
    group, lags, values = group.cpu(), module.lag_weight.detach().cpu(), context.values.cpu()
    if gap is not None:
        return direct_quantiles(point, errors, lags, group, levels, values, gap)
    prepared = module.prepare(context)

    def read(
        rows: Int[Tensor, " row"], indices: Int[Tensor, "row active"]
    ) -> Float[Tensor, "row horizon active"]:
        device, subset = prepared.values.device, len(rows) < len(point)
        contexts = prepared[rows.to(device)] if subset else prepared
        forecasts = (point[rows] if subset else point).to(prepared.values)
        return module.regressors(contexts, forecasts, indices.to(device)).cpu()

    return recursive_quantiles(point, errors, lags, group, levels, values, read)


def recursive_quantiles(
    point: Float[Tensor, "batch horizon"],
    errors: ErrorModel,
    maps: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
    read: ReadRegressors,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles of recursive forecasts.

    The innovations give step h the variance sigma^2 (psi_0^2 + ... + psi_{h-1}^2). Imputed points
    of the context (`imputation_variance`) and estimated coefficients
    (`ParameterUncertainty.forecast_variance`) add to it. `maps` are those of the recursion to some
    steps, newest lag last: the first row is the equation, the last column the impulse response as
    far as it goes (see `psi_weights`).
    """
    present, member = group.unique(return_inverse=True)
    horizon, coef = point.shape[1], maps[present].flip(2)
    if horizon <= maps.shape[1] + 1:
        psi = torch.nn.functional.pad(coef[:, : horizon - 1, 0], (1, 0), value=1.0)
    else:
        psi = psi_weights(coef[:, 0], horizon)
    variance = psi.square().cumsum(1)[member]
    variance = variance + imputation_variance(context, maps, group, horizon, recursive=True)
    if errors.uncertainty is None:
        variance = variance * (1 + errors.estimation_share[group])
    else:
        variance = variance + errors.uncertainty.forecast_variance(group, read, psi[member])
    deviation = errors.sigma[group] * variance.sqrt()
    return student_quantiles(point, deviation, errors.df_resid[group], levels)


def direct_quantiles(
    point: Float[Tensor, "batch horizon"],
    errors: ErrorModel,
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
    gap: int,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles of direct forecasts; each step has its own residual deviation.

    Points of the context that the first equation imputed add variance (`imputation_variance`).
    Where the first `gap` steps replace missing points, steps beyond the fitted ones have the
    deviation of the last of these. `equations` are coefficients, newest lag last.
    """
    horizon, fitted = point.shape[1], errors.sigma.shape[1]
    if horizon - gap > fitted:
        raise ValueError(
            f"horizon must be at most {fitted} with intervals when direct; got "
            f"{horizon - gap}. Fit with a longer horizon, or use strategy='recursive'."
        )
    steps = torch.arange(horizon).clamp(max=fitted - 1)
    added = imputation_variance(context, equations, group, horizon, recursive=False)
    variance = errors.sigma[group].square() * (1 + errors.estimation_share[group])
    variance = variance[:, steps] + variance[:, :1] * added
    return student_quantiles(point, variance.sqrt(), errors.df_resid[group][:, steps], levels)


def imputation_variance(
    context: Float[Tensor, "batch context"],
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    horizon: int,
    *,
    recursive: bool,
) -> Float[Tensor, "batch horizon"]:
    """Variance that imputed points of contexts add, in units of that of a one-step error.

    The error of an imputed point is its unobserved innovation plus the errors that earlier imputed
    points propagate: ``d = e + S d``, where S holds the one-step coefficients from gap to gap. The
    error of a forecast is ``a @ d``, with a row of its map, and its variance ``|a (I - S)^-1|^2``.
    """
    added = context.new_zeros(len(context), horizon)
    rows = context.isnan().any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return added
    gaps = imputed_points(context[rows], 0)
    max_gaps = max(int(gaps.sum(dim=1).max()), 1)
    steps = torch.arange(horizon).clamp(max=equations.shape[1] - 1)
    size = max_gaps * max_gaps + horizon * (max_gaps + equations.shape[2])
    for chunk in torch.arange(len(rows)).split(rows_within(BLOCK_ELEMENTS, size)):
        coef = equations[group[rows[chunk]]].flip(2)
        beyond = recursive and horizon > coef.shape[1]
        maps = horizon_map(coef[:, 0], horizon) if beyond else coef[:, steps]
        added[rows[chunk]] = _propagated_variance(gaps[chunk], coef[:, 0], maps, max_gaps)
    return added


def _propagated_variance(
    gaps: Bool[Tensor, "row context"],
    lags: Float[Tensor, "row lag"],
    maps: Float[Tensor, "row horizon lag"],
    max_gaps: int,
) -> Float[Tensor, "row horizon"]:
    """Squared effect of each gap's innovation on each step, summed over the gaps."""
    order = lags.shape[1]
    position = gaps.int().argsort(dim=1, descending=True, stable=True)[:, :max_gaps]
    valid = gaps.gather(1, position)
    lag = position[:, :, None] - position[:, None, :]  # from the earlier gap, the column
    linked = valid[:, :, None] & valid[:, None, :] & (lag > 0) & (lag <= order)
    links = lags.gather(1, (lag.clamp(1, order) - 1).flatten(1)).view_as(lag) * linked
    first_lag = gaps.shape[1] - position  # lag of each gap at the first step of the forecast
    index = (first_lag.clamp(max=order) - 1)[:, None].expand(-1, maps.shape[1], -1)
    effect = maps.gather(2, index) * (valid & (first_lag <= order))[:, None]
    identity = torch.eye(max_gaps, dtype=lags.dtype)
    effect = torch.linalg.solve_triangular(
        identity - links, effect, upper=False, left=False, unitriangular=True
    )
    return effect.square().sum(dim=2)
