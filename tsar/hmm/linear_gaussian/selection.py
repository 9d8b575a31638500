"""How many numbers a state of a linear-Gaussian model is of: by new points, or by a penalty."""

from collections.abc import Callable, Sequence
from math import log, pi
from typing import Literal, NamedTuple, get_args

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.em import EMResult, select_models
from tsar.hmm.linear_gaussian.em import fit, likelihood
from tsar.hmm.linear_gaussian.expected import width
from tsar.hmm.linear_gaussian.kalman import Filtered, LinearGaussian, filter_states
from tsar.hmm.linear_gaussian.priors import LinearPriors
from tsar.hmm.linear_gaussian.start import starts
from tsar.hmm.observations import Observations
from tsar.hmm.selection import chosen_states, held_out_table, information_table, restart_range

LinearCriterion = Literal["heldout", "bic", "aic"]
LINEAR_CRITERIA: tuple[str, ...] = get_args(LinearCriterion)


class Restarts(NamedTuple):
    """Models of one number of states from every start, their log likelihoods and objectives.

    An objective is the log likelihood and the log density of the priors.
    """

    found: EMResult[LinearGaussian]
    scores: Float[Tensor, " model"]
    objectives: Float[Tensor, " model"]

    @property
    def best(self) -> int:
        """The one of the highest objective."""
        return int(self.objectives.nan_to_num(-torch.inf).argmax())

    @property
    def model(self) -> LinearGaussian:
        """The parameters of that one, as a batch of one."""
        chosen = torch.tensor([self.best], device=self.scores.device)
        return select_models(self.found.parameters, chosen)


def fit_restarts(
    observations: Observations,
    states: int,
    *,
    priors: LinearPriors,
    n_init: int,
    seed: int,
    n_iter: int,
    tol: float,
    floor: float,
    progress: bool = False,
) -> Restarts:
    """Fit models of some number of states from drawn starts: see `starts` and `fit`."""
    generator = torch.Generator().manual_seed(seed)
    begin = starts(observations, states, n_init, generator)
    found = fit(observations, begin, priors, n_iter=n_iter, tol=tol, floor=floor, progress=progress)
    scores = likelihood(observations, found.parameters)
    return Restarts(found, scores, scores + priors.log_density(found.parameters))


Fit = Callable[[Observations, int], Restarts]


def free_parameters(states: int, features: int) -> int:
    """Parameters of a model, less the ``states ** 2`` of a mixing of the states."""
    # The transition and the mixings are as many: states ** 2.
    return states * (states + 1) + states + features * (states + 2)


def select_states(
    observations: Observations, candidates: Sequence[int], criterion: LinearCriterion, fitted: Fit
) -> tuple[Restarts, pd.DataFrame]:
    """Models of the number of states that a criterion chooses, and the table of all candidates.

    Parameters
    ----------
    criterion
        As in `tsar.hmm.discrete.selection.select`.
    fitted
        Makes models of observations, with a number of states.
    """
    if criterion == "heldout":

        def evaluate(training: Observations, states: int) -> tuple[Tensor, Tensor]:
            restarts = fitted(training, states)
            densities = point_densities(observations, restarts.model)
            return densities, restart_range(restarts.scores[None])

        group = torch.zeros_like(observations.seen, dtype=torch.int64)
        table = held_out_table(observations, group, 1, candidates, evaluate)
        return fitted(observations, chosen_states(table)[0]), table
    models = {states: fitted(observations, states) for states in candidates}
    features = observations.values.shape[1]
    table = information_table(
        candidates,
        criterion,
        torch.stack([restarts.scores[[restarts.best]] for restarts in models.values()]),
        [free_parameters(states, features) for states in candidates],
        observations.seen.sum()[None],
        [restart_range(restarts.scores[None]) for restarts in models.values()],
    )
    return models[chosen_states(table)[0]], table


def point_densities(observations: Observations, model: LinearGaussian) -> Float[Tensor, " time"]:
    """Log density of each point given those before it in its sequence, by one model."""
    found = observations.values.new_zeros(len(observations.values))
    for block in observations.blocks(width(model) + observations.values.shape[1] ** 2):
        filtered = filter_states(model, block.values, block.lengths)
        rows, values = block.flatten(_densities(model, filtered, block.values))
        found[rows] = values
    return found


def _densities(
    model: LinearGaussian, filtered: Filtered, values: Float[Tensor, "sequence time feature"]
) -> Float[Tensor, "sequence time"]:
    kind = filtered.kinds.rows[filtered.patterns]
    seen = filtered.gains.masks[kind] > 0
    expected = filtered.predicted[0, :, :-1] @ model.observation[0].mT + model.offset[0]
    surprise = torch.where(seen, values - expected, 0.0)
    white = (filtered.gains.whiten[0, kind] @ surprise[..., None])[..., 0]
    volume = filtered.gains.log_det[0, kind] + log(2 * pi) * seen.sum(dim=2)
    return -(white.square().sum(dim=2) + volume) / 2
