"""What the observations say of the states: the sums that maximization needs, expected."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.em import select_models
from tsar.hmm.linear_gaussian.kalman import (
    LinearGaussian,
    Moments,
    Smoothed,
    filter_states,
    smooth_states,
)
from tsar.hmm.observations import Block, Observations

NUMBERS = 1 << 24  # of the covariances of all steps of a block: 128 MB of float64


@dataclass(frozen=True)
class Expected:
    """Sums over all points, expected given the observations.

    Attributes
    ----------
    likelihood
        Log likelihood of the model that they were expected by.
    first, first_second
        States at the beginnings, and their products.
    before, after, lagged
        Products of the states before transitions, behind them, and of those behind with before.
    gram, cross, power
        For each feature, where it is observed: products of the state and a 1, of the observation
        with them, and its square.
    starts, transitions, counts
        Sequences, transitions, and observed values of each feature; the same for all models.
    """

    likelihood: Float[Tensor, " model"]
    first: Float[Tensor, "model state"]
    first_second: Float[Tensor, "model state state"]
    before: Float[Tensor, "model state state"]
    after: Float[Tensor, "model state state"]
    lagged: Float[Tensor, "model state state"]
    gram: Float[Tensor, "model feature state+1 state+1"]
    cross: Float[Tensor, "model feature state+1"]
    power: Float[Tensor, "model feature"]
    starts: Float[Tensor, " model"]
    transitions: Float[Tensor, " model"]
    counts: Float[Tensor, "model feature"]

    def plus(self, other: "Expected") -> "Expected":
        """Sums over both."""
        names = [field.name for field in fields(self)]
        return Expected(**{name: getattr(self, name) + getattr(other, name) for name in names})


def width(model: LinearGaussian) -> int:
    """Numbers for each point of a sequence."""
    return model.transition.numel() // 2 + model.observation[:, :, 0].numel()


def portions(model: LinearGaussian, block: Block) -> tuple[Int[Tensor, " chosen"], ...]:
    """Models that are computed at once: all, or on a long sequence some."""
    numbers = block.rows.numel() * model.transition[0].numel()
    models = torch.arange(len(model.mean), device=model.mean.device)
    return models.split(max(1, NUMBERS // numbers))


def expect(observations: Observations, model: LinearGaussian) -> Expected:
    """Smooth all sequences with every model."""
    total: Expected | None = None
    for block in observations.blocks(width(model)):
        parts = [_expect(select_models(model, some), block) for some in portions(model, block)]
        names = [field.name for field in fields(Expected)]
        found = Expected(**{k: torch.cat([getattr(part, k) for part in parts]) for k in names})
        total = found if total is None else total.plus(found)
    if total is None:
        raise ValueError("X must hold sequences; got none. Check where it came from.")
    return total


def _expect(model: LinearGaussian, block: Block) -> Expected:
    filtered = filter_states(model, block.values, block.lengths)
    smoothed = smooth_states(model, filtered)
    steps = torch.arange(block.values.shape[1], device=block.lengths.device)
    inside = steps < block.lengths[:, None]
    going, coming = steps < block.lengths[:, None] - 1, inside & (steps > 0)
    next_means = smoothed.means.roll(-1, dims=2)
    gram, cross, power, counts = _regression(smoothed, block.values, inside)
    models = torch.ones(len(model.mean)).to(model.mean)
    return Expected(
        filtered.log_likelihood.sum(1),
        smoothed.means[:, :, 0].sum(1),
        _products(smoothed, inside & (steps == 0)),
        _products(smoothed, going),
        _products(smoothed, coming),
        _outer(next_means, smoothed.means, going) + _sum(smoothed.lagged, going),
        gram,
        cross,
        power.expand(len(model.mean), -1),
        models * len(block.lengths),
        models * going.sum(),
        counts.expand(len(model.mean), -1),
    )


def _regression(
    smoothed: Smoothed,
    values: Float[Tensor, "sequence time feature"],
    inside: Bool[Tensor, "sequence time"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums that the regression of each feature on the states needs."""
    known, seen = values.nan_to_num(0.0), ~values.isnan()
    one = torch.ones_like(smoothed.means[..., :1])
    padded = torch.cat([smoothed.means, one], dim=-1)
    weights = seen.to(values)
    cross = torch.einsum("stk,mstd->mkd", known, padded)
    masks = [inside] if bool((seen.all(2) == inside).all()) else list(seen.unbind(2))
    grams = []
    for mask in masks:  # one, where no feature is missing
        gram = _outer(padded, padded, mask)
        gram[:, :-1, :-1] += _sum(smoothed.covariances, mask)
        grams.append(gram)
    gram = torch.stack(grams, dim=1).expand(-1, values.shape[2], -1, -1)
    return gram, cross, known.square().sum((0, 1)), weights.sum((0, 1))


def _products(smoothed: Smoothed, mask: Bool[Tensor, "sequence time"]) -> Tensor:
    return _outer(smoothed.means, smoothed.means, mask) + _sum(smoothed.covariances, mask)


def _outer(
    left: Float[Tensor, "model sequence time row"],
    right: Float[Tensor, "model sequence time column"],
    mask: Bool[Tensor, "sequence time"],
) -> Float[Tensor, "model row column"]:
    kept = right * mask[:, :, None]
    return left.flatten(1, 2).mT @ kept.flatten(1, 2)


def _sum(moments: Moments, mask: Bool[Tensor, "sequence time"]) -> Float[Tensor, "model row row"]:
    """Sum of covariances: each distinct one as often as it occurs."""
    count = torch.bincount(moments.place[mask], minlength=moments.distinct.shape[1])
    return torch.einsum("w,mwde->mde", count.to(moments.distinct), moments.distinct)
