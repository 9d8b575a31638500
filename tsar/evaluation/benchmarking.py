"""Benchmark: the published protocol of long-horizon forecasting, as one table."""

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
from tsar.validation import check_integer

CHUNK = 2**24  # forecasts held at once: 128 MB in float64


@dataclass(frozen=True)
class Protocol:
    """A data set as the published numbers use it: scaled by its training part, and its borders.

    `train` and `validation` are the rows at which these parts end.
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
    """Score models by the protocol of long-horizon forecasting (LTSF).

    Each channel is scaled by the mean and deviation of its training rows; every window of the test
    rows counts, none is dropped; errors are in scaled units, averaged over windows, channels and
    steps. Models that stop early do so by the validation rows; the others see the training rows
    alone. Contexts of the first test windows reach back into the validation rows.

    Parameters
    ----------
    dataset
        A name with published splits: ETTh1, ETTh2, ETTm1, ETTm2, weather, exchange, illness,
        electricity or traffic.
    models
        A forecaster, several, or several by name; their `horizon` is set.
    horizons
        Points to forecast.
    series
        Names of the series to use; None: all. ``["OT"]`` is the univariate protocol of ETT.

    Returns
    -------
    pandas.DataFrame
        A row for each horizon and model: ``mse``, ``mae``, the number of ``windows`` (of one
        channel), and the seconds that fitting and forecasting took.

    Raises
    ------
    ValueError
        The data set or a series is unknown, or the set has no published split; a horizon is
        longer than the test part.

    References
    ----------
    Zhou et al. 2021 (Informer, arXiv 2012.07436); splits and scaling as in Zeng et al. 2023 (arXiv
    2205.13504), without the dropped last batch.
    """
    named = name_models(models)
    protocol = read_protocol(dataset, series)
    _check_horizons(horizons, len(protocol.frame) - protocol.validation)
    rows = [
        {"dataset": dataset, "horizon": horizon, "model": name} | _score(protocol, model, horizon)
        for horizon in horizons
        for name, model in named.items()
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


def _check_horizons(horizons: Sequence[int], most: int) -> None:
    if not isinstance(horizons, Iterable):
        raise TypeError(f"horizons must be integers; got {horizons!r}. Give a list of them.")
    for horizon in horizons:
        if check_integer("horizons", horizon) > most:
            raise ValueError(
                f"horizons must be at most {most}, the test rows; got {horizon}. Leave it out."
            )


def read_protocol(dataset: str, series: Sequence[str] | None = None) -> Protocol:
    """Rows of the splits, scaled by the training part, of all series or of some.

    Times are made regular: some of the published files are not, and the protocol counts rows.
    """
    facts = datasets.describe(dataset)
    if facts.split is None:
        known = [name for name in datasets.names() if datasets.describe(name).split]
        raise ValueError(
            f"dataset must have a published split; got {dataset!r}. Use one of {known}, or "
            "tsar.cross_validation for others."
        )
    frame = datasets.load(dataset, raw=True)
    train, validation, test = facts.split
    frame = frame.iloc[: train + validation + test].astype(np.float64)
    known = frame.iloc[:train]
    deviation = known.std(ddof=0).replace(0.0, 1.0)
    frame = (frame - known.mean()) / deviation
    frame.index = pd.date_range(frame.index[0], periods=len(frame), freq=facts.freq, name="ds")
    frame = frame if series is None else _select(frame, series)
    return Protocol(dataset, frame, train, train + validation)


def _score(protocol: Protocol, model: Forecaster, horizon: int) -> dict[str, Any]:
    start = time.perf_counter()
    fitted = fit_protocol(protocol, model, horizon)
    between = time.perf_counter()
    scores = score_protocol(protocol, fitted, horizon)
    return scores | {
        "fit_seconds": between - start,
        "forecast_seconds": time.perf_counter() - between,
    }


def score_protocol(protocol: Protocol, fitted: Forecaster, horizon: int) -> dict[str, Any]:
    """Errors of a fitted forecaster over all windows of the test rows, at any horizon."""
    return score_horizons(protocol, fitted, (horizon,))[horizon]


def score_horizons(
    protocol: Protocol, fitted: Forecaster, horizons: Sequence[int], *, stride: int = 1
) -> dict[int, dict[str, Any]]:
    """Errors at several horizons of one fitted forecaster, by one forecast of each window.

    A short forecast is the first part of a longer one. A window is forecast as far as the test rows
    go behind it. The published protocol takes every window; with a `stride`, every so many-th.
    """
    check_integer("stride", stride)
    panel = Panel.from_frame(protocol.frame, fitted.columns)
    sums = {horizon: np.zeros(3) for horizon in sorted(horizons)}
    length, first = int(panel.lengths[0]), protocol.validation
    for horizon in reversed(sums):
        starts = torch.arange(first, max(first, length - horizon + 1), stride)
        first += stride * len(starts)  # from there on, windows are too short for it
        if not len(starts):
            continue
        series = torch.arange(len(panel)).repeat_interleave(len(starts))
        points = starts.repeat(len(panel))
        for rows in torch.arange(len(series)).split(max(CHUNK // horizon, 1)):
            where = series[rows], points[rows]
            told = fitted.forecast_panel(panel, horizon, series=where[0], points=where[1])
            error = _targets(panel, *where, horizon) - told.point
            for short in (h for h in sums if h <= horizon):
                sums[short] += _sums(error[:, :short], _targets(panel, *where, short))
    return {
        horizon: {
            "mse": squared / count,
            "mae": absolute / count,
            "windows": len(range(protocol.validation, length - horizon + 1, stride)),
        }
        for horizon, (squared, absolute, count) in sums.items()
    }


def _sums(
    error: Float[Tensor, "window horizon"], target: Float[Tensor, "window horizon"]
) -> NDArray[np.float64]:
    """Sums of squares and of sizes of errors where targets were observed, and their number."""
    # A forecast that failed counts, and makes the scores NaN.
    seen = error[~target.isnan()]
    return np.array([float(seen.square().sum()), float(seen.abs().sum()), len(seen)])


def fit_protocol(protocol: Protocol, model: Forecaster, horizon: int) -> Forecaster:
    """A copy of a forecaster, fitted to the training rows; early stopping by the validation."""
    model = clone(model).set_params(horizon=horizon)
    if not model.holds_back:
        return model.fit(protocol.frame.iloc[: protocol.train])
    held = float(protocol.validation - protocol.train)
    training = replace(
        check_training(model.get_params()["training"], getattr(model, "recipe", None)),
        validation=held,
    )
    return model.set_params(training=training).fit(protocol.frame.iloc[: protocol.validation])


def _targets(
    panel: Panel, series: Int[Tensor, " window"], points: Int[Tensor, " window"], horizon: int
) -> Tensor:
    return panel.values.unfold(0, horizon, 1).index_select(0, panel.offsets[series] + points)
