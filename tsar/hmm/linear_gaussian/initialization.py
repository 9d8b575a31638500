"""Initial models for EM: a stochastic realization of the autocovariances, and random variations."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.kalman import StateSpaceModel
from tsar.hmm.linear_gaussian.linalg import clip_eigenvalues
from tsar.hmm.observations import Observations
from tsar.hmm.standardization import Standardization

MAX_LAGS = 10  # of the future and of the past, where the features are few
MAX_HANKEL_ROWS = 64  # where the features are many
EXPLAINED_SHARE = 0.7  # of the variance of the observations that the states explain initially
MAX_SPECTRAL_RADIUS = 0.98  # of the transition
MIN_STATE_COV = 0.05  # smallest eigenvalue of the state covariance
PERTURBATION = 0.3  # relative size of the perturbations of the realization


def standardization(values: Float[Tensor, "time feature"]) -> Standardization:
    """Mean and standard deviation of each feature.

    The standard deviation of a constant, which is rounding, or of no value is replaced by 1.
    """
    nobs = (~values.isnan()).sum(0)
    mean = values.nanmean(0).nan_to_num(0.0)
    std = (values - mean).square().nanmean(0).sqrt().nan_to_num(0.0)
    rounding = 8 * torch.finfo(values.dtype).eps * mean.abs()
    scale = torch.where(std > rounding, std, 1.0)
    return Standardization(mean, scale, -float((nobs * scale.log()).sum()))


def initial_models(
    observations: Observations, n_components: int, n_init: int, generator: torch.Generator
) -> StateSpaceModel:
    """Initial models: the first is the stochastic realization of Ho & Kalman (1966).

    The others are in turn random perturbations of it, and random models with an orthogonal
    transition times a damping factor between 0.5 and 1.

    Parameters
    ----------
    observations
        Standardized observations.
    """
    transition, design = _stochastic_realization(observations, n_components)

    def normal(rows: int) -> Tensor:
        shape = n_init, rows, n_components
        return torch.randn(shape, dtype=torch.float64, generator=generator).to(transition)

    noise, random_design = normal(n_components), normal(len(design))
    damping = torch.rand(n_init, 1, 1, dtype=torch.float64, generator=generator).to(transition)
    perturbed = transition + noise * (PERTURBATION / n_components**0.5)
    random = torch.linalg.qr(noise)[0] * (1 + damping) / 2
    is_perturbed = torch.arange(n_init, device=transition.device)[:, None, None] % 2 == 1
    transitions = torch.where(is_perturbed, perturbed, random)
    rms = (design.square().sum() / design.numel()).sqrt()
    deviation = torch.where(is_perturbed, PERTURBATION, 1.0) * rms * random_design
    designs = torch.where(is_perturbed, design + deviation, deviation)
    transitions[0], designs[0] = transition, design
    return _complete(transitions, designs)


def _complete(
    transition: Float[Tensor, "model state state"], design: Float[Tensor, "model feature state"]
) -> StateSpaceModel:
    """Models with stationary states of variance about 1 that explain `EXPLAINED_SHARE`."""
    radius = torch.linalg.eigvals(transition).abs().amax(1)[:, None, None]
    transition = transition * (MAX_SPECTRAL_RADIUS / radius).clamp(max=1)
    explained = design.square().sum(2).mean(1)[:, None, None]
    tiny = torch.finfo(explained.dtype).tiny
    design = design * (EXPLAINED_SHARE / explained.clamp(min=tiny)).sqrt().clamp(max=1e6)
    eye = torch.eye(transition.shape[-1]).to(transition).expand_as(transition)
    obs_variance = (1 - design.square().sum(2)).clamp(min=1 - EXPLAINED_SHARE)
    return StateSpaceModel(
        transition,
        clip_eigenvalues(eye - transition @ transition.mT, MIN_STATE_COV),
        design,
        torch.zeros_like(obs_variance),
        torch.diag_embed(obs_variance),
        torch.zeros_like(transition[:, 0]),
        eye.clone(),
    )


def _stochastic_realization(
    observations: Observations, n_components: int
) -> tuple[Float[Tensor, "state state"], Float[Tensor, "feature state"]]:
    """Transition and design of the truncated SVD of the Hankel matrix of the autocovariances."""
    features = observations.values.shape[1]
    lags = max(-(-n_components // features) + 1, min(MAX_LAGS, MAX_HANKEL_ROWS // features), 2)
    autocov = autocovariances(observations, 2 * lags)
    lag = torch.arange(lags, device=autocov.device)
    blocks = autocov[1:][lag[:, None] + lag]  # future, past, feature, feature
    hankel = blocks.transpose(1, 2).flatten(2).flatten(0, 1)
    left, singular, _ = torch.linalg.svd(hankel)
    min_singular = 0.01 * float(singular[0]) + 1e-9
    observability = left[:, :n_components] * singular[:n_components].clamp(min=min_singular).sqrt()
    # Not lstsq: its default driver starts from pivots that torch leaves unset, so that one seed
    # would not always give the same numbers.
    transition = torch.linalg.pinv(observability[:-features]) @ observability[features:]
    return transition, observability[:features]


def autocovariances(observations: Observations, lags: int) -> Float[Tensor, "lag feature feature"]:
    """Mean of y[t + lag] y[t]' over the observed pairs, from lag 0 on; 0 without a pair."""
    values = observations.values
    observed, known = (~values.isnan()).to(values), values.nan_to_num(0.0)
    sequence = torch.repeat_interleave(
        torch.arange(len(observations), device=values.device), observations.lengths
    )
    autocov = values.new_zeros(lags, values.shape[1], values.shape[1])
    for lag in range(min(lags, len(values))):
        end = len(values) - lag
        same_sequence = (sequence[lag:] == sequence[:end]).to(values)[:, None]
        nobs = (observed[lag:] * same_sequence).mT @ observed[:end]
        total = (known[lag:] * same_sequence).mT @ known[:end]
        autocov[lag] = total / nobs.clamp(min=1)
    return autocov
