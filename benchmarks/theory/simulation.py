"""Simulated excess risk of linear heads on frozen features of linear-Gaussian states.

The sizes are ours, as those of Luo, Wang & Huang 2024 (arXiv 2410.00699) were not available. No
test set is sampled: given the features that a head was fitted to, its risk is exact.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from theory.population import LatentModel
from theory.ridge import generalized_cross_validation, optimal_ridge
from theory.trajectory import trajectory_risk
from tsar.complexity.heads import RidgeSVD
from tsar.complexity.theory import ridgeless_risk

Scheme = Literal["general", "aligned"]


def sample_model(
    states: int,
    features: int,
    *,
    scheme: Scheme = "general",
    persistence: float = 0.9,
    generator: torch.Generator,
) -> LatentModel:
    """Sample a transition and frozen weights.

    Source: a reconstruction of Luo et al. 2024; the sizes are ours.

    Parameters
    ----------
    states, features
        Dimensions d and p.
    scheme
        ``"general"``: a random transition, standard normal weights, noise of variance 1.
        ``"aligned"``: states of unit variance, an orthogonal transition times `persistence`, and
        weights with ``W W' = (p / d) I``.
    persistence
        Spectral radius of the transition, below 1.
    generator
        Random numbers.

    Examples
    --------
    >>> model = sample_model(2, 4, scheme="aligned", generator=torch.Generator().manual_seed(0))
    >>> (model.readout @ model.readout.T).round(decimals=6).abs()
    tensor([[2., 0.],
            [0., 2.]], dtype=torch.float64)
    """
    square = torch.randn(states, states, generator=generator, dtype=torch.float64)
    weights = torch.randn(states, features, generator=generator, dtype=torch.float64)
    if scheme == "general":
        radius = torch.linalg.eigvals(square).abs().max()
        return LatentModel(square * (persistence / radius), weights, 1.0, 1.0)
    if features < states:
        raise ValueError(
            f"features must be at least the {states} states if aligned; got {features}. "
            "Give more features, or scheme='general'."
        )
    orthogonal = torch.linalg.qr(square).Q
    aligned = torch.linalg.qr(weights.T).Q.T * (features / states) ** 0.5
    return LatentModel(persistence * orthogonal, aligned, 1 - persistence**2, 1.0)


def sample_rows(
    model: LatentModel, n_rows: int, repetitions: int, *, serial: bool, generator: torch.Generator
) -> tuple[Float[Tensor, "repetition row feature"], Float[Tensor, "repetition row state"]]:
    """Sample features and the next states, i.i.d. or from one trajectory for each repetition.

    A trajectory is summed by doubling, ``z[t] = sum_k e[t - k] A^k``, without a loop over time.

    Examples
    --------
    >>> model = sample_model(2, 3, generator=torch.Generator().manual_seed(0))
    >>> options = {"serial": True, "generator": torch.Generator().manual_seed(1)}
    >>> [tuple(part.shape) for part in sample_rows(model, 5, 4, **options)]
    [(4, 5, 3), (4, 5, 2)]
    """

    def normal(*shape: int) -> Tensor:
        return torch.randn(repetitions, *shape, generator=generator, dtype=torch.float64)

    states, features = model.readout.shape
    root = torch.linalg.cholesky(model.state_covariance)
    shocks = model.state_noise**0.5 * normal(n_rows, states)
    if serial:
        initial = normal(1, states) @ root.T
        path, power, step = torch.cat([initial, shocks], dim=1), model.transition, 1
        while step <= n_rows:
            path[:, step:] = path[:, step:] + path[:, :-step] @ power
            power, step = power @ power, 2 * step
        state, next_state = path[:, :-1], path[:, 1:]
    else:
        state = normal(n_rows, states) @ root.T
        next_state = state @ model.transition + shocks
    noise = model.feature_noise**0.5 * normal(n_rows, features)
    return state @ model.readout + noise, next_state


def simulate(
    model: LatentModel,
    sizes: Sequence[int],
    *,
    n_rows: int = 200,
    repetitions: int = 20,
    serial: bool = False,
    ridge: bool = False,
    generator: torch.Generator,
) -> pd.DataFrame:
    """Mean simulated and theoretical risk of heads on the first features, a row for each size.

    Bias and variance are conditional on the features: excess risk of the head fitted to the
    noiseless response ``x B*``, and variance of the head fitted to the residuals.

    Source: a reconstruction of Luo et al. 2024.

    Parameters
    ----------
    sizes
        Numbers of features.
    n_rows
        Training rows n.
    repetitions
        Training sets.
    serial
        Whether a training set is one trajectory; otherwise its rows are i.i.d.
    ridge
        Whether to fit ridge heads too: with the penalty of least expected risk, and with the one
        chosen by generalized cross-validation.
    generator
        Random numbers.

    Returns
    -------
    frame
        ``size, ratio, bias, variance, excess, excess_std_err, irreducible, total, null, bayes``
        (risks), ``theory_bias, theory_variance, theory_excess`` (for a trajectory see
        `trajectory_risk`); with `ridge` also ``ridge_penalty, ridge_theory, ridge_excess,
        ridge_tuned``.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> model = sample_model(2, 30, generator=generator)
    >>> risks = simulate(model, (5, 30), n_rows=20, generator=generator)
    >>> (risks["excess"] / risks["theory_excess"]).round().tolist()
    [1.0, 1.0]
    """
    largest = model.with_features(max(sizes))
    samples = sample_rows(largest, n_rows, repetitions, serial=serial, generator=generator)
    table: list[dict[str, Any]] = []
    for size in sizes:
        smaller = model.with_features(size)
        penalty = optimal_ridge(smaller.spectrum, n_rows)[0][None] if ridge else None
        risks = [
            _risks(smaller, features[:, :size], response, penalty)
            for features, response in zip(*samples, strict=True)
        ]
        table.append(_row(smaller, n_rows, torch.stack(risks), serial=serial))
    return pd.DataFrame(table)


def _risks(
    model: LatentModel,
    features: Float[Tensor, "row feature"],
    response: Float[Tensor, "row state"],
    penalty: Float[Tensor, "1"] | None,
) -> Float[Tensor, " risk"]:
    """Ridgeless bias, variance and excess; with a penalty also that, and excess of ridge heads."""
    svd = RidgeSVD.of(features, fit_intercept=False)
    signal, no_penalty = features @ model.head, features.new_zeros(1)
    of_signal, of_noise = (
        svd.coefficients(part, no_penalty)[0] for part in (signal, response - signal)
    )
    risks = [
        model.excess(of_signal),
        model.variance_of(of_noise),
        model.excess(of_signal + of_noise),
    ]
    if penalty is not None:
        grid = svd.penalty_grid()
        tuned = grid[generalized_cross_validation(svd, response, grid).argmin()][None]
        heads = [svd.coefficients(response, chosen)[0] for chosen in (penalty, tuned)]
        risks += [penalty[0], *map(model.excess, heads)]
    return torch.stack(risks)


def _row(
    model: LatentModel, n_rows: int, risks: Float[Tensor, "repetition risk"], *, serial: bool
) -> dict[str, Any]:
    bias, variance, excess, *ridge = risks.mean(dim=0).tolist()
    theory = trajectory_risk(model, n_rows) if serial else ridgeless_risk(model.spectrum, n_rows)
    row: dict[str, Any] = {
        "size": model.readout.shape[1],
        "ratio": model.readout.shape[1] / n_rows,
        "bias": bias,
        "variance": variance,
        "excess": excess,
        "excess_std_err": float(risks[:, 2].std()) / np.sqrt(len(risks)),
        "irreducible": float(model.residual_variance),
        "total": float(model.residual_variance) + excess,
        "null": float(model.null_risk),
        "bayes": model.bayes_risk,
        "theory_bias": float(theory.bias),
        "theory_variance": float(theory.variance),
        "theory_excess": float(theory.excess),
    }
    if ridge:
        names = ("ridge_penalty", "ridge_excess", "ridge_tuned")
        row |= dict(zip(names, ridge, strict=True))
        row["ridge_theory"] = float(optimal_ridge(model.spectrum, n_rows)[1])
    return row
