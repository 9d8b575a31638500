"""What regimes say of the steps ahead: of the values, or of what changes add up to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsar.hmm.inference import predict_states
from tsar.hmm.mixture import mixture_mean, mixture_quantiles
from tsar.hmm.parameters import Parameters
from tsar.hmm.regimes import draw_states
from tsar.hmm.sums import sum_quantiles
from tsar.panel import Panel
from tsar.scaling import Scaling


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
    newest
        Value that changes are added to, one a window; None: the regimes are of values.
    """

    models: Parameters
    inside: Bool[Tensor, "window state"]
    now: Float[Tensor, "window state"]
    season: Float[Tensor, "window horizon"]
    scaling: Scaling
    newest: Float[Tensor, " window"] | None

    def point(self) -> Float[Tensor, "window horizon"]:
        """Mean of each step."""
        weight, mean, _ = values_ahead(self.models, self.now, self.season)
        told = mixture_mean(weight, mean)
        told = told if self.newest is None else told.cumsum(1)
        return self.invert(told[:, :, None])[:, :, 0]

    def quantiles(self, levels: Sequence[float]) -> Float[Tensor, "window horizon level"]:
        """Quantiles of each step, by inversion of its distribution."""
        if not levels:
            return self.invert(self.season[:, :, None].expand(-1, -1, 0))
        if self.newest is None:
            mixture = values_ahead(self.models, self.now, self.season)
            return self.invert(mixture_quantiles(*mixture, levels))
        horizon = self.season.shape[1]
        sums = sum_quantiles(self.models, self.inside, self.now, horizon, levels)
        return self.invert(sums + self.season.cumsum(1)[:, :, None])

    def draw(
        self, uniform: Float[Tensor, "path horizon"], noise: Float[Tensor, "path horizon"]
    ) -> Float[Tensor, "window path horizon"]:
        """Paths: regimes by the uniform numbers, and points of each by the normal ones."""
        first = predict_states(self.now, self.models.transmat, 1)[:, 0]
        states = draw_states(first, self.models.transmat, uniform)
        row = torch.arange(len(first), device=first.device)[:, None, None]
        level, spread = (part[row, states, 0] for part in (self.models.center, self.models.spread))
        drawn = level + spread.sqrt() * noise + self.season[:, None]
        return self.invert((drawn if self.newest is None else drawn.cumsum(2)).mT).mT

    def invert(
        self, values: Float[Tensor, "window horizon output"]
    ) -> Float[Tensor, "window horizon output"]:
        """Steps in the units that came in."""
        told = self.scaling.invert(values.cpu())
        if self.newest is None:
            return told
        before = torch.arange(told.shape[1])[:, None] * self.scaling.mean[:, None, None]
        return told + before + self.newest[:, None, None]
