"""Normal equations of terms and target of length 1."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Standardized:
    """Correlations, and what turns coefficients of them into coefficients of the data.

    Parameters
    ----------
    correlation, cross : Tensor
        Correlations of the terms with each other and with the target; 0 without variance.
    scale : Tensor
        Length of the target over the length of each term; 0 for a term without variance.
    """

    correlation: Float[Tensor, "group term term"]
    cross: Float[Tensor, "group term"]
    scale: Float[Tensor, "group term"]


def standardize(
    gram: Float[Tensor, "group term term"],
    cross: Float[Tensor, "group term"],
    target_power: Float[Tensor, " group"],
) -> Standardized:
    """Scale normal equations to terms and target of length 1, in float64.

    Examples
    --------
    >>> import torch
    >>> system = standardize(torch.tensor([[[4.0]]]), torch.tensor([[3.0]]), torch.tensor([9.0]))
    >>> system.cross, system.scale
    (tensor([[0.5000]], dtype=torch.float64), tensor([[1.5000]], dtype=torch.float64))
    """
    inverse = _inverse_length(gram.diagonal(dim1=1, dim2=2))
    target_inverse = _inverse_length(target_power)[:, None]
    correlation = gram * inverse[:, :, None] * inverse[:, None]
    scale = inverse * target_power.double().clamp(min=0).sqrt()[:, None]
    return Standardized(correlation, cross * inverse * target_inverse, scale)


def _inverse_length(power: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    return torch.where(power > 0, power.double(), torch.inf).rsqrt()
