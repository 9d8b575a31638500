"""Layers of companion state spaces: a recurrence for each channel, open or closed."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.spacetime.companion import (
    closed_loop,
    impulse_response,
    kernel,
    newest_values,
    run_on,
)
from tsar.forecasters.spacetime.stability import bounded, free, integrate, step_up, unit_norm
from tsar.nn.convolution import convolve

Stability = Literal["reflection", "l1"]


class Recurrence(nn.Module):
    """Coefficients of a recurrence for each channel, whose roots stay inside the unit circle.

    Computed in float64, for kernels of waves that last are sums of terms that cancel.

    Parameters
    ----------
    channels, order
        Recurrences, and coefficients of each.
    stability
        ``"reflection"``: any stable recurrence. ``"l1"``: those whose coefficients add up to 1 in
        size, as in the paper.
    unit_roots
        Fixed roots at 1 besides: 1 keeps a level for ever, 2 a trend.
    """

    def __init__(self, channels: int, order: int, *, stability: Stability, unit_roots: int) -> None:
        super().__init__()
        self.stability, self.unit_roots = stability, unit_roots
        # Together `order` small steps are a large one.
        self.slowness = 1 / order**0.5
        # No memory at first; but a norm of 1 can't be had from zeros.
        start = torch.randn(channels, order) if stability == "l1" else torch.zeros(channels, order)
        self.free = nn.Parameter(start)

    @property
    def order(self) -> int:
        """Coefficients of each channel."""
        return self.free.shape[1] + self.unit_roots

    def coefficients(self) -> Float[Tensor, "channel order"]:
        """Coefficients, lag 1 first, in float64."""
        l1 = self.stability == "l1"
        inside = unit_norm(self.free.double()) if l1 else step_up(self._reflections())
        return integrate(inside, self.unit_roots)

    def _reflections(self) -> Float[Tensor, "channel order"]:
        return bounded(self.free.double() * self.slowness)

    def gain(self) -> Float[Tensor, "channel 1"]:
        """What gives the answer to a single 1 at most the energy 1, in float64; 1 with ``"l1"``.

        The energy of the whole answer is the product of 1 / (1 - reflection^2): with 64 reflections
        of 0.5 it is 1e8.
        """
        if self.stability == "l1":
            return torch.ones_like(self.free[:, :1], dtype=torch.float64)
        return (1 - self._reflections().square()).log().sum(dim=1, keepdim=True).div(2).exp()

    @torch.no_grad()
    def set_reflections(self, reflection: Float[Tensor, " order"]) -> None:
        """Give all channels the recurrence with these reflection coefficients."""
        self.free.copy_((free(reflection) / self.slowness).expand_as(self.free))


class OpenLoop(nn.Module):
    """Each channel filtered by its own ``taps(z) / D(z)``: what a companion layer does."""

    def __init__(self, channels: int, order: int, *, stability: Stability) -> None:
        super().__init__()
        self.recurrence = Recurrence(channels, order, stability=stability, unit_roots=0)
        self.taps = nn.Parameter(torch.randn(channels, order) / order**0.5)

    def kernel(self, length: int) -> Float[Tensor, "channel length"]:
        """First `length` values of the answer to a single 1."""
        taps = self.taps.double() * self.recurrence.gain()
        exact = kernel(self.recurrence.coefficients(), taps, length)
        return exact.to(self.taps.dtype)

    def forward(
        self, signal: Float[Tensor, "batch shared channel time"]
    ) -> Float[Tensor, "batch group channel time"]:
        """Filter channels that stand in groups; a group of one stands for all: one transform."""
        kernels = self.kernel(signal.shape[-1])
        return convolve(signal, kernels.unflatten(0, (-1, signal.shape[2])))


class Opened(NamedTuple):
    """What a decoder says at each time of a signal: its output, and its guess of the next input."""

    outputs: Tensor
    guesses: Tensor


class Decoder(nn.Module):
    """A companion layer that forecasts its own inputs and runs on with them.

    It reads with the coefficients of `reader` (``A``) and runs on with those of `loop`
    (``A + B K``); with B = e_1, ``K`` is their difference.
    """

    def __init__(self, channels: int, order: int, *, stability: Stability, unit_roots: int) -> None:
        super().__init__()
        self.reader = Recurrence(channels, order, stability=stability, unit_roots=0)
        self.loop = Recurrence(channels, order, stability=stability, unit_roots=unit_roots)
        self.taps = nn.Parameter(torch.randn(channels, order) / order)

    @torch.no_grad()
    def continue_series(
        self, loop: Float[Tensor, " order"], reader: Float[Tensor, " order"] | None = None
    ) -> None:
        """Run on as an autoregression does, with moving averages where there is a `reader`.

        Parameters
        ----------
        loop
            Reflection coefficients of the autoregression.
        reader
            Those of the recurrence that undoes the averages; None: there are none.
        """
        self.loop.set_reflections(loop)
        self.reader.set_reflections(torch.zeros_like(loop) if reader is None else reader)
        self.taps.copy_(self.loop.coefficients() - self.reader.coefficients())

    def prepared(self, time: int) -> "Prepared":
        """Compute once what all that follows needs; signals have at most `time` points."""
        reader = self.reader.coefficients()
        return Prepared(
            response=impulse_response(reader, time),
            reader=reader,
            loop=self.loop.coefficients(),
            taps=self.taps.double(),
        )


@dataclass(frozen=True)
class Prepared:
    """A decoder whose parameters have been turned into coefficients, in float64.

    Attributes
    ----------
    response
        Answer of the recurrence that reads to a single 1.
    reader, loop
        Coefficients of the recurrences that read and run on, lag 1 first.
    taps
        Weights of the newest values of the state in the output.
    """

    response: Float[Tensor, "channel time"]
    reader: Float[Tensor, "channel lag"]
    loop: Float[Tensor, "channel order"]
    taps: Float[Tensor, "channel tap"]

    def state(
        self, signal: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel order"]:
        """State after a signal, oldest value first, zero before it."""
        response = self.response[:, : signal.shape[-1]]
        return newest_values(signal, response, self.loop.shape[1])

    def read(self, signal: Float[Tensor, "batch channel time"]) -> Opened:
        """Outputs and guesses at every time, as if the next input were not known."""
        response = self.response[:, : signal.shape[-1]]
        # K: how the state is fed back into the input.
        missing = self.loop.shape[1] - self.reader.shape[1]
        feedback = self.loop - nn.functional.pad(self.reader, (0, missing))
        kernels = torch.stack([convolve(response, part) for part in (self.taps, feedback)])
        return Opened(*convolve(signal[None], kernels[:, None].to(signal)))

    def run(
        self, state: Float[Tensor, "batch channel order"], steps: int
    ) -> Float[Tensor, "batch channel steps"]:
        """Outputs of the next steps, the first of which the state alone decides."""
        return closed_loop(self.loop, self.taps, state, steps)

    def run_on(
        self, state: Float[Tensor, "batch channel order"], steps: int
    ) -> Float[Tensor, "batch channel order"]:
        """State some steps later."""
        return run_on(self.loop, state, steps)
