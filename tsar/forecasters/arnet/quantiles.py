"""Quantiles of autoregressions in closed form, in standardized units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression import ClosedForm, Estimates, horizon_map, psi_weights
from tsar.autoregression.estimates import Read
from tsar.data.batch import Context
from tsar.forecasters.arnet.module import AutoregressionModule, bridged_points
from tsar.intervals import student_quantiles
from tsar.records import record

ROOM = 2**22  # elements of the matrices that are built at once, 32 MB in float64


@record("errors")
@dataclass(frozen=True)
class Errors:
    """How wrong closed-form equations are, in standardized units.

    Attributes
    ----------
    sigma
        Deviation of a shock.
    freedom
        Residuals less coefficients, of which `sigma` was told.
    estimated
        Share by which estimated coefficients raise the variance of a step.
    estimates
        What the coefficients of one equation were estimated from; None: `estimated` says it all.
    """

    sigma: Float[Tensor, "group step"]
    freedom: Float[Tensor, "group step"]
    estimated: Float[Tensor, "group step"]
    estimates: Estimates | None

    @classmethod
    def of(cls, solution: ClosedForm) -> "Errors":
        """Of equations that were just fitted."""
        return cls(solution.spread, solution.free, solution.estimated, solution.estimates)

    @classmethod
    def of_deviation(cls, sigma: Float[Tensor, "group step"]) -> "Errors":
        """Of deviations of one-step errors alone, as if they were known."""
        return cls(sigma, torch.full_like(sigma, torch.inf), torch.zeros_like(sigma), None)


@torch.no_grad()
def closed_form_quantiles(
    module: AutoregressionModule,
    context: Context,
    point: Float[Tensor, "batch horizon"],
    errors: Errors,
    levels: Sequence[float],
    lead: int | None,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles of forecasts by closed-form equations.

    Parameters
    ----------
    lead
        Of direct equations, the first steps, which make up for missing points; None: one equation,
        whose forecasts were fed back.
    """
    shared = len(errors.sigma) == 1
    group = torch.zeros_like(context.series) if shared else context.series
    group, lags, values = group.cpu(), module.lags.detach().cpu(), context.values.cpu()
    if lead is not None:
        return direct_quantiles(point, errors, lags, group, levels, values, lead)
    prepared = module.prepare(context)

    def read(
        rows: Int[Tensor, " row"], places: Int[Tensor, "row kept"]
    ) -> Float[Tensor, "row horizon kept"]:
        device, some = prepared.values.device, len(rows) < len(point)
        seen = prepared[rows.to(device)] if some else prepared
        made = (point[rows] if some else point).to(prepared.values)
        return module.terms(seen, made, places.to(device)).cpu()

    return recursive_quantiles(point, errors, lags, group, levels, values, read)


