"""Regressors of an autoregression: lags of the target, past covariates and future covariates."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.autoregression.gram import Moments


@dataclass(frozen=True)
class Design:
    """Which regressors each step of the horizon has.

    The channels are the target, then the past, then the future covariates. The regressors are lags
    1 to `order` of the target, lag 1 first, then as many lags of each past covariate, then each
    future covariate at the time of the forecast.

    Parameters
    ----------
    order
        Number of lags.
    horizon
        Number of steps; each has coefficients of its own.
    n_past, n_future
        Numbers of past and of future covariates.
    """

    order: int
    horizon: int
    n_past: int = 0
    n_future: int = 0

    @property
    def max_lag(self) -> int:
        """Lag of the oldest regressor relative to the last point of the horizon."""
        return self.order + self.horizon - 1

    @property
    def shares_regressors(self) -> bool:
        """Whether all steps have the same regressors, so that one factorization solves them all."""
        return self.n_future == 0 or self.horizon == 1

    def per_regressor(self, values: Float[Tensor, "group channel"]) -> Float[Tensor, "group term"]:
        """Repeat the value of each channel for each of its regressors."""
        lagged = values[:, : 1 + self.n_past].repeat_interleave(self.order, dim=1)
        return torch.cat([lagged, values[:, 1 + self.n_past :]], dim=1)

    def regressors(self, moments: Moments, step: int) -> Int[Tensor, " term"]:
        """Indices of the regressors of a step (0: the first) among the terms of the moments."""
        n_lagged, lead = 1 + self.n_past, self.horizon - 1 - step
        lagged = [moments.terms(c, self.horizon, self.max_lag) for c in range(n_lagged)]
        future = [moments.terms(n_lagged + k, lead, lead) for k in range(self.n_future)]
        return torch.cat([*lagged, *future])
