"""Inference in discrete-state HMMs: filtering, forward-backward, state predictions and sampling.

Pure functions of batches of chains. A row is a chain with a model of its own: a start, a series, a
number of states, or all of these at once. Models with fewer states are padded by states that are
never reached; shorter chains are padded by points of log density 0. A missing point has log density
0 in all states, too: it is summed out.

On a CPU with numba the loops of `kernels` run; elsewhere (on a GPU, in float32, without numba) the
chunked tensor recursion of `recursion`.

Source: Rabiner 1989, "A Tutorial on Hidden Markov Models", section III. Probabilities are scaled at
every step, and densities by their maximum at each point, so that nothing underflows. Where some
transition is impossible, the recursion works on logarithms instead.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from tsar.hmm.discrete import compiled
from tsar.hmm.discrete.chunks import (
    Chunks,
    Lengths,
    LogDensity,
    Startprob,
    Transmat,
    semiring_for,
    split_rows,
)
from tsar.hmm.discrete.recursion import Messages, run_recursion
from tsar.hmm.discrete.semiring import Scaled, Semiring
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within


class FilteredStates(NamedTuple):
    """State probabilities given the points so far, and log densities given the points before.

    The log density of a missing point is 0.
    """

    probability: Float[Tensor, "row time state"]
    log_density: Float[Tensor, "row time"]

    @property
    def log_likelihood(self) -> Float[Tensor, " row"]:
        """Log-likelihood of each chain, summed in float64."""
        return self.log_density.double().sum(1)


class SmoothedStates(NamedTuple):
    """State probabilities given all points, and the expected number of transitions.

    The log-likelihood of each chain is float64.
    """

    posteriors: Float[Tensor, "row time state"]
    transitions: Float[Tensor, "row state state"]
    log_likelihood: Float[Tensor, " row"]


@torch.no_grad()
def filter_states(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
) -> FilteredStates:
    """Probability of each state given the points so far (causal).

    The log density of a missing point is 0 in all states.

    Examples
    --------
    Two boxes, and a ball that is moved with probability 0.1:

    >>> density = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> filter_states(start, move, density).probability[0, :, 0]
    tensor([0.8182, 0.9326, 0.4072])
    """
    if compiled.supports(transmat):
        return FilteredStates(*compiled.filter_states(startprob, transmat, log_density))
    parts = [_filter(*part) for part in split_rows(startprob, transmat, log_density)]
    return FilteredStates(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@torch.no_grad()
def forward_backward(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"] | None = None,
) -> SmoothedStates:
    """Probability of each state given all points, and the expected number of transitions.

    Transitions after the length of a chain (None: all points) do not count.

    Examples
    --------
    >>> density = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> forward_backward(start, move, density).posteriors[0, :, 0]
    tensor([0.8237, 0.7631, 0.4072])
    """
    rows, time, _ = log_density.shape
    if lengths is None:
        lengths = torch.full((rows,), time, device=log_density.device)
    if compiled.supports(transmat):
        return SmoothedStates(*compiled.forward_backward(startprob, transmat, log_density, lengths))
    parts = [_smooth(*part) for part in split_rows(startprob, transmat, log_density, lengths)]
    return SmoothedStates(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


@torch.no_grad()
def predict_states(
    probability: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    horizon: int,
) -> Float[Tensor, "row horizon state"]:
    """Probability of each state 1 to `horizon` steps ahead.

    Examples
    --------
    >>> predict_states(torch.eye(2)[:1], torch.tensor([[[0.9, 0.1], [0.1, 0.9]]]), 3)[0, :, 0]
    tensor([0.9000, 0.8200, 0.7560])
    """
    ahead = apply_powers(probability, transmat, horizon)
    return ahead / ahead.sum(-1, keepdim=True)


def apply_powers(
    vector: Inexact[Tensor, "row state"], matrix: Inexact[Tensor, "row state state"], horizon: int
) -> Inexact[Tensor, "row horizon state"]:
    """Row vectors times the first `horizon` powers of matrices, in log2(horizon) products.

    Examples
    --------
    >>> apply_powers(torch.ones(1, 1), torch.full((1, 1, 1), 2.0), 4).flatten()
    tensor([ 2.,  4.,  8., 16.])
    """
    ahead, power = vector[:, None] @ matrix, matrix
    while ahead.shape[1] < horizon:  # each round doubles the number of steps
        ahead = torch.cat([ahead, ahead @ power], 1)
        power = power @ power
    return ahead[:, :horizon]


def sample_states(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    length: int,
    generator: torch.Generator,
) -> Int[Tensor, "row time"]:
    """Sample paths of states.

    One uniform number turns each step into a map from states to states. The maps are composed in
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
    first = _categorical(startprob.double()[:, None], uniform[:, :1, None])
    expanded = uniform[:, 1:, None, None].expand(-1, -1, states, 1)
    steps = _categorical(transmat.double()[:, None], expanded)
    shift = 1
    while shift < steps.shape[1]:  # after a round, each map covers twice as many steps
        composed = steps[:, shift:].gather(2, steps[:, :-shift])
        steps = torch.cat([steps[:, :shift], composed], 1)
        shift *= 2
    rest = steps.gather(2, first[:, :, None].expand(-1, steps.shape[1], 1))[:, :, 0]
    return torch.cat([first, rest], 1)


