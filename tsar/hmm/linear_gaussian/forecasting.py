"""Forecasts and simulated paths of linear-Gaussian state-space models."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.kalman import StateSpaceModel
from tsar.hmm.linear_gaussian.linalg import square_root, symmetric
from tsar.hmm.linear_gaussian.scan import ElementIds, ScanTree


def forecast(
    model: StateSpaceModel,
    state: Float[Tensor, "model sequence state"],
    state_cov: Float[Tensor, "model sequence state state"],
    horizon: int,
) -> tuple[
    Float[Tensor, "model sequence horizon feature"],
    Float[Tensor, "model sequence horizon feature feature"],
]:
    """Mean and covariance of future observations, in O(log horizon) steps.

    Parameters
    ----------
    state, state_cov
        Mean and covariance of the first future state: `next_state` and `next_state_cov` of
        `FilterResults`.
    horizon
        Number of times to forecast, at least 1; the first is that of `state`.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = StateSpaceModel(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> forecast(level, one[0, None], one[None], 3)[1].flatten()
    tensor([2., 3., 4.])
    """
    power, noise_cov = _powers(model, horizon)
    states = torch.einsum("mhde,mse->mshd", power, state)
    moved = power[:, None] @ state_cov[:, :, None] @ power[:, None].mT
    states_cov = symmetric(moved + noise_cov[:, None])
    mean = states @ model.design.mT[:, None] + model.obs_intercept[:, None, None]
    design = model.design[:, None, None]
    signal_cov = symmetric(design @ states_cov @ design.mT)
    return mean, signal_cov + model.obs_cov[:, None, None]


def _powers(
    model: StateSpaceModel, horizon: int
) -> tuple[Float[Tensor, "model horizon state state"], Float[Tensor, "model horizon state state"]]:
    """Powers of the transition from the 0th on, and the accumulated state covariance.

    Each iteration doubles their number.
    """
    a, q = model.transition[:, None], model.state_cov[:, None]
    power = torch.eye(a.shape[-1]).to(a).expand_as(a)
    noise_cov = torch.zeros_like(q)
    while power.shape[1] < horizon:
        last, added = a @ power[:, -1:], symmetric(a @ noise_cov[:, -1:] @ a.mT) + q
        noise_cov = torch.cat([noise_cov, symmetric(power @ added @ power.mT) + noise_cov], dim=1)
        power = torch.cat([power, power @ last], dim=1)
    return power[:, :horizon], noise_cov[:, :horizon]


def simulate(
    model: StateSpaceModel, n_sequences: int, n_points: int, generator: torch.Generator
) -> tuple[
    Float[Tensor, "model sequence time state"], Float[Tensor, "model sequence time feature"]
]:
    """Simulate states and observations from the initial state on.

    Examples
    --------
    >>> one = torch.ones(1, 1, 1)
    >>> level = StateSpaceModel(one, one, one, one[0] * 0, one, one[0] * 0, one)
    >>> states, values = simulate(level, 2, 5, torch.Generator().manual_seed(0))
    >>> states.shape, values.shape
    (torch.Size([1, 2, 5, 1]), torch.Size([1, 2, 5, 1]))
    """

    def normal(size: int) -> Tensor:
        shape = len(model.transition), n_sequences, n_points, size
        noise = torch.randn(shape, dtype=model.transition.dtype, generator=generator)
        return noise.to(model.transition)

    n_features, n_states = model.design.shape[1:]
    innovations, errors = normal(n_states), normal(n_features)
    initial_root = square_root(model.initial_state_cov)
    initial = model.initial_state[:, None] + innovations[:, :, 0] @ initial_root.mT
    ids = torch.zeros(n_sequences, n_points, dtype=torch.int64, device=initial.device)
    inputs = innovations.roll(-1, dims=2) @ square_root(model.state_cov).mT[:, None]
    path = ScanTree.of(ElementIds(ids, 1)).linear_recurrence(
        model.transition[:, None], inputs, initial
    )
    states = path[:, :, :-1]
    signal = states @ model.design.mT[:, None] + model.obs_intercept[:, None, None]
    return states, signal + errors @ square_root(model.obs_cov).mT[:, None]
