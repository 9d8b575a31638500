"""Choice of the state dimension of a linear-Gaussian model."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.linear_gaussian.em import FittedModels
from tsar.hmm.linear_gaussian.kalman import StateSpaceModel, kalman_filter
from tsar.hmm.linear_gaussian.sufficient_statistics import elements_per_point
from tsar.hmm.observations import Observations
from tsar.hmm.selection import chosen_states, held_out_table, information_table, restart_range

Criterion = Literal["heldout", "bic", "aic"]
CRITERIA: tuple[str, ...] = get_args(Criterion)
Fit = Callable[[Observations, int], FittedModels]


def n_parameters(n_components: int, n_features: int) -> int:
    """Number of free parameters: all less those of an invertible map of the states.

    The map has as many parameters as the transition, ``n_components ** 2``, so that those of the
    two covariances of states, the initial state, the design, and the intercept and noise variance
    of each feature remain.
    """
    return n_components * (n_components + 1) + n_components + n_features * (n_components + 2)


def select_n_components(
    observations: Observations, candidates: Sequence[int], criterion: Criterion, fit: Fit
) -> tuple[FittedModels, pd.DataFrame]:
    """Models of the state dimension that the criterion chooses, and the table of all candidates.

    Parameters
    ----------
    criterion
        See `tsar.hmm.selection.held_out_table` and `information_table`.
    fit
        Fits models with a given state dimension.
    """
    if criterion == "heldout":

        def evaluate(training: Observations, n_components: int) -> tuple[Tensor, Tensor]:
            fitted = fit(training, n_components)
            log_density = predictive_log_density(observations, fitted.model)
            return log_density, restart_range(fitted.log_likelihoods[None])

        group = torch.zeros_like(observations.observed, dtype=torch.int64)
        table = held_out_table(observations, group, 1, candidates, evaluate)
        return fit(observations, chosen_states(table)[0]), table
    models = {n_components: fit(observations, n_components) for n_components in candidates}
    n_features = observations.values.shape[1]
    table = information_table(
        candidates,
        criterion,
        torch.stack([fitted.log_likelihoods[[fitted.best]] for fitted in models.values()]),
        [n_parameters(n_components, n_features) for n_components in candidates],
        observations.observed.sum()[None],
        [restart_range(fitted.log_likelihoods[None]) for fitted in models.values()],
    )
    return models[chosen_states(table)[0]], table


def predictive_log_density(
    observations: Observations, model: StateSpaceModel
) -> Float[Tensor, " time"]:
    """Log density of each point given those before it in its sequence, by one model."""
    log_density = observations.values.new_zeros(len(observations.values))
    for block in observations.blocks(elements_per_point(model)):
        results = kalman_filter(model, block.values, block.lengths)
        rows, values = block.unpad(results.llf_obs[0])
        log_density[rows] = values
    return log_density
