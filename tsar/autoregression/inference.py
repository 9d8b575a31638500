"""Standard errors and information criteria of least squares."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class GaussianCriteria:
    """Log-likelihood at the maximum, and criteria to minimize."""

    log_likelihood: Float[Tensor, "*system"]
    aic: Float[Tensor, "*system"]
    bic: Float[Tensor, "*system"]
    hqic: Float[Tensor, "*system"]


def standard_errors(
    inverse: Float[Tensor, "group term term"], residual_variance: Float[Tensor, "group target"]
) -> Float[Tensor, "group term target"]:
    """Return the standard errors of least squares coefficients.

    Parameters
    ----------
    inverse : Tensor
        Inverse of the centred Gram matrix, as from `Factorization.inverse`.
    residual_variance : Tensor
        Residual sum of squares over the count, or over the count less the parameters.

    Examples
    --------
    >>> import torch
    >>> standard_errors(torch.tensor([[[0.01]]]), torch.tensor([[4.0]]))
    tensor([[[0.2000]]])
    """
    variance = inverse.diagonal(dim1=1, dim2=2)[:, :, None] * residual_variance[:, None]
    return variance.clamp(min=0).sqrt()


def gaussian_criteria(
    residual_power: Float[Tensor, "*system"],
    count: Float[Tensor, "*system"],
    n_parameters: Float[Tensor, "*system"],
) -> GaussianCriteria:
    """Return the likelihood of normal residuals and the criteria of Akaike, Schwarz, and Hannan.

    Conditional on the first points, as in `statsmodels.tsa.ar_model.AutoReg`.

    Parameters
    ----------
    residual_power : Tensor
        Residual sums of squares.
    count : Tensor
        Observations.
    n_parameters : Tensor
        Coefficients, the constant among them; the variance is counted in addition.

    Examples
    --------
    >>> import torch
    >>> hundred = torch.tensor([100.0], dtype=torch.float64)
    >>> gaussian_criteria(hundred, hundred, torch.tensor([3.0]).double()).aic
    tensor([291.7877], dtype=torch.float64)
    """
    variance = residual_power / count
    likelihood = -count / 2 * (math.log(2 * math.pi) + 1 + torch.log(variance))
    free = n_parameters + 1
    return GaussianCriteria(
        likelihood,
        -2 * likelihood + 2 * free,
        -2 * likelihood + count.log() * free,
        -2 * likelihood + 2 * count.log().log() * free,
    )
