"""Quantiles of what changes add up to, from the characteristic function of the sum.

A step in a state multiplies that function by the one of a normal distribution. After some steps
there are as many parts as paths of states, but at a frequency only a product of small matrices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from tsar.hmm.inference import powers_ahead
from tsar.hmm.parameters import Parameters

TAIL = 9.0  # deviations beyond which a normal distribution holds nothing
DECAY = 6.0  # deviations times the largest frequency: the function is 1e-8 there
FEWEST, MOST = 64, 1 << 14  # frequencies
FINE = 4  # points of the distribution function for each of them
NUMBERS = 1 << 21  # complex numbers that are held at once
POLISH = 3  # Newton steps


def sum_quantiles(
    models: Parameters,
    inside: Bool[Tensor, "window state"],
    now: Float[Tensor, "window state"],
    horizon: int,
    levels: Sequence[float],
) -> Float[Tensor, "window horizon level"]:
    """Quantiles of the sum of the first 1 to `horizon` values of chains.

    By Fourier series over the span that a sum can reach, for 1 to 2, 3 to 6, 7 to 14, ... steps at
    a time; exact to rounding, but where that takes more than `MOST` frequencies: regimes narrower
    than a ten thousandth of the span are widened to that.

    Parameters
    ----------
    models, inside
        One for each window, and which states it has.
    now
        Probability of each state just before the first value.
    levels
        In (0, 1).

    Source: Gil-Pelaez 1951, "Note on the inversion theorem", Biometrika 38; in series, Hughett
    1998, "Error bounds for numerical inversion of a probability characteristic function".

    Examples
    --------
    >>> one = torch.ones(1, 1, dtype=torch.float64)
    >>> walk = Parameters(one, one[None], 0.5 * one[None], 4 * one[None])
    >>> sum_quantiles(walk, one > 0, one, 4, [0.5, 0.975]).round(decimals=2)[0, [0, 3]]
    tensor([[0.5000, 4.4200],
            [2.0000, 9.8400]], dtype=torch.float64)
    """
    wanted = torch.tensor(list(levels), dtype=now.dtype, device=now.device)
    found = now.new_empty(len(now), horizon, len(wanted))
    chains = Chains.of(models, inside, now)
    first = 1
    while first <= horizon:
        last = min(2 * first, horizon)
        for rows, count in chains.batches(first, last, len(wanted)):
            part = chains.select(rows).quantiles(first, last, count, wanted)
            found[rows, first - 1 : last] = part
        first = last + 1
    return found


@dataclass(frozen=True)
class Chains:
    """Chains, a window each, around the middle of their means.

    Attributes
    ----------
    move, now
        Transitions, and the probability of each state.
    level, variance
        Of each state; those of a state that a chain does not have are those of another.
    middle, width
        Middle of the means, and from the lowest to the highest.
    """

    move: Float[Tensor, "window state state"]
    now: Float[Tensor, "window state"]
    level: Float[Tensor, "window state"]
    variance: Float[Tensor, "window state"]
    middle: Float[Tensor, " window"]
    width: Float[Tensor, " window"]

    @classmethod
    def of(
        cls,
        models: Parameters,
        inside: Bool[Tensor, "window state"],
        now: Float[Tensor, "window state"],
    ) -> "Chains":
        """Chains of models, one for each window."""
        level = torch.where(inside, models.center[:, :, 0], models.center[:, :1, 0])
        variance = torch.where(inside, models.spread[:, :, 0], models.spread[:, :1, 0])
        low, high = level.aminmax(dim=1)
        middle = low + (high - low) / 2
        return cls(models.transmat, now, level - middle[:, None], variance, middle, high - low)

    def select(self, rows: Tensor) -> "Chains":
        """Some of them."""
        return Chains(*(getattr(self, field.name)[rows] for field in fields(self)))

    def span(self, steps: int) -> Float[Tensor, " window"]:
        """From the lowest to the highest that a sum of some steps reaches."""
        return steps * self.width + 2 * TAIL * (steps * self.variance.amax(dim=1)).sqrt()

    def batches(self, first: int, last: int, levels: int) -> Iterator[tuple[Tensor, int]]:
        """Windows that take as many frequencies, as many at a time as memory bears."""
        least = (first * self.variance.amin(dim=1)).sqrt()
        needed = (DECAY / (2 * torch.pi) * self.span(last) / least).clamp(FEWEST, MOST)
        doubled = needed.log2().ceil().long()
        states, steps = self.level.shape[1], last - first + 1
        for power in doubled.unique().tolist():
            count = 1 << power
            size = count * (steps * (states + FINE + levels) + 4 * states**2)
            rows = (doubled == power).nonzero()[:, 0]
            for part in rows.split(max(1, NUMBERS // size)):
                yield part, count

    def quantiles(
        self, first: int, last: int, count: int, levels: Float[Tensor, " level"]
    ) -> Float[Tensor, "window step level"]:
        """Quantiles of the sums of `first` to `last` steps, by a number of frequencies."""
        span = self.span(last)
        frequency = torch.arange(count + 1).to(span) * (2 * torch.pi / span[:, None])
        function = self.functions(frequency, first, last)
        # What does not vanish at the last frequency is widened until it does.
        least = first * self.variance.amin(dim=1)
        widened = ((DECAY / frequency[:, -1]).square() - least).clamp(min=0)
        function = function * (-0.5 * widened[:, None] * frequency.square()).exp()[:, None]
        series = Series(frequency, function, span)
        steps = torch.arange(first, last + 1, device=span.device)
        return series.quantiles(levels) + (steps * self.middle[:, None])[:, :, None]

    def functions(
        self, frequency: Float[Tensor, "window frequency"], first: int, last: int
    ) -> Complex[Tensor, "window step frequency"]:
        """Characteristic functions of the sums of `first` to `last` steps."""
        windows, count = frequency.shape
        angle = frequency[:, :, None] * self.level[:, None]
        shrunk = -0.5 * frequency.square()[:, :, None] * self.variance[:, None]
        factor = torch.polar(shrunk.exp(), angle)
        step = (self.move[:, None] * factor[:, :, None]).flatten(0, 1)
        begin = self.now[:, None].expand(-1, count, -1).flatten(0, 1).to(step)
        before = torch.linalg.matrix_power(step, first - 1)
        begin = (begin[:, None] @ before)[:, 0]
        ahead = powers_ahead(begin, step, last - first + 1).sum(dim=2)
        return ahead.view(windows, count, -1).mT


@dataclass(frozen=True)
class Series:
    """Distributions by their Fourier series around zero, over a span.

    Attributes
    ----------
    frequency
        Frequencies, zero first.
    function
        The characteristic function there.
    span
        Width of what is not nothing.
    """

    frequency: Float[Tensor, "window frequency"]
    function: Complex[Tensor, "window step frequency"]
    span: Float[Tensor, " window"]

    def quantiles(self, levels: Float[Tensor, " level"]) -> Float[Tensor, "window step level"]:
        """Quantiles: the cell of a fine grid, and Newton steps within it."""
        points = FINE * (self.frequency.shape[1] - 1)
        spectrum = self._integrated * self._turned(-self.span[:, None, None] / 2)[:, :, 0]
        waves = torch.fft.irfft(spectrum.conj(), n=points, norm="forward")
        share = torch.arange(points).to(waves) / points
        reached = (share + waves - waves[..., :1]).cummax(dim=2).values
        wanted = levels.expand(*reached.shape[:2], -1).contiguous()
        cell = torch.searchsorted(reached, wanted).clamp(1, points - 1)
        width = self.span[:, None, None] / points
        low = (cell - 1) * width - self.span[:, None, None] / 2
        begin, end = reached.gather(2, cell - 1), reached.gather(2, cell)
        place = low + width * ((wanted - begin) / (end - begin).clamp(min=1e-300)).clamp(0, 1)
        base = share[:1] - waves[..., :1]
        for _ in range(POLISH):
            turned = self._turned(place)
            told = place / self.span[:, None, None] + 0.5 + base
            told = told + 2 * (self._integrated[:, :, None] * turned).real.sum(dim=3)
            slope = (self.function[:, :, None] * turned).real.sum(dim=3) * 2 - 1
            slope = slope / self.span[:, None, None]
            move = (wanted - told) / slope.clamp(min=1e-300)
            place = (place + move).clamp(low, low + width)
        return place

    @property
    def _integrated(self) -> Complex[Tensor, "window step frequency"]:
        """Coefficients of the distribution function less its straight line."""
        divisor = -1j * self.frequency * self.span[:, None]
        divisor[:, 0] = torch.inf
        return self.function / divisor[:, None]

    def _turned(self, place: Float[Tensor, "window step level"]) -> Any:
        angle = -place[..., None] * self.frequency[:, None, None]
        return torch.polar(torch.ones_like(angle), angle)
