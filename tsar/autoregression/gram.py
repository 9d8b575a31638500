"""Gram matrices of lagged values by FFT, without building the matrix of lagged values."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from tsar.autoregression.gram_updates import GramUpdate, gram_updates
from tsar.autoregression.overlap_save import Blocks, overlap_save_blocks
from tsar.autoregression.segments import Segments
from tsar.autoregression.spectra import multiply
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within

LEVEL_SAMPLE = 64  # points of a segment that its level is estimated from


@dataclass(frozen=True)
class LagShift:
    """Low-rank difference between the Gram matrix of one channel and itself a lag later.

    ``gram[1:, 1:] - gram[:-1, :-1]`` is the sum over edges of ``factor * outer(points, points)``,
    without the first row and column, which belong to entry 0 of `points`.
    """

    points: Float[Tensor, "group edge lag"]
    factor: Float[Tensor, "group edge"]


@dataclass(frozen=True)
class Moments:
    """Centred second moments of every channel at every lag, one system per group.

    A term is a channel at a lag; terms are ordered by channel, then by lag 0 to `max_lag`. The sums
    are over the times at which all lags lie within a segment.

    Parameters
    ----------
    gram : Tensor
        Sums of products of deviations from `mean`.
    mean : Tensor
        Mean of each term.
    nobs : Tensor
        Number of times.
    max_lag : int
        Largest lag.
    lag_shift : LagShift, optional
        For one channel whose lags all vary, where the groups have similar numbers of segments;
        otherwise None.
    share : Tensor, optional
        Weight of each window of a group in the sums and in `nobs`; None: 1.

    Examples
    --------
    >>> import torch
    >>> segments = Segments(torch.tensor([0]), torch.tensor([4]), torch.tensor([0]), 1)
    >>> moments = lagged_moments(torch.tensor([[1.0, 2.0, 4.0, 3.0]]), segments, 1)
    >>> moments.mean, moments.nobs
    (tensor([[3.0000, 2.3333]], dtype=torch.float64), tensor([3.], dtype=torch.float64))
    >>> moments.normal_equations(moments.terms(0, 1, 1), moments.terms(0, 0, 0)).gram
    tensor([[[4.6667]]], dtype=torch.float64)
    """

    gram: Float[Tensor, "group term term"]
    mean: Float[Tensor, "group term"]
    nobs: Float[Tensor, " group"]
    max_lag: int
    lag_shift: LagShift | None = None
    share: Float[Tensor, " group"] | None = None

    def scaled(self, share: Float[Tensor, " group"]) -> "Moments":
        """Moments of windows of which each counts as the given share of one."""
        gram, nobs = self.gram * share[:, None, None], self.nobs * share
        return replace(self, gram=gram, nobs=nobs, lag_shift=None, share=share)

    def terms(self, channel: int, first_lag: int, last_lag: int) -> Int[Tensor, " lag"]:
        """Indices of a channel's terms from one lag to another, both included."""
        offset = channel * (self.max_lag + 1)
        return torch.arange(offset + first_lag, offset + last_lag + 1, device=self.gram.device)

    def normal_equations(
        self, regressors: Int[Tensor, " term"], targets: Int[Tensor, " target"]
    ) -> "NormalEquations":
        """Normal equations of the regression of some terms on others, given by their indices.

        A direct forecast of horizon H by p lags has lags H to H + p - 1 as regressors and lags
        H - 1 down to 0 as targets, of moments with `max_lag` p + H - 1.
        """
        rows = _take(self.gram, 1, regressors)
        return NormalEquations(
            gram=_take(rows, 2, regressors),
            cross=_take(rows, 2, targets),
            tss=self.gram.diagonal(dim1=1, dim2=2)[:, targets],
            regressor_mean=self.mean[:, regressors],
            target_mean=self.mean[:, targets],
            nobs=self.nobs,
            regressors=regressors,
            targets=targets,
            max_lag=self.max_lag,
            share=self.share,
        )


def matrix_product(
    matrix: Float[Tensor, "group row term"], right: Float[Tensor, "group term target"]
) -> Float[Tensor, "group row target"]:
    """Product of matrices; with one target it rounds alike for any number of groups.

    A library multiplies one matrix in another way than a batch of them.
    """
    if right.shape[2] == 1:
        return (matrix * right.mT).sum(dim=2, keepdim=True)
    return matrix @ right


def _take(
    gram: Float[Tensor, "group row column"], dim: int, terms: Int[Tensor, " term"]
) -> Float[Tensor, "group first second"]:
    """Rows or columns of some terms; a view of consecutive ones, for a copy takes milliseconds."""
    if len(terms) and bool((terms.diff() == 1).all()):
        return gram.narrow(dim, int(terms[0]), len(terms))
    return gram.index_select(dim, terms)


