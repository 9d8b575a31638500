"""Forecast variance due to estimated coefficients, by the delta method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tsar.autoregression.segments import size_classes
from tsar.records import record
from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

# Values of regressors (row, horizon, active) for rows of a batch and indices of regressors.
ReadRegressors = Callable[
    [Int[Tensor, " row"], Int[Tensor, "row active"]], Float[Tensor, "row horizon active"]
]
# Largest equations whose covariance is kept; larger ones have no inverse root (MIN_LAGS).
MAX_TERMS = 63


@record("parameter_uncertainty")
@dataclass(frozen=True)
class ParameterUncertainty:
    """Covariance of the coefficients of one-step equations, in units of the innovation variance.

    Attributes
    ----------
    terms
        Indices of the active regressors; the rest of a row is padding.
    cov_root
        R, where R' R is the inverse of the centred Gram matrix of the active regressors (the
        `normalized_cov_params` of statsmodels); zero in the columns of padding.
    mean
        Means of the active regressors.
    variance_share
        Number of coefficients over `nobs` for an equation of more than `MAX_TERMS` regressors,
        whose covariance is not kept; 0 for others.
    nobs
        Observations of a series, which determine the variance of its mean.
    """

    terms: Int[Tensor, "group active"]
    cov_root: Float[Tensor, "group active active"]
    mean: Float[Tensor, "group active"]
    variance_share: Float[Tensor, " group"]
    nobs: Float[Tensor, " group"]

    @classmethod
    def from_fit(
        cls,
        terms: Int[Tensor, "group active"],
        cov_root: Float[Tensor, "group active active"],
        mean: Float[Tensor, "group term"],
        n_active: Int[Tensor, " group"],
        variance_share: Float[Tensor, " group"],
        nobs: Float[Tensor, " group"],
    ) -> "ParameterUncertainty":
        """Keep the covariance of equations of up to `MAX_TERMS` regressors, of others the share.

        `terms` begin with the `n_active` active ones of each group; `mean` is that of all
        regressors. No group affects another.
        """
        small = n_active <= MAX_TERMS
        width = int((n_active * small).max()) if len(n_active) else 0  # device synchronization
        kept = small[:, None] & (torch.arange(width, device=terms.device) < n_active[:, None])
        cov_root = cov_root[:, :width, :width]
        if not bool(kept.all()):  # otherwise a copy would be wasted
            cov_root = cov_root * kept[:, :, None] * kept[:, None]
        variance_share = torch.where(small, 0.0, variance_share)
        terms = terms[:, :width]
        return cls(terms, cov_root, mean.gather(1, terms), variance_share, nobs)

    @classmethod
    def concatenate(cls, chunks: Sequence["ParameterUncertainty"]) -> "ParameterUncertainty":
        """Join chunks of groups, in order."""
        width = max(chunk.terms.shape[1] for chunk in chunks)
        padded = [(chunk, width - chunk.terms.shape[1]) for chunk in chunks]
        return cls(
            torch.cat([pad(chunk.terms, (0, n)) for chunk, n in padded]),
            torch.cat([pad(chunk.cov_root, (0, n, 0, n)) for chunk, n in padded]),
            torch.cat([pad(chunk.mean, (0, n)) for chunk, n in padded]),
            torch.cat([chunk.variance_share for chunk in chunks]),
            torch.cat([chunk.nobs for chunk in chunks]),
        )

    def take(self, groups: Int[Tensor, " taken"]) -> "ParameterUncertainty":
        """Uncertainty of some groups, in the given order."""
        return replace(self, **{name: value[groups] for name, value in vars(self).items()})

    def to(self, device: torch.device | str) -> "ParameterUncertainty":
        """Copy to a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})

    def forecast_variance(
        self,
        group: Int[Tensor, " batch"],
        read: ReadRegressors,
        psi: Float[Tensor, "batch horizon"],
    ) -> Float[Tensor, "batch horizon"]:
        """Variance that estimated coefficients add to recursive forecasts (the delta method).

        The derivative of a forecast by the coefficients is that of its own step plus, through the
        impulse response `psi`, those of the earlier steps. Equations of more than `MAX_TERMS`
        regressors add their `variance_share` of the innovation variance instead.

        Parameters
        ----------
        group
            Group of each forecast.
        read
            Returns the values of some regressors at each step, for some rows of the batch; unknown
            values are forecasts.
        psi
            Impulse response, 1 at first; see `psi_weights`.

        Returns
        -------
        Tensor
            In units of the innovation variance.

        References
        ----------
        H. Lütkepohl, New Introduction to Multiple Time Series Analysis, 2005, section 3.5.1.

        Examples
        --------
        The mean of 10 points, and a slope of 0 on deviations from it whose squares sum to 5:

        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> root = one[None] / 5**0.5
        >>> index = torch.tensor([[0]])
        >>> known = ParameterUncertainty(index, root, 0 * one, 0 * one[0], 10 * one[0])
        >>> known.forecast_variance(torch.tensor([0]), lambda rows, terms: 2 * one[None], one)
        tensor([[0.9000]], dtype=torch.float64)
        """
        horizon, n_active = psi.shape[1], self.terms.shape[1]
        size = rows_within(BLOCK_ELEMENTS, horizon * (horizon + 2 * n_active) + n_active**2)
        slopes = torch.zeros_like(psi)
        counts = (self.cov_root.diagonal(dim1=1, dim2=2) != 0).sum(1)[group]
        for inside, width in size_classes(counts):
            extra = width - n_active
            for rows in inside.split(size):
                groups = group[rows]
                terms = pad(self.terms[groups], (0, extra))
                centred = read(rows, terms) - pad(self.mean[groups], (0, extra))[:, None]
                root = pad(self.cov_root[groups], (0, extra, 0, extra))
                slopes[rows] = _slope_variance(centred, psi[rows], root)
        mean = psi.cumsum(1).square() / self.nobs[group].clamp(min=1)[:, None]
        share = self.variance_share[group][:, None]
        return torch.where(share == 0, slopes + mean, psi.square().cumsum(1) * share)


def _slope_variance(
    regressors: Float[Tensor, "row horizon active"],
    psi: Float[Tensor, "row horizon"],
    cov_root: Float[Tensor, "row active active"],
) -> Float[Tensor, "row horizon"]:
    """Variance due to the slopes; infinite from the first step that is not finite."""
    if bool((regressors.sum() + psi.sum()).isfinite()):  # device synchronization
        return (_propagate(regressors, psi) @ cov_root.mT).square().sum(2)
    finite = (psi.isfinite() & regressors.isfinite().all(dim=2)).cummin(dim=1).values
    regressors = regressors.masked_fill(~finite[:, :, None], 0.0)
    derivative = _propagate(regressors, psi.masked_fill(~finite, 0.0))
    variance = (derivative @ cov_root.mT).square().sum(2).nan_to_num(torch.inf, torch.inf)
    return variance.masked_fill(~finite, torch.inf)


def _propagate(
    regressors: Float[Tensor, "row horizon active"], psi: Float[Tensor, "row horizon"]
) -> Float[Tensor, "row horizon active"]:
    """Derivative of each step: the sum over steps so far, each times the response to it."""
    horizon = psi.shape[1]
    padded = torch.nn.functional.pad(psi.flip(1), (0, horizon - 1))
    return padded.unfold(1, horizon, 1).flip(1) @ regressors
