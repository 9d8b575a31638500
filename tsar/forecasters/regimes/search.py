"""Models of series by their regimes: how many each has, and which are of changes instead."""

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tsar.forecasters.regimes.regimes import side_by_side, still
from tsar.hmm.discrete.emissions import DiagonalGaussian
from tsar.hmm.discrete.fitting import Grouped, Rules
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.discrete.restarts import GaussianFamily, fit_restarts
from tsar.hmm.discrete.selection import Criterion, Fitted, select
from tsar.hmm.em import put, take

PRIOR = 1e-5  # scale of the prior of variances, in units of each series' variance
POINTS = 5  # of a series for each state, at least, where their number is chosen


class Learned(NamedTuple):
    """Models side by side, how many states each has, and the table of the choice if there was one.

    States behind the last of a model have probability zero and only lead to themselves.
    """

    models: Parameters
    states: Int[Tensor, " model"]
    table: pd.DataFrame | None

    def select(self, rows: Int[Tensor, " row"]) -> "Learned":
        """Some of the models, in an order; the table's groups are numbered by it."""
        table = self.table
        if table is not None:
            place = {row: k for k, row in enumerate(rows.tolist())}
            table = table[table["group"].isin(place)]
            table = table.assign(group=table["group"].map(place))
        return Learned(take(self.models, rows), self.states[rows], table)

    def replaced(self, rows: Int[Tensor, " row"], others: "Learned") -> "Learned":
        """The same with some models replaced by as many others."""
        most = max([int(self.states.max()), *others.states.tolist()])
        models = put(_widened(self.models, most), rows, _widened(others.models, most))
        states = self.states.index_copy(0, rows, others.states)
        if self.table is None or others.table is None:
            return Learned(models, states, None)
        kept = self.table[~self.table["group"].isin(rows.tolist())]
        moved = others.table.assign(group=rows.numpy()[others.table["group"].to_numpy()])
        table = pd.concat([kept, moved]).sort_values("group", kind="stable", ignore_index=True)
        return Learned(models, states, table)


@dataclass(frozen=True)
class Search:
    """How models are fitted, and the number of their regimes is chosen.

    Attributes
    ----------
    candidates
        Numbers of regimes.
    criterion
        See `select`; None where there is one candidate, which is not to be judged.
    n_init, rules, min_covar, seed
        Starts, steps and tolerance, least variance, seed of the starts.
    """

    candidates: list[int]
    criterion: Criterion | None
    n_init: int
    rules: Rules
    min_covar: float
    seed: int

    def learn(self, plain: Grouped, standard: Float[Tensor, " time"]) -> Learned:
        """Fit models of standardized series, which stand here without and with their season."""
        data, scaling = plain.robust_standardize()
        family = GaussianFamily(DiagonalGaussian(0.0, 0.0, PRIOR, 1.0, self.min_covar))

        def fitted(part: Grouped, states: int) -> Fitted:
            return fit_restarts(family, part, states, self.n_init, self.rules, self.seed)

        models: dict[int, Fitted] = {}
        chosen, table = torch.full((data.groups,), self.candidates[0]), None
        if self.criterion is not None:
            chosen, models, table = select(
                family.emission, data, self.candidates, self.criterion, fitted
            )
        chosen = self._bearable(data, chosen.cpu())
        for states in chosen.unique().tolist():
            if states not in models:
                models[states] = fitted(data, states)
        known = side_by_side(chosen, models, scaling)
        spread = still(known.spread[:, :, 0], standard, data.of_points.cpu())
        known = Parameters(known.startprob, known.transmat, known.center, spread[:, :, None])
        return Learned(known, chosen, table)

    def _bearable(self, data: Grouped, chosen: Int[Tensor, " model"]) -> Int[Tensor, " model"]:
        """No more states than a series has points, nor than a fifth where they were chosen."""
        points = data.points.cpu()
        most = points if self.criterion is None else points // POINTS
        return torch.minimum(chosen, most.clamp(min=1))


def _widened(models: Parameters, states: int) -> Parameters:
    """Models with room for more states, which they do not have."""
    more = states - models.startprob.shape[1]
    move = pad(models.transmat, (0, more, 0, more))
    move.diagonal(dim1=1, dim2=2)[:, states - more :] = 1.0
    return Parameters(
        pad(models.startprob, (0, more)),
        move,
        pad(models.center, (0, 0, 0, more)),
        pad(models.spread, (0, 0, 0, more), value=1.0),
    )