@dataclass(frozen=True)
class NormalEquations:
    """Normal equations ``gram @ coef = cross`` of targets on regressors, both centred.

    Parameters
    ----------
    gram, cross : Tensor
        Sums of products of the regressors, and of the regressors with the targets.
    tss : Tensor
        Total sums of squares of the targets.
    regressor_mean, target_mean : Tensor
        Means that were subtracted.
    regressors, targets : Tensor
        Indices of the terms among those of the `Moments`.
    nobs, max_lag, share
        Those of the `Moments`.
    """

    gram: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term target"]
    tss: Float[Tensor, "group target"]
    regressor_mean: Float[Tensor, "group term"]
    target_mean: Float[Tensor, "group target"]
    nobs: Float[Tensor, " group"]
    regressors: Int[Tensor, " term"]
    targets: Int[Tensor, " target"]
    max_lag: int
    share: Float[Tensor, " group"] | None = None

    def take(self, groups: Int[Tensor, " taken"]) -> "NormalEquations":
        """Equations of some groups."""
        names = ("gram", "cross", "tss", "regressor_mean", "target_mean", "nobs")
        taken: dict[str, Any] = {name: getattr(self, name)[groups] for name in names}
        share = None if self.share is None else self.share[groups]
        return replace(self, **taken, share=share)

    def restrict(self, active: Bool[Tensor, "group term"]) -> "NormalEquations":
        """Equations of the active regressors; the others will have coefficient 0."""
        mask = active.to(self.gram.dtype)
        gram = self.gram * mask[:, :, None] * mask[:, None]
        return replace(self, gram=gram, cross=self.cross * mask[:, :, None])

    def intercept(self, coef: Float[Tensor, "group term target"]) -> Float[Tensor, "group target"]:
        """Intercept that makes the mean residual zero."""
        return self.target_mean - torch.einsum("gk,gkr->gr", self.regressor_mean, coef)

    def rss(self, coef: Float[Tensor, "group term target"]) -> Float[Tensor, "group target"]:
        """Residual sums of squares, with an error of about eps times `tss`."""
        product = matrix_product(self.gram, coef)
        explained = torch.einsum("gkr,gkr->gr", coef, 2 * self.cross - product)
        return (self.tss - explained).clamp(min=0)


def lagged_moments(
    channels: Float[Tensor, "channel total"], segments: Segments, max_lag: int
) -> Moments:
    """Compute the moments of all lags of all channels over observed segments.

    The first row of each block of the Gram matrix is a cross-correlation, by Fourier transforms of
    blocks of a segment. The rest follows from it because the matrix is nearly Toeplitz: with
    ``C[i, j] = sum(a[t-i] * b[t-j])`` over P <= t < n,
    ``C[i+1, j+1] = C[i, j] + a[P-1-i] b[P-1-j] - a[n-1-i] b[n-1-j]``, a cumulative sum along the
    diagonals. O(n log P + P^2) instead of the O(n P^2) of a product of the design matrix.

    Parameters
    ----------
    channels : Tensor
        Channels on one time axis, series end to end. Read only within the segments.
    segments : Segments
        Those of at most `max_lag` points contribute nothing.
    max_lag : int
        Largest lag P, at least 0. All P + 1 points of a window must lie in a segment.

    Returns
    -------
    Moments
        In float64. Deviations are from the group's own mean, subtracted before any product, so
        that a large level costs no digits. A term without variance has a row and a column of zeros.

    Raises
    ------
    ValueError
        If `max_lag` is negative.

    Examples
    --------
    >>> import torch
    >>> series = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    >>> segments = Segments(torch.tensor([0]), torch.tensor([1000]), torch.tensor([0]), 1)
    >>> lagged_moments(series, segments, 12).gram.shape
    torch.Size([1, 13, 13])
    """
    if max_lag < 0:
        raise ValueError(f"max_lag must be at least 0; got {max_lag}. Give the largest lag.")
    shift, nobs = approximate_means(channels, segments, max_lag)
    sums, rows = _first_rows(channels, segments, max_lag, shift)
    mean = shift.repeat_interleave(max_lag + 1, dim=1)
    gram = rows.new_zeros(0)
    for update in gram_updates(channels, segments, max_lag, shift):
        groups = update.groups
        total = update.sums(sums[groups])
        product = update.products(rows[groups])
        product = _centre(product, total, nobs[groups], mean[groups], max_lag + 1)
        mean[groups] += total / nobs[groups, None]
        if len(groups) == segments.n_groups:  # all groups, in order: nothing to copy
            shared = _lag_shift(update, total, nobs, product) if len(channels) == 1 else None
            return Moments(product, mean, nobs, max_lag, shared)
        gram = gram if len(gram) else product.new_zeros(segments.n_groups, *product.shape[1:])
        gram[groups] = product
    n_terms = mean.shape[1]
    gram = gram if len(gram) else rows.new_zeros(segments.n_groups, n_terms, n_terms)
    return Moments(gram, mean, nobs, max_lag)


