"""The most probable path of hidden states (Viterbi 1967)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.chains import Chains, parted
from tsar.hmm.discrete.compiled import best_path, usable
from tsar.hmm.discrete.recursion import LOOKS, run
from tsar.hmm.discrete.semiring import BEST


class Decoded(NamedTuple):
    """The most probable path of states, and the log density of it together with the points."""

    states: Int[Tensor, "row time"]
    log_probability: Float[Tensor, " row"]


@torch.no_grad()
def decode(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"] | None = None,
) -> Decoded:
    """Most probable path of states (Viterbi 1967); see `expectations` for the parameters.

    What stands behind the end of a chain is no part of its path.

    Examples
    --------
    >>> seen = torch.tensor([[[0.9, 0.2], [0.9, 0.2], [0.1, 0.8]]]).log()
    >>> start, move = torch.tensor([[0.5, 0.5]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    >>> decode(start, move, seen).states
    tensor([[0, 0, 0]])
    """
    rows, time, _ = log_density.shape
    ends = torch.full((rows,), time, device=log_density.device) if lengths is None else lengths
    if usable(transmat):
        states = best_path(startprob, transmat, log_density, ends)
        return Decoded(states, _score(startprob, transmat, log_density, states, ends))
    parts = [_decode(*part) for part in parted(startprob, transmat, log_density, ends)]
    return Decoded(*(torch.cat(kind) for kind in zip(*parts, strict=True)))


def _decode(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    lengths: Int[Tensor, " row"],
) -> Decoded:
    chains = Chains.of(BEST, log_density)
    matrix = transmat.log()
    path = run(BEST, startprob.log(), matrix, chains.density)
    traced = _trace(path.state, matrix, lengths)
    states = traced.permute(1, 2, 0).reshape(len(startprob), -1)[:, : chains.time]
    return Decoded(states, _score(startprob, transmat, log_density, states, lengths))


def _trace(
    state: Float[Tensor, "step row chunk state"],
    matrix: Float[Tensor, "row state state"],
    lengths: Int[Tensor, " row"],
) -> Int[Tensor, "step row chunk"]:
    """Follow the best predecessors back, in all chunks at once, each from its own best end.

    Where the chunk behind begins in a state that another end leads to, again from that one, until
    it meets the path that is already there.
    """
    steps, rows, chunks, _ = state.shape
    row = torch.arange(rows, device=state.device)[:, None]
    into = matrix.transpose(1, 2)
    time = torch.arange(chunks, device=state.device) * steps
    left = (lengths - 1)[:, None] - time  # step of the last point, counted from each chunk
    paths = torch.full((steps, rows, chunks), -1, device=state.device)
    end = state[-1].argmax(-1)
    while True:
        old = paths[-1].clone()
        paths[-1] = end
        for step in range(steps - 2, -1, -1):
            if step % LOOKS == 0 and bool((old == paths[step + 1]).all()):  # the host waits here
                break
            old = paths[step].clone()
            follow = into[row, paths[step + 1]].where((left != step)[:, :, None], 0.0)
            paths[step] = (state[step] + follow).argmax(-1)
        goes_on = (left != steps - 1)[:, :-1, None]
        follow = into[row, paths[0, :, 1:]].where(goes_on, 0.0)
        before = (state[-1, :, :-1] + follow).argmax(-1)
        if bool((before == end[:, :-1]).all()):
            return paths
        end = torch.cat([before, end[:, -1:]], 1)


def _score(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    states: Int[Tensor, "row time"],
    lengths: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """Log density of paths and points together."""
    row = torch.arange(len(states), device=states.device)[:, None]
    moves = transmat.log()[row, states[:, :-1], states[:, 1:]]
    first = startprob.log().gather(1, states[:, :1])
    seen = log_density.gather(2, states[:, :, None])[:, :, 0]
    total = (torch.cat([first, moves], 1) + seen).double()
    inside = torch.arange(states.shape[1], device=states.device) < lengths[:, None]
    return total.where(inside, 0.0).sum(1)
