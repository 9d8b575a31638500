"""Companion state-space layers in open and closed loop, and pointwise convolution."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsar.forecasters.spacetime.companion import (
    advance_state,
    closed_loop,
    final_state,
    impulse_response,
    kernel,
)
from tsar.forecasters.spacetime.stability import (
    add_unit_roots,
    constrain,
    l1_normalize,
    step_up,
    unconstrain,
)
from tsar.nn.convolution import convolve

Stability = Literal["reflection", "l1"]


class Recurrence(nn.Module):
    """Autoregressive coefficients of each channel, with roots inside the unit circle.

    Computed in float64, because kernels of lightly damped oscillations are sums of terms that
    cancel.

    Parameters
    ----------
    channels, order
        Number of recurrences, and of coefficients of each.
    stability
        ``"reflection"``: any stable recurrence. ``"l1"``: coefficients of l1 norm 1, as in the
        paper.
    unit_roots
        Additional fixed roots at 1: one preserves a level, two a linear trend.
    """

    def __init__(self, channels: int, order: int, *, stability: Stability, unit_roots: int) -> None:
        super().__init__()
        self.stability, self.unit_roots = stability, unit_roots
        # Steps of all parameters in the same direction add up over the order.
        self.parameter_scale = 1 / order**0.5
        # No memory at first; but zeros can't be normalized to an l1 norm of 1.
        initialize = torch.randn if stability == "l1" else torch.zeros
        self.unconstrained = nn.Parameter(initialize(channels, order))

    @property
    def order(self) -> int:
        """Number of coefficients of each channel, unit roots included."""
        return self.unconstrained.shape[1] + self.unit_roots

    def coefficients(self) -> Float[Tensor, "channel order"]:
        """Coefficients, lag 1 first, in float64."""
        if self.stability == "l1":
            stable = l1_normalize(self.unconstrained.double())
        else:
            stable = step_up(self._reflection())
        return add_unit_roots(stable, self.unit_roots)

    def _reflection(self) -> Float[Tensor, "channel order"]:
        return constrain(self.unconstrained.double() * self.parameter_scale)

    def gain(self) -> Float[Tensor, "channel 1"]:
        """Factor that bounds the energy of the impulse response by 1, in float64; 1 for ``"l1"``.

        Without it the energy is the product of 1 / (1 - reflection^2): 1e8 for 64 reflection
        coefficients of 0.5.
        """
        if self.stability == "l1":
            return torch.ones_like(self.unconstrained[:, :1], dtype=torch.float64)
        return (1 - self._reflection().square()).log().sum(dim=1, keepdim=True).div(2).exp()

    @torch.no_grad()
    def set_reflection(self, reflection: Float[Tensor, " order"]) -> None:
        """Set the reflection coefficients of all channels."""
        parameter = unconstrain(reflection) / self.parameter_scale
        self.unconstrained.copy_(parameter.expand_as(self.unconstrained))


class CompanionSSM(nn.Module):
    """Open-loop companion layer: filters each channel by its own ``taps(z) / D(z)``."""

    def __init__(self, channels: int, order: int, *, stability: Stability) -> None:
        super().__init__()
        self.recurrence = Recurrence(channels, order, stability=stability, unit_roots=0)
        self.taps = nn.Parameter(torch.randn(channels, order) / order**0.5)

    def kernel(self, length: int) -> Float[Tensor, "channel length"]:
        """First `length` values of the convolution kernel."""
        taps = self.taps.double() * self.recurrence.gain()
        exact = kernel(self.recurrence.coefficients(), taps, length)
        return exact.to(self.taps.dtype)

    def forward(
        self, signal: Float[Tensor, "batch shared channel time"]
    ) -> Float[Tensor, "batch group channel time"]:
        """Filter groups of channels; one input group is shared by all, with one transform."""
        kernels = self.kernel(signal.shape[-1])
        return convolve(signal, kernels.unflatten(0, (-1, signal.shape[2])))


class OpenLoopOutputs(NamedTuple):
    """Outputs of a decoder at each time of a signal, and its predictions of the next input."""

    outputs: Tensor
    next_inputs: Tensor


class ClosedLoopSSM(nn.Module):
    """Closed-loop companion layer: predicts its own next inputs, and so forecasts any horizon.

    It reads a signal with the coefficients of `open_loop` (matrix A) and forecasts with those of
    `closed_loop` (matrix A + B K). With B = e_1 the feedback K is their difference.
    """

    def __init__(self, channels: int, order: int, *, stability: Stability, unit_roots: int) -> None:
        super().__init__()
        self.open_loop = Recurrence(channels, order, stability=stability, unit_roots=0)
        self.closed_loop = Recurrence(channels, order, stability=stability, unit_roots=unit_roots)
        self.taps = nn.Parameter(torch.randn(channels, order) / order)

    @torch.no_grad()
    def set_arma(
        self,
        autoregression: Float[Tensor, " order"],
        inverse_moving_average: Float[Tensor, " order"] | None = None,
    ) -> None:
        """Set all channels to the forecasts of an ARMA process, by reflection coefficients.

        Those of the autoregression, and of the recurrence that inverts the moving average; None for
        a pure autoregression.
        """
        if inverse_moving_average is None:
            inverse_moving_average = torch.zeros_like(autoregression)
        self.closed_loop.set_reflection(autoregression)
        self.open_loop.set_reflection(inverse_moving_average)
        self.taps.copy_(self.closed_loop.coefficients() - self.open_loop.coefficients())

    def system(self, time: int) -> "ClosedLoopSystem":
        """Compute once the coefficients for signals of at most `time` points."""
        open_loop = self.open_loop.coefficients()
        return ClosedLoopSystem(
            response=impulse_response(open_loop, time),
            open_loop_coef=open_loop,
            closed_loop_coef=self.closed_loop.coefficients(),
            taps=self.taps.double(),
        )


@dataclass(frozen=True)
class ClosedLoopSystem:
    """Coefficients of a `ClosedLoopSSM` in float64, lag 1 first, and what follows from them.

    `response` is the impulse response of the open loop; `taps` are output weights of the newest
    values of the state.
    """

    response: Float[Tensor, "channel time"]
    open_loop_coef: Float[Tensor, "channel lag"]
    closed_loop_coef: Float[Tensor, "channel order"]
    taps: Float[Tensor, "channel tap"]

    def state(
        self, signal: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel order"]:
        """State after a signal, oldest value first, with a zero state before it."""
        response = self.response[:, : signal.shape[-1]]
        return final_state(signal, response, self.closed_loop_coef.shape[1])

    def open_loop(self, signal: Float[Tensor, "batch channel time"]) -> OpenLoopOutputs:
        """One-step forecasts of outputs and inputs at every time of a signal."""
        response = self.response[:, : signal.shape[-1]]
        padding = self.closed_loop_coef.shape[1] - self.open_loop_coef.shape[1]
        feedback = self.closed_loop_coef - nn.functional.pad(self.open_loop_coef, (0, padding))
        kernels = torch.stack([convolve(response, taps) for taps in (self.taps, feedback)])
        return OpenLoopOutputs(*convolve(signal[None], kernels[:, None].to(signal)))

    def forecast(
        self, state: Float[Tensor, "batch channel order"], steps: int
    ) -> Float[Tensor, "batch channel steps"]:
        """Outputs of the next steps in closed loop; the first depends on the state alone."""
        return closed_loop(self.closed_loop_coef, self.taps, state, steps)

    def advance(
        self, state: Float[Tensor, "batch channel order"], steps: int
    ) -> Float[Tensor, "batch channel order"]:
        """State after some steps in closed loop."""
        return advance_state(self.closed_loop_coef, state, steps)


def pointwise_conv(
    weight: Float[Tensor, "output channel"],
    signal: Float[Tensor, "batch channel time"],
    dropout: nn.Dropout1d,
) -> Float[Tensor, "batch output time"]:
    """Linear map of the channels at each time; dropout zeroes whole channels of a row.

    Dropout is applied to the weights of each row, which are fewer than the points of the signal.
    One matrix product per row: forward and backward take 0.4 times as long as `torch.nn.Conv1d`
    with one tap (50 rows of 120 channels and 336 points, one processor core).

    Examples
    --------
    >>> import torch
    >>> signal = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    >>> pointwise_conv(torch.tensor([[1.0, -1.0]]), signal, nn.Dropout1d(0.0))
    tensor([[[-2., -2.]]])
    """
    weights: Tensor = dropout(weight.mT.expand(len(signal), -1, -1))
    return weights.mT @ signal
