"""Chains cut into chunks for the tensor recursion, and batches of rows of bounded memory."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.hmm.discrete.recursion import n_chunks
from tsar.hmm.discrete.semiring import LOG_SUM, Scaled, Semiring
from tsar.runtime.memory import CACHE_ELEMENTS, MAX_ELEMENTS, rows_within

# The scaled recursion takes transitions of at least MIN_TRANSITION, and raises log densities to at
# least MIN_LOG_DENSITY below the maximum of the point. A state that is less likely weighs less than
# rounding, because the most likely state is predicted with at least the minimum transition.
MIN_TRANSITION = {torch.float64: 1e-100, torch.float32: 1e-12}
MIN_LOG_DENSITY = {torch.float64: -450.0, torch.float32: -70.0}

# Arguments of the recursions: a row is a chain with a model of its own.
Startprob = Float[Tensor, "row state"]
Transmat = Float[Tensor, "row state state"]
LogDensity = Float[Tensor, "row time state"]
Lengths = Int[Tensor, " row"]


def split_rows(
    startprob: Startprob, transmat: Transmat, log_density: LogDensity, *others: Tensor
) -> list[tuple[Tensor, ...]]:
    """Split tensors along the rows, into parts that fit a cache or the memory of a device."""
    _, time, states = log_density.shape
    if log_density.device.type == "cpu":
        size = rows_within(CACHE_ELEMENTS, 256 * states)  # a step of 16 chunks takes 1 / 16 of it
    else:
        size = rows_within(MAX_ELEMENTS, time * states)
    tensors = (startprob, transmat, log_density, *others)
    return list(zip(*(tensor.split(size) for tensor in tensors), strict=True))


def semiring_for(startprob: Startprob, transmat: Transmat) -> Semiring:
    """Scaled if all start and transition probabilities are large enough, else logarithmic."""
    minimum = torch.minimum(startprob.min(), transmat.min())
    # Device synchronization.
    return Scaled() if bool(minimum >= MIN_TRANSITION[transmat.dtype]) else LOG_SUM


class Chunks(NamedTuple):
    """Densities relative to the maximum over the states at each point, cut into chunks of time.

    They are in the representation of a semiring. Time runs through the steps of a chunk, then
    through the next chunk; the last one is padded beyond `time` points.
    """

    density: Float[Tensor, "step row chunk state"]
    max_log_density: Float[Tensor, "row time"]
    time: int

    @classmethod
    def of(cls, semiring: Semiring, log_density: Float[Tensor, "row time state"]) -> "Chunks":
        """Cut log densities into chunks."""
        rows, time, states = log_density.shape
        maximum = log_density.amax(-1)
        # A point that is impossible in all states carries no information about the states.
        possible = maximum[:, :, None] > -torch.inf
        relative = torch.where(possible, log_density - maximum[:, :, None], 0.0)
        if isinstance(semiring, Scaled):
            relative = relative.clamp(min=MIN_LOG_DENSITY[log_density.dtype])
        chunks = n_chunks(rows, time, states)
        steps = -(-time // chunks)
        padded = torch.nn.functional.pad(relative, (0, 0, 0, steps * chunks - time))
        cut = padded.view(rows, chunks, steps, states).permute(2, 0, 1, 3)
        return cls(semiring.from_log(cut).contiguous(), maximum, time)

    def join(self, cut: Float[Tensor, "step row chunk last"]) -> Float[Tensor, "row time last"]:
        """Join the chunks to one time axis."""
        _, rows, _, last = cut.shape
        return cut.permute(1, 2, 0, 3).reshape(rows, -1, last)[:, : self.time]
