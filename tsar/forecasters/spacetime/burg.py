"""Burg's method: the stable autoregression that fits many windows, by its reflections."""

import torch
from jaxtyping import Float
from torch import Tensor

NOTHING = 1e-8  # share of the variance below which a series is explained


def burg(windows: Float[Tensor, "window time"], order: int) -> Float[Tensor, " order"]:
    """Reflection coefficients that forecast windows best, forwards and backwards in time.

    Each lies in [-1, 1], so the autoregression is stable whatever the windows hold, and unlike
    by the Yule-Walker equations its waves do not die out for the ends of a short window.

    Parameters
    ----------
    order
        Coefficients; those that the windows are too short for are 0, as are those behind the one
        that explains all but `NOTHING`.

    Examples
    --------
    >>> wave = torch.arange(40.0).mul(0.5).sin()[None]
    >>> burg(wave, 2)[1]
    tensor(-0.9997)

    References
    ----------
    S. M. Kay, Modern Spectral Estimation, 1988, section 7.6.
    """
    ahead, behind = windows.double()[:, 1:], windows.double()[:, :-1]
    found: list[Tensor] = []
    left = 1.0  # of the variance
    for _ in range(min(order, windows.shape[1] - 1)):
        if left < NOTHING:  # what is left is rounding, and is not to be fitted
            break
        power = ahead.square().sum() + behind.square().sum()
        last = 2 * (ahead * behind).sum() / power.clamp(min=torch.finfo(torch.float64).tiny)
        found.append(last)
        left *= 1 - float(last) ** 2
        ahead, behind = (ahead - last * behind)[:, 1:], (behind - last * ahead)[:, :-1]
    missing = order - len(found)
    reflections = torch.stack(found) if found else windows.new_zeros(0, dtype=torch.float64)
    return torch.nn.functional.pad(reflections, (0, missing)).to(windows.dtype)
