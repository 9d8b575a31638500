"""Second moments of lagged values, without the matrix of lagged values."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from tsar.autoregression.displacement import Displacement, displacements
from tsar.autoregression.runs import CHUNK, Blocks, Runs, blocks

SAMPLE = 64  # points of a run that tell its level


@dataclass(frozen=True)
class Steps:
    """What a Gram matrix of one channel gains from a lag to the next, a few outer products.

    ``gram[1:, 1:] - gram[:-1, :-1]`` is the sum over edges of ``factor * outer(points, points)``,
    less the first row and column of `points`, which belong to no step.
    """

    points: Float[Tensor, "group edge lag"]
    factor: Float[Tensor, "group edge"]


@dataclass(frozen=True)
class Moments:
    """Centred second moments of every channel at every lag, one system a group.

    A term is a channel at a lag; terms are ordered by channel, then by lag 0 to `max_lag`. The sums
    run over the times at which all lags lie within a run.

    Parameters
    ----------
    gram : Tensor
        Sums of products of deviations from `mean`.
    mean : Tensor
        Weighted mean of each term.
    count : Tensor
        Summed weight of the times: their number if there are no weights.
    max_lag : int
        Largest lag.
    steps : Steps, optional
        Of one channel where every lag varies and the groups have about as many runs, else None.

    Examples
    --------
    >>> import torch
    >>> runs = Runs(torch.tensor([0]), torch.tensor([4]), torch.tensor([0]), 1)
    >>> moments = lagged_moments(torch.tensor([[1.0, 2.0, 4.0, 3.0]]), runs, 1)
    >>> moments.mean, moments.count
    (tensor([[3.0000, 2.3333]], dtype=torch.float64), tensor([3.], dtype=torch.float64))
    >>> moments.regression(moments.terms(0, 1, 1), moments.terms(0, 0, 0)).gram
    tensor([[[4.6667]]], dtype=torch.float64)
    """

    gram: Float[Tensor, "group term term"]
    mean: Float[Tensor, "group term"]
    count: Float[Tensor, " group"]
    max_lag: int
    steps: Steps | None = None

    def terms(self, channel: int, first_lag: int, last_lag: int) -> Int[Tensor, " lag"]:
        """Return the indices of a channel's terms from one lag to another, both included."""
        offset = channel * (self.max_lag + 1)
        return torch.arange(offset + first_lag, offset + last_lag + 1, device=self.gram.device)

    def regression(
        self, regressors: Int[Tensor, " term"], targets: Int[Tensor, " target"]
    ) -> "Regression":
        """Return the normal equations of some terms on others, as many targets at once as given.

        A direct forecast of horizon H by p lags takes lags H to H + p - 1 as regressors and lags
        H - 1 down to 0 as targets, of moments with `max_lag` p + H - 1.
        """
        rows = _take(self.gram, 1, regressors)
        return Regression(
            gram=_take(rows, 2, regressors),
            cross=_take(rows, 2, targets),
            power=self.gram.diagonal(dim1=1, dim2=2)[:, targets],
            regressor_mean=self.mean[:, regressors],
            target_mean=self.mean[:, targets],
            count=self.count,
            regressors=regressors,
            targets=targets,
            max_lag=self.max_lag,
        )


def _take(
    gram: Float[Tensor, "group row column"], dim: int, terms: Int[Tensor, " term"]
) -> Float[Tensor, "group first second"]:
    """Rows or columns of some terms; of consecutive ones a view, for a copy takes milliseconds."""
    if len(terms) and bool((terms.diff() == 1).all()):
        return gram.narrow(dim, int(terms[0]), len(terms))
    return gram.index_select(dim, terms)


