"""Simulation of heads on frozen features of linear-Gaussian states: what the theory is held to.

The protocol is ours, for the sizes of Luo, Wang & Huang 2024 (arXiv 2410.00699) were not at
hand. No test set is drawn: risks are exact, given the features that a head was fitted to.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from theory.population import LatentModel
from theory.trajectory import trajectory_risk
from tsar.complexity.heads import Decomposition
from tsar.complexity.theory import best_ridge, ridgeless_risk

Scheme = Literal["general", "aligned"]


def draw_model(
    states: int,
    features: int,
    *,
    scheme: Scheme = "general",
    persistence: float = 0.9,
    generator: torch.Generator,
) -> LatentModel:
    """Draw states and frozen weights.

    Source: a reconstruction of Luo et al. 2024; the sizes are ours.

    Parameters
    ----------
    states, features
        Dimensions d and p.
    scheme
        ``"general"``: a random transition, standard normal weights, noise of variance 1.
        ``"aligned"``: states of unit variance that turn, and weights with ``W W' = (p / d) I``.
    persistence
        Spectral radius of the transition, below 1.
    generator
        Of the seed.

    Examples
    --------
    >>> model = draw_model(2, 4, scheme="aligned", generator=torch.Generator().manual_seed(0))
    >>> (model.readout @ model.readout.T).round(decimals=6).abs()
    tensor([[2., 0.],
            [0., 2.]], dtype=torch.float64)
    """
    drawn = torch.randn(states, states, generator=generator, dtype=torch.float64)
    weights = torch.randn(states, features, generator=generator, dtype=torch.float64)
    if scheme == "general":
        radius = torch.linalg.eigvals(drawn).abs().max()
        return LatentModel(drawn * (persistence / radius), weights, 1.0, 1.0)
    if features < states:
        raise ValueError(
            f"features must be at least the {states} states if aligned; got {features}. "
            "Give more features, or scheme='general'."
        )
    turn = torch.linalg.qr(drawn).Q
    aligned = torch.linalg.qr(weights.T).Q.T * (features / states) ** 0.5
    return LatentModel(persistence * turn, aligned, 1 - persistence**2, 1.0)


def draw_pairs(
    model: LatentModel, rows: int, repetitions: int, *, serial: bool, generator: torch.Generator
) -> tuple[Float[Tensor, "repetition row feature"], Float[Tensor, "repetition row state"]]:
    """Draw features and the states that follow: from one trajectory each, or pairs apart.

    A trajectory is summed by doubling, ``z[t] = sum_k e[t - k] A^k``, without a step a time.

    Examples
    --------
    >>> model = draw_model(2, 3, generator=torch.Generator().manual_seed(0))
    >>> pairs = {"serial": True, "generator": torch.Generator().manual_seed(1)}
    >>> [tuple(part.shape) for part in draw_pairs(model, 5, 4, **pairs)]
    [(4, 5, 3), (4, 5, 2)]
    """

    def draw(*shape: int) -> Tensor:
        return torch.randn(repetitions, *shape, generator=generator, dtype=torch.float64)

    states, features = model.readout.shape
    root = torch.linalg.cholesky(model.state_covariance)
    shocks = model.state_noise**0.5 * draw(rows, states)
    if serial:
        first = draw(1, states) @ root.T
        path, power, step = torch.cat([first, shocks], dim=1), model.transition, 1
        while step <= rows:
            path[:, step:] = path[:, step:] + path[:, :-step] @ power
            power, step = power @ power, 2 * step
        before, after = path[:, :-1], path[:, 1:]
    else:
        before = draw(rows, states) @ root.T
        after = before @ model.transition + shocks
    seen = before @ model.readout + model.feature_noise**0.5 * draw(rows, features)
    return seen, after


def simulate(
    model: LatentModel,
    sizes: Sequence[int],
    *,
    rows: int = 200,
    repetitions: int = 20,
    serial: bool = False,
    ridge: bool = False,
    generator: torch.Generator,
) -> pd.DataFrame:
    """Mean risk of heads on the first features of a model, beside the theory: a row a size.

    Source: a reconstruction of Luo et al. 2024. Bias and variance are those given the features: the
    error of the head of ``x B*``, and of that of what ``x B*`` leaves; both from one decomposition.

    Parameters
    ----------
    sizes
        Numbers of features.
    rows
        Training rows n.
    repetitions
        Training sets that are drawn.
    serial
        Whether a training set is one trajectory, or pairs apart from each other.
    ridge
        Whether ridge heads are fitted too, with the best penalty of the theory, and with the one
        that generalized cross-validation finds.
    generator
        Of the seed.

    Returns
    -------
    frame
        ``size, ratio, bias, variance, excess, excess_error`` (standard error), ``irreducible``,
        ``total, null, bayes``, ``theory_bias, theory_variance, theory_excess`` (of a trajectory:
        see `trajectory_risk`); with `ridge` also ``ridge_penalty, ridge_theory, ridge_excess,
        ridge_tuned``.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> model = draw_model(2, 30, generator=generator)
    >>> found = simulate(model, (5, 30), rows=20, generator=generator)
    >>> (found["excess"] / found["theory_excess"]).round().tolist()
    [1.0, 1.0]
    """
    largest = model.with_features(max(sizes))
    seen, after = draw_pairs(largest, rows, repetitions, serial=serial, generator=generator)
    table: list[dict[str, Any]] = []
    for size in sizes:
        shown = model.with_features(size)
        penalty = best_ridge(shown.spectrum, rows)[0][None] if ridge else None
        risks = torch.stack(
            [
                _risks(shown, features[:, :size], response, penalty)
                for features, response in zip(seen, after, strict=True)
            ]
        )
        table.append(_row(shown, rows, risks, serial=serial))
    return pd.DataFrame(table)


def _risks(
    model: LatentModel,
    features: Float[Tensor, "row feature"],
    response: Float[Tensor, "row state"],
    penalty: Float[Tensor, "1"] | None,
) -> Float[Tensor, " risk"]:
    """Bias, variance and excess without a penalty; with one, then of the heads with penalties."""
    parts = Decomposition.of(features, intercept=False)
    known = features @ model.head
    free = features.new_zeros(1)
    exact, noise = (parts.coefficients(y, free)[0] for y in (known, response - known))
    risks = [model.excess(exact), model.norm(noise), model.excess(exact + noise)]
    if penalty is not None:
        grid = parts.penalties()
        tuned = grid[parts.generalized(response, grid).argmin()][None]
        heads = [parts.coefficients(response, chosen)[0] for chosen in (penalty, tuned)]
        risks += [penalty[0], *map(model.excess, heads)]
    return torch.stack(risks)


def _row(
    model: LatentModel, rows: int, risks: Float[Tensor, "repetition risk"], *, serial: bool
) -> dict[str, Any]:
    bias, variance, excess, *more = risks.mean(dim=0).tolist()
    theory = trajectory_risk(model, rows) if serial else ridgeless_risk(model.spectrum, rows)
    row = {
        "size": model.readout.shape[1],
        "ratio": model.readout.shape[1] / rows,
        "bias": bias,
        "variance": variance,
        "excess": excess,
        "excess_error": float(risks[:, 2].std()) / np.sqrt(len(risks)),
        "irreducible": float(model.noise),
        "total": float(model.noise) + excess,
        "null": float(model.null),
        "bayes": model.floor,
        "theory_bias": float(theory.bias),
        "theory_variance": float(theory.variance),
        "theory_excess": float(theory.excess),
    }
    if more:
        names = ("ridge_penalty", "ridge_excess", "ridge_tuned")
        row |= dict(zip(names, more, strict=True))
        row["ridge_theory"] = float(best_ridge(model.spectrum, rows)[1])
    return row
