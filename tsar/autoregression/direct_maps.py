"""Linear maps from a context to all steps of a horizon: ridge regressions, averaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.window_moments import WindowMoments

# Ridge, relative to the mean eigenvalue of the second moments; the default has no validation.
RIDGES = tuple(10 ** (-7 + 0.5 * k) for k in range(16))
DEFAULT_RIDGE = 0.1
# Baselines: the share of the context whose mean is subtracted from each window, 0 the last value;
# None: nothing, and the map has an intercept.
BASELINES = (None, 0.0, 0.25, 1.0)
FINE_LAGS = 96  # newest lags of a long context, each with a coefficient of its own
MAX_GROUPS = 336  # groups that the older lags of a long context share coefficients in


@dataclass(frozen=True)
class DirectMaps:
    """Linear forecasts of all steps: ``intercept + coef @ context``.

    Attributes
    ----------
    coef, intercept
        Steps from the last to the first, as in `WindowMoments`; lag 1 first.
    """

    coef: Float[Tensor, "series step lag"]
    intercept: Float[Tensor, "series step"]

    @classmethod
    def mean(cls, maps: Sequence["DirectMaps"], n_lags: int) -> "DirectMaps":
        """Mean of maps, which may read fewer lags than others."""
        coef = sum(_pad(part.coef, n_lags) for part in maps)
        intercept = sum(part.intercept for part in maps)
        return cls(torch.as_tensor(coef) / len(maps), torch.as_tensor(intercept) / len(maps))

    def blend(self, other: "DirectMaps", weight: float) -> "DirectMaps":
        """Weighted mean with other maps, which may be one for all series."""
        coef = self.coef + weight * (other.coef - self.coef)
        intercept = self.intercept + weight * (other.intercept - self.intercept)
        return DirectMaps(coef, intercept)


@dataclass(frozen=True)
class WindowSplit:
    """Moments of the windows before a validation block, of those in it, and of all."""

    train: WindowMoments
    validation: WindowMoments
    every: WindowMoments

    def pooled(self) -> "WindowSplit":
        """Moments of all series together."""
        return WindowSplit(*(part.pooled() for part in vars(self).values()))

    def __add__(self, other: "WindowSplit") -> "WindowSplit":
        """Moments of the windows of both."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return WindowSplit(*(left + right for left, right in pairs))


def fit_direct_maps(
    split: WindowSplit, horizon: int, contexts: Sequence[int]
) -> tuple[DirectMaps, DirectMaps]:
    """Fit the mean of ridge regressions on contexts of several lengths, without several baselines.

    The ridge of each context is that with the smallest error on the validation block; the lags of
    contexts beyond `FINE_LAGS` share coefficients in groups. Averaging loses less than choosing:
    what differs between the maps is mostly noise.

    Parameters
    ----------
    split
        Moments of windows of `horizon` steps and at least as many lags as the longest context.
    horizon
        Number of steps.
    contexts
        Numbers of lags.

    Returns
    -------
    tuple
        Maps fitted to the windows before the validation block, and to all windows. Those of a
        series without a window forecast 0.

    Examples
    --------
    >>> from tsar.autoregression.segments import Segments
    >>> def moments(begin, end):
    ...     ends = torch.tensor([begin]), torch.tensor([end - begin])
    ...     return WindowMoments.of(wave, Segments(*ends, torch.tensor([0]), 1), 6)
    >>> wave = torch.arange(200, dtype=torch.float64).sin()
    >>> split = WindowSplit(moments(0, 150), moments(146, 200), moments(0, 200))
    >>> maps = fit_direct_maps(split, 2, [4])[1]
    >>> forecast = maps.coef[0] @ wave[-4:].flip(0) + maps.intercept[0]
    >>> bool((forecast - torch.tensor([201.0, 200.0]).sin()).abs().max() < 1e-3)
    True
    """
    past, full = [], []
    for n_lags in contexts:
        sizes = lag_groups(n_lags)
        parts = [part.grouped(horizon, sizes) for part in vars(split).values()]
        for pair in _fit_context(WindowSplit(*parts), horizon, sizes):
            past.append(pair[0])
            full.append(pair[1])
    longest = max(contexts)
    return DirectMaps.mean(past, longest), DirectMaps.mean(full, longest)


