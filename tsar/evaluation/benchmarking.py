"""Benchmark of forecasters by the LTSF protocol (long-term time series forecasting)."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from sklearn.base import clone
from torch import Tensor

from tsar import datasets
from tsar.data.panel import Panel
from tsar.evaluation.cross_validation import Models, name_models
from tsar.forecasters.base import Forecaster
from tsar.forecasters.fitting import check_training
from tsar.runtime.memory import MAX_ELEMENTS, rows_within
from tsar.validation import check_integer


@dataclass(frozen=True)
class Protocol:
    """A data set with its published split, scaled by its training rows.

    Attributes
    ----------
    frame
        Training, validation and test rows, one column per series.
    train, validation
        Rows at which the training and the validation rows end.
    """

    name: str
    frame: pd.DataFrame
    train: int
    validation: int


def benchmark(
    dataset: str,
    models: Models,
    horizons: Sequence[int] = (96, 192, 336, 720),
    *,
    series: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Evaluate models by the protocol of long-term time series forecasting (LTSF).

    Each series is scaled by the mean and standard deviation of its training rows. Errors are in
    scaled units, averaged over all windows of the test rows, series and steps. Models with early
    stopping use the validation rows for it; others are fitted to the training rows alone. Contexts
    of the first test windows reach back into the validation rows.

    Parameters
    ----------
    dataset
        Name of a data set with a published split: ETTh1, ETTh2, ETTm1, ETTm2, weather, exchange,
        illness, electricity or traffic.
    models
        A forecaster, a sequence of them, or a dict by name; their `horizon` is set.
    horizons
        Points to forecast.
    series
        Names of the series to use; None for all. ``["OT"]`` is the univariate protocol of ETT.

    Returns
    -------
    pandas.DataFrame
        One row for each horizon and model: ``mse``, ``mae``, the number of ``windows`` of each
        series, ``fit_seconds`` and ``forecast_seconds``.

    Raises
    ------
    ValueError
        The data set or a series is unknown, the data set has no published split, or a horizon is
        longer than the test rows.

    References
    ----------
    Zhou et al. 2021 (Informer, arXiv 2012.07436); splits and scaling as in Zeng et al. 2023 (arXiv
    2205.13504), without the dropped last batch.
    """
    models = name_models(models)
    protocol = read_protocol(dataset, series)
    _check_horizons(horizons, len(protocol.frame) - protocol.validation)
    rows = [
        {"dataset": dataset, "horizon": horizon, "model": name} | _run(protocol, model, horizon)
        for horizon in horizons
        for name, model in models.items()
    ]
    return pd.DataFrame(rows).set_index(["dataset", "horizon", "model"])


def _select(frame: pd.DataFrame, series: Sequence[str]) -> pd.DataFrame:
    if isinstance(series, str) or not isinstance(series, Iterable) or not list(series):
        raise TypeError(f"series must be names of series; got {series!r}. Give a list of them.")
    unknown = [name for name in series if name not in frame.columns]
    if unknown:
        raise ValueError(
            f"series must be among {list(frame.columns)[:10]}; got {unknown[0]!r}. Leave it out."
        )
    return frame[list(series)]


def _check_horizons(horizons: Sequence[int], test_rows: int) -> None:
    if not isinstance(horizons, Iterable):
        raise TypeError(f"horizons must be integers; got {horizons!r}. Give a list of them.")
    for horizon in horizons:
        if check_integer("horizons", horizon) > test_rows:
            raise ValueError(
                f"horizons must be at most {test_rows}, the test rows; got {horizon}. Leave it out."
            )


def read_protocol(dataset: str, series: Sequence[str] | None = None) -> Protocol:
    """Load a data set with a published split, and scale it by its training rows.

    Times are replaced by regular ones: those of some published files are not, and the protocol
    counts rows. The parameters are those of `benchmark`.
    """
    info = datasets.describe(dataset)
    if info.split is None:
        known = [name for name in datasets.names() if datasets.describe(name).split]
        raise ValueError(
            f"dataset must have a published split; got {dataset!r}. Use one of {known}, or "
            "tsar.cross_validation for others."
        )
    frame = datasets.load(dataset, raw=True)
    train, validation, test = info.split
    frame = frame.iloc[: train + validation + test].astype(np.float64)
    train_rows = frame.iloc[:train]
    deviation = train_rows.std(ddof=0).replace(0.0, 1.0)
    frame = (frame - train_rows.mean()) / deviation
    frame.index = pd.date_range(frame.index[0], periods=len(frame), freq=info.freq, name="ds")
    frame = frame if series is None else _select(frame, series)
    return Protocol(dataset, frame, train, train + validation)


