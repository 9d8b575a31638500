"""Expectation-maximization of linear-Gaussian models whose features have noise of their own."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.em import Maximum, maximize, take
from tsar.hmm.kalman import (
    LinearGaussian,
    Moments,
    Smoothed,
    filter_states,
    smooth_states,
    symmetric,
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


def fit(
    observations: Observations, start: LinearGaussian, *, n_iter: int, tol: float, floor: float
) -> Maximum[LinearGaussian]:
    """Expectation-maximization (Shumway & Stoffer 1982) of many models on the same sequences.

    The likelihood never falls: a covariance below `floor` is replaced by the best one that is not.

    Parameters
    ----------
    start
        Where each model begins.
    n_iter, tol
        Steps at most, and the gain of the log likelihood below which a model is done.
    floor
        Least variance of an observation, and of a state in any direction.
    """

    def step(
        model: LinearGaussian, _: Int[Tensor, " active"]
    ) -> tuple[LinearGaussian, Float[Tensor, " active"]]:
        expected = expect(observations, model)
        return improve(model, expected, floor), expected.likelihood

    return maximize(start, step, n_iter=n_iter, tol=tol)


def likelihood(observations: Observations, model: LinearGaussian) -> Float[Tensor, " model"]:
    """Log likelihood of all sequences."""
    total = torch.zeros(len(model.mean), dtype=torch.float64, device=model.mean.device)
    for block in observations.blocks(width(model)):
        for chosen in portions(model, block):
            found = filter_states(take(model, chosen), block.values, block.lengths)
            total[chosen] += found.log_likelihood.sum(1)
    return total


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
        parts = [_expect(take(model, some), block) for some in portions(model, block)]
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


def improve(model: LinearGaussian, expected: Expected, floor: float) -> LinearGaussian:
    """The parameters of the highest expected likelihood."""
    transition, noise = model.transition, model.transition_covariance
    if bool((expected.transitions > 0).all()):
        transition = solve(expected.before, expected.lagged.mT).mT
        cross = transition @ expected.lagged.mT
        rest = expected.after - cross - cross.mT + transition @ expected.before @ transition.mT
        noise = floored(rest / expected.transitions[:, None, None], floor)
    loading = solve(expected.gram, expected.cross[..., None])[..., 0]
    count = expected.counts.clamp(min=1)
    fitted = (expected.gram @ loading[..., None])[..., 0]
    residual = expected.power + (loading * (fitted - 2 * expected.cross)).sum(-1)
    variance = torch.where(expected.counts > 0, (residual / count).clamp(min=floor), 1)
    mean = expected.first / expected.starts[:, None]
    second = expected.first_second / expected.starts[:, None, None]
    return LinearGaussian(
        transition,
        noise,
        loading[..., :-1],
        loading[..., -1],
        torch.diag_embed(variance),
        mean,
        floored(second - mean[:, :, None] * mean[:, None], floor),
    )


def solve(
    gram: Float[Tensor, "*batch n n"], right: Float[Tensor, "*batch n m"]
) -> Float[Tensor, "*batch n m"]:
    """Solve with a matrix that is positive definite, or to rounding not quite."""
    scale = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = torch.where(scale > 0, scale, 1)
    unit = gram / (scale[..., :, None] * scale[..., None, :])
    eye = torch.eye(unit.shape[-1]).to(unit)
    ridge = 8 * len(eye) * torch.finfo(unit.dtype).eps
    factor = torch.linalg.cholesky_ex(unit + ridge * eye)[0]
    return torch.cholesky_solve(right / scale[..., None], factor) / scale[..., None]


def floored(covariance: Float[Tensor, "model n n"], floor: float) -> Float[Tensor, "model n n"]:
    """The most likely covariance of those that are nowhere below a floor."""
    power, axes = torch.linalg.eigh(symmetric(covariance))
    return symmetric(axes * power.clamp(min=floor)[:, None] @ axes.mT)


def canonical(model: LinearGaussian, expected: Expected) -> LinearGaussian:
    """The same model in coordinates that are its own: x -> M x changes nothing but these.

    In them the states have a mean square of 1 over the training data and are uncorrelated there,
    their innovations are uncorrelated, and the slowest state, that of the smallest innovations,
    stands first. The largest weight of each state in the observations is positive.
    """
    total = expected.first_second + expected.after
    second = total / (expected.starts + expected.transitions)[:, None, None]
    factor = torch.linalg.cholesky(symmetric(second))
    half = torch.linalg.solve_triangular(factor, model.transition_covariance, upper=False)
    whitened = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    axes = torch.linalg.eigh(symmetric(whitened))[1]
    weights = model.observation @ factor @ axes
    largest = weights.abs().argmax(dim=1, keepdim=True)
    sign = torch.where(weights.gather(1, largest) < 0, -1.0, 1.0).to(weights)
    back = factor @ axes * sign
    forth = torch.linalg.inv(back)
    return LinearGaussian(
        forth @ model.transition @ back,
        symmetric(forth @ model.transition_covariance @ forth.mT),
        model.observation @ back,
        model.offset,
        model.observation_covariance,
        (forth @ model.mean[..., None])[..., 0],
        symmetric(forth @ model.covariance @ forth.mT),
    )
