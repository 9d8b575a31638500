"""Models of many series side by side, each with as many states as it has, and what comes next."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from tsar.data.panel import Panel
from tsar.data.scaling import Scaling
from tsar.forecasters.summary import series_table
from tsar.hmm.discrete.emissions import DiagonalGaussian
from tsar.hmm.discrete.inference import expectations, filter_states, stationary
from tsar.hmm.discrete.parameters import Parameters, ordered
from tsar.hmm.discrete.selection import Fitted
from tsar.hmm.em import take
from tsar.hmm.robust_scale import RobustScaling

STILL = 1e-150  # variance of what is constant
ROUNDING = 1e-12  # of the probability of leaving a state
RARE = 1e-100  # probability of a transition to a state that a model does not have
EMISSION = DiagonalGaussian(0.0, 0.0, 0.0, 1.0, 0.0)


def side_by_side(
    chosen: Int[Tensor, " model"], models: dict[int, Fitted], scaling: RobustScaling
) -> Parameters:
    """Models of the chosen numbers of states, in tensors (CPU) that hold the largest of them.

    States are in the order of their means. Those behind the last of a model have probability zero
    and only lead to themselves. Means and variances are in the units before
    `robust_standardize`.
    """
    count, most = len(chosen), int(chosen.max())
    start = torch.zeros(count, most, dtype=torch.float64)
    move = torch.eye(most, dtype=torch.float64).repeat(count, 1, 1)
    means, variances = torch.zeros_like(start), torch.ones_like(start)
    for states, fitted in models.items():
        rows = (chosen == states).nonzero()[:, 0]
        if not len(rows):  # a candidate that was not chosen
            continue
        mine = take(fitted.parameters, rows.to(fitted.owner.device))
        mine = ordered(mine, EMISSION.order(mine))
        start[rows, :states] = mine.startprob.cpu()
        move[rows, :states, :states] = mine.transmat.cpu()
        means[rows, :states] = mine.center[:, :, 0].cpu()
        variances[rows, :states] = mine.spread[:, :, 0].cpu()
    center, scale = (part.cpu()[:, None] for part in scaling)
    means, variances = means * scale + center, variances * scale.square()
    return Parameters(start, move, means[:, :, None], variances[:, :, None])


def still(
    variances: Float[Tensor, "model state"],
    standard: Float[Tensor, " time"],
    model: Int[Tensor, " time"],
) -> Float[Tensor, "model state"]:
    """Variances, next to nothing in any unit where all points of a model are the same.

    The least variance of a fit is one in units of the series' deviation, which is 1 then.

    Parameters
    ----------
    standard, model
        Standardized points, and the model of each.
    """
    moves = variances.new_zeros(len(variances)).index_add_(0, model, standard.nan_to_num(0.0).abs())
    return torch.where((moves > 0)[:, None], variances, STILL)


def lasting(
    parameters: Parameters, states: Int[Tensor, " model"]
) -> tuple[Parameters, Bool[Tensor, "model state"]]:
    """Models that begin anywhere in time: in each state as often as it occurs in the long run.

    Every state and transition is possible enough for the scaled recursion. Also which states each
    model has: the others must explain no point.
    """
    share, inside = long_run(parameters.transmat, states)
    usual = Parameters(
        share.clamp(min=RARE),
        parameters.transmat.clamp(min=RARE),
        parameters.center,
        parameters.spread,
    )
    return usual, inside


def long_run(
    transmat: Float[Tensor, "model state state"], states: Int[Tensor, " model"]
) -> tuple[Float[Tensor, "model state"], Bool[Tensor, "model state"]]:
    """Share of the time in each state in the long run, and which states a model has.

    Those behind the last of a model only lead to themselves: a chain could as well stay there.
    """
    inside = torch.arange(transmat.shape[1]) < states[:, None]
    share = stationary(transmat) * inside
    return share / share.sum(1, keepdim=True), inside


def states_now(
    models: Parameters,
    inside: Bool[Tensor, "window state"],
    values: Float[Tensor, "window time"],
) -> Float[Tensor, "window state"]:
    """Probability of each state at the last of the values, a model a window."""
    density = EMISSION.log_density(models, values[:, :, None])
    density = density.masked_fill(~inside[:, None], -torch.inf)
    return filter_states(models.startprob, models.transmat, density).probability[:, -1]


def states_within(
    models: Parameters,
    inside: Bool[Tensor, "window state"],
    values: Float[Tensor, "window time"],
) -> Float[Tensor, "window time state"]:
    """Probability of each state at each of the values, given all of them."""
    density = EMISSION.log_density(models, values[:, :, None])
    density = density.masked_fill(~inside[:, None], -torch.inf)
    return expectations(models.startprob, models.transmat, density).posterior


def regime_table(panel: Panel, found: NDArray[np.float64]) -> pd.DataFrame:
    """Long frame: values, the most probable state of each, the probability of each state."""
    names, labels = panel.labels.columns, panel.labels
    rows = torch.arange(len(panel.values))
    columns = {f"regime-{k}": found[:, k] for k in range(found.shape[1])}
    return pd.DataFrame(
        {
            names.id: labels.ids[panel.series.numpy()],
            names.time: labels.frequency.to_times(panel.ordinals_at(panel.series, rows).numpy()),
            names.target: panel.values.numpy(),
            "regime": found.argmax(axis=1),
            **columns,
        }
    )


def regime_numbers(
    transmat: Float[Tensor, "model state state"],
    states: Int[Tensor, " model"],
    means: Float[Tensor, "model state"],
    variances: Float[Tensor, "model state"],
) -> Float[Tensor, "model state 4"]:
    """Level, spread, percent of the time in the long run, and mean steps of a stay.

    A regime that is never left lasts for infinitely many steps; what is constant has no spread.
    """
    leaving = 1 - transmat.diagonal(dim1=1, dim2=2)
    steps = torch.where(leaving > ROUNDING, 1 / leaving, torch.inf)
    deviations = torch.where(variances > STILL, variances, 0.0).sqrt()
    return torch.stack([means, deviations, 100 * long_run(transmat, states)[0], steps], 2)


def regime_summary(
    ids: Sequence[object],
    states: Int[Tensor, " model"],
    numbers: Float[Tensor, "model state 4"],
    scaling: Scaling,
    differences: Int[Tensor, " model"],
) -> str:
    """Table of the regimes of each model, in units of the data; columns that stay empty are not."""
    units = numbers.clone()
    units[:, :, :1] = scaling.invert(numbers[:, :, :1])
    units[:, :, 1] *= scaling.deviation[:, None]
    rows = []
    for model, name in enumerate(ids):
        for k in range(int(states[model])):
            mean, *others = (f"{number:.4g}" for number in units[model, k].tolist())
            means = ["", mean] if differences[model] else [mean, ""]
            rows.append([str(name), str(k), *means, *others])
    header = ["series", "regime", "level", "change a step", "deviation", "% of time", "steps"]
    used = [k for k in range(len(header)) if any(row[k] for row in rows)]
    return series_table("HMM", [header[k] for k in used], [[row[k] for k in used] for row in rows])


def draw_states(
    first: Float[Tensor, "window state"],
    transmat: Float[Tensor, "window state state"],
    uniform: Float[Tensor, "path horizon"],
) -> Int[Tensor, "window path horizon"]:
    """Paths of states, a draw a step for every window and path at once."""
    edges = transmat.cumsum(-1)
    row = torch.arange(len(first))[:, None]
    state = (uniform[None, :, :1] >= first.cumsum(-1)[:, None, :-1]).sum(-1)
    states = [state]
    for drawn in uniform[:, 1:].unbind(1):
        state = (drawn[None, :, None] >= edges[row, state][..., :-1]).sum(-1)
        states.append(state)
    return torch.stack(states, 2)
