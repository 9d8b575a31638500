"""Chains cut into chunks and pieces, in numbers that stay in range."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.discrete.recursion import chunks_for
from tsar.hmm.discrete.semiring import SUMS, Scaled, Semiring

# Least transition that the scaled recursion takes, and least log density against the best state of
# a point. A state that is less likely weighs less than rounding: the best one comes in with at
# least the least transition.
LEAST = {torch.float64: (1e-100, -450.0), torch.float32: (1e-12, -70.0)}


CACHE = 1 << 14  # numbers of one step
MEMORY = 1 << 24


def parted(
    startprob: Float[Tensor, "row state"],
    transmat: Float[Tensor, "row state state"],
    log_density: Float[Tensor, "row time state"],
    *others: Tensor,
) -> list[tuple[Tensor, ...]]:
    """Rows that fit a cache, or the memory of a device."""
    _, time, states = log_density.shape
    # On a CPU so many that a step of 16 chunks fits a cache; elsewhere paths of 128 MB.
    size = CACHE // (16 * states) if log_density.device.type == "cpu" else MEMORY // (time * states)
    tensors = (startprob, transmat, log_density, *others)
    return list(zip(*(tensor.split(max(1, size)) for tensor in tensors), strict=True))


def semiring_for(
    startprob: Float[Tensor, "row state"], transmat: Float[Tensor, "row state state"]
) -> Semiring:
    """Scaled probabilities where every start and every transition is possible enough."""
    lowest = torch.minimum(startprob.min(), transmat.min())
    possible = bool(lowest >= LEAST[transmat.dtype][0])  # the host waits here
    return Scaled() if possible else SUMS


class Chains(NamedTuple):
    """Densities against the best of each point, cut into chunks, and those best ones."""

    density: Float[Tensor, "step row chunk state"]
    best: Float[Tensor, "row time"]
    time: int

    @classmethod
    def of(cls, semiring: Semiring, log_density: Float[Tensor, "row time state"]) -> "Chains":
        """Cut log densities into chunks, in the numbers of a semiring."""
        rows, time, states = log_density.shape
        best = log_density.amax(-1)
        # A point that no state can explain says nothing of the states.
        relative = torch.where(best[:, :, None] > -torch.inf, log_density - best[:, :, None], 0.0)
        if isinstance(semiring, Scaled):
            relative = relative.clamp(min=LEAST[log_density.dtype][1])
        chunks = chunks_for(rows, time, states)
        steps = -(-time // chunks)
        padded = torch.nn.functional.pad(relative, (0, 0, 0, steps * chunks - time))
        parted = padded.view(rows, chunks, steps, states).permute(2, 0, 1, 3)
        return cls(semiring.enter(parted).contiguous(), best, time)

    def join(self, parted: Float[Tensor, "step row chunk last"]) -> Float[Tensor, "row time last"]:
        """Time in one axis again."""
        _, rows, _, last = parted.shape
        return parted.permute(1, 2, 0, 3).reshape(rows, -1, last)[:, : self.time]
