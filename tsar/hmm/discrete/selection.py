"""How many states: by what a model says of points that it was not fitted to, or by a penalty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission
from tsar.hmm.discrete.fitting import Grouped, best, log_likelihoods, point_scores
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import Maximum, take
from tsar.hmm.observations import Observations
from tsar.hmm.selection import chosen_states, held_out_table, information_table, restart_range

Criterion = Literal["heldout", "bic", "aic", "icl"]
CRITERIA: tuple[str, ...] = get_args(Criterion)


@dataclass(frozen=True)
class Fitted:
    """Models of one number of states, as many for each group, and the group of each."""

    maximum: Maximum[Parameters]
    owner: Int[Tensor, " model"]
    groups: int

    @property
    def best(self) -> Int[Tensor, " group"]:
        """Best model of each group."""
        return best(self.maximum.objective, self.owner, self.groups)

    @property
    def objectives(self) -> Float[Tensor, "group start"]:
        """Objective of every start of each group."""
        return self.maximum.objective.view(self.groups, -1)

    @property
    def parameters(self) -> Parameters:
        """Those of the best model of each group."""
        return take(self.maximum.parameters, self.best)


Fit = Callable[[Grouped, int], Fitted]


def select(
    emission: Emission,
    data: Grouped,
    candidates: Sequence[int],
    criterion: Criterion,
    fit: Fit,
) -> tuple[Int[Tensor, " group"], dict[int, Fitted], pd.DataFrame]:
    """Number of states of each group, the models of all data, and the table of all candidates.

    Parameters
    ----------
    criterion
        ``"heldout"``: one-step log density of the newest fifth of the observed points of each
        sequence, by models of what is before; the fewest states within one standard error of the
        best, and of all where a group holds back less than five points. ``"bic"``, ``"aic"``;
        ``"icl"``: BIC with the likelihood of points and most probable states together (Biernacki,
        Celeux & Govaert 2000).
    fit
        Makes models of data, with a number of states.
    """
    models: dict[int, Fitted] = {}
    if criterion == "heldout":

        def evaluate(training: Observations, states: int) -> tuple[Tensor, Tensor]:
            fitted = fit(replace(data, observations=training), states)
            scores = point_scores(emission, data, fitted.parameters)
            return scores, restart_range(fitted.objectives)

        table = held_out_table(data.observations, data.of_points, data.groups, candidates, evaluate)
    else:
        models = {states: fit(data, states) for states in candidates}
        table = _penalized(emission, data, models, criterion)
    chosen = chosen_states(table)
    for states in sorted(set(chosen) - set(models)):
        models[states] = fit(data, states)
    return torch.tensor(chosen), models, table


def _penalized(
    emission: Emission, data: Grouped, models: dict[int, Fitted], criterion: Criterion
) -> pd.DataFrame:
    best_models = [fitted.parameters for fitted in models.values()]
    group = torch.arange(data.groups, device=data.group.device)
    likelihood = [log_likelihoods(emission, data, best, group) for best in best_models]
    complete = [_complete(emission, data, best) for best in best_models if criterion == "icl"]
    return information_table(
        list(models),
        criterion,
        torch.stack(likelihood),
        [best.free + emission.free(best) for best in best_models],
        data.points,
        [restart_range(fitted.objectives) for fitted in models.values()],
        complete=torch.stack(complete) if complete else None,
    )


def _complete(emission: Emission, data: Grouped, parameters: Parameters) -> Float[Tensor, " group"]:
    """Log density of points and most probable states together, for each group."""
    groups = len(parameters.startprob)
    total = torch.zeros(groups, dtype=torch.float64, device=data.group.device)
    owner = torch.arange(groups, device=data.group.device)
    for block, rows, model in data.rows(owner, parameters.startprob.shape[1]):
        mine = take(parameters, model)
        density = emission.log_density(mine, block.values[rows])
        found = decode(mine.startprob, mine.transmat, density, block.lengths[rows])
        total.index_add_(0, model, found.log_probability)
    return total
