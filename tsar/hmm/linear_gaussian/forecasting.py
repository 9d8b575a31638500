"""What linear-Gaussian models expect behind the end, and paths drawn from them."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.kalman import LinearGaussian, symmetric
from tsar.hmm.linear_gaussian.scan import Kinds, Tree


@dataclass(frozen=True)
class Forecasts:
    """States and observations to come: their means and covariances."""

    states: Float[Tensor, "model sequence horizon state"]
    state_covariances: Float[Tensor, "model sequence horizon state state"]
    means: Float[Tensor, "model sequence horizon feature"]
    covariances: Float[Tensor, "model sequence horizon feature feature"]


def forecast_states(
    model: LinearGaussian,
    mean: Float[Tensor, "model sequence state"],
    covariance: Float[Tensor, "model sequence state state"],
    horizon: int,
) -> Forecasts:
    """Forecast states and observations, in O(log horizon) steps.

    Parameters
    ----------
    mean, covariance
        Of the first state to come: `next_mean` and `next_covariance` of what was filtered.
    horizon
        Times to forecast, at least 1; the first is that of `mean`.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = LinearGaussian(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> forecast_states(level, one[0, None], one[None], 3).covariances.flatten()
    tensor([2., 3., 4.])
    """
    power, noise = _powers(model, horizon)
    states = torch.einsum("mhde,mse->mshd", power, mean)
    moved = power[:, None] @ covariance[:, :, None] @ power[:, None].mT
    spread = symmetric(moved + noise[:, None])
    observation = model.observation[:, None, None]
    means = states @ model.observation.mT[:, None] + model.offset[:, None, None]
    seen = symmetric(observation @ spread @ observation.mT)
    return Forecasts(states, spread, means, seen + model.observation_covariance[:, None, None])


def _powers(
    model: LinearGaussian, horizon: int
) -> tuple[Float[Tensor, "model horizon state state"], Float[Tensor, "model horizon state state"]]:
    """Powers of the transition from the 0th, and what its noise adds up to; doubled each turn."""
    a, q = model.transition[:, None], model.transition_covariance[:, None]
    power = torch.eye(a.shape[-1]).to(a).expand_as(a)
    noise = torch.zeros_like(q)
    while power.shape[1] < horizon:
        last, added = a @ power[:, -1:], symmetric(a @ noise[:, -1:] @ a.mT) + q
        noise = torch.cat([noise, symmetric(power @ added @ power.mT) + noise], dim=1)
        power = torch.cat([power, power @ last], dim=1)
    return power[:, :horizon], noise[:, :horizon]


def draw(
    model: LinearGaussian, sequences: int, length: int, generator: torch.Generator
) -> tuple[
    Float[Tensor, "model sequence time state"], Float[Tensor, "model sequence time feature"]
]:
    """Draw states and observations from the start on.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = LinearGaussian(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> states, values = draw(level, 2, 5, torch.Generator().manual_seed(0))
    >>> states.shape, values.shape
    (torch.Size([1, 2, 5, 1]), torch.Size([1, 2, 5, 1]))
    """
    shape = (len(model.mean), sequences, length)
    noises = [
        torch.randn(*shape, size, dtype=model.mean.dtype, generator=generator).to(model.mean)
        for size in model.observation.shape[:0:-1]
    ]
    steps, errors = noises
    start = model.mean[:, None] + steps[:, :, 0] @ root(model.covariance).mT
    kinds = torch.zeros(sequences, length, dtype=torch.int64, device=start.device)
    moves = steps.roll(-1, dims=2) @ root(model.transition_covariance).mT[:, None]
    states = Tree.over(Kinds(kinds, 1)).run(model.transition[:, None], moves, start)[:, :, :-1]
    seen = states @ model.observation.mT[:, None] + model.offset[:, None, None]
    return states, seen + errors @ root(model.observation_covariance).mT[:, None]


def root(covariance: Float[Tensor, "model n n"]) -> Float[Tensor, "model n n"]:
    """A matrix whose product with its transpose is the covariance, which may be singular."""
    power, axes = torch.linalg.eigh(covariance)
    return axes * power.clamp(min=0).sqrt()[:, None]
