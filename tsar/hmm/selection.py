"""Choice of the number of hidden states by held-out log density or an information criterion."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.hmm.observations import Observations
from tsar.validation import check_integer

MIN_HELD_OUT = 5  # held-out points below which the smallest candidate is chosen
HELD_OUT_SHARE = 0.2  # of the observed points of each sequence, the newest

# Of the training observations and a number of states: the log density of each of all points by the
# fitted model of its group, given the points before it, and `restart_range` of the starts.
Evaluate = Callable[[Observations, int], tuple[Float[Tensor, " time"], Float[Tensor, " group"]]]


def candidate_states(n_components: int | str, max_components: int) -> list[int]:
    """Numbers of states to try: one, or 1 to `max_components` with "auto"."""
    if n_components == "auto":
        return list(range(1, max_components + 1))
    if isinstance(n_components, str):
        raise ValueError(
            f"n_components must be an integer of at least 1, or 'auto'; got {n_components!r}. "
            "Change it."
        )
    return [check_integer("n_components", n_components)]


def held_out_table(
    observations: Observations,
    group: Int[Tensor, " time"],
    groups: int,
    candidates: Sequence[int],
    evaluate: Evaluate,
) -> pd.DataFrame:
    """Table of the candidates by the log density of the newest fifth of the observed points.

    Models are fitted to the points before that fifth. Chosen is the smallest candidate within one
    standard error of the best, and the smallest of all where a group has less than five held-out
    points. Candidates are numbers of states, ascending; one is chosen for each group of points.
    """
    ends, held_out = split(observations)
    training, group = observations.truncate(ends), group[held_out]
    _warn_without_held_out(torch.bincount(group, minlength=groups))
    scores, ranges = zip(*(evaluate(training, states) for states in candidates), strict=True)
    log_density = torch.stack([score[held_out] for score in scores])
    mean, std_err, chosen = compare(log_density, group, groups)
    return _table(candidates, {"log_density": mean, "std_err": std_err}, ranges, chosen)


def information_table(
    candidates: Sequence[int],
    criterion: str,
    log_likelihood: Float[Tensor, "candidate group"],
    n_parameters: Sequence[int],
    nobs: Int[Tensor, " group"],
    ranges: Sequence[Float[Tensor, " group"]],
    *,
    complete: Float[Tensor, "candidate group"] | None = None,
) -> pd.DataFrame:
    """Table of the candidates by an information criterion (bic, aic, icl); the lowest is chosen.

    `ranges` are the `restart_range` of each candidate. `complete` is the log likelihood of points
    and most probable states together, which ICL takes in the place of the log likelihood
    (Biernacki, Celeux & Govaert 2000).
    """
    weight = 2.0 if criterion == "aic" else nobs.to(log_likelihood).clamp(min=1).log()
    penalty = weight * torch.tensor(n_parameters).to(log_likelihood)[:, None]
    value = penalty - 2 * (log_likelihood if complete is None else complete)
    columns = {criterion: value, "log_likelihood": log_likelihood}
    return _table(candidates, columns, ranges, value.argmin(0))


def split(observations: Observations) -> tuple[Int[Tensor, " sequence"], Bool[Tensor, " time"]]:
    """Number of training points of each sequence, and whether a point is held out.

    Held out is a fifth of the observed points: missing ones would leave nothing to compare, or to
    fit.
    """
    lengths, offsets = observations.lengths, observations.offsets
    n_observed = torch.nn.functional.pad(observations.observed.cumsum(0), (1, 0))
    before, count = n_observed[offsets[:-1]], n_observed[offsets].diff()
    training = (count * (1 - HELD_OUT_SHARE)).long().clamp(min=1)
    late = n_observed[1:] > (before + training).repeat_interleave(lengths)
    n_late = torch.nn.functional.pad(late.cumsum(0), (1, 0))[offsets].diff()
    return lengths - n_late, late & observations.observed


def _warn_without_held_out(n_held_out: Int[Tensor, " group"]) -> None:
    """Name the groups without a held-out point, which get the smallest candidate."""
    none = (n_held_out == 0).nonzero()[:, 0].tolist()
    if none:
        warnings.warn(
            "n_components='auto' must have two observed points of each series, to hold one out; "
            f"got one in {len(none)} of {len(n_held_out)} series (number {none[0]}, counted from "
            "0), which get the smallest number of states. Give more points, or a number of states.",
            UserWarning,
            stacklevel=2,
        )


def compare(
    log_density: Float[Tensor, "candidate point"], group: Int[Tensor, " point"], groups: int
) -> tuple[
    Float[Tensor, "candidate group"], Float[Tensor, "candidate group"], Int[Tensor, " group"]
]:
    """Mean log density, standard error of the difference from the best, and the choice.

    The choice is the first candidate whose mean difference is within one standard error. Means are
    NaN for a group without held-out points.
    """
    count = torch.bincount(group, minlength=groups)

    def means(values: Tensor) -> Tensor:
        return values.new_zeros(len(values), groups).index_add_(1, group, values) / count

    mean = means(log_density)
    best = mean.argmax(0)
    difference = log_density.gather(0, best[group][None]) - log_density
    mean_difference = means(difference)
    variance = (means(difference.square()) - mean_difference.square()).clamp(min=0)
    std_err = (variance / count).sqrt()
    # Fewer points do not suffice for a comparison: the smallest candidate.
    near = (mean_difference <= std_err) | (count < MIN_HELD_OUT)
    return mean, std_err, near.long().argmax(0)


def restart_range(objective: Float[Tensor, "group start"]) -> Float[Tensor, " group"]:
    """Highest minus lowest objective of the starts of each group."""
    return objective.amax(1) - objective.amin(1)


def _table(
    candidates: Sequence[int],
    columns: dict[str, Float[Tensor, "candidate group"]],
    ranges: Sequence[Float[Tensor, " group"]],
    chosen: Int[Tensor, " group"],
) -> pd.DataFrame:
    """Row for each group and candidate; `chosen` are indices of candidates."""
    groups = len(chosen)
    states = np.tile(np.asarray(candidates), groups)
    picked = np.asarray(candidates)[chosen.cpu().numpy()]
    columns = {**columns, "restart_range": torch.stack(list(ranges))}
    return pd.DataFrame(
        {
            "group": np.repeat(np.arange(groups), len(candidates)),
            "n_components": states,
            **{name: value.T.reshape(-1).cpu().numpy() for name, value in columns.items()},
            "chosen": states == np.repeat(picked, len(candidates)),
        }
    )


def chosen_states(table: pd.DataFrame) -> list[int]:
    """Number of states that a table chooses for each group."""
    chosen: list[int] = table.loc[table["chosen"]].sort_values("group")["n_components"].tolist()
    return chosen


def in_units(table: pd.DataFrame, log_density: float, nobs: int) -> pd.DataFrame:
    """Table of one group for the points in the units of the input.

    `log_density` is that of all points in data units less that in standardized units, see
    `Standardization`.
    """
    shifts = {"log_likelihood": log_density, "log_density": log_density / nobs}
    shifts |= dict.fromkeys(("bic", "aic", "icl"), -2 * log_density)
    moved = {name: table[name] + shift for name, shift in shifts.items() if name in table}
    return table.drop(columns="group").assign(**moved)
