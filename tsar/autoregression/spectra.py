"""Products of spectra whose rounding does not depend on the position of a row."""

import torch
from jaxtyping import Complex
from torch import Tensor


def multiply(
    left: Complex[Tensor, "*#shape"], right: Complex[Tensor, "*#shape"]
) -> Complex[Tensor, "*shape"]:
    """Product of complex tensors, each element rounded alike.

    ``left * right`` rounds the last elements of a tensor in another way than those before, so that
    the result of a series would depend on its position among others.

    Examples
    --------
    >>> import torch
    >>> multiply(torch.tensor([1 + 2j]), torch.tensor([3 + 4j]))
    tensor([-5.+10.j])
    """
    real = left.real * right.real - left.imag * right.imag
    return torch.complex(real, left.real * right.imag + left.imag * right.real)
