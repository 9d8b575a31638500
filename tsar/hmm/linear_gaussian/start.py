"""Where expectation-maximization of linear-Gaussian models begins: at a realization of the lags."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.em import floored
from tsar.hmm.linear_gaussian.kalman import LinearGaussian, symmetric
from tsar.hmm.observations import Observations, Units

LAGS = 10  # of the future and of the past, where the features are few
ROWS = 64  # of the matrix of lags, where they are many
SHARE = 0.7  # of the variance of the observations that the states explain at first
RADIUS = 0.98  # of the transition, at most


def units(values: Float[Tensor, "time feature"]) -> Units:
    """Mean and deviation of each feature.

    The deviation of a constant is rounding: it counts as 1, as does that of no value.
    """
    counts = (~values.isnan()).sum(0)
    level = values.nanmean(0).nan_to_num(0.0)
    spread = (values - level).square().nanmean(0).sqrt().nan_to_num(0.0)
    rounding = 8 * torch.finfo(values.dtype).eps * level.abs()
    scale = torch.where(spread > rounding, spread, 1.0)
    return Units(level, scale, -float((counts * scale.log()).sum()))


def starts(
    observations: Observations, states: int, restarts: int, generator: torch.Generator
) -> LinearGaussian:
    """Models to begin with: the realization of the autocovariances, and others around it.

    The first is that of Ho and Kalman (1966). The others are drawn, in turn near it and anywhere.

    Parameters
    ----------
    observations
        Features of mean 0 and variance 1.
    """
    transition, observation = _realization(observations, states)
    features = len(observation)

    def normal(rows: int) -> Tensor:
        drawn = torch.randn(restarts, rows, states, dtype=torch.float64, generator=generator)
        return drawn.to(transition)

    noise, weights = normal(states), normal(features)
    radius = torch.rand(restarts, 1, 1, dtype=torch.float64, generator=generator).to(transition)
    near = transition + noise * (0.3 / states**0.5)
    anywhere = torch.linalg.qr(noise)[0] * (1 + radius) / 2
    turn = torch.arange(restarts, device=transition.device)[:, None, None]
    transitions = torch.where(turn % 2 == 1, near, anywhere)
    transitions[0] = transition
    scale = observation.square().sum() / observation.numel()
    spread = torch.where(turn % 2 == 1, 0.3, 1.0) * scale.sqrt() * weights
    observations_ = torch.where(turn % 2 == 1, observation + spread, spread)
    observations_[0] = observation
    return _assemble(transitions, observations_)


def _assemble(
    transition: Float[Tensor, "model state state"],
    observation: Float[Tensor, "model feature state"],
) -> LinearGaussian:
    """Models of states of about variance 1, that explain a share of that of the observations."""
    radius = torch.linalg.eigvals(transition).abs().amax(1)[:, None, None]
    transition = transition * (RADIUS / radius).clamp(max=1)
    explained = observation.square().sum(2).mean(1)[:, None, None]
    tiny = torch.finfo(explained.dtype).tiny
    observation = observation * (SHARE / explained.clamp(min=tiny)).sqrt().clamp(max=1e6)
    eye = torch.eye(transition.shape[-1]).to(transition).expand_as(transition)
    left = (1 - observation.square().sum(2)).clamp(min=1 - SHARE)
    return LinearGaussian(
        transition,
        floored(symmetric(eye - transition @ transition.mT), 0.05),
        observation,
        torch.zeros_like(left),
        torch.diag_embed(left),
        torch.zeros_like(transition[:, 0]),
        eye.clone(),
    )


def _realization(
    observations: Observations, states: int
) -> tuple[Float[Tensor, "state state"], Float[Tensor, "feature state"]]:
    """Transition and observation whose products are nearest to the autocovariances."""
    features = observations.values.shape[1]
    lags = max(-(-states // features) + 1, min(LAGS, ROWS // features), 2)
    covariances = autocovariances(observations, 2 * lags)
    step = torch.arange(lags, device=covariances.device)
    blocks = covariances[1:][step[:, None] + step]  # future, past, feature, feature
    hankel = blocks.transpose(1, 2).flatten(2).flatten(0, 1)
    left, power, _ = torch.linalg.svd(hankel)
    basis = left[:, :states] * power[:states].clamp(min=0.01 * float(power[0]) + 1e-9).sqrt()
    # Not lstsq: its default driver starts from pivots that torch leaves unset, so that one seed
    # would not always give the same numbers.
    transition = torch.linalg.pinv(basis[:-features]) @ basis[features:]
    return transition, basis[:features]


def autocovariances(observations: Observations, lags: int) -> Float[Tensor, "lag feature feature"]:
    """Mean of y[t + lag] y[t]' over the pairs that are observed, of lag 0 first; 0 without any."""
    values = observations.values
    seen, known = (~values.isnan()).to(values), values.nan_to_num(0.0)
    sequence = torch.repeat_interleave(
        torch.arange(len(observations), device=values.device), observations.lengths
    )
    found = values.new_zeros(lags, values.shape[1], values.shape[1])
    for lag in range(min(lags, len(values))):
        same = (sequence[lag:] == sequence[: len(values) - lag]).to(values)[:, None]
        count = (seen[lag:] * same).mT @ seen[: len(values) - lag]
        total = (known[lag:] * same).mT @ known[: len(values) - lag]
        found[lag] = total / count.clamp(min=1)
    return found
