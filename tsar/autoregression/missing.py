"""Conditional mean and draws of the missing points of autoregressive series."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_solve_banded, cholesky_banded, solve_banded
from torch import Tensor

from tsar.autoregression.spectra import multiply
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

# Series of more missing points are solved one by one, by banded instead of dense factorizations.
MAX_DENSE = 256
SEED = 0  # of the draws, which are the same for every series and every call


@dataclass(frozen=True)
class Completion:
    """Missing points of series given the observed ones; 0 at observed points.

    Attributes
    ----------
    mean
        Conditional means.
    draws
        Deviations from them, drawn from their joint distribution.
    """

    mean: Float[Tensor, "series time"]
    draws: Float[Tensor, "draw series time"]


def complete(
    values: Float[Tensor, "series time"],
    lengths: Int[Tensor, " series"],
    coef: Float[Tensor, "series lag"],
    intercept: Float[Tensor, " series"],
    sigma: Float[Tensor, " series"],
    n_draws: int,
) -> Completion:
    """Conditional mean of missing points, and draws around it, for known coefficients.

    Points before the first are taken to be 0, the mean of standardized series. The means minimize
    the sum of squared innovations, a quadratic form whose matrix is banded.

    Parameters
    ----------
    values
        Oldest first; NaN where missing, and after the end of a series.
    lengths
        Points of each series.
    coef, intercept, sigma
        Equations, lag 1 first, and standard deviations of their innovations.
    n_draws
        Number of draws.

    References
    ----------
    R. H. Jones, Maximum likelihood fitting of ARMA models to time series with missing observations,
    Technometrics 22 (1980), computes the same by a recursion over time.

    Examples
    --------
    The middle of a random walk lies halfway between its neighbours:

    >>> walk = torch.tensor([[0.0, 1.0, torch.nan, 3.0]], dtype=torch.float64)
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> complete(walk, torch.tensor([4]), one[:, None], 0 * one, one, 0).mean.round()
    tensor([[0., 0., 2., 0.]], dtype=torch.float64)
    """
    missing = values.isnan() & (torch.arange(values.shape[1]) < lengths[:, None])
    count = missing.sum(dim=1)
    mean = torch.zeros_like(values)
    draws = values.new_zeros(n_draws, *values.shape)
    gradient = innovation_sums(values.nan_to_num(0.0), lengths, coef, intercept)[1]
    for row in (count > MAX_DENSE).nonzero()[:, 0].tolist():
        solved = _solve_banded(missing[row], lengths[row], coef[row], gradient[row], n_draws)
        mean[row, missing[row]] = solved[0]
        draws[:, row, missing[row]] = solved[1:] * sigma[row]
    width = 2 ** count.clamp(min=1).double().log2().ceil().long()  # depends on the series alone
    for size in width[(count > 0) & (count <= MAX_DENSE)].unique().tolist():
        rows = ((width == size) & (count > 0)).nonzero()[:, 0]
        for chunk in rows.split(rows_within(BLOCK_ELEMENTS, coef.shape[1] ** 2 + 2 * size**2)):
            position = missing[chunk].int().argsort(dim=1, descending=True, stable=True)[:, :size]
            valid = torch.arange(size) < count[chunk, None]
            system = _Dense(position, valid, lengths[chunk], coef[chunk])
            solved = system.solve(gradient[chunk], n_draws)
            mean[chunk] = mean[chunk].scatter_add(1, position, solved[0])
            scaled = solved[1:] * sigma[chunk][:, None]
            index = position.expand(n_draws, -1, -1)
            draws[:, chunk] = draws[:, chunk].scatter_add(2, index, scaled)
    return Completion(mean, draws)


def innovation_sums(
    values: Float[Tensor, "series time"],
    lengths: Int[Tensor, " series"],
    coef: Float[Tensor, "series lag"],
    intercept: Float[Tensor, " series"],
) -> tuple[Float[Tensor, "series time"], Float[Tensor, "series time"]]:
    """Innovations, and half the derivative of their sum of squares by each point.

    Points before the first are taken to be 0.
    """
    time, order = values.shape[1], coef.shape[1]
    size = time + order
    filters = torch.fft.rfft(_filter(coef), n=size)
    innovations = torch.fft.irfft(multiply(torch.fft.rfft(values, n=size), filters), n=size)[
        :, :time
    ]
    inside = torch.arange(time) < lengths[:, None]
    innovations = (innovations - intercept[:, None]) * inside
    spectrum = multiply(torch.fft.rfft(innovations, n=size), filters.conj())
    return innovations, torch.fft.irfft(spectrum, n=size)[:, :time]


def _filter(coef: Float[Tensor, "series lag"]) -> Float[Tensor, "series lag1"]:
    """Coefficients of the innovation: 1, then minus those of the equation."""
    return torch.nn.functional.pad(-coef, (1, 0), value=1.0)


def _partial_products(coef: Float[Tensor, "series lag"]) -> Float[Tensor, "series lag1 count"]:
    """Sum of a[j] a[j + k] over j up to a count, for each distance k, of the filter a."""
    weights = _filter(coef)
    shifted = torch.nn.functional.pad(weights, (0, coef.shape[1])).unfold(1, weights.shape[1], 1)
    return (shifted * weights[:, None]).cumsum(dim=2)


@dataclass(frozen=True)
class _Dense:
    """Systems of few missing points, padded to a common number."""

    position: Int[Tensor, "series missing"]
    valid: Bool[Tensor, "series missing"]
    lengths: Int[Tensor, " series"]
    coef: Float[Tensor, "series lag"]

    def solve(
        self, gradient: Float[Tensor, "series time"], n_draws: int
    ) -> Float[Tensor, "row series missing"]:
        """Means, then draws with innovations of variance 1."""
        order = self.coef.shape[1]
        distance = (self.position[:, :, None] - self.position[:, None]).abs()
        last = torch.maximum(self.position[:, :, None], self.position[:, None])
        after = (self.lengths[:, None, None] - 1 - last).clamp(0, order)
        table = _partial_products(self.coef).flatten(1)
        index = distance.clamp(max=order) * (order + 1) + after
        matrix = table.gather(1, index.flatten(1)).view_as(distance)
        both = self.valid[:, :, None] & self.valid[:, None] & (distance <= order)
        matrix = torch.where(both, matrix, 0.0)
        matrix = matrix + torch.diag_embed((~self.valid).to(matrix))
        factor = torch.linalg.cholesky(matrix)
        right = -gradient.gather(1, self.position) * self.valid
        mean = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        noise = _noise(self.position.shape[1], n_draws).expand(len(mean), -1, -1)
        drawn = torch.linalg.solve_triangular(factor.mT, noise, upper=True) * self.valid[:, :, None]
        return torch.cat([mean[None], drawn.permute(2, 0, 1)])


def _noise(count: int, n_draws: int) -> Float[Tensor, "missing draw"]:
    """Standard normal numbers, the same for the same position."""
    rng = np.random.default_rng(SEED)
    return torch.from_numpy(rng.normal(size=(count, max(n_draws, 1)))[:, :n_draws])


def _solve_banded(
    missing: Bool[Tensor, " time"],
    length: Int[Tensor, ""],
    coef: Float[Tensor, " lag"],
    gradient: Float[Tensor, " time"],
    n_draws: int,
) -> Float[Tensor, "row missing"]:
    """Means, then draws with innovations of variance 1, of one series with many gaps."""
    position = missing.nonzero()[:, 0]
    count, order = len(position), len(coef)
    within = torch.searchsorted(position, position + order, right=True)
    band = int((within - torch.arange(count)).max())
    table = _partial_products(coef[None])[0]
    lower = np.zeros((band, count))
    for offset in range(band):
        later, earlier = position[offset:], position[: count - offset]
        distance = later - earlier
        after = (int(length) - 1 - later).clamp(0, order)
        entries = torch.where(distance <= order, table[distance.clamp(max=order), after], 0.0)
        lower[offset, : count - offset] = entries.numpy()
    factor = cholesky_banded(lower, lower=True)
    mean = cho_solve_banded((factor, True), -gradient[position].numpy())
    upper = np.zeros_like(factor)  # the transpose of the factor
    for offset in range(band):
        upper[band - 1 - offset, offset:] = factor[offset, : count - offset]
    noise = _noise(count, n_draws).numpy()
    drawn = solve_banded((0, band - 1), upper, noise)
    return torch.from_numpy(np.concatenate([mean[None], drawn.T]))
