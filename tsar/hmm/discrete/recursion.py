"""Forward recursion over hidden states in tensors: exact, in about sqrt(time) sequential steps.

It serves GPUs, float32, and CPUs without numba. On a CPU with numba the loops of `kernels` are 2 to
4 times as fast on one long series, 5 times on many short ones, and 10 to 30 times where transitions
are impossible (benchmarks/hmm_speed.py).

A chain is cut into chunks that run side by side, each from a guessed message. Then each chunk runs
again from the message in which the previous chunk ended, until its messages agree with those of the
first run; from there on both runs are equal. Chains forget their start, so that a few steps
suffice. A chain that does not forget is run once from every state, which gives the transfer matrix
of each chunk.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.hmm.discrete.semiring import Semiring

MIN_STEPS = 24  # of a chunk: with fewer, the second run costs as much as the chunks save
CHECK_INTERVAL = 4  # steps between checks (device synchronizations) whether two runs agree
STEP_PRODUCTS = 1 << 16  # products of a step that take about as long as the calls for it
ROUNDING = 32  # units in the last place within which two numbers are equal


class Messages(NamedTuple):
    """Normalized messages before and after the density of each point, in semiring representation.

    `scale` is the divisor of each `updated` message.
    """

    predicted: Float[Tensor, "step row chunk state"]
    updated: Float[Tensor, "step row chunk state"]
    scale: Float[Tensor, "step row chunk 1"]


def n_chunks(rows: int, time: int, states: int) -> int:
    """Number of chunks for chains of `time` steps, where `rows` chains run side by side."""
    target = max(16, STEP_PRODUCTS // (rows * states**2))
    return max(1, min(target, time // MIN_STEPS, math.isqrt(time)))


def run_recursion(
    semiring: Semiring,
    first: Float[Tensor, "row state"],
    matrix: Float[Tensor, "row state state"],
    density: Float[Tensor, "step row chunk state"],
) -> Messages:
    """Run ``updated = predicted * density; predicted = updated @ matrix`` over all steps.

    `first` is the predicted message of the first point. Time runs through the steps of a chunk,
    then through the next chunk.
    """
    steps, rows, chunks, states = density.shape
    predicted = torch.empty((steps + 1, rows, chunks, states)).to(density)
    messages = Messages(predicted, torch.empty_like(density), torch.empty_like(density[..., :1]))
    uniform = torch.full_like(first, -math.log(states))
    predicted[0] = semiring.from_log(uniform)[:, None]
    predicted[0, :, 0] = first
    recursion = _Recursion(semiring, matrix, density, messages)
    recursion.sweep()
    if chunks > 1:
        recursion.connect()
    return messages


class _Recursion(NamedTuple):
    """Chunks of a recursion; the methods write their messages."""

    semiring: Semiring
    matrix: Float[Tensor, "row state state"]
    density: Float[Tensor, "step row chunk state"]
    messages: Messages

    def sweep(self) -> None:
        """Run every chunk from its first predicted message."""
        semiring, matrix, density, (predicted, updated, scale) = self
        before = predicted.unbind()
        parts = zip(density.unbind(), updated.unbind(), scale.unbind(), strict=True)
        for step, (point, after, divisor) in enumerate(parts):
            divisor.copy_(semiring.update(before[step], point, after))
            semiring.predict(after, matrix, before[step + 1])

    def connect(self) -> None:
        """Rerun chunks from the ends of the previous chunks until nothing changes.

        A run from every state takes as long as that many reruns: done where the runs converge
        slower.
        """
        predicted, states = self.messages.predicted, self.density.shape[3]
        tolerance = ROUNDING * torch.finfo(predicted.dtype).eps
        difference = self.rerun(tolerance)
        while difference > tolerance:
            previous = difference
            difference = self.rerun(tolerance)
            converging = 0 < difference < previous < math.inf
            rate = math.log(previous / difference) if converging else 0.0
            if difference > tolerance and math.log(difference / tolerance) > rate * states:
                predicted[0] = self.chunk_starts()
                return self.sweep()

    def rerun(self, tolerance: float) -> float:
        """Run chunks from the new starts until they agree with the old run; return the difference.

        No step takes two runs further apart (Birkhoff 1957: positive matrices do not expand
        Hilbert's projective metric), so that runs that agree once agree from there on.
        """
        semiring, matrix, density, (predicted, updated, scale) = self
        predicted[0, :, 1:] = predicted[-1, :, :-1]
        difference = math.inf
        for step in range(len(density)):
            scale[step] = semiring.update(predicted[step], density[step], updated[step])
            check = step % CHECK_INTERVAL == CHECK_INTERVAL - 1 or step == len(density) - 1
            before = predicted[step + 1].clone() if check else None
            semiring.predict(updated[step], matrix, predicted[step + 1])
            if before is not None:
                difference = semiring.difference(before, predicted[step + 1])
                if difference <= tolerance:
                    break
        return difference

    def chunk_starts(self) -> Float[Tensor, "row chunk state"]:
        """First predicted message of each chunk, by the transfer matrices of those before it."""
        semiring = self.semiring
        log_scale, log_transfer = self.transfers()
        message = semiring.to_log(self.messages.predicted[0, :, 0])
        starts = [message]
        for chunk in range(self.density.shape[2] - 1):
            terms = (message + log_scale[:, chunk])[:, :, None] + log_transfer[:, chunk]
            message = semiring.log_sum(terms.transpose(1, 2))
            minimum = torch.finfo(message.dtype).min
            message = message - semiring.log_sum(message)[:, None].clamp(min=minimum)
            starts.append(message)
        return semiring.from_log(torch.stack(starts, 1))

    def transfers(
        self,
    ) -> tuple[Float[Tensor, "row chunk state"], Float[Tensor, "row chunk state state"]]:
        """By initial state of a chunk: log-likelihood of its points, and its last log message."""
        semiring, density = self.semiring, self.density
        _, rows, chunks, states = density.shape
        unit = torch.eye(states, dtype=density.dtype, device=density.device).log()
        # One chain for each state in which a chunk may begin.
        predicted = semiring.from_log(unit.repeat(rows, chunks, 1))
        updated = torch.empty_like(predicted)
        total = predicted.new_zeros(rows, chunks * states, 1)
        for point in density.unbind():
            repeated = point.repeat_interleave(states, dim=1)
            total += semiring.log_scale(semiring.update(predicted, repeated, updated))
            semiring.predict(updated, self.matrix, predicted)
        shape = (rows, chunks, states)
        return total.view(shape), semiring.to_log(predicted).view(*shape, states)
