"""Stable autoregressive coefficients: from reflection coefficients, all in parallel."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.nn.convolution import convolve

# Largest reflection coefficient. The last one of an order is the product of the roots' sizes: a
# wave that two such roots carry loses 1 % of its height in 20,000 steps.
LARGEST = 1 - 1e-6
# Largest logarithm of prod(1 / (1 - r^2)), a series' variance over that of its innovations. Beyond
# about 1e14 the coefficients of high orders are so large that their rounding moves roots outside.
MOST = 32.0


def bounded(angle: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Reflection coefficients of free parameters: their sines, just inside (-1, 1).

    Unlike a hyperbolic tangent, the sine comes to the border, where waves last, at a finite
    parameter. Where together they would explain all but e^-`MOST` of a series, all are shrunk until
    they do not: with -log(1 - t x) <= -t log(1 - x), by the root of what is too much.
    """
    reflection = LARGEST * angle.sin()
    explained = -(1 - reflection.square()).log().sum(dim=-1, keepdim=True)
    return reflection * (MOST / explained.clamp(min=MOST)).sqrt()


def free(reflection: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Parameters of reflection coefficients, the inverse of `bounded` where that shrinks nothing.

    Examples
    --------
    >>> bounded(free(torch.tensor([0.5, -0.9])))
    tensor([ 0.5000, -0.9000])
    """
    return (reflection / LARGEST).clamp(-1, 1).asin()


def step_up(reflection: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Coefficients of the autoregression that has the given reflection coefficients.

    Every stable autoregression has exactly one set of them inside (-1, 1). Levinson's recursion
    ``D_m(z) = D_{m-1}(z) - r_m z^m D_{m-1}(1/z)`` is a product of 2 x 2 matrices of polynomials,
    multiplied here as a tree: log2(order) rounds instead of `order` steps, O(order log^2 order).

    Examples
    --------
    >>> step_up(torch.tensor([0.5, 0.4])).round(decimals=4)
    tensor([0.3000, 0.4000])

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 6.4.
    """
    order = reflection.shape[-1]
    rounds = max(order - 1, 0).bit_length()
    padded = torch.nn.functional.pad(reflection, (0, 2**rounds - order))
    # A block of steps is [[a, b], [b*, a*]], where * turns the order of the coefficients around.
    a = torch.nn.functional.pad(torch.ones_like(padded)[..., None], (0, 1))
    b = torch.nn.functional.pad(-padded[..., None], (1, 0))
    for _ in range(rounds):
        a, b = _join(a, b)
    return -(a + b)[..., 0, 1 : order + 1]


def step_down(coef: Float[Tensor, " order"]) -> Float[Tensor, " order"]:
    """Reflection coefficients of a stable autoregression, the inverse of `step_up`.

    Examples
    --------
    >>> step_down(torch.tensor([0.3, 0.4], dtype=torch.float64)).round(decimals=4)
    tensor([0.5000, 0.4000], dtype=torch.float64)

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 6.4.
    """
    found: list[Tensor] = []
    while len(coef):
        last = coef[-1]
        found.append(last)
        coef = (coef[:-1] + last * coef[:-1].flip(0)) / (1 - last.square())
    return torch.stack(found[::-1])


def _join(
    a: Float[Tensor, "*batch block power"], b: Float[Tensor, "*batch block power"]
) -> tuple[Float[Tensor, "*batch half double"], Float[Tensor, "*batch half double"]]:
    """Matrices of pairs of neighbouring blocks: the later one times the earlier one."""
    first_a, first_b = a[..., 0::2, :], b[..., 0::2, :]
    late_a, late_b = a[..., 1::2, :], b[..., 1::2, :]
    late = torch.stack([late_a, late_b])[:, None]
    straight = torch.stack([first_a, first_b])
    crossed = torch.stack([first_b.flip(-1), first_a.flip(-1)])
    a, b = convolve(late, torch.stack([straight, crossed]), 2 * a.shape[-1] - 1).sum(0)
    return a, b


def integrate(coef: Float[Tensor, "*batch order"], roots: int) -> Float[Tensor, "*batch longer"]:
    """Coefficients with some unit roots added: ``(1 - coef(z)) (1 - z)^roots``.

    One root keeps a level for ever, two a trend.

    Examples
    --------
    >>> integrate(torch.zeros(1), 2)
    tensor([ 2., -1.,  0.])
    """
    for _ in range(roots):
        known = torch.nn.functional.pad(coef, (0, 1))
        shifted = torch.nn.functional.pad(coef, (1, 0))
        unit = torch.zeros_like(known)
        unit[..., 0] = 1
        coef = known + unit - shifted
    return coef


def unit_norm(coef: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Coefficients whose sizes add up to 1, the paper's way to keep roots inside the unit circle.

    It covers half of all stable autoregressions of order 2, and 1e-8 of those of order 16.

    References
    ----------
    Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
    (arXiv 2303.09489), section 3.
    """
    return coef / coef.abs().sum(dim=-1, keepdim=True).clamp(min=1e-4)