@dataclass(frozen=True)
class Regression:
    """Normal equations ``gram @ coef = cross`` of targets on regressors, both centred.

    Parameters
    ----------
    gram, cross, power : Tensor
        Products of the regressors, of these with the targets, and sums of squares of the targets.
    regressor_mean, target_mean : Tensor
        Means that were subtracted.
    count : Tensor
        Summed weight of the observations.
    regressors, targets : Tensor
        Indices of the terms among those of the `Moments`.
    max_lag : int
        Largest lag of the `Moments`.
    """

    gram: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term target"]
    power: Float[Tensor, "group target"]
    regressor_mean: Float[Tensor, "group term"]
    target_mean: Float[Tensor, "group target"]
    count: Float[Tensor, " group"]
    regressors: Int[Tensor, " term"]
    targets: Int[Tensor, " target"]
    max_lag: int

    def restrict(self, active: Bool[Tensor, "group term"]) -> "Regression":
        """Return the equations of the active terms; the others will get coefficient 0."""
        kept = active.to(self.gram.dtype)
        gram = self.gram * kept[:, :, None] * kept[:, None]
        return replace(self, gram=gram, cross=self.cross * kept[:, :, None])

    def intercept(self, coef: Float[Tensor, "group term target"]) -> Float[Tensor, "group target"]:
        """Return the constant that makes the mean residual zero."""
        return self.target_mean - torch.einsum("gk,gkr->gr", self.regressor_mean, coef)

    def residual_power(
        self, coef: Float[Tensor, "group term target"]
    ) -> Float[Tensor, "group target"]:
        """Return the sums of squared residuals, to about eps of the power of the targets."""
        explained = torch.einsum("gkr,gkr->gr", coef, 2 * self.cross - self.gram @ coef)
        return (self.power - explained).clamp(min=0)


def lagged_moments(channels: Float[Tensor, "channel total"], runs: Runs, max_lag: int) -> Moments:
    """Compute the moments of all lags of all channels over complete runs.

    The first row of each block of the Gram matrix is a cross-correlation, by Fourier transforms of
    blocks of a run. The rest follows from it because the matrix is nearly Toeplitz: with
    ``C[i, j] = sum(a[t-i] * b[t-j])`` over P <= t < n,
    ``C[i+1, j+1] = C[i, j] + a[P-1-i] b[P-1-j] - a[n-1-i] b[n-1-j]``, a cumulative sum along the
    diagonals. O(n log P + P^2) instead of the O(n P^2) of a product of the design matrix.

    Parameters
    ----------
    channels : Tensor
        Channels on one time axis, series end to end. Read only within the runs.
    runs : Runs
        Runs not longer than `max_lag` contribute nothing.
    max_lag : int
        Largest lag P, at least 0. All P + 1 points of a window must lie in a run.

    Returns
    -------
    Moments
        In float64. Deviations are from the group's own mean, subtracted before any product, so a
        large level costs no digits. A term without variance has a row and a column of zeros.

    Raises
    ------
    ValueError
        If `max_lag` is negative.

    Examples
    --------
    >>> import torch
    >>> series = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    >>> runs = Runs(torch.tensor([0]), torch.tensor([1000]), torch.tensor([0]), 1)
    >>> lagged_moments(series, runs, 12).gram.shape
    torch.Size([1, 13, 13])
    """
    if max_lag < 0:
        raise ValueError(f"max_lag must be at least 0; got {max_lag}. Give the largest lag.")
    shift, count = group_means(channels, runs, max_lag)
    sums, rows = _first_rows(channels, runs, max_lag, shift)
    terms = rows.shape[1] * rows.shape[3]
    gram = rows.new_zeros(0)
    mean = shift.repeat_interleave(max_lag + 1, dim=1)
    for displacement in displacements(channels, runs, max_lag, shift):
        chosen = displacement.groups
        total = displacement.sums(sums[chosen])
        product = displacement.products(rows[chosen])
        product = _centre(product, total, count[chosen], mean[chosen], max_lag + 1)
        mean[chosen] += total / count[chosen, None]
        if len(chosen) == runs.n_groups:  # all groups, in order: nothing to copy
            steps = _steps(displacement, total, count, product) if len(channels) == 1 else None
            return Moments(product, mean, count, max_lag, steps)
        gram = gram if len(gram) else rows.new_zeros(runs.n_groups, terms, terms)
        gram[chosen] = product
    gram = gram if len(gram) else rows.new_zeros(runs.n_groups, terms, terms)
    return Moments(gram, mean, count, max_lag)


