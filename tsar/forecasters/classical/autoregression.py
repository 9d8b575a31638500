"""Autoregression of one series by least squares: `AutoReg` of statsmodels."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from statsmodels.tsa.ar_model import AutoReg, ar_select_order

Floats = NDArray[np.float64]

EXPLOSIVE = (
    1.001  # modulus of a root from which on forecasts explode; double roots at 1 round to less
)


class Autoregression(NamedTuple):
    """Fit of one series.

    `params` are the constant and the coefficients, lag 1 first; `sigma` is the standard deviation
    of the residuals; `aic` is NaN where there are no lags.
    """

    params: Floats
    sigma: float
    aic: float


def fit_autoregression(values: Floats, order: int | None, season: int) -> Autoregression:
    """Fit a complete series; `order` None selects it, trying at least `season` lags.

    The series is centred before, so that a large level costs no digits. Of an explosive equation
    the roots are shrunk into the unit circle, around the mean of the series: its forecasts grow
    without bound.
    """
    level = float(values.mean())
    centred = values - level
    with warnings.catch_warnings():
        # Collinear lags (a line, a pure season): the minimum-norm solution is as good as any.
        warnings.simplefilter("ignore")
        lags = select_order(centred, season) if order is None else order
        if not lags:
            return Autoregression(values.mean(keepdims=True), float(values.std()), np.nan)
        result = AutoReg(centred, lags=lags, trend="c").fit()
    sigma, aic = float(np.sqrt(max(result.sigma2, 0.0))), float(result.aic)
    params = np.array(result.params)
    largest = float(np.abs(np.roots(np.concatenate([[1.0], -params[1:]]))).max())
    if largest > EXPLOSIVE:
        params[1:] *= (1 / largest) ** np.arange(1, lags + 1)
        params[0] = 0.0  # the centred series has mean 0
        windows = np.lib.stride_tricks.sliding_window_view(centred, lags)[:-1, ::-1]
        sigma = float(np.sqrt(np.mean((centred[lags:] - windows @ params[1:]) ** 2)))
        aic = np.nan
    params[0] += level * (1 - params[1:].sum())
    return Autoregression(params, sigma, aic)


def select_order(values: Floats, season: int) -> int:
    """Order with the lowest BIC; 0 for a constant series, and for one too short to estimate."""
    max_order = min(max(int(10 * np.log10(len(values))), season), len(values) // 2 - 1)
    if max_order < 1 or np.ptp(values) == 0:
        return 0
    lags = ar_select_order(values, max_order, ic="bic", trend="c").ar_lags
    return max(lags) if lags else 0
