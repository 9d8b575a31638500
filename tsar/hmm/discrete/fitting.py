"""Fit many models at once: restarts and groups of sequences in one batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.emissions import Emission, log_dirichlet, normalized
from tsar.hmm.discrete.inference import Filtered, expectations, filter_states
from tsar.hmm.discrete.parameters import Parameters
from tsar.hmm.em import Maximum, maximize, take
from tsar.hmm.observations import Block, Observations
from tsar.hmm.robust_scale import RobustScaling, robust_standardize

NUMBERS = 1 << 18  # of a density: 2 MB of float64, which stay near the processor


@dataclass(frozen=True)
class Rules:
    """How models are fitted.

    Attributes
    ----------
    n_iter, tol
        Steps at most, and the gain of the objective below which a model is done.
    startprob_prior, transmat_prior
        Parameters of Dirichlet priors; 1 for none.
    progress
        Whether to show a progress bar if a fit takes longer than a second.
    """

    n_iter: int
    tol: float
    startprob_prior: float
    transmat_prior: float
    progress: bool = False


@dataclass(frozen=True)
class Grouped:
    """Sequences, each of a group that has models of its own."""

    observations: Observations
    group: Int[Tensor, " sequence"]

    @property
    def groups(self) -> int:
        """How many there are; the host waits here."""
        return int(self.group.max()) + 1

    @cached_property
    def of_points(self) -> Int[Tensor, " time"]:
        """Group of each point."""
        return self.group.repeat_interleave(self.observations.lengths)

    @property
    def points(self) -> Int[Tensor, " group"]:
        """Observed points of each group."""
        return torch.bincount(self.of_points[self.observations.seen], minlength=self.groups)

    def robust_standardize(self) -> tuple["Grouped", RobustScaling]:
        """Apply `tsar.hmm.robust_scale.robust_standardize` to sequences of one feature."""
        values = self.observations.values[:, 0]
        values, scaling = robust_standardize(values, self.of_points, self.groups)
        observations = Observations(values[:, None], self.observations.offsets)
        return Grouped(observations, self.group), scaling

    def by_group(self) -> "Grouped":
        """The same with the sequences of a group behind each other."""
        if bool((self.group.diff() >= 0).all()):
            return self
        order = self.group.argsort(stable=True)
        return Grouped(self.observations.select(order), self.group[order])

    def borders(self) -> Int[Tensor, " border"]:
        """Where the points of each group begin, and the end; sequences stand by group."""
        sequences = torch.bincount(self.group, minlength=self.groups).cumsum(0)
        return self.observations.offsets[torch.nn.functional.pad(sequences, (1, 0))]

    def rows(
        self, owner: Int[Tensor, " model"], states: int
    ) -> Iterator[tuple[Block, Int[Tensor, " row"], Int[Tensor, " row"]]]:
        """Pairs of a sequence of a block and a model of its group, in pieces of bounded memory.

        Yields the block, then rows of it, and the model of each.
        """
        ordered = owner.argsort(stable=True)
        count = torch.bincount(owner, minlength=self.groups)
        first = count.cumsum(0) - count
        for block in self.observations.blocks():
            group = self.group[block.sequences]
            size = count[group]
            row = torch.arange(len(group), device=size.device).repeat_interleave(size)
            within = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
            model = ordered[first[group][row] + within]
            piece = max(1, NUMBERS // (block.values.shape[1] * states))
            if not len(row):  # all models of these sequences are done
                continue
            for rows, models in zip(row.split(piece), model.split(piece), strict=True):
                yield block, rows, models


def fit(
    emission: Emission,
    data: Grouped,
    start: Parameters,
    owner: Int[Tensor, " model"],
    rules: Rules,
) -> Maximum[Parameters]:
    """Expectation-maximization (Baum et al. 1970) of models, each on the sequences of its group.

    Parameters
    ----------
    start
        Where each model begins.
    owner
        Group of each model.
    """

    def step(
        parameters: Parameters, models: Int[Tensor, " active"]
    ) -> tuple[Parameters, Float[Tensor, " active"]]:
        expected = _expect(emission, data, parameters, owner[models])
        better = _maximize(emission, parameters, expected, rules)
        return better, expected.likelihood + _log_prior(emission, parameters, rules)

    return maximize(start, step, n_iter=rules.n_iter, tol=rules.tol, progress=rules.progress)


@dataclass(frozen=True)
class _Expected:
    """Expected counts of each model."""

    start: Float[Tensor, "model state"]
    transitions: Float[Tensor, "model state state"]
    statistics: Float[Tensor, "model state statistic"]
    likelihood: Float[Tensor, " model"]


def _expect(
    emission: Emission,
    data: Grouped,
    parameters: Parameters,
    owner: Int[Tensor, " model"],
) -> _Expected:
    models, states = parameters.startprob.shape
    start = torch.zeros_like(parameters.startprob)
    transitions = torch.zeros_like(parameters.transmat)
    likelihood = torch.zeros(models, dtype=torch.float64, device=start.device)
    statistics: Tensor | None = None
    for block, rows, model in data.rows(owner, states):
        mine, values = take(parameters, model), block.values[rows]
        density = emission.log_density(mine, values)
        found = expectations(mine.startprob, mine.transmat, density, block.lengths[rows])
        part = emission.statistics(mine, values, found.posterior)
        if statistics is None:
            statistics = part.new_zeros(models, *part.shape[1:])
        statistics.index_add_(0, model, part)
        start.index_add_(0, model, found.posterior[:, 0])
        transitions.index_add_(0, model, found.transitions)
        likelihood.index_add_(0, model, found.log_likelihood)
    if statistics is None:
        raise ValueError("X must hold sequences; got none. Check where it came from.")
    return _Expected(start, transitions, statistics, likelihood)


def _maximize(
    emission: Emission, parameters: Parameters, expected: _Expected, rules: Rules
) -> Parameters:
    start = normalized(expected.start, rules.startprob_prior, parameters.startprob)
    move = normalized(expected.transitions, rules.transmat_prior, parameters.transmat)
    return Parameters(start, move, *emission.maximize(expected.statistics, parameters))


def _log_prior(emission: Emission, parameters: Parameters, rules: Rules) -> Float[Tensor, " model"]:
    start = log_dirichlet(parameters.startprob, rules.startprob_prior)
    transitions = log_dirichlet(parameters.transmat, rules.transmat_prior).sum(1)
    return (start + transitions + emission.log_prior(parameters)).double()


def best(
    objective: Float[Tensor, " model"], owner: Int[Tensor, " model"], groups: int
) -> Int[Tensor, " group"]:
    """Model of the highest objective in each group, the first of several."""
    order = torch.where(objective.isnan(), -torch.inf, objective)
    chosen = order.argsort(descending=True, stable=True)
    chosen = chosen[owner[chosen].argsort(stable=True)]
    count = torch.bincount(owner, minlength=groups)
    return chosen[count.cumsum(0) - count]


def log_likelihoods(
    emission: Emission, data: Grouped, parameters: Parameters, owner: Int[Tensor, " model"]
) -> Float[Tensor, " model"]:
    """Log likelihood of each model: that of the sequences of its group."""
    total = torch.zeros(len(owner), dtype=torch.float64, device=owner.device)
    for block, rows, model in data.rows(owner, parameters.startprob.shape[1]):
        mine = take(parameters, model)
        density = emission.log_density(mine, block.values[rows])
        found = filter_states(mine.startprob, mine.transmat, density)
        total.index_add_(0, model, found.log_likelihood)
    return total


def point_scores(
    emission: Emission, data: Grouped, parameters: Parameters
) -> Float[Tensor, " time"]:
    """Log density of each point by the model of its group, given the points before it."""
    return _by_point(emission, data, parameters, lambda _, found: found.log_density)


def usual_points(
    emission: Emission, data: Grouped, parameters: Parameters
) -> Float[Tensor, " time"]:
    """Mean (of the first feature) of the state that is the most probable at each point.

    By the model of its group, given the points before it: what a rare state says does not count.
    """

    def usual(mine: Parameters, found: Filtered) -> Float[Tensor, "row time"]:
        ahead = found.probability[:, :-1] @ mine.transmat
        before = torch.cat([mine.startprob[:, None], ahead], dim=1)
        return mine.center[:, :, 0].gather(1, before.argmax(dim=2))

    return _by_point(emission, data, parameters, usual)


def _by_point(
    emission: Emission,
    data: Grouped,
    parameters: Parameters,
    tell: Callable[[Parameters, Filtered], Tensor],
) -> Float[Tensor, " time"]:
    """What is told of each point by the model of its group, once its sequence is filtered."""
    owner = torch.arange(len(parameters.startprob), device=data.group.device)
    told = data.group.new_zeros(len(data.observations.values), dtype=torch.float64)
    for block, rows, model in data.rows(owner, parameters.startprob.shape[1]):
        mine = take(parameters, model)
        density = emission.log_density(mine, block.values[rows])
        found = filter_states(mine.startprob, mine.transmat, density)
        where, values = block.take(rows).flatten(tell(mine, found).double())
        told[where] = values
    return told