def _steps(
    displacement: Displacement,
    total: Float[Tensor, "group lag"],
    count: Float[Tensor, " group"],
    product: Float[Tensor, "group lag lag"],
) -> Steps | None:
    """Steps of centred products: those of the products, and those of the sums."""
    if bool((product.diagonal(dim1=1, dim2=2) == 0).any()):  # the host waits here
        return None
    before = torch.nn.functional.pad(total[:, :-1], (1, 0))
    points = torch.stack([total, before], dim=1)
    share = (1 / count)[:, None] * count.new_tensor([-1.0, 1.0])
    return Steps(
        torch.cat([displacement.points[:, :, 0], points], dim=1),
        torch.cat([displacement.factor, share], dim=1),
    )


def group_means(
    channels: Float[Tensor, "channel total"], runs: Runs, max_lag: int
) -> tuple[Float[Tensor, "group channel"], Float[Tensor, " group"]]:
    """Return about the mean of each channel in each group, and the weight of its targets.

    A shift by any typical value keeps the digits of the products, so that a sample tells it.
    """
    starts, lengths, group, weights = runs.columns(channels.device)
    weights = weights * (lengths - max_lag).clamp(min=0)
    points = max(1, min(SAMPLE, CHUNK // max(len(starts), 1)))
    place = torch.linspace(0, 1, points, dtype=torch.float64, device=channels.device)
    rows = starts[:, None] + (place * (lengths - 1).clamp(min=0)[:, None]).long()
    mean = channels.new_zeros(runs.n_groups, len(channels), dtype=torch.float64)
    count = mean.new_zeros(runs.n_groups).index_add_(0, group, weights)
    if len(starts):
        sample = channels[:, rows].double().mean(dim=2).T
        usable = torch.where(weights[:, None] > 0, sample * weights[:, None], 0.0)
        mean.index_add_(0, group, usable)
    return mean / count.clamp(min=torch.finfo(torch.float64).tiny)[:, None], count


def _first_rows(
    channels: Float[Tensor, "channel total"],
    runs: Runs,
    max_lag: int,
    shift: Float[Tensor, "group channel"],
) -> tuple[Float[Tensor, "group channel"], Float[Tensor, "group left channel lag"]]:
    """Sum the targets, and their products with every channel at every lag."""
    width = len(channels)
    sums = torch.zeros_like(shift)
    rows = sums.new_zeros(runs.n_groups, width, width, max_lag + 1)
    size = 4 * width + width**2
    for part in blocks(runs, max_lag, channels.shape[1], channels.device, width=size):
        values = part.read(channels, shift)
        left = values * (part.targets() * part.weights[:, None])[:, None]
        sums.index_add_(0, part.members, part.sum(left.sum(-1)))
        products = cross_correlate(part, left, torch.fft.rfft(values), max_lag)
        rows.index_add_(0, part.members, products)
    return sums, rows


def cross_correlate(
    part: Blocks,
    left: Float[Tensor, "block left size"],
    spectrum: Complex[Tensor, "block channel frequency"],
    max_lag: int,
) -> Float[Tensor, "member left channel lag"]:
    """Sum left[t] * channel[t - lag] over the blocks of each group; channels by their spectrum."""
    product = torch.fft.rfft(left)[:, :, None] * spectrum[:, None].conj()
    return torch.fft.irfft(part.sum(product), n=part.size)[..., : max_lag + 1]


def _centre(
    product: Float[Tensor, "group term term"],
    total: Float[Tensor, "group term"],
    count: Float[Tensor, " group"],
    shift: Float[Tensor, "group term"],
    lags: int,
) -> Float[Tensor, "group term term"]:
    """Subtract the means; clear the terms whose variance is within rounding of zero."""
    powers = product.diagonal(dim1=1, dim2=2).unflatten(1, (-1, lags))
    raw = powers.amax(-1, keepdim=True).expand_as(powers).flatten(1)
    scaled = total / count.sqrt()[:, None]
    product.baddbmm_(scaled[:, :, None], scaled[:, None], alpha=-1)
    # Rounding of the sums is about eps of the largest of the channel; that of the level, eps of it.
    eps = torch.finfo(torch.float64).eps
    floor = 32 * eps * raw + count[:, None] * (8 * eps * shift).square()
    keep = product.diagonal(dim1=1, dim2=2) > floor
    if bool(keep.all()):  # the host waits here; to multiply by ones takes a millisecond
        return product
    return product.mul_(keep[:, :, None]).mul_(keep[:, None])
