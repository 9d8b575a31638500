"""Stable autoregressive coefficients from unconstrained parameters, by reflection coefficients."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.nn.convolution import convolve

# The last reflection coefficient is the product of the roots' moduli: an oscillation of two roots
# at this bound loses 1 % of its amplitude in 20,000 steps.
MAX_REFLECTION = 1 - 1e-6
# Bound on the log of prod(1 / (1 - r^2)), the ratio of a series' variance to its innovation
# variance. Beyond about 1e14, coefficients of high orders are so large that rounding makes them
# unstable.
MAX_LOG_VARIANCE_RATIO = 32.0


def constrain(angle: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Reflection coefficients of unconstrained parameters: their sines, just inside (-1, 1).

    Unlike the hyperbolic tangent, the sine reaches the boundary, where oscillations are undamped,
    at a finite parameter. If the variance ratio would exceed exp(`MAX_LOG_VARIANCE_RATIO`), all
    coefficients are shrunk by the root of the excess: -log(1 - t x) <= -t log(1 - x) makes that
    sufficient.
    """
    reflection = MAX_REFLECTION * angle.sin()
    log_ratio = -(1 - reflection.square()).log().sum(dim=-1, keepdim=True)
    limit = MAX_LOG_VARIANCE_RATIO
    return reflection * (limit / log_ratio.clamp(min=limit)).sqrt()


def unconstrain(reflection: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Parameters of reflection coefficients: the inverse of `constrain` where it does not shrink.

    Examples
    --------
    >>> constrain(unconstrain(torch.tensor([0.5, -0.9])))
    tensor([ 0.5000, -0.9000])
    """
    return (reflection / MAX_REFLECTION).clamp(-1, 1).asin()


def step_up(reflection: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Autoregressive coefficients of reflection coefficients (Levinson's recursion).

    Reflection coefficients inside (-1, 1) are in one-to-one correspondence with stable
    autoregressions. The recursion ``D_m(z) = D_{m-1}(z) - r_m z^m D_{m-1}(1/z)`` is a product of
    2 x 2 matrices of polynomials, computed here as a tree: log2(order) rounds instead of `order`
    steps, O(order log^2 order).

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
    # Matrices are [[a, b], [b*, a*]], where * reverses the order of the coefficients.
    a = torch.nn.functional.pad(torch.ones_like(padded)[..., None], (0, 1))
    b = torch.nn.functional.pad(-padded[..., None], (1, 0))
    for _ in range(rounds):
        a, b = _multiply_pairs(a, b)
    return -(a + b)[..., 0, 1 : order + 1]


def step_down(coef: Float[Tensor, " order"]) -> Float[Tensor, " order"]:
    """Reflection coefficients of a stable autoregression: the inverse of `step_up`.

    Examples
    --------
    >>> step_down(torch.tensor([0.3, 0.4], dtype=torch.float64)).round(decimals=4)
    tensor([0.5000, 0.4000], dtype=torch.float64)

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 6.4.
    """
    reflections: list[Tensor] = []
    while len(coef):
        last = coef[-1]
        reflections.append(last)
        coef = (coef[:-1] + last * coef[:-1].flip(0)) / (1 - last.square())
    return torch.stack(reflections[::-1])


def _multiply_pairs(
    a: Float[Tensor, "*batch block power"], b: Float[Tensor, "*batch block power"]
) -> tuple[Float[Tensor, "*batch half double"], Float[Tensor, "*batch half double"]]:
    """Products of neighbouring matrices: the later one times the earlier one."""
    first_a, first_b = a[..., 0::2, :], b[..., 0::2, :]
    second = torch.stack([a[..., 1::2, :], b[..., 1::2, :]])[:, None]
    diagonal = torch.stack([first_a, first_b])
    off_diagonal = torch.stack([first_b.flip(-1), first_a.flip(-1)])
    factors = torch.stack([diagonal, off_diagonal])
    a, b = convolve(second, factors, 2 * a.shape[-1] - 1).sum(0)
    return a, b


def add_unit_roots(
    coef: Float[Tensor, "*batch order"], unit_roots: int
) -> Float[Tensor, "*batch longer"]:
    """Coefficients with additional unit roots: ``(1 - coef(z)) (1 - z)^unit_roots``.

    One unit root preserves a level, two a linear trend.

    Examples
    --------
    >>> add_unit_roots(torch.zeros(1), 2)
    tensor([ 2., -1.,  0.])
    """
    for _ in range(unit_roots):
        padded = torch.nn.functional.pad(coef, (0, 1))
        shifted = torch.nn.functional.pad(coef, (1, 0))
        first_lag = torch.zeros_like(padded)
        first_lag[..., 0] = 1
        coef = padded + first_lag - shifted
    return coef


def l1_normalize(coef: Float[Tensor, "*batch order"]) -> Float[Tensor, "*batch order"]:
    """Coefficients with an l1 norm of 1, by which the paper keeps roots inside the unit circle.

    The l1 ball covers half of the stable autoregressions of order 2, and 1e-8 of those of order 16.

    References
    ----------
    Zhang et al. 2023, "Effectively Modeling Time Series with Simple Discrete State Spaces"
    (arXiv 2303.09489), section 3.
    """
    return coef / coef.abs().sum(dim=-1, keepdim=True).clamp(min=1e-4)