def stationary_distribution(
    transmat: Float[Tensor, "row state state"],
) -> Float[Tensor, "row state"]:
    """Stationary distribution of each chain; one of them where there are several.

    Solved by least squares: the balance equation of every state, and probabilities that add up to
    one.

    Examples
    --------
    >>> stationary_distribution(torch.tensor([[[0.9, 0.1], [0.3, 0.7]]]))
    tensor([[0.7500, 0.2500]])
    """
    rows, states, _ = transmat.shape
    balance = transmat.double().transpose(1, 2) - torch.eye(states, device=transmat.device)
    ones = balance.new_ones(rows, 1, states)
    system = torch.cat([balance, ones], 1)
    target = torch.cat([balance.new_zeros(rows, states, 1), ones[:, :, :1]], 1)
    solution = (torch.linalg.pinv(system) @ target)[:, :, 0].clamp(min=0)
    return (solution / solution.sum(1, keepdim=True)).to(transmat)


def _categorical(
    probability: Float[Tensor, "*shape state"], uniform: Float[Tensor, "*other 1"]
) -> Int[Tensor, "*drawn"]:
    """Sample states by inversion of the cumulative distribution."""
    edges = probability.cumsum(-1)
    edges = edges / edges[..., -1:]  # rounding errors go to the last state of positive probability
    return (uniform >= edges[..., :-1]).sum(-1)


def _filter(startprob: Startprob, transmat: Transmat, log_density: LogDensity) -> FilteredStates:
    semiring = semiring_for(startprob, transmat)
    chunks = Chunks.of(semiring, log_density)
    first, matrix = semiring.from_log(startprob.log()), semiring.from_log(transmat.log())
    forward = run_recursion(semiring, first, matrix, chunks.density)
    log_scale = semiring.log_scale(chunks.join(forward.scale)[:, :, 0])
    return FilteredStates(
        semiring.to_log(chunks.join(forward.updated)).exp(), log_scale + chunks.max_log_density
    )


def _smooth(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity, lengths: Lengths
) -> SmoothedStates:
    semiring = semiring_for(startprob, transmat)
    chunks = Chunks.of(semiring, log_density)
    forward, backward = _both_directions(semiring, startprob, transmat, chunks.density)
    log_scale = semiring.log_scale(chunks.join(forward.scale)[:, :, 0])
    log_likelihood = (log_scale + chunks.max_log_density).double().sum(1)
    combine = _scaled_posteriors if isinstance(semiring, Scaled) else _log_posteriors
    return SmoothedStates(*combine(chunks, forward, backward, transmat, lengths), log_likelihood)


def _both_directions(
    semiring: Semiring,
    startprob: Startprob,
    transmat: Transmat,
    density: Float[Tensor, "step row chunk state"],
) -> tuple[Messages, Messages]:
    """Forward and backward messages in one recursion: backward is forward on the reversed chain."""
    first = torch.cat([startprob, torch.ones_like(startprob)]).log()
    matrix = torch.cat([transmat, transmat.transpose(1, 2)]).log()
    both = torch.cat([density, density.flip(0, 2)], 1)
    messages = run_recursion(semiring, semiring.from_log(first), semiring.from_log(matrix), both)
    rows = len(startprob)
    forward, backward = zip(*(tensor.split(rows, 1) for tensor in messages), strict=True)
    return Messages(*forward), Messages(*backward)


def _scaled_posteriors(
    chunks: Chunks, forward: Messages, backward: Messages, transmat: Transmat, lengths: Lengths
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row state state"]]:
    """Posteriors, and expected transitions by one matrix product for all steps."""
    filtered = chunks.join(forward.updated)
    posteriors = filtered * chunks.join(backward.predicted[:-1].flip(0, 2))
    posteriors /= posteriors.sum(-1, keepdim=True)
    if chunks.time == 1:
        return posteriors, torch.zeros_like(transmat)
    predicted = chunks.join(forward.predicted[:-1])[:, 1:]
    later = chunks.join(backward.updated.flip(0, 2))[:, 1:]
    total = (predicted * later).sum(-1, keepdim=True)
    step = torch.arange(1, chunks.time, device=lengths.device)
    inside = (step < lengths[:, None])[:, :, None]
    pairs = filtered[:, :-1].transpose(1, 2) @ (later / total * inside)
    return posteriors, pairs * transmat


def _log_posteriors(
    chunks: Chunks, forward: Messages, backward: Messages, transmat: Transmat, lengths: Lengths
) -> tuple[Float[Tensor, "row time state"], Float[Tensor, "row state state"]]:
    """The same from logarithms, whose products cannot underflow."""
    filtered = chunks.join(forward.updated)
    posteriors = (filtered + chunks.join(backward.predicted[:-1].flip(0, 2))).softmax(-1)
    predicted = chunks.join(forward.predicted[:-1])
    later = chunks.join(backward.updated.flip(0, 2))
    later = later - (predicted + later).logsumexp(-1, keepdim=True)
    transitions = torch.zeros_like(transmat)
    log_transmat = transmat.log()[:, None]
    steps = torch.arange(1, chunks.time, device=lengths.device)
    for step in steps.split(rows_within(BLOCK_ELEMENTS, transmat.numel())):
        pairs = filtered[:, step - 1, :, None] + log_transmat + later[:, step, None, :]
        inside = (step < lengths[:, None])[:, :, None, None]
        transitions += (pairs.exp() * inside).sum(1)
    return posteriors, transitions