def _run(protocol: Protocol, model: Forecaster, horizon: int) -> dict[str, Any]:
    start = time.perf_counter()
    fitted = fit_protocol(protocol, model, horizon)
    fit_end = time.perf_counter()
    scores = score_protocol(protocol, fitted, horizon)
    forecast_seconds = time.perf_counter() - fit_end
    return scores | {"fit_seconds": fit_end - start, "forecast_seconds": forecast_seconds}


def score_protocol(protocol: Protocol, fitted: Forecaster, horizon: int) -> dict[str, Any]:
    """Errors of a fitted forecaster over all windows of the test rows."""
    return score_horizons(protocol, fitted, (horizon,))[horizon]


def score_horizons(
    protocol: Protocol, fitted: Forecaster, horizons: Sequence[int], *, stride: int = 1
) -> dict[int, dict[str, Any]]:
    """Errors of a fitted forecaster at several horizons, from one forecast of each window.

    A short forecast is the prefix of a long one, so each window is forecast once, at the longest
    horizon that fits the test rows after it. There are `stride` rows between the starts of two
    windows: 1, all windows, in the published protocol.

    Returns
    -------
    dict
        By horizon: ``mse``, ``mae`` and the number of ``windows`` of each series.
    """
    check_integer("stride", stride)
    panel = Panel.from_frame(protocol.frame, fitted.columns)
    sums = {horizon: np.zeros(3) for horizon in sorted(horizons)}
    length, first = int(panel.lengths[0]), protocol.validation
    for horizon in reversed(sums):
        starts = torch.arange(first, max(first, length - horizon + 1), stride)
        first += stride * len(starts)  # later windows are too short for this horizon
        if not len(starts):
            continue
        series = torch.arange(len(panel)).repeat_interleave(len(starts))
        points = starts.repeat(len(panel))
        for rows in torch.arange(len(series)).split(rows_within(MAX_ELEMENTS, horizon)):
            windows = series[rows], points[rows]
            forecast = fitted.forecast_panel(panel, horizon, series=windows[0], points=windows[1])
            error = _targets(panel, *windows, horizon) - forecast.point
            for shorter in (h for h in sums if h <= horizon):
                sums[shorter] += _error_sums(error[:, :shorter], _targets(panel, *windows, shorter))
    return {
        horizon: {
            "mse": squared / count,
            "mae": absolute / count,
            "windows": len(range(protocol.validation, length - horizon + 1, stride)),
        }
        for horizon, (squared, absolute, count) in sums.items()
    }


def _error_sums(
    error: Float[Tensor, "window horizon"], target: Float[Tensor, "window horizon"]
) -> NDArray[np.float64]:
    """Sum of squared errors, sum of absolute errors, and number of observed targets."""
    # A failed forecast of an observed target is included, and makes the sums NaN.
    observed = error[~target.isnan()]
    return np.array([float(observed.square().sum()), float(observed.abs().sum()), len(observed)])


def fit_protocol(protocol: Protocol, model: Forecaster, horizon: int) -> Forecaster:
    """Fit a clone to the training rows, with the validation rows for early stopping."""
    model = clone(model).set_params(horizon=horizon)
    if not model.holds_back:
        return model.fit(protocol.frame.iloc[: protocol.train])
    training = check_training(model.get_params()["training"], getattr(model, "recipe", None))
    training = replace(training, validation=float(protocol.validation - protocol.train))
    return model.set_params(training=training).fit(protocol.frame.iloc[: protocol.validation])


def _targets(
    panel: Panel, series: Int[Tensor, " window"], points: Int[Tensor, " window"], horizon: int
) -> Tensor:
    return panel.values.unfold(0, horizon, 1).index_select(0, panel.offsets[series] + points)
