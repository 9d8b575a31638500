"""State probabilities of Markov-switching models: stationary, filtered, smoothed, sampled.

A batch holds one model per row. Models with fewer states than others are padded; `has_state` marks
the states that each model has.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian
from tsar.hmm.discrete.inference import filter_states, forward_backward, stationary_distribution
from tsar.hmm.discrete.parameters import GaussianParameters

MIN_PROBABILITY = 1e-100  # keeps every chain irreducible, for the scaled recursions
EMISSION = DiagonalGaussian()  # densities only: no priors, no variance floor


def stationary_probabilities(
    transmat: Float[Tensor, "model state state"], n_components: Int[Tensor, " model"]
) -> tuple[Float[Tensor, "model state"], Bool[Tensor, "model state"]]:
    """Stationary distribution of each model's own states, and which states it has.

    Padded states lead to themselves only, so their share has to be removed.
    """
    has_state = torch.arange(transmat.shape[1], device=transmat.device) < n_components[:, None]
    probabilities = stationary_distribution(transmat) * has_state
    return probabilities / probabilities.sum(1, keepdim=True), has_state


def filtered_probabilities(
    models: GaussianParameters,
    has_state: Bool[Tensor, "window state"],
    values: Float[Tensor, "window time"],
) -> Float[Tensor, "window state"]:
    """Probability of each state at the last point, given all points; one model per window."""
    log_density = _log_density(models, has_state, values)
    return filter_states(models.startprob, models.transmat, log_density).probability[:, -1]


def smoothed_probabilities(
    models: GaussianParameters,
    has_state: Bool[Tensor, "window state"],
    values: Float[Tensor, "window time"],
) -> Float[Tensor, "window time state"]:
    """Probability of each state at each point, given all points; one model per window."""
    log_density = _log_density(models, has_state, values)
    return forward_backward(models.startprob, models.transmat, log_density).posteriors


def _log_density(
    models: GaussianParameters,
    has_state: Bool[Tensor, "window state"],
    values: Float[Tensor, "window time"],
) -> Float[Tensor, "window time state"]:
    log_density = EMISSION.log_density(models, values[:, :, None])
    return log_density.masked_fill(~has_state[:, None], -torch.inf)


def sample_state_paths(
    initial: Float[Tensor, "window state"],
    transmat: Float[Tensor, "window state state"],
    uniform: Float[Tensor, "path horizon"],
) -> Int[Tensor, "window path horizon"]:
    """Sample state paths by inversion of uniform numbers in [0, 1), which all windows share.

    `initial` is the probability of each state at the first step.
    """
    cumulative = transmat.cumsum(-1)
    row = torch.arange(len(initial), device=initial.device)[:, None]
    state = (uniform[None, :, :1] >= initial.cumsum(-1)[:, None, :-1]).sum(-1)
    states = [state]
    for numbers in uniform[:, 1:].unbind(1):
        state = (numbers[None, :, None] >= cumulative[row, state][..., :-1]).sum(-1)
        states.append(state)
    return torch.stack(states, 2)
