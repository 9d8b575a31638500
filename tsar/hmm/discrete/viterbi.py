"""Viterbi algorithm: the most probable path of hidden states (Viterbi 1967).

On a CPU in float64 with numba it runs in the loop of `kernels`, elsewhere in tensors: the recursion
in chunks, then a backtrace of all chunks at once. Tensor calls in a loop over the points would take
20 times as long (0.3 s for 20,000 points).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete import compiled
from tsar.hmm.discrete.chunks import Chunks, Lengths, LogDensity, Startprob, Transmat, split_rows
from tsar.hmm.discrete.recursion import CHECK_INTERVAL, run_recursion
from tsar.hmm.discrete.semiring import LOG_MAX


class DecodedStates(NamedTuple):
    """The most probable path of states, and its log density together with the points."""

    states: Int[Tensor, "row time"]
    log_probability: Float[Tensor, " row"]


@torch.no_grad()
def decode(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"] | None = None,
) -> DecodedStates:
    """Most probable path of states; see `tsar.hmm.discrete.inference.forward_backward`.

    States after the end of a chain have no meaning.

    Examples
    --------
    >>> density = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> decode(start, move, density).states
    tensor([[0, 0, 0]])
    """
    rows, time, _ = log_density.shape
    if lengths is None:
        lengths = torch.full((rows,), time, device=log_density.device)
    tensors = startprob, transmat, log_density, lengths
    if compiled.supports(transmat):
        states = compiled.best_path(*tensors)
    else:
        states = torch.cat([_best_path(*part) for part in split_rows(*tensors)])
    return DecodedStates(states, _log_probability(*tensors, states))


def _best_path(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity, lengths: Lengths
) -> Int[Tensor, "row time"]:
    chunks = Chunks.of(LOG_MAX, log_density)
    log_transmat = transmat.log()
    messages = run_recursion(LOG_MAX, startprob.log(), log_transmat, chunks.density)
    path = _backtrace(messages.updated, log_transmat, lengths)
    return path.permute(1, 2, 0).reshape(len(startprob), -1)[:, : chunks.time]


def _backtrace(
    updated: Float[Tensor, "step row chunk state"],
    log_transmat: Float[Tensor, "row state state"],
    lengths: Int[Tensor, " row"],
) -> Int[Tensor, "step row chunk"]:
    """Follow the best predecessors backwards, in all chunks at once, each from its own best end.

    Where the next chunk begins in a state whose predecessor is another end, the chunk is traced
    again from that end, until it meets its previous path.
    """
    steps, rows, chunks, _ = updated.shape
    row = torch.arange(rows, device=updated.device)[:, None]
    into = log_transmat.transpose(1, 2)
    first = torch.arange(chunks, device=updated.device) * steps
    last_step = (lengths - 1)[:, None] - first  # of the chain, counted from each chunk's start
    path = torch.full((steps, rows, chunks), -1, device=updated.device)
    end = updated[-1].argmax(-1)
    while True:
        previous = path[-1].clone()
        path[-1] = end
        for step in range(steps - 2, -1, -1):
            # Device synchronization.
            if step % CHECK_INTERVAL == 0 and bool((previous == path[step + 1]).all()):
                break
            previous = path[step].clone()
            follow = into[row, path[step + 1]].where((last_step != step)[:, :, None], 0.0)
            path[step] = (updated[step] + follow).argmax(-1)
        continues = (last_step != steps - 1)[:, :-1, None]
        follow = into[row, path[0, :, 1:]].where(continues, 0.0)
        before = (updated[-1, :, :-1] + follow).argmax(-1)
        if bool((before == end[:, :-1]).all()):
            return path
        end = torch.cat([before, end[:, -1:]], 1)


def _log_probability(
    startprob: Startprob,
    transmat: Transmat,
    log_density: LogDensity,
    lengths: Lengths,
    states: Int[Tensor, "row time"],
) -> Float[Tensor, " row"]:
    """Log density of paths and points together."""
    row = torch.arange(len(states), device=states.device)[:, None]
    transitions = transmat.log()[row, states[:, :-1], states[:, 1:]]
    first = startprob.log().gather(1, states[:, :1])
    points = log_density.gather(2, states[:, :, None])[:, :, 0]
    total = (torch.cat([first, transitions], 1) + points).double()
    inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return total.where(inside, 0.0).sum(1)
