"""Log-likelihood and information criteria (AIC, BIC, HQIC) of least squares fits."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class InformationCriteria:
    """Maximized log-likelihood, and criteria to minimize."""

    log_likelihood: Float[Tensor, "*system"]
    aic: Float[Tensor, "*system"]
    bic: Float[Tensor, "*system"]
    hqic: Float[Tensor, "*system"]


def information_criteria(
    rss: Float[Tensor, "*system"],
    nobs: Float[Tensor, "*system"],
    n_parameters: Float[Tensor, "*system"],
) -> InformationCriteria:
    """Compute the Gaussian likelihood and the criteria of Akaike, Schwarz, and Hannan and Quinn.

    Conditional on the first points, as in `statsmodels.tsa.ar_model.AutoReg`.

    Parameters
    ----------
    rss : Tensor
        Residual sums of squares.
    nobs : Tensor
        Numbers of observations.
    n_parameters : Tensor
        Numbers of coefficients, the intercept included; the variance is counted in addition.

    Examples
    --------
    >>> import torch
    >>> hundred = torch.tensor([100.0], dtype=torch.float64)
    >>> information_criteria(hundred, hundred, torch.tensor([3.0]).double()).aic
    tensor([291.7877], dtype=torch.float64)
    """
    log_likelihood = -nobs / 2 * (math.log(2 * math.pi) + 1 + (rss / nobs).log())
    df_model = n_parameters + 1
    return InformationCriteria(
        log_likelihood,
        -2 * log_likelihood + 2 * df_model,
        -2 * log_likelihood + nobs.log() * df_model,
        -2 * log_likelihood + 2 * nobs.log().log() * df_model,
    )
