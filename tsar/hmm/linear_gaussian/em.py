"""Expectation-maximization of linear-Gaussian models whose features have noise of their own."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.em import EMResult, run_em, select_models
from tsar.hmm.linear_gaussian.expected import Expected, expect, portions, width
from tsar.hmm.linear_gaussian.kalman import LinearGaussian, filter_states, symmetric
from tsar.hmm.linear_gaussian.priors import LinearPriors
from tsar.hmm.observations import Observations


def fit(
    observations: Observations,
    start: LinearGaussian,
    priors: LinearPriors,
    *,
    n_iter: int,
    tol: float,
    floor: float,
    progress: bool = False,
) -> EMResult[LinearGaussian]:
    """Expectation-maximization (Shumway & Stoffer 1982) of many models on the same sequences.

    The objective never falls: a covariance below `floor` is replaced by the best one that is not.

    Parameters
    ----------
    start
        Where each model begins.
    priors
        Their log density and the log likelihood are the objective.
    n_iter, tol
        Steps at most, and the gain of the objective below which a model is done.
    floor
        Least variance of an observation, and of a state in any direction.
    """

    def step(
        model: LinearGaussian, _: Int[Tensor, " active"]
    ) -> tuple[LinearGaussian, Float[Tensor, " active"]]:
        expected = expect(observations, model)
        better = improve(model, priors.added(expected), floor)
        return better, expected.likelihood + priors.log_density(model)

    return run_em(start, step, n_iter=n_iter, tol=tol, progress=progress)


def likelihood(observations: Observations, model: LinearGaussian) -> Float[Tensor, " model"]:
    """Log likelihood of all sequences."""
    total = torch.zeros(len(model.mean), dtype=torch.float64, device=model.mean.device)
    for block in observations.blocks(width(model)):
        for chosen in portions(model, block):
            found = filter_states(select_models(model, chosen), block.values, block.lengths)
            total[chosen] += found.log_likelihood.sum(1)
    return total


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
