"""Conversion of ARNet's equations: closed form to module, standardized to data units."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from tsar.autoregression import ARResults, QuantileEquations, horizon_map
from tsar.forecasters.arnet.closed_form import Scales
from tsar.forecasters.arnet.module import AutoregressionModule
from tsar.runtime.memory import BLOCK_ELEMENTS

MAP_STEPS = 64  # maximum steps of a map


@dataclass(frozen=True)
class Equations:
    """Coefficients, or other values per regressor, of each group and step, lag 1 first.

    Of the lags of the target, of those of past covariates, and of future covariates.
    """

    lags: Shaped[Tensor, "group step lag"]
    past: Shaped[Tensor, "group step past lag"]
    future: Shaped[Tensor, "group step future"]
    intercept: Float[Tensor, "group step"]

    @classmethod
    def from_terms(
        cls,
        values: Shaped[Tensor, "group step term"],
        intercept: Float[Tensor, "group step"],
        order: int,
        n_past: int,
    ) -> "Equations":
        """Split a row of values per regressor, in the order of `Design`."""
        width = (1 + n_past) * order
        return cls(
            values[:, :, :order],
            values[:, :, order:width].unflatten(2, (n_past, order)),
            values[:, :, width:],
            intercept,
        )

    @classmethod
    def from_module(cls, module: AutoregressionModule, steps: int) -> "Equations":
        """Equations of a module's first steps; of the point forecast if there are quantiles."""
        rows = slice(module.point, steps * module.n_outputs, module.n_outputs)
        weights = module.weights()
        past = weights.past[:, rows].unflatten(2, (-1, module.order))
        parts = (
            weights.lags[:, rows].flip(2),
            past.flip(3),
            weights.future[:, :steps, module.point],
            module.intercept[:, rows],
        )
        return cls(*(part.detach().cpu().double() for part in parts))

    def in_data_units(self, scales: Scales) -> "Equations":
        """Equations of series and covariates that are not standardized."""
        series, past_scale, future_scale = scales
        unit = series.deviation[:, None]
        past = self.past * unit[:, :, None, None] / past_scale.deviation[:, None]
        future = self.future * unit[:, :, None] / future_scale.deviation
        mean = series.mean[:, None] * (1 - self.lags.sum(dim=2))
        covariate_mean = past.sum(dim=3) @ past_scale.mean + future @ future_scale.mean
        intercept = self.intercept * unit + mean - covariate_mean
        return Equations(self.lags, past, future, intercept)

    def active_lags(self) -> list[list[int]]:
        """Lags of each group whose coefficient is not zero in some step."""
        active = (self.lags != 0).any(dim=1)
        flat = (active.nonzero()[:, 1] + 1).tolist()
        ends = active.sum(dim=1).cumsum(0).tolist()
        return [flat[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def map_steps(horizon: int, coefficients: int) -> int:
    """Steps of a recursion that one matrix product computes (`horizon_map`), 1 if memory is short.

    `coefficients` counts those of all groups.
    """
    steps = min(int(horizon), MAP_STEPS)
    return steps if coefficients * steps <= BLOCK_ELEMENTS else 1


def load_closed_form(
    module: AutoregressionModule,
    results: ARResults,
    steps: int,
    quantiles: QuantileEquations | None,
) -> None:
    """Set the linear map of a module to the equations of its first `steps`.

    A module with more steps gets the recursion of the one equation as a map (`horizon_map`); a
    module with quantiles has an equation for each.
    """
    order, n_outputs, n_past = module.order, module.n_outputs, len(module.past_mean)
    values, offsets = results.coef, results.intercept
    if quantiles is not None:
        values, offsets = quantiles.coef.flatten(1, 2), quantiles.intercept.flatten(1)
    coef = Equations.from_terms(values, offsets, order, n_past)
    selected = results.active.repeat_interleave(n_outputs, dim=1)
    active = Equations.from_terms(selected, offsets, order, n_past)
    lags, intercept, active_lags = coef.lags, coef.intercept, active.lags
    if module.horizon > steps:
        lags = horizon_map(lags[:, 0], module.horizon)
        psi = torch.nn.functional.pad(lags[:, :-1, 0], (1, 0), value=1.0)  # see `psi_weights`
        intercept = intercept * psi.cumsum(dim=1)
        active_lags = torch.ones_like(lags, dtype=torch.bool)
    past, active_past = (part.past.flip(3).flatten(2) for part in (coef, active))
    future, active_future = (part.future.unflatten(1, (-1, n_outputs)) for part in (coef, active))
    with torch.no_grad():
        module.lag_weight.copy_(lags.flip(2))
        module.active_lags.copy_(active_lags.flip(2))
        module.past_weight.copy_(past)
        module.active_past.copy_(active_past)
        module.future_weight.copy_(future.expand_as(module.future_weight))
        module.active_future.copy_(active_future.expand_as(module.future_weight))
        module.intercept.copy_(intercept)
