"""New data for a fitted forecaster: required covariates, time zones, contexts of tensors."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from tsar.data.panel import Columns
from tsar.evaluation.cross_validation import cross_validation
from tsar.forecasters import FORECASTERS, ARNet, SeasonalNaive, SpaceTime
from tsar.forecasters.base import Forecaster
from tsar.training import Training

NAN = np.nan
DAYS = pd.date_range("2024-01-01", periods=60)
BOTH = Columns(past=("p",), future=("f",))


def covariates(**holes: Any) -> pd.DataFrame:
    """Two series with covariates; `holes` are the rows of 'b' where a column is missing."""
    noise = np.random.default_rng(0).normal(size=(3, 120))
    frame = pd.DataFrame(
        {"unique_id": np.repeat(["a", "b"], 60), "ds": np.tile(DAYS, 2)}
        | dict(zip("ypf", noise, strict=True))
    )
    for name, rows in holes.items():
        frame.loc[np.array(rows) % 60 + 60, name] = NAN
    return frame


def forecasters_with_covariates(columns: Columns) -> list[Forecaster]:
    """A small forecaster of each class that uses past and future covariates."""
    small: dict[str, Any] = {"columns": columns, "horizon": 3, "device": "cpu", "random_state": 0}
    training = Training(epochs=1)
    return [
        ARNet(5, strategy="direct", **small),
        ARNet(5, strategy="direct", scope="global", hidden=(2,), training=training, **small),
        SpaceTime(5, state_size=2, width=8, training=training, **small),
    ]


def test_all_forecasters_with_covariates_are_tested() -> None:
    uses = {kind for kind in FORECASTERS if kind.uses & {"past", "future"}}
    assert {type(model) for model in forecasters_with_covariates(BOTH)} == uses


@pytest.mark.filterwarnings("ignore:only .* windows of .* points have no missing:UserWarning")
@pytest.mark.parametrize(
    "model", forecasters_with_covariates(BOTH), ids=lambda model: type(model).__name__
)
def test_missing_covariates_that_a_forecast_needs_are_named(model: Any) -> None:
    ahead = covariates()[["unique_id", "ds", "f"]].assign(ds=lambda f: f["ds"] + DAYS.freq * 60)
    old = covariates(p=[3, 40, 54], f=[3, 50])  # no forecast reads these points
    fitted = model.fit(old)
    assert np.isfinite(fitted.predict(future=ahead)[type(model).__name__]).all()
    message = (
        r"frame must have the past covariate 'p' at every time that a forecast reads; got none for "
        r"series 'b' at 2024-02-26 00:00:00 \(2 missing in all\)\. Fill it in, or leave the "
        "covariate out"
    )
    hole = covariates(p=[-4, -2])
    with pytest.raises(ValueError, match=message):
        fitted.predict(hole, future=ahead)
    with pytest.raises(ValueError, match=message):
        clone(model).fit(hole).predict(future=ahead)
    with pytest.raises(ValueError, match="past covariate 'p'"):
        cross_validation(model, covariates(p=[-5]), horizon=3)
    with pytest.raises(ValueError, match=r"future covariate 'f' at every time that is forecast"):
        cross_validation(model, covariates(f=[-2]), horizon=3)
    assert len(cross_validation(model, covariates(p=[-9], f=[-4]), horizon=3)) == 6


def test_covariates_are_needed_at_missing_points_before_the_horizon() -> None:
    frame = covariates(y=[-1, -2], f=[-2]).drop(columns="p")
    ahead = frame[["unique_id", "ds"]].assign(ds=lambda f: f["ds"] + DAYS.freq * 60, f=0.0)
    model = ARNet(3, horizon=2, columns=Columns(future=("f",))).fit(frame)
    with pytest.raises(ValueError, match=r"future covariate 'f' .* series 'b' at 2024-02-28"):
        model.predict(future=ahead)


def test_score_accepts_series_of_different_lengths() -> None:
    frame = covariates().drop(columns="p")
    known, later = frame[frame["ds"] < DAYS[50]], frame[frame["ds"] >= DAYS[50]]
    model = ARNet(3, horizon=2, columns=Columns(future=("f",))).fit(known)
    short = later[(later["unique_id"] == "b") | (later["ds"] < DAYS[54])]
    assert model.score(short) < 0
    hole = later.assign(f=later["f"].where(later["ds"] != DAYS[52]))
    with pytest.raises(ValueError, match=r"future covariate 'f' .* series 'a' at 2024-02-22"):
        model.score(hole)


def hours(zone: str | None, begin: str = "2024-03-01", periods: int = 60) -> pd.Series:
    index = pd.date_range(begin, periods=periods, freq="h", tz=zone)
    return pd.Series(np.arange(float(periods)), index=index, name="load")


@pytest.mark.parametrize(("fitted", "given"), [("Europe/Berlin", None), (None, "UTC")])
def test_times_without_the_fitted_time_zone_are_refused(
    fitted: str | None, given: str | None
) -> None:
    model = SeasonalNaive(horizon=2).fit(hours(fitted))
    later = hours(given, "2024-03-03 12:00", 5)
    message = (
        r"frame must have times with the zone 'Europe/Berlin', as in fit; got times without one\. "
        "Use tz_localize"
        if fitted
        else r"frame must have times without a zone, as in fit; got the zone 'UTC'\. Use tz_convert"
    )
    for call in (model.predict, model.score, model.update):
        with pytest.raises(ValueError, match=message):
            call(later)


def test_the_same_times_in_another_time_zone_are_accepted() -> None:
    model = SeasonalNaive(24, horizon=2).fit(hours("Europe/Berlin"))
    moved = hours("Europe/Berlin").tz_convert("America/New_York")
    np.testing.assert_array_equal(model.predict(moved), model.predict())


@pytest.mark.parametrize("given", [np.arange(9.0), pd.Series(np.arange(9.0), name="load")])
def test_times_of_another_type_than_the_fitted_ones_are_refused(given: Any) -> None:
    fitted = SeasonalNaive(horizon=2).fit(hours(None))
    received = "integers" if isinstance(given, pd.Series) else "an array, which has none"
    expected = f"frame must have times that are dates .frequency 'h'., as in fit; got {received}"
    with pytest.raises(ValueError, match=expected):
        fitted.predict(given)
    with pytest.raises(ValueError, match="frame must have times that are integers"):
        SeasonalNaive(horizon=2).fit(np.arange(9.0)).predict(hours(None))


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(("fitted", "given"), [("Europe/Berlin", None), (None, "UTC")])
def test_the_future_must_have_the_fitted_time_zone(
    fitted: str | None, given: str | None, wide: bool
) -> None:
    def frame(zone: str | None) -> pd.DataFrame:
        found = pd.DataFrame({"y": hours(zone), "f": hours(zone) % 3})
        return found if wide else found.rename_axis("ds").reset_index()

    model = ARNet(3, horizon=2, columns=Columns(future=("f",))).fit(frame(fitted).iloc[:50])
    with pytest.raises(ValueError, match=r"future must have times with(out a)?( the)? zone"):
        model.predict(future=frame(given).iloc[50:].drop(columns="y"))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("context", "error", "message"),
    (
        (np.zeros((2, 5)), TypeError, r"context must be a tensor .* got ndarray"),
        (torch.zeros(5), ValueError, r"shape \(batch, time\); got \(5,\)"),
        (torch.zeros(1, 5, 1), ValueError, r"shape \(batch, time\); got \(1, 5, 1\)"),
    ),
)
def test_contexts_must_be_a_tensor_with_two_axes(
    context: Any, error: type[Exception], message: str
) -> None:
    model = SeasonalNaive().fit(np.arange(30.0))
    with pytest.raises(error, match=message):
        model.forecast(context)


@pytest.mark.wrong_types
def test_forecasts_of_integer_contexts_are_not_rounded() -> None:
    model = ARNet(2, sparsity=None).fit(np.sin(np.arange(60.0)))
    integers = torch.tensor([[3, 1, 4, 1, 5]])
    forecast = model.forecast(integers, 3)
    torch.testing.assert_close(forecast, model.forecast(integers.float(), 3))
    assert not torch.equal(forecast, forecast.round())


@pytest.mark.wrong_types
@pytest.mark.parametrize("series", ([0], [0, 2], [0, -2], [0.0, 1.0], [True, False]))
def test_series_of_contexts_must_be_fitted_rows_or_minus_one(series: list[Any]) -> None:
    model = ARNet(2, sparsity=None).fit(np.sin(np.arange(60.0).reshape(30, 2)))
    context = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"series must be .* got"):
        model.forecast(context, 3, series=torch.tensor(series))
    expected = model.forecast(context, 3, series=torch.tensor([0, 1]))
    rows: Any = [0, 1]
    torch.testing.assert_close(model.forecast(context, 3, series=rows), expected)
