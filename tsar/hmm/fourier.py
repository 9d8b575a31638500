"""Distributions by their Fourier series, and their quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

FINE = 4  # points of the distribution function for each frequency
POLISH = 3  # Newton steps
HALVINGS = 60  # of the bracket of a quantile


@dataclass(frozen=True)
class Series:
    """Distributions around zero by their Fourier series over a span; they may hold less than 1.

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
        begin = -self.span[:, None].expand(-1, self.function.shape[1]) / 2
        spectrum = self._integrated * self._turned(begin)
        waves = torch.fft.irfft(spectrum.conj(), n=points, norm="forward")
        share = torch.arange(points).to(waves) / points
        reached = (share + waves - waves[..., :1]).cummax(dim=2).values
        wanted = levels.expand(*reached.shape[:2], -1).contiguous()
        cell = torch.searchsorted(reached, wanted).clamp(1, points - 1)
        width = self.span[:, None, None] / points
        low = (cell - 1) * width - self.span[:, None, None] / 2
        under, over = reached.gather(2, cell - 1), reached.gather(2, cell)
        place = low + width * ((wanted - under) / (over - under).clamp(min=1e-300)).clamp(0, 1)
        one_by_one = [
            self._polished(place[..., k], low[..., k], width[..., 0], level)
            for k, level in enumerate(levels)
        ]
        return torch.stack(one_by_one, dim=2)

    def _polished(
        self,
        place: Float[Tensor, "window step"],
        low: Float[Tensor, "window step"],
        width: Float[Tensor, "window 1"],
        level: Float[Tensor, ""],
    ) -> Float[Tensor, "window step"]:
        for _ in range(POLISH):
            turned = self._turned(place)
            slope = (self.function * turned).real.sum(dim=2) * 2 - self.function[..., 0].real
            slope = slope / self.span[:, None]
            move = (level - self._reached(place, turned)) / slope.clamp(min=1e-300)
            place = (place + move).clamp(low, low + width)
        return place

    def reached(self, place: Float[Tensor, "window step"]) -> Float[Tensor, "window step"]:
        """What lies below some places."""
        half = self.span[:, None] / 2
        inside = place.clamp(-half, half)
        return self._reached(inside, self._turned(inside))

    def _reached(self, place: Tensor, turned: Tensor) -> Float[Tensor, "window step"]:
        begin = -self.span[:, None].expand_as(place) / 2
        waves = (self._integrated * (turned - self._turned(begin))).real.sum(dim=2)
        whole = self.function[..., 0].real
        return whole * (place / self.span[:, None] + 0.5) + 2 * waves

    @property
    def _integrated(self) -> Complex[Tensor, "window step frequency"]:
        """Coefficients of the distribution function less its straight line."""
        divisor = -1j * self.frequency * self.span[:, None]
        divisor[:, 0] = torch.inf
        return self.function / divisor[:, None]

    def _turned(
        self, place: Float[Tensor, "window step"]
    ) -> Complex[Tensor, "window step frequency"]:
        angle = -place[..., None] * self.frequency[:, None]
        return torch.polar(torch.ones_like(angle), angle)


def quantiles_of_sum(
    parts: Sequence[tuple[Series, Float[Tensor, " step"]]], levels: Float[Tensor, " level"]
) -> Float[Tensor, "step level"]:
    """Quantiles of a distribution whose parts are series of one window, each around a middle.

    By bisection, from the lowest to the highest end of a part.
    """
    low = torch.stack([middle - part.span / 2 for part, middle in parts]).amin(dim=0)
    high = torch.stack([middle + part.span / 2 for part, middle in parts]).amax(dim=0)
    found = []
    for level in levels:
        under, over = low, high
        for _ in range(HALVINGS):
            place = (under + over) / 2
            reached = torch.stack(
                [part.reached((place - middle)[None])[0] for part, middle in parts]
            ).sum(dim=0)
            under = torch.where(reached < level, place, under)
            over = torch.where(reached < level, over, place)
        found.append((under + over) / 2)
    return torch.stack(found, dim=1)
