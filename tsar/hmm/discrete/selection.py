"""Choose the number of states of discrete-state HMMs, for each group of sequences by itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission
from tsar.hmm.discrete.fitting import FittedModels, log_likelihoods, predictive_log_density
from tsar.hmm.discrete.parameters import P
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import select_models
from tsar.hmm.observations import Observations
from tsar.hmm.selection import chosen_states, held_out_table, information_table, restart_range

Criterion = Literal["heldout", "bic", "aic", "icl"]
CRITERIA: tuple[str, ...] = get_args(Criterion)

Fit = Callable[[SequenceGroups, int], FittedModels[P]]


def select_n_components(
    emission: Emission[P],
    data: SequenceGroups,
    candidates: Sequence[int],
    criterion: Criterion,
    fit: Fit[P],
) -> tuple[Int[Tensor, " group"], dict[int, FittedModels[P]], pd.DataFrame]:
    """Number of states of each group, models of all data, and the table of all candidates.

    The criteria are explained in `tsar.hmm.selection`: "heldout" in `held_out_table`, the others in
    `information_table`. Models are returned by number of states, at least the chosen ones; the
    table has a row for each group and candidate.
    """
    models: dict[int, FittedModels[P]] = {}
    if criterion == "heldout":

        def evaluate(training: Observations, n_components: int) -> tuple[Tensor, Tensor]:
            fitted = fit(replace(data, observations=training), n_components)
            density = predictive_log_density(emission, data, fitted.parameters)
            return density, restart_range(fitted.objectives)

        group, n_groups = data.point_group, data.n_groups
        table = held_out_table(data.observations, group, n_groups, candidates, evaluate)
    else:
        models = {n_components: fit(data, n_components) for n_components in candidates}
        table = _information_table(emission, data, models, criterion)
    chosen = chosen_states(table)
    for n_components in sorted(set(chosen) - set(models)):
        models[n_components] = fit(data, n_components)
    return torch.tensor(chosen), models, table


def _information_table(
    emission: Emission[P],
    data: SequenceGroups,
    models: dict[int, FittedModels[P]],
    criterion: Criterion,
) -> pd.DataFrame:
    best = [fitted.parameters for fitted in models.values()]
    group = torch.arange(data.n_groups, device=data.group.device)
    complete = [_complete_log_likelihood(emission, data, p) for p in best if criterion == "icl"]
    return information_table(
        list(models),
        criterion,
        torch.stack([log_likelihoods(emission, data, parameters, group) for parameters in best]),
        [parameters.n_chain_parameters + emission.n_parameters(parameters) for parameters in best],
        data.nobs,
        [restart_range(fitted.objectives) for fitted in models.values()],
        complete=torch.stack(complete) if complete else None,
    )


def _complete_log_likelihood(
    emission: Emission[P], data: SequenceGroups, parameters: P
) -> Float[Tensor, " group"]:
    """Log density of the points of each group together with the most probable states."""
    n_groups, n_components = parameters.startprob.shape
    total = torch.zeros(n_groups, dtype=torch.float64, device=data.group.device)
    model_group = torch.arange(n_groups, device=data.group.device)
    for block, rows, models in data.pairs(model_group, n_components):
        chosen = select_models(parameters, models)
        density = emission.log_density(chosen, block.values[rows])
        decoded = decode(chosen.startprob, chosen.transmat, density, block.lengths[rows])
        total.index_add_(0, models, decoded.log_probability)
    return total