def _lag_shift(
    update: GramUpdate,
    total: Float[Tensor, "group lag"],
    nobs: Float[Tensor, " group"],
    product: Float[Tensor, "group lag lag"],
) -> LagShift | None:
    """Lag shift of centred products: that of the products, and that of the sums."""
    if bool((product.diagonal(dim1=1, dim2=2) == 0).any()):  # device synchronization
        return None
    previous = torch.nn.functional.pad(total[:, :-1], (1, 0))
    points = torch.stack([total, previous], dim=1)
    points = torch.cat([update.points[:, :, 0], points], dim=1)
    factor = (1 / nobs)[:, None] * nobs.new_tensor([-1.0, 1.0])
    return LagShift(points, torch.cat([update.sign, factor], dim=1))


def approximate_means(
    channels: Float[Tensor, "channel total"], segments: Segments, max_lag: int
) -> tuple[Float[Tensor, "group channel"], Float[Tensor, " group"]]:
    """Approximate mean of each channel in each group, from a sample, and the number of targets.

    A shift by any typical value preserves the digits of the products.
    """
    starts, lengths, group = segments.on(channels.device)
    n_targets = (lengths - max_lag).clamp(min=0).double()
    points = min(LEVEL_SAMPLE, rows_within(CACHE_ELEMENTS, len(starts)))
    fraction = torch.linspace(0, 1, points, dtype=torch.float64, device=channels.device)
    rows = starts[:, None] + (fraction * (lengths - 1).clamp(min=0)[:, None]).long()
    total = channels.new_zeros(segments.n_groups, len(channels), dtype=torch.float64)
    nobs = total.new_zeros(segments.n_groups).index_add_(0, group, n_targets)
    if len(starts):
        sample = channels[:, rows].double().mean(dim=2).T
        usable = torch.where(n_targets[:, None] > 0, sample * n_targets[:, None], 0.0)
        total.index_add_(0, group, usable)
    return total / nobs.clamp(min=torch.finfo(torch.float64).tiny)[:, None], nobs


def _first_rows(
    channels: Float[Tensor, "channel total"],
    segments: Segments,
    max_lag: int,
    shift: Float[Tensor, "group channel"],
) -> tuple[Float[Tensor, "group channel"], Float[Tensor, "group left channel lag"]]:
    """Sums of the targets, and of their products with every channel at every lag."""
    n_channels, total = channels.shape
    sums = torch.zeros_like(shift)
    rows = sums.new_zeros(segments.n_groups, n_channels, n_channels, max_lag + 1)
    width = 4 * n_channels + n_channels**2
    for blocks in overlap_save_blocks(segments, max_lag, total, channels.device, width=width):
        values = blocks.read(channels, shift)
        targets = values * blocks.target_mask()[:, None]
        sums.index_add_(0, blocks.groups, blocks.sum_by_group(targets.sum(-1)))
        products = cross_correlate(blocks, targets, torch.fft.rfft(values), max_lag)
        rows.index_add_(0, blocks.groups, products)
    return sums, rows


def cross_correlate(
    blocks: Blocks,
    left: Float[Tensor, "block left size"],
    spectrum: Complex[Tensor, "block channel frequency"],
    max_lag: int,
) -> Float[Tensor, "present left channel lag"]:
    """Sum left[t] * channel[t - lag] over the blocks of each group, by the channels' spectrum."""
    product = multiply(torch.fft.rfft(left)[:, :, None], spectrum[:, None].conj())
    return torch.fft.irfft(blocks.sum_by_group(product), n=blocks.size)[..., : max_lag + 1]


def _centre(
    product: Float[Tensor, "group term term"],
    total: Float[Tensor, "group term"],
    nobs: Float[Tensor, " group"],
    shift: Float[Tensor, "group term"],
    lags: int,
) -> Float[Tensor, "group term term"]:
    """Subtract the means; clear the terms whose variance is within rounding of zero."""
    squares = product.diagonal(dim1=1, dim2=2).unflatten(1, (-1, lags))
    largest = squares.amax(-1, keepdim=True).expand_as(squares).flatten(1)
    scaled = total / nobs.sqrt()[:, None]
    product.baddbmm_(scaled[:, :, None], scaled[:, None], alpha=-1)
    # The sums round to about eps of the channel's largest, the level to eps of itself.
    eps = torch.finfo(torch.float64).eps
    floor = 32 * eps * largest + nobs[:, None] * (8 * eps * shift).square()
    varies = product.diagonal(dim1=1, dim2=2) > floor
    if bool(varies.all()):  # device synchronization; a multiplication by ones takes a millisecond
        return product
    return product.mul_(varies[:, :, None]).mul_(varies[:, None])
