"""What regimes say of the steps ahead: of the values, or of what changes add up to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.regimes.increments import sum_quantiles
from tsar.forecasters.regimes.mixture import mixture_mean, mixture_quantiles
from tsar.forecasters.regimes.regimes import draw_states
from tsar.hmm.discrete.inference import predict_states
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.em import take


class Mixture(NamedTuple):
    """Normal distributions of each step, one for each state that the step may be in."""

    weight: Float[Tensor, "window horizon state"]
    mean: Float[Tensor, "window horizon state"]
    deviation: Float[Tensor, "window horizon state"]


def changes(panel: Panel) -> Panel:
    """Changes from each point to the next; NaN at the first of a series and beside a missing one.

    Examples
    --------
    >>> changes(Panel.from_tensor(torch.tensor([[1.0, 4.0, 5.0]]))).values
    tensor([nan, 3., 1.])
    """
    begins = panel.offsets[:-1][panel.lengths > 0]
    moved = panel.values.diff(prepend=panel.values[:1])
    moved[begins] = torch.nan
    return replace(panel, values=moved)


def values_ahead(
    models: Parameters, now: Float[Tensor, "window state"], season: Float[Tensor, "window horizon"]
) -> Mixture:
    """Values of each step, exactly.

    Parameters
    ----------
    models
        One for each window.
    now
        Probability of each state at the end of the context.
    season
        What is added to each step.
    """
    weight = predict_states(now, models.transmat, season.shape[1])
    mean = models.center[:, None, :, 0] + season[:, :, None]
    return Mixture(weight, mean, models.spread[:, None, :, 0].sqrt().expand_as(mean))


@dataclass(frozen=True)
class Standing:
    """Where series stand at the end of their contexts.

    Attributes
    ----------
    models, now, season
        See `values_ahead`; in standard units.
    inside
        Which states each model has.
    scaling
        Of the values, or of the changes.
    changed, newest
        Whether the regimes of a window are of changes, and the value that those are added to.
    """

    models: Parameters
    inside: Bool[Tensor, "window state"]
    now: Float[Tensor, "window state"]
    season: Float[Tensor, "window horizon"]
    scaling: Scaling
    changed: Bool[Tensor, " window"]
    newest: Float[Tensor, " window"]

    def point(self) -> Float[Tensor, "window horizon"]:
        """Mean of each step."""
        weight, mean, _ = values_ahead(self.models, self.now, self.season)
        return self._invert(self._added(mixture_mean(weight, mean))[:, :, None])[:, :, 0]

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "window horizon level"]:
        """Quantiles of each step, by inversion of its distribution."""
        season = self._added(self.season)
        found = season[:, :, None].repeat(1, 1, len(levels))
        values, sums = (~self.changed).nonzero()[:, 0], self.changed.nonzero()[:, 0]
        if levels and len(values):
            models, now = take(self.models, values), self.now[values]
            mixture = values_ahead(models, now, torch.zeros_like(season[values]))
            found[values] += mixture_quantiles(*mixture, levels)
        if levels and len(sums):
            models, now, inside = take(self.models, sums), self.now[sums], self.inside[sums]
            found[sums] += sum_quantiles(models, inside, now, season.shape[1], levels)
        return self._invert(found)

    def draw(
        self, uniform: Float[Tensor, "path horizon"], noise: Float[Tensor, "path horizon"]
    ) -> Float[Tensor, "window path horizon"]:
        """Paths: regimes by the uniform numbers, and points of each by the normal ones."""
        first = predict_states(self.now, self.models.transmat, 1)[:, 0]
        states = draw_states(first, self.models.transmat, uniform)
        row = torch.arange(len(first), device=first.device)[:, None, None]
        level, spread = (part[row, states, 0] for part in (self.models.center, self.models.spread))
        drawn = level + spread.sqrt() * noise + self.season[:, None]
        return self._invert(self._added(drawn.mT)).mT

    def _added(self, steps: Float[Tensor, "window horizon *output"]) -> Tensor:
        """Steps, of changes what they add up to."""
        changed = self.changed.view(-1, *[1] * (steps.ndim - 1))
        return torch.where(changed, steps.cumsum(1), steps)

    def _invert(
        self, values: Float[Tensor, "window horizon output"]
    ) -> Float[Tensor, "window horizon output"]:
        """Steps in the units that came in."""
        told, changed = self.scaling.invert(values.cpu()), self.changed.cpu()[:, None, None]
        before = torch.arange(told.shape[1])[:, None] * self.scaling.mean[:, None, None]
        return torch.where(changed, told + before + self.newest[:, None, None], told)
