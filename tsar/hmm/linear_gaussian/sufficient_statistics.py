"""Expected sufficient statistics (the E-step): sums of smoothed moments that the M-step needs."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.em import select_models
from tsar.hmm.linear_gaussian.kalman import (
    SmootherResults,
    StateSpaceModel,
    UniqueCovariances,
    kalman_filter,
    kalman_smoother,
)
from tsar.hmm.observations import Block, Observations
from tsar.runtime.memory import MAX_ELEMENTS, rows_within


@dataclass(frozen=True)
class SufficientStatistics:
    """Sums over all points, expected given the observations.

    Attributes
    ----------
    llf
        Log likelihood of the model.
    initial, initial_square
        Sum of the initial states x[1], and of x[1] x[1]'.
    previous_square, current_square, lag_product
        Sums over all transitions of x[t - 1] x[t - 1]', x[t] x[t]' and x[t] x[t - 1]'.
    design_gram, design_cross, obs_square
        For each feature, sums over the points that observe it: of z z' and y z with z = (x[t], 1),
        and of y squared.
    n_sequences, n_transitions, nobs
        Number of sequences, of transitions, and of observed values of each feature; the same for
        all models.
    """

    llf: Float[Tensor, " model"]
    initial: Float[Tensor, "model state"]
    initial_square: Float[Tensor, "model state state"]
    previous_square: Float[Tensor, "model state state"]
    current_square: Float[Tensor, "model state state"]
    lag_product: Float[Tensor, "model state state"]
    design_gram: Float[Tensor, "model feature state+1 state+1"]
    design_cross: Float[Tensor, "model feature state+1"]
    obs_square: Float[Tensor, "model feature"]
    n_sequences: Float[Tensor, " model"]
    n_transitions: Float[Tensor, " model"]
    nobs: Float[Tensor, "model feature"]


def elements_per_point(model: StateSpaceModel) -> int:
    """Float64 that the filter and the smoother need for each point of a sequence."""
    return model.transition.numel() // 2 + model.design[:, :, 0].numel()


def model_chunks(model: StateSpaceModel, block: Block) -> tuple[Int[Tensor, " chunk"], ...]:
    """Indices of the models that are computed at once: all, or on long sequences some."""
    elements = block.rows.numel() * model.transition[0].numel()
    models = torch.arange(len(model.transition), device=model.transition.device)
    return models.split(rows_within(MAX_ELEMENTS, elements))


def expect(observations: Observations, model: StateSpaceModel) -> SufficientStatistics:
    """Smooth all sequences by every model, and sum their moments."""
    names = [field.name for field in fields(SufficientStatistics)]
    total: dict[str, Tensor] = {}
    for block in observations.blocks(elements_per_point(model)):
        chunks = [
            _expect(select_models(model, chunk), block) for chunk in model_chunks(model, block)
        ]
        for name in names:
            sums = torch.cat([getattr(chunk, name) for chunk in chunks])
            total[name] = total[name] + sums if name in total else sums
    if not total:
        raise ValueError("X must hold sequences; got none. Check where it came from.")
    return SufficientStatistics(**total)


def _expect(model: StateSpaceModel, block: Block) -> SufficientStatistics:
    filtered = kalman_filter(model, block.values, block.lengths)
    smoothed = kalman_smoother(model, filtered)
    time = torch.arange(block.values.shape[1], device=block.lengths.device)
    in_sequence = time < block.lengths[:, None]
    has_next, has_previous = time < block.lengths[:, None] - 1, in_sequence & (time > 0)
    next_state = smoothed.smoothed_state.roll(-1, dims=2)
    gram, cross, obs_square, nobs = _regression(smoothed, block.values, in_sequence)
    one = torch.ones(len(model.transition)).to(model.transition)
    return SufficientStatistics(
        filtered.llf.sum(1),
        smoothed.smoothed_state[:, :, 0].sum(1),
        _square(smoothed, in_sequence & (time == 0)),
        _square(smoothed, has_next),
        _square(smoothed, has_previous),
        _product(next_state, smoothed.smoothed_state, has_next)
        + _covariance_sum(smoothed.smoothed_state_autocov, has_next),
        gram,
        cross,
        obs_square.expand(len(one), -1),
        one * len(block.lengths),
        one * has_next.sum(),
        nobs.expand(len(one), -1),
    )


def _regression(
    smoothed: SmootherResults,
    values: Float[Tensor, "sequence time feature"],
    in_sequence: Bool[Tensor, "sequence time"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Statistics of the regression of each feature on the states and a constant."""
    known, observed = values.nan_to_num(0.0), ~values.isnan()
    one = torch.ones_like(smoothed.smoothed_state[..., :1])
    regressors = torch.cat([smoothed.smoothed_state, one], dim=-1)
    cross = torch.einsum("stk,mstd->mkd", known, regressors)
    complete = bool((observed.all(2) == in_sequence).all())
    grams = []
    for mask in [in_sequence] if complete else observed.unbind(2):  # one mask for all features
        gram = _product(regressors, regressors, mask)
        gram[:, :-1, :-1] += _covariance_sum(smoothed.smoothed_state_cov, mask)
        grams.append(gram)
    gram = torch.stack(grams, dim=1).expand(-1, values.shape[2], -1, -1)
    return gram, cross, known.square().sum((0, 1)), observed.to(values).sum((0, 1))


def _square(
    smoothed: SmootherResults, mask: Bool[Tensor, "sequence time"]
) -> Float[Tensor, "model state state"]:
    """Expected sum of x[t] x[t]' over the masked points."""
    square = _product(smoothed.smoothed_state, smoothed.smoothed_state, mask)
    return square + _covariance_sum(smoothed.smoothed_state_cov, mask)


def _product(
    left: Float[Tensor, "model sequence time row"],
    right: Float[Tensor, "model sequence time column"],
    mask: Bool[Tensor, "sequence time"],
) -> Float[Tensor, "model row column"]:
    masked = right * mask[:, :, None]
    return left.flatten(1, 2).mT @ masked.flatten(1, 2)


def _covariance_sum(
    covariances: UniqueCovariances, mask: Bool[Tensor, "sequence time"]
) -> Float[Tensor, "model row row"]:
    """Sum over the masked points: each distinct covariance times its number of occurrences."""
    unique = covariances.unique
    occurrences = torch.bincount(covariances.index[mask], minlength=unique.shape[1])
    return torch.einsum("u,mude->mde", occurrences.to(unique), unique)
