"""The recursion over time of hidden states: exact, in about the square root of the steps.

A chain is cut into chunks that run side by side. Each begins from a guess; then, from the state
in which the chunk before it ended, it runs again until it meets the path that is already there,
from where on both are the same. Chains forget where they began, so that a few steps do. A chain
that does not is run once from every state, which gives the matrix that each chunk multiplies by.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.discrete.semiring import Semiring

SHORTEST = 24  # steps of a chunk at least: fewer, and running again costs as much as it saves
LOOKS = 4  # steps between looks at whether the paths have met: the host waits there
WORK = 1 << 16  # products of a step that take about as long as the calls for it
ROUNDING = 32  # units in the last place within which two numbers are the same


class Path(NamedTuple):
    """States of a recursion, in the numbers of its semiring; time first, but in chunks.

    `incoming` are those before a point was seen, `state` those after it, each normalized, and
    `scale` is what they were divided by.
    """

    incoming: Float[Tensor, "step row chunk state"]
    state: Float[Tensor, "step row chunk state"]
    scale: Float[Tensor, "step row chunk 1"]


def chunks_for(rows: int, time: int, states: int) -> int:
    """Chunks to cut a chain of `time` steps into, where `rows` chains run side by side."""
    wanted = max(16, WORK // (rows * states**2))
    return max(1, min(wanted, time // SHORTEST, math.isqrt(time)))


def run(
    semiring: Semiring,
    first: Float[Tensor, "row state"],
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
) -> Path:
    """Run the recursion: state = incoming * density, incoming = state @ matrix, and so on.

    Parameters
    ----------
    first
        What comes in before the first point.
    matrix
        From each state (first axis) to each.
    density
        Of each point in each state; time runs through a chunk, then through the next.
    """
    steps, rows, chunks, states = density.shape
    incoming = torch.empty((steps + 1, rows, chunks, states)).to(density)
    path = Path(incoming, torch.empty_like(density), torch.empty_like(density[..., :1]))
    incoming[0] = _level(semiring, first)[:, None]
    incoming[0, :, 0] = first
    _sweep(semiring, matrix, density, path)
    if chunks > 1:
        _settle(semiring, matrix, density, path)
    return path


def _level(semiring: Semiring, first: Float[Tensor, "row state"]) -> Float[Tensor, "row state"]:
    """Every state as likely as any other."""
    return semiring.enter(torch.full_like(first, -math.log(first.shape[1])))


def _sweep(
    semiring: Semiring,
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
    path: Path,
) -> None:
    """Run every chunk from what comes into it."""
    parts = zip(density.unbind(), path.state.unbind(), path.scale.unbind(), strict=True)
    incoming = path.incoming.unbind()
    for step, (seen, state, scale) in enumerate(parts):
        scale.copy_(semiring.weigh(incoming[step], seen, state))
        semiring.move(state, matrix, incoming[step + 1])


def _settle(
    semiring: Semiring,
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
    path: Path,
) -> None:
    """Run chunks again from where the ones before them ended, until nothing changes.

    Running once from every state takes as long as running again that many times: done where the
    paths come together more slowly.
    """
    rounding = ROUNDING * torch.finfo(density.dtype).eps
    apart = _again(semiring, matrix, density, path, rounding)
    while apart > rounding:
        before, apart = apart, _again(semiring, matrix, density, path, rounding)
        gain = math.log(before / apart) if 0 < apart < before < math.inf else 0.0
        if apart > rounding and math.log(apart / rounding) > gain * density.shape[3]:
            path.incoming[0] = _boundaries(semiring, matrix, density, path.incoming[0, :, 0])
            return _sweep(semiring, matrix, density, path)


def _again(
    semiring: Semiring,
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
    path: Path,
    rounding: float,
) -> float:
    """Run again from the new boundaries until the old path is met; how far from it the end is.

    No step takes two paths further apart (Birkhoff 1957: positive matrices do not expand Hilbert's
    projective metric), so that paths that met stay together.
    """
    path.incoming[0, :, 1:] = path.incoming[-1, :, :-1]
    apart = math.inf
    for step in range(len(density)):
        path.scale[step] = semiring.weigh(path.incoming[step], density[step], path.state[step])
        look = step % LOOKS == LOOKS - 1 or step == len(density) - 1
        before = path.incoming[step + 1].clone() if look else None
        semiring.move(path.state[step], matrix, path.incoming[step + 1])
        if before is not None:
            apart = semiring.apart(before, path.incoming[step + 1])
            if apart <= rounding:
                break
    return apart


def _boundaries(
    semiring: Semiring,
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
    first: Float[Tensor, "row state"],
) -> Float[Tensor, "row chunk state"]:
    """What comes into each chunk, by the matrices that the chunks multiply by."""
    log_scale, end = _transfers(semiring, matrix, density)
    incoming = semiring.leave(first)
    boundaries = [incoming]
    for chunk in range(density.shape[2] - 1):
        weight = (incoming + log_scale[:, chunk])[:, :, None] + end[:, chunk]
        incoming = semiring.gather(weight.transpose(1, 2))
        incoming = incoming - semiring.gather(incoming)[:, None].clamp(
            min=torch.finfo(incoming.dtype).min
        )
        boundaries.append(incoming)
    return semiring.enter(torch.stack(boundaries, 1))


def _transfers(
    semiring: Semiring,
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
) -> tuple[Float[Tensor, "row chunk state"], Float[Tensor, "row chunk state state"]]:
    """Of each state that a chunk may begin in: log likelihood of its points, log states behind."""
    _, rows, chunks, states = density.shape
    unit = torch.eye(states, dtype=density.dtype, device=density.device).log()
    # One chain for each state that a chunk may begin in.
    incoming = semiring.enter(unit.repeat(rows, chunks, 1))
    state = torch.empty_like(incoming)
    total = incoming.new_zeros(rows, chunks * states, 1)
    for seen in density.unbind():
        wide = seen.repeat_interleave(states, dim=1)
        total += semiring.log_scale(semiring.weigh(incoming, wide, state))
        semiring.move(state, matrix, incoming)
    shape = (rows, chunks, states)
    return total.view(shape), semiring.leave(incoming).view(*shape, states)
