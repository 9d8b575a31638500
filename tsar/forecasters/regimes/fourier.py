"""Quantiles from characteristic functions, by Fourier inversion on a finite span."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Complex, Float
from torch import Tensor

CELLS_PER_FREQUENCY = 4  # of the table of the distribution function
NEWTON_STEPS = 3
BISECTIONS = 60  # of the bracket of a quantile


@dataclass(frozen=True)
class FourierInversion:
    """Measures on the span ``[-span / 2, span / 2]``, by their characteristic functions there.

    The Fourier series of the density and of the distribution function follow from the values of
    the characteristic function at multiples of ``2 pi / span`` (Hughett 1998). The total mass may
    be less than 1, as for a component of a distribution.

    Attributes
    ----------
    frequencies
        ``0, 2 pi / span, 4 pi / span, ...``
    values
        Characteristic function at the frequencies.
    span
        Width of an interval around zero that holds nearly all mass.
    """

    frequencies: Float[Tensor, "window frequency"]
    values: Complex[Tensor, "window step frequency"]
    span: Float[Tensor, " window"]

    @property
    def mass(self) -> Float[Tensor, "window step"]:
        """Total mass: the characteristic function at zero."""
        return self.values[..., 0].real

    @property
    def n_cells(self) -> int:
        """Number of cells of `cdf_table`."""
        return CELLS_PER_FREQUENCY * (self.frequencies.shape[1] - 1)

    def cdf_table(self) -> Float[Tensor, "window step cell"]:
        """Distribution function at the left edge of each of `n_cells` equal cells of the span."""
        spectrum = self._integrated * self._phase_at_start
        waves = torch.fft.irfft(spectrum.conj(), n=self.n_cells, norm="forward")
        fraction = torch.arange(self.n_cells).to(waves) / self.n_cells
        return (self.mass[..., None] * fraction + waves - waves[..., :1]).cummax(dim=2).values

    def quantiles(self, levels: Float[Tensor, " level"]) -> Float[Tensor, "window step level"]:
        """Quantiles: linear interpolation in `cdf_table`, then Newton steps within the cell."""
        table, half = self.cdf_table(), self.span[:, None, None] / 2
        targets = levels.expand(*table.shape[:2], -1).contiguous()
        cell = torch.searchsorted(table, targets).clamp(1, self.n_cells - 1)
        width = 2 * half / self.n_cells
        low = (cell - 1) * width - half
        cdf_low, cdf_high = table.gather(2, cell - 1), table.gather(2, cell)
        fraction = (targets - cdf_low) / (cdf_high - cdf_low).clamp(min=1e-300)
        found = low + width * fraction.clamp(0, 1)
        for k, level in enumerate(levels):
            point = found[..., k]
            for _ in range(NEWTON_STEPS):
                cdf, density = self.cdf_and_density(point)
                newton = point + (level - cdf) / density.clamp(min=1e-300)
                point = newton.clamp(low[..., k], low[..., k] + width[..., 0])
            found[..., k] = point
        return found

    def cdf_and_density(
        self, points: Float[Tensor, "window step"]
    ) -> tuple[Float[Tensor, "window step"], Float[Tensor, "window step"]]:
        """Distribution function and density at points, by summing the Fourier series."""
        span = self.span[:, None]
        clamped = points.clamp(-span / 2, span / 2)
        angle = -clamped[..., None] * self.frequencies[:, None]
        phase = torch.polar(torch.ones_like(angle), angle)
        waves = (self._integrated * (phase - self._phase_at_start)).real.sum(dim=2)
        cdf = self.mass * (clamped / span + 0.5) + 2 * waves
        density = (2 * (self.values * phase).real.sum(dim=2) - self.mass) / span
        return cdf, torch.where(clamped == points, density, 0.0)

    @cached_property
    def _phase_at_start(self) -> Float[Tensor, " frequency"]:
        """``exp(-i frequency x)`` at ``x = -span / 2``: alternately 1 and -1."""
        signs = torch.ones_like(self.frequencies[0])
        signs[1::2] = -1
        return signs

    @cached_property
    def _integrated(self) -> Complex[Tensor, "window step frequency"]:
        """Fourier coefficients of the distribution function minus its linear part."""
        divisor = -1j * self.frequencies * self.span[:, None]
        divisor[:, 0] = torch.inf
        return self.values / divisor[:, None]


def component_quantiles(
    components: Sequence[tuple[FourierInversion, Float[Tensor, " step"]]],
    levels: Float[Tensor, " level"],
) -> Float[Tensor, "step level"]:
    """Quantiles of the sum of several measures of one window, each shifted by a center.

    Bisection on the interpolated tables, then Newton steps on the sum of the Fourier series.
    """
    tables = [measure.cdf_table()[0] for measure, _ in components]
    widths = torch.stack([measure.span / measure.n_cells for measure, _ in components])
    low = torch.stack([center - measure.span / 2 for measure, center in components])
    high = torch.stack([center + measure.span / 2 for measure, center in components])
    found = []
    for level in levels:
        below, above = low.amin(dim=0), high.amax(dim=0)
        for _ in range(BISECTIONS):
            point = (below + above) / 2
            cdf = torch.zeros_like(point)
            for (measure, center), table in zip(components, tables, strict=True):
                cdf += _interpolate(table, (point - center + measure.span / 2) / measure.span)
            below = torch.where(cdf < level, point, below)
            above = torch.where(cdf < level, above, point)
        point = (below + above) / 2
        # Newton steps stay within one cell of the finest table whose span holds the point.
        inside = (low <= point) & (point <= high)
        width = torch.where(inside, widths, widths.amax()).amin(dim=0)
        below, above = point - width, point + width
        for _ in range(NEWTON_STEPS):
            pairs = [m.cdf_and_density((point - center)[None]) for m, center in components]
            cdf, density = (torch.cat(kind).sum(dim=0) for kind in zip(*pairs, strict=True))
            newton = point + (level - cdf) / density.clamp(min=1e-300)
            point = torch.minimum(torch.maximum(newton, below), above)
        found.append(point)
    return torch.stack(found, dim=1)


def _interpolate(
    table: Float[Tensor, "step cell"], fraction: Float[Tensor, " step"]
) -> Float[Tensor, " step"]:
    """Table values at a fraction of the span, by linear interpolation."""
    position = fraction.clamp(0, 1) * table.shape[1]
    cell = position.long().clamp(max=table.shape[1] - 2)
    left, right = (table.gather(1, k[:, None])[:, 0] for k in (cell, cell + 1))
    return left + (right - left) * (position - cell).clamp(max=1)