def recursive_quantiles(
    point: Float[Tensor, "batch horizon"],
    errors: Errors,
    folded: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
    read: Read,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles; by shocks the variance at step h is sigma^2 (psi_0^2 + ... + psi_{h-1}^2).

    To it adds what missing points of the `context` give (see `bridging_variance`) and what errors
    of the coefficients do (see `Estimates.variance`, which says what `read` gives).
    `folded` holds the recursion's map to some steps, newest lag last: its first row is the
    equation, its last column the responses to a shock (see `psi_weights`) as far as it goes.
    """
    present, member = group.unique(return_inverse=True)
    horizon, known = point.shape[1], folded[present].flip(2)
    if horizon <= folded.shape[1] + 1:
        psi = torch.nn.functional.pad(known[:, : horizon - 1, 0], (1, 0), value=1.0)
    else:
        psi = psi_weights(known[:, 0], horizon)
    growth = psi.square().cumsum(1)[member]
    gaps = bridging_variance(context, folded, group, horizon, recursive=True)
    if errors.estimates is None:
        variance = (growth + gaps) * (1 + errors.estimated[group])
    else:
        variance = growth + gaps + errors.estimates.variance(group, read, psi[member])
    deviation = errors.sigma[group] * variance.sqrt()
    return student_quantiles(point, deviation, errors.freedom[group], levels)


def direct_quantiles(
    point: Float[Tensor, "batch horizon"],
    errors: Errors,
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    levels: Sequence[float],
    context: Float[Tensor, "batch context"],
    lead: int,
) -> Float[Tensor, "batch horizon level"]:
    """Quantiles; each step has a residual deviation of its own.

    `equations` have the newest lag last. To the variance adds what missing points of the `context`
    give, which the first equation bridges (see `bridging_variance`).
    Where the first `lead` steps make up for missing points, steps beyond the fitted ones are as
    wide as the last of these.

    Raises
    ------
    ValueError
        The horizon is beyond the steps that were fitted.
    """
    horizon, fitted = point.shape[1], errors.sigma.shape[1]
    if horizon - lead > fitted:
        raise ValueError(
            f"horizon must be at most {fitted} with intervals when direct; got "
            f"{horizon - lead}. Fit with a longer horizon, or use strategy='recursive'."
        )
    steps = torch.arange(horizon).clamp(max=fitted - 1)
    gaps = bridging_variance(context, equations, group, horizon, recursive=False)
    variance = errors.sigma[group].square() * (1 + errors.estimated[group])
    variance = variance[:, steps] + variance[:, :1] * gaps
    return student_quantiles(point, variance.sqrt(), errors.freedom[group][:, steps], levels)


def bridging_variance(
    context: Float[Tensor, "batch context"],
    equations: Float[Tensor, "group step lag"],
    group: Int[Tensor, " batch"],
    horizon: int,
    *,
    recursive: bool,
) -> Float[Tensor, "batch horizon"]:
    """Variance that the bridged points of contexts add, in units of that of a one-step error.

    A bridged point is wrong by the shock that nobody saw, and by what earlier bridged points hand
    on: ``d = e + S d``, where S holds the one-step coefficients from gap to gap. A forecast is
    wrong by ``a @ d``, a row of its map, and so has the variance ``|a (I - S)^-1|^2``.
    """
    missing = context.isnan()
    added = context.new_zeros(len(context), horizon)
    rows = (missing.any(dim=1)).nonzero()[:, 0]
    if not len(rows):
        return added
    gaps = bridged_points(context[rows], 0)
    most = max(int(gaps.sum(dim=1).max()), 1)
    steps = torch.arange(horizon).clamp(max=equations.shape[1] - 1)
    size = most * most + horizon * (most + equations.shape[2])
    for part in torch.arange(len(rows)).split(max(ROOM // size, 1)):
        known = equations[group[rows[part]]].flip(2)
        beyond = recursive and horizon > known.shape[1]
        maps = horizon_map(known[:, 0], horizon) if beyond else known[:, steps]
        added[rows[part]] = _handed_on(gaps[part], known[:, 0], maps, most)
    return added


def _handed_on(
    gaps: Bool[Tensor, "row context"],
    lags: Float[Tensor, "row lag"],
    maps: Float[Tensor, "row horizon lag"],
    most: int,
) -> Float[Tensor, "row horizon"]:
    """Squares of what each gap's own shock does to each step, summed over at most `most` gaps."""
    order, count = lags.shape[1], len(gaps)
    place = gaps.int().argsort(dim=1, descending=True, stable=True)[:, :most]
    there = gaps.gather(1, place)
    lag = place[:, :, None] - place[:, None, :]  # from an earlier gap, the column, to a later one
    linked = there[:, :, None] & there[:, None, :] & (lag > 0) & (lag <= order)
    links = lags.gather(1, (lag.clamp(1, order) - 1).view(count, -1)).view_as(lag) * linked
    back = gaps.shape[1] - place  # lag at the first step ahead
    index = (back.clamp(max=order) - 1)[:, None].expand(-1, maps.shape[1], -1)
    seen = maps.gather(2, index) * (there & (back <= order))[:, None]
    unit = torch.eye(most, dtype=lags.dtype)
    shocks = torch.linalg.solve_triangular(
        unit - links, seen, upper=False, left=False, unitriangular=True
    )
    return shocks.square().sum(dim=2)
