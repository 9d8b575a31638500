"""Inference in hidden Markov models with discrete states: pure functions of batches of chains.

A row is a chain with a model of its own: a restart, a series, a number of states, or all of these
at once. Chains of fewer states than others are padded by states that nothing leads to, shorter ones
by points of log density 0; so are missing points, which then say nothing (they are summed out).

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", section III. Probabilities are scaled at
every step and densities by their largest in each point, so that nothing underflows; where some
transition is impossible, logarithms are summed instead.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from tsar.hmm.discrete.chains import Chains, parted, semiring_for
from tsar.hmm.discrete.compiled import filtered, forward_backward, usable
from tsar.hmm.discrete.recursion import Path, run
from tsar.hmm.discrete.semiring import Scaled, Semiring


class Filtered(NamedTuple):
    """What is known of the states up to each point, and of the points.

    Attributes
    ----------
    probability
        Of each state given the points up to this one.
    predicted
        Of each state given the points before this one.
    log_density
        Of each point given those before it; 0 where it is missing.
    """

    probability: Float[Tensor, "row time state"]
    predicted: Float[Tensor, "row time state"]
    log_density: Float[Tensor, "row time"]

    @property
    def log_likelihood(self) -> Float[Tensor, " row"]:
        """Log density of all points of each chain, added up in float64."""
        return self.log_density.double().sum(1)


class Expectations(NamedTuple):
    """What the maximization step needs.

    Attributes
    ----------
    posterior
        Probability of each state at each point given all points.
    transitions
        Expected number of transitions from each state to each.
    log_likelihood
        Of all points of each chain, float64.
    """

    posterior: Float[Tensor, "row time state"]
    transitions: Float[Tensor, "row state state"]
    log_likelihood: Float[Tensor, " row"]


@torch.no_grad()
def filter_states(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
) -> Filtered:
    """Probability of each state given the points so far: causal, nothing ahead is seen.

    Parameters
    ----------
    startprob
        Probability of each state at the first point.
    transmat
        Probability of each state (last axis) after each; rows add up to one.
    log_density
        Of each point in each state; 0 in all where it is missing.

    Examples
    --------
    Two boxes, and a ball that is hardly ever moved (probability 0.1):

    >>> seen = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> filter_states(start, move, seen).probability[0, :, 0]
    tensor([0.8182, 0.9326, 0.4072])
    """
    if usable(transmat):
        known, points = filtered(startprob, transmat, log_density)
        predicted = torch.cat([startprob[:, None], known[:, :-1] @ transmat], 1)
        return Filtered(known, predicted, points)
    parts = [_filter(*part) for part in parted(startprob, transmat, log_density)]
    return Filtered(*(torch.cat(kind) for kind in zip(*parts, strict=True)))


@torch.no_grad()
def expectations(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"] | None = None,
) -> Expectations:
    """Probability of each state given all points, and the expected number of transitions.

    Parameters
    ----------
    startprob, transmat, log_density
        See `filter_states`.
    lengths
        Points of each chain; transitions behind its end do not count. None: all.

    Examples
    --------
    >>> seen = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> expectations(start, move, seen).posterior[0, :, 0]
    tensor([0.8237, 0.7631, 0.4072])
    """
    rows, time, _ = log_density.shape
    ends = torch.full((rows,), time, device=log_density.device) if lengths is None else lengths
    if usable(transmat):
        return Expectations(*forward_backward(startprob, transmat, log_density, ends))
    parts = [_expect(*part) for part in parted(startprob, transmat, log_density, ends)]
    return Expectations(*(torch.cat(kind) for kind in zip(*parts, strict=True)))


@torch.no_grad()
def predict_states(
    probability: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    horizon: int,
) -> Float[Tensor, "row horizon state"]:
    """Probability of each state 1 to `horizon` steps on: a power of the transitions, doubled.

    Examples
    --------
    >>> predict_states(torch.eye(2)[:1], torch.tensor([[[0.9, 0.1], [0.1, 0.9]]]), 3)[0, :, 0]
    tensor([0.9000, 0.8200, 0.7560])
    """
    ahead = powers_ahead(probability, transmat, horizon)
    return ahead / ahead.sum(-1, keepdim=True)


def powers_ahead(
    vector: Inexact[Tensor, "row state"], matrix: Inexact[Tensor, "row state state"], horizon: int
) -> Inexact[Tensor, "row horizon state"]:
    """Vectors times the first `horizon` powers of matrices, doubled.

    Examples
    --------
    >>> powers_ahead(torch.ones(1, 1), torch.full((1, 1, 1), 2.0), 4).flatten()
    tensor([ 2.,  4.,  8., 16.])
    """
    ahead, power = vector[:, None] @ matrix, matrix
    while ahead.shape[1] < horizon:  # as many steps again, all at once
        ahead = torch.cat([ahead, ahead @ power], 1)
        power = power @ power
    return ahead[:, :horizon]


def sample_states(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    length: int,
    generator: torch.Generator,
) -> Int[Tensor, "row time"]:
    """Paths of states drawn from chains.

    Each step is a map from states to states, drawn by one uniform number; maps are composed in
    pairs, so that the number of calls grows with the logarithm of `length`.

    Examples
    --------
    >>> swap = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
    >>> sample_states(torch.eye(2)[:1], swap, 4, torch.Generator().manual_seed(0))
    tensor([[0, 1, 0, 1]])
    """
    rows, states = startprob.shape
    uniform = torch.rand(rows, length, generator=generator, dtype=torch.float64)
    uniform = uniform.to(startprob.device)
    first = _draw(startprob.double()[:, None], uniform[:, :1, None])
    steps = _draw(transmat.double()[:, None], uniform[:, 1:, None, None].expand(-1, -1, states, 1))
    shift = 1
    while shift < steps.shape[1]:  # after a round, a map leads from twice as many steps before
        composed = steps[:, shift:].gather(2, steps[:, :-shift])
        steps = torch.cat([steps[:, :shift], composed], 1)
        shift *= 2
    rest = steps.gather(2, first[:, :, None].expand(-1, steps.shape[1], 1))[:, :, 0]
    return torch.cat([first, rest], 1)


def stationary(transmat: Float[Tensor, "row state state"]) -> Float[Tensor, "row state"]:
    """Distribution that each chain tends to, one of them where it may tend to several.

    Solved by least squares, the sum of one beside the balance of every state.

    Examples
    --------
    >>> stationary(torch.tensor([[[0.9, 0.1], [0.3, 0.7]]]))
    tensor([[0.7500, 0.2500]])
    """
    rows, states, _ = transmat.shape
    balance = transmat.double().transpose(1, 2) - torch.eye(states, device=transmat.device)
    ones = balance.new_ones(rows, 1, states)
    system = torch.cat([balance, ones], 1)
    target = torch.cat([balance.new_zeros(rows, states, 1), ones[:, :, :1]], 1)
    found = (torch.linalg.pinv(system) @ target)[:, :, 0].clamp(min=0)
    return (found / found.sum(1, keepdim=True)).to(transmat)


def _draw(
    probability: Float[Tensor, "*shape state"], uniform: Float[Tensor, "*other 1"]
) -> Int[Tensor, "*drawn"]:
    """State whose share of [0, 1) holds the number."""
    edges = probability.cumsum(-1)
    edges = edges / edges[..., -1:]
    # The last state of a probability above zero takes what rounding leaves.
    return (uniform >= edges[..., :-1]).sum(-1)


def _filter(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
) -> Filtered:
    semiring = semiring_for(startprob, transmat)
    chains = Chains.of(semiring, log_density)
    first, matrix = semiring.enter(startprob.log()), semiring.enter(transmat.log())
    path = run(semiring, first, matrix, chains.density)
    scale = semiring.log_scale(chains.join(path.scale)[:, :, 0])
    return Filtered(
        semiring.leave(chains.join(path.state)).exp(),
        semiring.leave(chains.join(path.incoming[:-1])).exp(),
        scale + chains.best,
    )


def _expect(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
) -> Expectations:
    semiring = semiring_for(startprob, transmat)
    chains = Chains.of(semiring, log_density)
    ahead, back = _both_ways(semiring, startprob, transmat, chains.density)
    log_scale = semiring.log_scale(chains.join(ahead.scale)[:, :, 0])
    likelihood = (log_scale + chains.best).double().sum(1)
    if isinstance(semiring, Scaled):
        posterior, transitions = _scaled_counts(chains, ahead, back, transmat, lengths)
    else:
        posterior, transitions = _log_counts(chains, ahead, back, transmat, lengths)
    return Expectations(posterior, transitions, likelihood)


def _both_ways(
    semiring: Semiring,
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
) -> tuple[Path, Path]:
    """Forward and backward recursion in one: backward is forward through the mirrored chain."""
    first = torch.cat([startprob, torch.ones_like(startprob)]).log()
    matrix = torch.cat([transmat, transmat.transpose(1, 2)]).log()
    both = torch.cat([density, density.flip(0, 2)], 1)
    path = run(semiring, semiring.enter(first), semiring.enter(matrix), both)
    rows = len(startprob)
    return Path(*(part[:, :rows] for part in path)), Path(*(part[:, rows:] for part in path))


def _scaled_counts(
    chains: Chains,
    ahead: Path,
    back: Path,
    transmat: Float[Tensor, "row state state"],
    lengths: Int[Tensor, " row"],
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row state state"]]:
    """Posteriors and transitions: one product of matrices for all steps."""
    filtered = chains.join(ahead.state)
    after = chains.join(back.incoming[:-1].flip(0, 2))
    posterior = filtered * after
    posterior /= posterior.sum(-1, keepdim=True)
    if chains.time == 1:
        return posterior, torch.zeros_like(transmat)
    predicted = chains.join(ahead.incoming[:-1])[:, 1:]
    seen = chains.join(back.state.flip(0, 2))[:, 1:]
    total = (predicted * seen).sum(-1, keepdim=True)
    step = torch.arange(1, chains.time, device=lengths.device)
    inside = (step < lengths[:, None])[:, :, None]
    pairs = filtered[:, :-1].transpose(1, 2) @ (seen / total * inside)
    return posterior, pairs * transmat


def _log_counts(
    chains: Chains,
    ahead: Path,
    back: Path,
    transmat: Float[Tensor, "row state state"],
    lengths: Int[Tensor, " row"],
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row state state"]]:
    """The same of logarithms, whose products may be as unlikely as they like."""
    filtered = chains.join(ahead.state)
    posterior = (filtered + chains.join(back.incoming[:-1].flip(0, 2))).softmax(-1)
    predicted = chains.join(ahead.incoming[:-1])
    seen = chains.join(back.state.flip(0, 2))
    seen = seen - (predicted + seen).logsumexp(-1, keepdim=True)
    transitions = torch.zeros_like(transmat)
    states = transmat.shape[1]
    size = max(1, (1 << 22) // (len(transmat) * states**2))
    steps = torch.arange(1, chains.time, device=lengths.device)
    for piece in steps.split(size):
        pairs = filtered[:, piece - 1, :, None] + transmat.log()[:, None] + seen[:, piece, None, :]
        inside = (piece < lengths[:, None])[:, :, None, None]
        transitions += (pairs.exp() * inside).sum(1)
    return posterior, transitions
