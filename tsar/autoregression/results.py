"""Results of a least squares fit: coefficients, standard errors, residual sums of squares."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.autoregression.parameter_uncertainty import ParameterUncertainty

# Smallest degrees of freedom that a variance is divided by; a ridge may leave less than one.
MIN_DF = 1e-6
# Fields of `ARResults` with a step axis.
STEPWISE = ("coef", "std_err", "active", "intercept", "intercept_std_err", "rss", "df_resid")


@dataclass(frozen=True)
class ARResults:
    """Least squares results of every group and step.

    Attributes
    ----------
    coef, std_err, active
        Coefficients, their standard errors, and which regressors were selected.
    intercept, intercept_std_err
        Intercepts, and their standard errors in the units of the `origin`.
    rss, df_resid
        Residual sums of squares and residual degrees of freedom.
    nobs, n_series
        Complete windows of each group, and the number of series that they come from.
    uncertainty
        Uncertainty of the coefficients of one-step equations without a ridge; otherwise None.
    """

    coef: Float[Tensor, "group step term"]
    std_err: Float[Tensor, "group step term"]
    active: Bool[Tensor, "group step term"]
    intercept: Float[Tensor, "group step"]
    intercept_std_err: Float[Tensor, "group step"]
    rss: Float[Tensor, "group step"]
    df_resid: Float[Tensor, "group step"]
    nobs: Float[Tensor, " group"]
    n_series: Float[Tensor, " group"]
    uncertainty: ParameterUncertainty | None = None

    @property
    def resid_std(self) -> Float[Tensor, "group step"]:
        """Standard deviation of the residuals, the root of their unbiased variance."""
        return (self.rss / self.df_resid.clamp(min=MIN_DF)).sqrt()

    @property
    def df_within(self) -> Float[Tensor, "group step"]:
        """Residual degrees of freedom where each series of a group has an estimated mean."""
        return (self.df_resid - (self.n_series - 1)[:, None]).clamp(min=MIN_DF)

    @property
    def innovation_std(self) -> Float[Tensor, "group step"]:
        """Standard deviation of the innovations, by `df_within`."""
        return (self.rss / self.df_within).sqrt()

    @property
    def estimation_share(self) -> Float[Tensor, "group step"]:
        """Share k / n by which k estimated coefficients and means raise the variance of a step.

        Akaike's final prediction error (1969).
        """
        return 1 - self.df_within / self.nobs.clamp(min=1)[:, None]

    def take(self, groups: Int[Tensor, " taken"]) -> "ARResults":
        """Results of some groups, in the given order."""
        taken = {name: getattr(self, name)[groups] for name in (*STEPWISE, "nobs", "n_series")}
        uncertainty = None if self.uncertainty is None else self.uncertainty.take(groups)
        return replace(self, **taken, uncertainty=uncertainty)

    def to(self, device: torch.device | str) -> "ARResults":
        """Copy the results to a device."""
        values = vars(self).items()
        moved = {name: value.to(device) for name, value in values if value is not None}
        return replace(self, **moved)


def concatenate(chunks: list[ARResults]) -> ARResults:
    """Join the results of all groups, in order."""
    joined: dict[str, Any] = {
        name: torch.cat([getattr(chunk, name) for chunk in chunks])
        for name in (*STEPWISE, "nobs", "n_series")
    }
    parts = [chunk.uncertainty for chunk in chunks if chunk.uncertainty is not None]
    uncertainty = ParameterUncertainty.concatenate(parts) if parts else None
    return ARResults(**joined, uncertainty=uncertainty)
