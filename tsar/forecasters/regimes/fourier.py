"""Distributions by their Fourier series, and their quantiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

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

    @property
    def whole(self) -> Float[Tensor, "window step"]:
        """What each holds."""
        return self.function[..., 0].real

    @property
    def points(self) -> int:
        """Cells of the tables over the span."""
        return FINE * (self.frequency.shape[1] - 1)

    def table(self) -> Float[Tensor, "window step point"]:
        """What lies below each of some places, `points` of them, evenly over the span."""
        spectrum = self._integrated * self._begin
        waves = torch.fft.irfft(spectrum.conj(), n=self.points, norm="forward")
        share = torch.arange(self.points).to(waves) / self.points
        return (self.whole[..., None] * share + waves - waves[..., :1]).cummax(dim=2).values

    def quantiles(self, levels: Float[Tensor, " level"]) -> Float[Tensor, "window step level"]:
        """Quantiles: the cell of a table, and Newton steps within it."""
        table, half = self.table(), self.span[:, None, None] / 2
        wanted = levels.expand(*table.shape[:2], -1).contiguous()
        cell = torch.searchsorted(table, wanted).clamp(1, self.points - 1)
        width = 2 * half / self.points
        low = (cell - 1) * width - half
        under, over = table.gather(2, cell - 1), table.gather(2, cell)
        place = low + width * ((wanted - under) / (over - under).clamp(min=1e-300)).clamp(0, 1)
        for k, level in enumerate(levels):
            best = place[..., k]
            for _ in range(POLISH):
                reached, slope = self.reached(best)
                move = (level - reached) / slope.clamp(min=1e-300)
                best = (best + move).clamp(low[..., k], low[..., k] + width[..., 0])
            place[..., k] = best
        return place

    def reached(
        self, place: Float[Tensor, "window step"]
    ) -> tuple[Float[Tensor, "window step"], Float[Tensor, "window step"]]:
        """What lies below some places, and the density there."""
        span = self.span[:, None]
        inside = place.clamp(-span / 2, span / 2)
        turned = self._turned(inside)
        waves = (self._integrated * (turned - self._begin)).real.sum(dim=2)
        reached = self.whole * (inside / span + 0.5) + 2 * waves
        density = (2 * (self.function * turned).real.sum(dim=2) - self.whole) / span
        return reached, torch.where(inside == place, density, 0.0)

    @cached_property
    def _begin(self) -> Float[Tensor, " frequency"]:
        """`_turned` of where the span begins: 1 and -1 in turn."""
        signs = torch.ones_like(self.frequency[0])
        signs[1::2] = -1
        return signs

    @cached_property
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

    By bisection on tables, from the lowest to the highest end of a part, and Newton steps.
    """
    tables = [part.table()[0] for part, _ in parts]
    cells = torch.stack([part.span / part.points for part, _ in parts])
    low = torch.stack([middle - part.span / 2 for part, middle in parts])
    high = torch.stack([middle + part.span / 2 for part, middle in parts])
    found = []
    for level in levels:
        under, over = low.amin(dim=0), high.amax(dim=0)
        for _ in range(HALVINGS):
            place = (under + over) / 2
            reached = torch.zeros_like(place)
            for (part, middle), table in zip(parts, tables, strict=True):
                reached += _looked_up(table, (place - middle + part.span / 2) / part.span)
            under = torch.where(reached < level, place, under)
            over = torch.where(reached < level, over, place)
        place = (under + over) / 2
        # Within a cell of the finest table that holds the place.
        holds = (low <= place) & (place <= high)
        room = torch.where(holds, cells, cells.amax()).amin(dim=0)
        under, over = place - room, place + room
        for _ in range(POLISH):
            told = [part.reached((place - middle)[None]) for part, middle in parts]
            reached, slope = (torch.cat(kind).sum(dim=0) for kind in zip(*told, strict=True))
            move = (level - reached) / slope.clamp(min=1e-300)
            place = torch.minimum(torch.maximum(place + move, under), over)
        found.append(place)
    return torch.stack(found, dim=1)


def _looked_up(
    table: Float[Tensor, "step point"], share: Float[Tensor, " step"]
) -> Float[Tensor, " step"]:
    """Values of a table at a share of its span, straight between its points."""
    place = share.clamp(0, 1) * table.shape[1]
    cell = place.long().clamp(max=table.shape[1] - 2)
    begin, end = (table.gather(1, k[:, None])[:, 0] for k in (cell, cell + 1))
    return begin + (end - begin) * (place - cell).clamp(max=1)