def lag_groups(n_lags: int) -> Int[Tensor, " group"]:
    """Sizes of the groups in which the lags of a context share a coefficient.

    Examples
    --------
    >>> lag_groups(4).tolist(), lag_groups(1440)[94:98].tolist()
    ([1, 1, 1, 1], [1, 1, 4, 4])
    """
    fine = FINE_LAGS if n_lags > FINE_LAGS + MAX_GROUPS else n_lags
    size = max(-(-(n_lags - fine) // MAX_GROUPS), 1)
    whole, rest = divmod(n_lags - fine, size)
    return torch.tensor([1] * fine + [size] * whole + [rest] * (rest > 0))


def _fit_context(
    split: WindowSplit, horizon: int, sizes: Int[Tensor, " group"]
) -> Iterator[tuple[DirectMaps, DirectMaps]]:
    """Maps of a context without each baseline, of the windows before validation and of all."""
    root = sizes.double().sqrt()
    unit = torch.cat([root.new_ones(horizon), root])
    ridge = None
    for share in BASELINES:
        baseline = None if share is None else _baseline_weights(share, sizes)
        train, validation, every = _products(split, baseline, unit)
        if ridge is None:
            ridge, coef = choose_ridge(train, validation, split.validation.nobs, horizon)
        else:
            coef = solve_ridge(train, ridge, horizon)
        refitted = solve_ridge(every, ridge, horizon)
        yield (
            _restore(coef, split.train, baseline, sizes),
            _restore(refitted, split.every, baseline, sizes),
        )


def _products(
    split: WindowSplit, baseline: Float[Tensor, " group"] | None, unit: Float[Tensor, " term"]
) -> list[Float[Tensor, "series term term"]]:
    """Second moments about a baseline, or about the mean of the windows that are fitted."""
    if baseline is None:
        train, every = split.train.mean, split.every.mean
        return [split.train.about(train), split.validation.about(train), split.every.about(every)]
    weights = torch.nn.functional.pad(baseline, (len(unit) - len(baseline), 0))
    return [part.about_baseline(weights, unit) for part in vars(split).values()]


def _baseline_weights(share: float, sizes: Int[Tensor, " group"]) -> Float[Tensor, " group"]:
    """Weights of the grouped lags in the mean of the newest share of the context."""
    ends = sizes.cumsum(0)
    inside = ends <= max(share * int(ends[-1]), 1)
    return torch.where(inside, sizes.double().sqrt() / sizes[inside].sum(), 0.0)


def choose_ridge(
    train: Float[Tensor, "series term term"],
    validation: Float[Tensor, "series term term"],
    n_validation: Float[Tensor, " series"],
    horizon: int,
) -> tuple[Float[Tensor, " series"], Float[Tensor, "series group step"]]:
    """Ridge of the smallest validation error, by one eigendecomposition, and its coefficients."""
    cross = train[:, horizon:, :horizon]
    eigenvalues, vectors = torch.linalg.eigh(train[:, horizon:, horizon:])
    eigenvalues = eigenvalues.clamp(min=0)
    mean = eigenvalues.mean(dim=1, keepdim=True)
    mean = torch.where(mean > 0, mean, 1.0)
    projected = vectors.mT @ cross
    ridges = mean.new_tensor(RIDGES)
    inverse = 1 / (eigenvalues[:, None] + mean[:, None] * ridges[:, None])
    quadratic = vectors.mT @ validation[:, horizon:, horizon:] @ vectors
    quadratic = quadratic * (projected @ projected.mT)
    linear = (projected * (vectors.mT @ validation[:, horizon:, :horizon])).sum(dim=2)
    error = ((inverse @ quadratic) * inverse).sum(dim=2) - 2 * (inverse @ linear[:, :, None])[
        ..., 0
    ]
    best = error.argmin(dim=1)
    ridge = torch.where(n_validation > 0, ridges[best], DEFAULT_RIDGE)
    shrunken = 1 / (eigenvalues + mean * ridge[:, None])
    return ridge, vectors @ (shrunken[:, :, None] * projected)


def solve_ridge(
    products: Float[Tensor, "series term term"], ridge: Float[Tensor, " series"], horizon: int
) -> Float[Tensor, "series group step"]:
    """Coefficients of the regression of the steps on the groups of lags."""
    gram = products[:, horizon:, horizon:].clone()
    diagonal = gram.diagonal(dim1=1, dim2=2)
    mean = diagonal.mean(dim=1)
    diagonal += (torch.where(mean > 0, mean, 1.0) * ridge)[:, None]
    factor = torch.linalg.cholesky(gram)
    return torch.cholesky_solve(products[:, horizon:, :horizon], factor)


def _restore(
    coef: Float[Tensor, "series group step"],
    moments: WindowMoments,
    baseline: Float[Tensor, " group"] | None,
    sizes: Int[Tensor, " group"],
) -> DirectMaps:
    """Maps of the lags themselves, of contexts from which nothing is subtracted."""
    horizon, root = coef.shape[2], sizes.double().sqrt()
    by_step = coef.mT
    if baseline is None:
        explained = by_step @ moments.mean[:, horizon:, None]
        intercept = moments.mean[:, :horizon] - explained[:, :, 0]
    else:
        intercept = coef.new_zeros(len(coef), horizon)
        by_step = by_step + (1 - by_step @ root)[:, :, None] * baseline
    return DirectMaps((by_step / root).repeat_interleave(sizes, dim=2), intercept)


def _pad(
    coef: Float[Tensor, "series step lag"], n_lags: int
) -> Float[Tensor, "series step longest"]:
    return torch.nn.functional.pad(coef, (0, n_lags - coef.shape[2]))


def error_products(
    left: DirectMaps, right: DirectMaps, moments: WindowMoments
) -> Float[Tensor, "series step"]:
    """Mean over the windows of the product of the errors of two maps, for each step."""
    return _products_of_errors(left, _read(left, moments), right, moments)


def stacking_errors(
    maps: DirectMaps, shared: DirectMaps, validation: WindowMoments
) -> Float[Tensor, "3 series step"]:
    """Mean squared errors of maps, mean products with those of shared maps, and theirs."""
    own, others = _read(maps, validation), _read(shared, validation)
    pairs = ((maps, own, maps), (maps, own, shared), (shared, others, shared))
    return torch.stack([_products_of_errors(*pair, validation) for pair in pairs])


def _read(maps: DirectMaps, moments: WindowMoments) -> Float[Tensor, "series step lag"]:
    """Products of forecasts with the lags, less those of the targets with the lags."""
    horizon, n_lags = maps.coef.shape[1:]
    used = slice(horizon, horizon + n_lags)
    return maps.coef @ moments.gram[:, used, used] - moments.gram[:, :horizon, used]


def _products_of_errors(
    left: DirectMaps,
    read: Float[Tensor, "series step lag"],
    right: DirectMaps,
    moments: WindowMoments,
) -> Float[Tensor, "series step"]:
    horizon, n_lags = left.coef.shape[1:]
    cross = moments.gram[:, :horizon, horizon : horizon + n_lags]
    total = moments.gram[:, :horizon, :horizon].diagonal(dim1=1, dim2=2)
    explained = (read * right.coef - left.coef * cross).sum(dim=2)
    bias = _mean_error(left, moments) * _mean_error(right, moments)
    return (total + explained) / moments.nobs.clamp(min=1)[:, None] + bias


def _mean_error(maps: DirectMaps, moments: WindowMoments) -> Float[Tensor, "series step"]:
    horizon, n_lags = maps.coef.shape[1:]
    context = moments.mean[:, horizon : horizon + n_lags, None]
    return moments.mean[:, :horizon] - (maps.coef @ context)[:, :, 0] - maps.intercept


def stacking_weight(errors: Float[Tensor, "3"]) -> float:
    """Weight of shared maps that minimizes the error of the blend, between 0 and 1.

    The error is quadratic in the weight, so that the minimum is known in closed form from the sums
    of `stacking_errors`. Without an error to compare the weight is a half.

    Examples
    --------
    >>> stacking_weight(torch.tensor([2.0, 1.0, 2.0]))
    0.5
    """
    own, both, shared = errors.tolist()
    curvature = own - 2 * both + shared
    return min(max((own - both) / curvature, 0.0), 1.0) if curvature > 0 else 0.5
