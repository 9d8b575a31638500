"""Choosing a ridge penalty: by the expected risk, and by generalized cross-validation."""

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.complexity.heads import RidgeSVD
from tsar.complexity.theory import Spectrum, ridgeless_effective_penalty

MIN_RELATIVE_PENALTY = 1e-12  # of the largest eigenvalue: where the search of penalties begins
GRID_SIZE, ROUNDS = 400, 3  # penalties of a search, each round on a narrower interval


def optimal_ridge(spectrum: Spectrum, n_rows: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The penalty of least expected excess risk, and that risk.

    Examples
    --------
    >>> ones = torch.ones(200, dtype=torch.float64)
    >>> penalty, risk = optimal_ridge(Spectrum(ones, ones / 200, ones[0]), 200)
    >>> round(float(penalty)), round(float(risk), 3)
    (200, 0.618)
    """
    spectrum = spectrum.nonzero()
    s = spectrum.eigenvalues
    largest = s.max()
    lowest = ridgeless_effective_penalty(s, n_rows) if len(s) > n_rows else s.min() * 1e-8
    low, high = lowest.clamp(min=MIN_RELATIVE_PENALTY * largest).log(), (largest * 1e8).log()
    share = torch.linspace(0, 1, GRID_SIZE, dtype=s.dtype, device=s.device)
    for _ in range(ROUNDS):
        effective = torch.lerp(low, high, share).exp()
        df_model = (s / (s + effective[:, None])).sum(dim=1)
        penalties = effective * (n_rows - df_model)
        excess = spectrum.risk(n_rows, effective[:, None]).excess
        best = int(torch.where(penalties > 0, excess, torch.inf).argmin())
        step = (high - low) / (GRID_SIZE - 1)
        low, high = effective[best].log() - step, effective[best].log() + step
    return penalties[best], excess[best]


def generalized_cross_validation(
    svd: RidgeSVD, response: Float[Tensor, "row output"], penalties: Float[Tensor, " penalty"]
) -> Float[Tensor, " penalty"]:
    """Mean squared residual over the squared mean diagonal of ``I - H``, summed over outputs.

    Source: Golub, Heath & Wahba 1979, equation 1.4. Penalties must be positive.
    """
    n_rows, square = len(response), svd.singular_values.square()
    residuals = response - svd.fitted_values(response, penalties)
    df_model = (square / (square + penalties[:, None])).sum(dim=1) + svd.fit_intercept
    mean_squares = residuals.square().sum(dim=2).mean(dim=1)
    return mean_squares / (1 - df_model / n_rows).square()
