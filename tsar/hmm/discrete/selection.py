"""How many states: by what a model says of points that it was not fitted to, or by a penalty."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission
from tsar.hmm.discrete.fitting import Grouped, best, point_scores
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.viterbi import decode
from tsar.hmm.em import Maximum, take
from tsar.hmm.observations import Observations
from tsar.validation import check_integer

Criterion = Literal["heldout", "bic", "aic", "icl"]
CRITERIA: tuple[str, ...] = get_args(Criterion)
FEWEST = 5  # held-back points that a choice needs
HELD = 0.2  # share of the observed points of each sequence that is held back, the newest


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
    def parameters(self) -> Parameters:
        """Those of the best model of each group."""
        return take(self.maximum.parameters, self.best)


Fit = Callable[[Grouped, int], Fitted]


def candidate_states(n_components: int | str, max_components: int) -> list[int]:
    """Numbers of states to try: one, or all up to the most.

    Raises
    ------
    TypeError, ValueError
        `n_components` is neither a number of states nor ``"auto"``.
    """
    if n_components == "auto":
        return list(range(1, max_components + 1))
    if isinstance(n_components, str):
        raise ValueError(
            f"n_components must be an integer of at least 1, or 'auto'; got {n_components!r}. "
            "Change it."
        )
    return [check_integer("n_components", n_components)]


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
    if criterion == "heldout":
        table = _held_out(emission, data, candidates, fit)
        models: dict[int, Fitted] = {}
    else:
        models = {states: fit(data, states) for states in candidates}
        table = _penalized(emission, data, models, criterion)
    chosen = table.loc[table["chosen"]].sort_values("group")["n_components"]
    wanted = torch.tensor(chosen.tolist())
    for states in wanted.unique().tolist():
        if states not in models:
            models[states] = fit(data, states)
    return wanted, models, table


def _held_out(
    emission: Emission, data: Grouped, candidates: Sequence[int], fit: Fit
) -> pd.DataFrame:
    first, counted = newest(data.observations)
    early = replace(data, observations=data.observations.until(first))
    group = data.of_points[counted]
    warn_of_none(torch.bincount(group, minlength=data.groups))
    scores, spreads = [], []
    for states in candidates:
        fitted = fit(early, states)
        scores.append(point_scores(emission, data, fitted.parameters)[counted])
        spreads.append(_spread(fitted))
    mean, error, chosen = compare(torch.stack(scores), group, data.groups)
    return score_table(candidates, {"log_density": mean, "standard_error": error}, spreads, chosen)


def newest(
    observations: Observations,
) -> tuple[Int[Tensor, " sequence"], Bool[Tensor, " time"]]:
    """Points of each sequence before those that are held back, and whether a point is one of these.

    A fifth of the observed points: missing ones would leave nothing to compare, or to fit.
    """
    lengths, offsets = observations.lengths, observations.offsets
    known = torch.nn.functional.pad(observations.seen.cumsum(0), (1, 0))
    before, count = known[offsets[:-1]], known[offsets].diff()
    kept = (count * (1 - HELD)).long().clamp(min=1)
    late = known[1:] > (before + kept).repeat_interleave(lengths)
    newer = torch.nn.functional.pad(late.cumsum(0), (1, 0))[offsets].diff()
    return lengths - newer, late & observations.seen


def warn_of_none(held: Int[Tensor, " group"]) -> None:
    """Say of groups of which no point is held back that they get the fewest states."""
    none = (held == 0).nonzero()[:, 0].tolist()
    if none:
        warnings.warn(
            "n_components='auto' must have two observed points of each series, to hold one back; "
            f"got one in {len(none)} of {len(held)} series (number {none[0]}, counted from 0), "
            "which get the fewest states. Give more points, or a number of states.",
            UserWarning,
            stacklevel=2,
        )


def compare(
    held: Float[Tensor, "candidate point"], group: Int[Tensor, " point"], groups: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean log density, standard error of what is lost on the best, and which is chosen.

    NaN of a group of which no point is held back.
    """
    count = torch.bincount(group, minlength=groups)

    def means(values: Tensor) -> Tensor:
        return values.new_zeros(len(values), groups).index_add_(1, group, values) / count

    mean = means(held)
    top = mean.argmax(0)
    lost = held.gather(0, top[group][None]) - held
    average = means(lost)
    variance = (means(lost.square()) - average.square()).clamp(min=0)
    error = (variance / count).sqrt()
    # Of a handful of points nothing can be told: the fewest states.
    near = (average <= error) | (count < FEWEST)
    chosen = near.long().argmax(0)  # the first: candidates ascend
    return mean, error, chosen


def _penalized(
    emission: Emission,
    data: Grouped,
    models: dict[int, Fitted],
    criterion: Criterion,
) -> pd.DataFrame:
    points = data.points.double().clamp(min=1)
    values, likelihoods = [], []
    for fitted in models.values():
        scores = point_scores(emission, data, fitted.parameters)
        likelihood = torch.zeros_like(points).index_add_(0, data.of_points, scores)
        told = likelihood
        if criterion == "icl":
            told = _complete(emission, data, fitted.parameters)
        weight = 2.0 if criterion == "aic" else points.log()
        free = fitted.parameters.free + emission.free(fitted.parameters)
        values.append(weight * free - 2 * told)
        likelihoods.append(likelihood)
    value = torch.stack(values)
    columns = {criterion: value, "log_likelihood": torch.stack(likelihoods)}
    spreads = [_spread(fitted) for fitted in models.values()]
    return score_table(list(models), columns, spreads, value.argmin(0))


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


def _spread(fitted: Fitted) -> Float[Tensor, " group"]:
    """Highest less lowest objective of the restarts of each group."""
    objective = fitted.maximum.objective.view(fitted.groups, -1)
    return objective.amax(1) - objective.amin(1)


def score_table(
    candidates: Sequence[int],
    columns: dict[str, Tensor],
    spreads: list[Tensor],
    chosen: Int[Tensor, " group"],
) -> pd.DataFrame:
    """Row for each group and candidate."""
    groups = len(chosen)
    states = np.tile(np.asarray(candidates), groups)
    picked = np.asarray(candidates)[chosen.cpu().numpy()]
    cells = {name: value.T.reshape(-1).cpu().numpy() for name, value in columns.items()}
    return pd.DataFrame(
        {
            "group": np.repeat(np.arange(groups), len(candidates)),
            "n_components": states,
            **cells,
            "restart_spread": torch.stack(spreads, 1).reshape(-1).cpu().numpy(),
            "chosen": states == np.repeat(picked, len(candidates)),
        }
    )


def in_units(table: pd.DataFrame, shift: float, points: int) -> pd.DataFrame:
    """A table of one group with the likelihoods of the points as they came in."""
    by_column = {"log_likelihood": shift, "log_density": shift / points}
    penalties = dict.fromkeys(("bic", "aic", "icl"), -2 * shift)
    moved = {k: table[k] + v for k, v in {**by_column, **penalties}.items() if k in table}
    return table.drop(columns="group").assign(**moved)
