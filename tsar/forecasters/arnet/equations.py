"""The equations of ARNet: from the closed form to a module, and from there to the series' units."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from tsar.autoregression import ClosedForm, horizon_map
from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.arnet.module import AutoregressionModule


@dataclass(frozen=True)
class Equations:
    """An equation for each group and step: coefficients by lag, the newest first."""

    lags: Shaped[Tensor, "group step lag"]
    past: Shaped[Tensor, "group step past lag"]
    future: Shaped[Tensor, "group step future"]
    constant: Float[Tensor, "group step"]

    @classmethod
    def of_terms(
        cls,
        terms: Shaped[Tensor, "group step term"],
        constant: Float[Tensor, "group step"],
        lags: int,
        past: int,
    ) -> "Equations":
        """Equations whose terms stand in a row: lags, past covariates by lag, future ones."""
        width = (1 + past) * lags
        return cls(
            terms[:, :, :lags],
            terms[:, :, lags:width].unflatten(2, (past, lags)),
            terms[:, :, width:],
            constant,
        )

    @classmethod
    def of_module(cls, module: AutoregressionModule, steps: int) -> "Equations":
        """Equations of a module's first steps, of the point forecast where there are quantiles."""
        rows = slice(module.point, steps * module.outputs, module.outputs)
        weights, lags = module.weights(), module.context_length
        past = weights.past[:, rows].unflatten(2, (-1, lags))
        parts = (
            weights.lags[:, rows].flip(2),
            past.flip(3),
            weights.future[:, :steps, module.point],
            module.constant[:, rows],
        )
        return cls(*(part.detach().cpu().double() for part in parts))

    def in_units(self, series: Scaling, past: Scaling, future: Scaling) -> "Equations":
        """The same equations for series and covariates that are not standardized."""
        lags = self.lags
        ahead, behind = (
            self.future * series.deviation[:, None, None] / future.deviation,
            self.past * series.deviation[:, None, None, None] / past.deviation[:, None],
        )
        level = series.mean[:, None] * (1 - lags.sum(dim=2))
        shift = behind.sum(dim=3) @ past.mean + ahead @ future.mean
        constant = self.constant * series.deviation[:, None] + level - shift
        return Equations(lags, behind, ahead, constant)


def group_scale(scope: str, series: Scaling) -> Scaling:
    """Units of the groups: those of each series, or none where all series share one equation."""
    if scope == "local":
        return series
    one = torch.ones(1, dtype=torch.float64)
    return Scaling(one - 1, one)


def used_lags(lags: Float[Tensor, "group step lag"]) -> list[list[int]]:
    """Lags of each group whose coefficient is not zero in some step."""
    used = (lags != 0).any(dim=1)
    found = (used.nonzero()[:, 1] + 1).tolist()
    ends = used.sum(dim=1).cumsum(0).tolist()
    return [found[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def flat_channels(panel: Panel, past: Scaling, future: Scaling) -> Float[Tensor, "channel time"]:
    """The target of a panel, then its covariates standardized; without any, a view."""
    if not len(past.mean) + len(future.mean):
        return panel.values[None]
    covariates = [past.scale(panel.past.T), future.scale(panel.future.T)]
    return torch.cat([panel.values[None], *covariates])


def origin(series: Scaling, past: Scaling, future: Scaling) -> Float[Tensor, "group channel"]:
    """Where zero lies in standardized units, in each channel of each group."""
    shared = torch.cat([-scale.mean / scale.deviation for scale in (past, future)])
    target = (-series.mean / series.deviation)[:, None]
    return torch.cat([target, shared.expand(len(target), -1)], dim=1)


def load_closed_form(
    module: AutoregressionModule, solution: ClosedForm, steps: int, levels: Sequence[float]
) -> None:
    """Set the linear map of a module to the closed form of its first `steps`.

    A module with more steps gets the recursion of the one equation, folded into its map; one with
    quantiles, the normal quantiles around it.
    """
    order, outputs, past = module.context_length, module.outputs, module.past_mean.shape[0]
    map_, active = (
        Equations.of_terms(terms, solution.intercept, order, past)
        for terms in (solution.coef, solution.active)
    )
    lags, constant, used = map_.lags, map_.constant, active.lags
    if module.horizon > steps:
        lags = horizon_map(lags[:, 0], module.horizon)
        psi = torch.nn.functional.pad(lags[:, :-1, 0], (1, 0), value=1.0)  # see `psi_weights`
        constant = constant * psi.cumsum(dim=1)
        used = torch.ones_like(lags, dtype=torch.bool)
    spread = torch.zeros(1, dtype=torch.float64, device=constant.device)
    if outputs > 1:
        spread = torch.special.ndtri(constant.new_tensor(list(levels)))
    spread = constant[:, :, None] + spread * solution.deviation[:, :, None]
    with torch.no_grad():
        module.lags.copy_(lags.flip(2).repeat_interleave(outputs, dim=1))
        module.active.copy_(used.flip(2).repeat_interleave(outputs, dim=1))
        module.past.copy_(map_.past.flip(3).flatten(2).repeat_interleave(outputs, dim=1))
        module.active_past.copy_(active.past.flip(3).flatten(2).repeat_interleave(outputs, dim=1))
        module.future.copy_(map_.future[:, :, None].expand_as(module.future))
        module.active_future.copy_(active.future[:, :, None].expand_as(module.future))
        module.constant.copy_(spread.flatten(1))
