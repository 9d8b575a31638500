"""Contract tests that every forecaster must pass: estimator API, frames, forecasts, saving."""

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar.data.batch import Batch, Context
from tsar.data.panel import Columns, Panel
from tsar.data.windows import Windows
from tsar.forecasters import (
    FORECASTERS,
    HMM,
    ARNet,
    AutoTimes,
    Classical,
    DLinear,
    Naive,
    NLinear,
    SeasonalNaive,
    SpaceTime,
)
from tsar.forecasters.base import Forecaster
from tsar.forecasters.loading import load
from tsar.nn.module import ForecastModule
from tsar.training import Training

TRAINING = Training(epochs=2, batch_size=48)  # 2 or 3 steps per epoch
CPU: dict[str, Any] = {"device": "cpu", "random_state": 0}
TRAINED: dict[str, Any] = {**CPU, "training": TRAINING}
SCRATCH: dict[str, Any] = {"backbone": None, "depth": 1, "width": 16}
LEVELS = (0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55, 0.7, 0.75, 0.8)

# Small instances of every forecaster, one for each kind of algorithm. A new forecaster needs a line
# here.
SMALL: tuple[Forecaster, ...] = (
    Naive(3),
    SeasonalNaive(4, horizon=3),
    NLinear(8, horizon=3, **TRAINED),
    DLinear(8, horizon=3, moving_average=3, **TRAINED),
    ARNet(3, horizon=3, **CPU),
    ARNet(horizon=3, season_length=4, **CPU),
    ARNet(horizon=3, strategy="direct", season_length=4, **CPU),
    ARNet(6, horizon=3, strategy="direct", scope="global", sparsity=0.5, **CPU),
    ARNet(6, horizon=3, hidden=(4,), loss="huber", **TRAINED),
    ARNet(
        6,
        horizon=3,
        strategy="direct",
        scope="global",
        loss="quantile",
        quantile_levels=LEVELS,
        **TRAINED,
    ),
    SpaceTime(12, horizon=3, state_size=4, width=8, **TRAINED),
    SpaceTime(
        12,
        horizon=3,
        state_size=4,
        width=8,
        normalization="none",
        loss="quantile",
        quantile_levels=LEVELS,
        **TRAINED,
    ),
    AutoTimes(8, horizon=3, segment_length=4, **SCRATCH, **TRAINED),
    AutoTimes(
        10,
        horizon=3,
        segment_length=4,
        generation="cached",
        loss="quantile",
        quantile_levels=LEVELS,
        **SCRATCH,
        **TRAINED,
    ),
    AutoTimes(8, horizon=3, segment_length=2, hidden=(8,), loss="student_t", **SCRATCH, **TRAINED),
    HMM(max_components=2, season_length=4, horizon=3, n_init=2, random_state=0),
    HMM(2, horizon=3, scope="global", n_init=2, random_state=0),
    Classical(season_length=4, horizon=3),
    Classical("autoreg", order=2, horizon=3),
)
LOCAL = [
    model
    for model in SMALL
    if getattr(model, "training", None) is None and getattr(model, "scope", "local") == "local"
]
SKIPS_GAPS = [model for model in SMALL if getattr(model, "model", "ets") != "autoreg"]
NETWORKS = [model for model in SMALL if hasattr(model, "inference_batch_size")]


def model_id(model: Forecaster) -> str:
    """Test id: the class and the options that tell its instances apart."""
    options = [
        str(getattr(model, key, "")) for key in ("model", "strategy", "scope", "hidden", "loss")
    ]
    return "-".join([type(model).__name__, *(option for option in options if option)])


def for_each(models: Any = SMALL) -> Any:
    return pytest.mark.parametrize("model", models, ids=model_id)


# --- data -------------------------------------------------------------------------------------

LENGTH = 48


def values(length: int = LENGTH, seed: int = 0) -> np.ndarray[Any, Any]:
    """Three series of season 4 with noise, of different level and scale."""
    noise = np.random.default_rng(seed).normal(size=(length, 3))
    season = np.sin(np.arange(length) * np.pi / 2)[:, None]
    return (2 * season + noise) * [1.0, 5.0, 0.1] + [3.0, 100.0, -7.0]


def long(index: pd.Index, points: np.ndarray[Any, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(points, index=index.rename("ds"), columns=["a", "b", "c"])
    return frame.melt(ignore_index=False, var_name="unique_id", value_name="y").reset_index()


HOURS = pd.date_range("2024-03-30", periods=LENGTH, freq="h", tz="Europe/Berlin")
DAYS = pd.date_range("2024-01-30", periods=LENGTH, freq="D")
MONTHS = pd.period_range("2020-01", periods=LENGTH, freq="M", name="month")
ONE = long(DAYS, values()).query("unique_id == 'a'").drop(columns="unique_id")

LAYOUTS: dict[str, Callable[[], Any]] = {
    "long": lambda: long(DAYS, values()),
    "long with a time zone": lambda: long(HOURS, values()),
    "long of integers": lambda: long(pd.RangeIndex(5, 5 + 2 * LENGTH, 2), values()),
    "long of one series": lambda: ONE.reset_index(drop=True),
    "long with categories": lambda: long(DAYS, values()).astype({"unique_id": "category"}),
    "polars": lambda: pl.from_pandas(long(DAYS, values())),
    "pyarrow": lambda: pa.Table.from_pandas(long(DAYS, values())),
    "wide": lambda: pd.DataFrame(values(), index=DAYS, columns=pd.Index(list("abc"), name="shop")),
    "wide of periods": lambda: pd.DataFrame(values(), index=MONTHS, columns=["a", "b", "c"]),
    "wide of integers": lambda: pd.DataFrame(values()),
    "Series": lambda: pd.Series(values()[:, 0], index=HOURS, name="load"),
    "array": lambda: values(),
    "vector": lambda: values()[:, 0],
}


def layout(name: str) -> Any:
    return LAYOUTS[name]()


@functools.cache
def fitted_at(row: int, layout_name: str) -> Forecaster:
    return clone(SMALL[row]).fit(layout(layout_name))


def fitted(model: Forecaster, layout_name: str = "array") -> Forecaster:
    """The model fitted once for all tests, which must not modify it."""
    return fitted_at(SMALL.index(model), layout_name)


def to_numpy(forecast: Any) -> np.ndarray[Any, Any]:
    """Values of a forecast in any layout, without ids and times."""
    if isinstance(forecast, np.ndarray):
        return forecast
    frame = forecast.to_pandas() if isinstance(forecast, pl.DataFrame | pa.Table) else forecast
    if isinstance(frame, pd.DataFrame) and "ds" in frame:
        frame = frame.drop(columns=["unique_id", "ds"], errors="ignore")
    return np.asarray(frame, dtype=np.float64)


def assert_identical(left: Any, right: Any) -> None:
    """Check that type, labels and values are equal, bit by bit."""
    assert type(left) is type(right)
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right, check_exact=True)
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right)
    else:
        assert left.equals(right)


# --- scikit-learn -----------------------------------------------------------------------------


def test_every_forecaster_has_a_small_instance() -> None:
    assert {type(model) for model in SMALL} == set(FORECASTERS)


def expected_failures(model: Forecaster) -> dict[str, str]:
    return {
        "check_methods_sample_order_invariance": "rows are points in time",
        "check_methods_subset_invariance": "rows are points in time",
    }


@pytest.mark.wrong_types
@parametrize_with_checks(
    [next(model for model in SMALL if type(model) is kind) for kind in FORECASTERS],
    expected_failed_checks=expected_failures,
)
def test_scikit_learn_estimator_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.wrong_types
@for_each()
def test_init_only_stores_its_arguments(model: Forecaster) -> None:
    arguments = {key: object() for key in model.get_params()}
    assert vars(type(model)(**arguments)) == arguments


@for_each()
def test_all_parameters_but_the_first_are_keyword_only(model: Forecaster) -> None:
    _, first, *others = inspect.signature(type(model).__init__).parameters.values()
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in others)


@for_each()
def test_clone_and_set_params(model: Forecaster) -> None:
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(horizon=7) is copy
    assert copy.horizon == 7
    with pytest.raises(ValueError, match="Invalid parameter"):
        copy.set_params(unknown=2)


@for_each()
def test_fit_returns_self_and_keeps_the_parameters(model: Forecaster) -> None:
    copy = clone(model)
    assert copy.fit(values()) is copy
    assert copy.get_params() == model.get_params()


@for_each()
def test_forecast_before_fit_raises_not_fitted_error(model: Forecaster) -> None:
    fresh = clone(model)
    for call in (
        fresh.predict,
        lambda: fresh.score(values()),
        lambda: fresh.forecast(torch.ones(1, 9)),
    ):
        with pytest.raises(NotFittedError):
            call()


@for_each()
def test_second_fit_discards_the_first(model: Forecaster) -> None:
    once = clone(model).fit(layout("long"))
    twice = clone(model).fit(layout("wide")).fit(layout("long"))
    assert sorted(vars(twice)) == sorted(vars(once))
    assert_identical(twice.predict(level=50), once.predict(level=50))


@for_each()
def test_predict_does_not_change_the_model(model: Forecaster) -> None:
    forecaster = clone(model).fit(values())
    before = sorted(vars(forecaster))
    first = forecaster.predict(level=50)
    forecaster.predict(values(seed=1), horizon=2)
    assert_identical(forecaster.predict(level=50), first)
    assert sorted(vars(forecaster)) == before


def check_grid_search(model: Forecaster, horizons: Any) -> None:
    search = GridSearchCV(model, {"horizon": horizons}, cv=TimeSeriesSplit(2, test_size=4))
    search.fit(layout("wide"))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert (search.cv_results_["mean_test_score"] < 0).all()
    assert search.predict(None).shape == (search.best_params_["horizon"], 3)


@for_each()
def test_grid_search_with_time_series_splits_of_a_wide_frame(model: Forecaster) -> None:
    check_grid_search(model, [1, 2])


@pytest.mark.wrong_types  # NumPy integers, as a search over an array passes them
@for_each()
def test_grid_search_over_an_array_of_horizons(model: Forecaster) -> None:
    check_grid_search(model, np.arange(1, 3))


@pytest.mark.wrong_types
@for_each()
def test_horizon_may_be_a_numpy_integer(model: Forecaster) -> None:
    forecaster = clone(model).set_params(horizon=np.int64(3)).fit(values())
    assert_identical(forecaster.predict(level=50), fitted(model).predict(level=50))
    assert_identical(forecaster.predict(horizon=np.int64(2)), fitted(model).predict(horizon=2))


@for_each()
def test_forecaster_as_last_step_of_a_pipeline(model: Forecaster) -> None:
    frame = layout("wide")
    pipeline = make_pipeline(FunctionTransformer(np.abs), clone(model))
    result = pipeline.fit(frame).predict(frame)
    assert_identical(result, clone(model).fit(frame.abs()).predict(frame.abs()))


# --- frames -----------------------------------------------------------------------------------


def check_long(
    result: pd.DataFrame, frame: pd.DataFrame, columns: list[str], following: Any
) -> None:
    ids = ["unique_id"] if "unique_id" in frame else []
    assert list(result.columns) == [*ids, "ds", *columns]
    assert result["ds"].dtype == frame["ds"].dtype
    for key in frame["unique_id"].unique() if ids else [None]:
        rows = result if key is None else result[result["unique_id"] == key]
        assert list(rows["ds"]) == list(following)


FOLLOWING: dict[str, Any] = {
    "long": pd.date_range("2024-03-18", periods=3),
    "long with a time zone": pd.date_range("2024-04-01", periods=3, freq="h", tz="Europe/Berlin")
    + pd.Timedelta("1h"),  # the night that summer time began had 23 hours
    "long of integers": [101, 103, 105],
}


@for_each()
@pytest.mark.parametrize("name", FOLLOWING)
def test_long_frame_returns_a_long_frame(model: Forecaster, name: str) -> None:
    frame, kind = layout(name), type(model).__name__
    forecaster = fitted(model, name)
    check_long(forecaster.predict(), frame, [kind], FOLLOWING[name])
    columns = [kind, f"{kind}-lo-50", f"{kind}-hi-50"]
    check_long(forecaster.predict(level=50), frame, columns, FOLLOWING[name])


@for_each()
def test_long_frame_without_ids_returns_no_ids(model: Forecaster) -> None:
    result = fitted(model, "long of one series").predict(quantile_levels=[0.25])
    kind = type(model).__name__
    check_long(result, layout("long of one series"), [kind, f"{kind}-q-0.25"], FOLLOWING["long"])


@for_each()
@pytest.mark.parametrize("name", ("polars", "pyarrow"))
def test_polars_and_pyarrow_frames_return_their_own_type(model: Forecaster, name: str) -> None:
    result = fitted(model, name).predict(level=50)
    assert type(result) is type(layout(name))
    expected = fitted(model, "long").predict(level=50)
    np.testing.assert_array_equal(to_numpy(result), to_numpy(expected))


@for_each()
@pytest.mark.parametrize("name", ("wide", "wide of periods", "wide of integers"))
def test_wide_frame_returns_a_wide_frame(model: Forecaster, name: str) -> None:
    frame, result = layout(name), fitted(model, name).predict()
    assert isinstance(result, pd.DataFrame)
    pd.testing.assert_index_equal(result.columns, frame.columns)
    assert type(result.index) is type(frame.index) or isinstance(result.index, pd.Index)
    step = frame.index[1] - frame.index[0]
    assert list(result.index) == [frame.index[-1] + k * step for k in (1, 2, 3)]
    assert result.index.name == frame.index.name
    pairs = fitted(model, name).predict(level=50).columns
    assert pairs.get_level_values(0).unique().tolist() == frame.columns.tolist()


@for_each()
def test_series_returns_a_series(model: Forecaster) -> None:
    forecaster = fitted(model, "Series")
    assert isinstance(forecaster.predict(), pd.Series)
    assert forecaster.predict().name == "load"
    assert list(forecaster.predict(level=50).columns)[1:] == [
        f"{type(model).__name__}-lo-50",
        f"{type(model).__name__}-hi-50",
    ]


@for_each()
def test_array_returns_an_array(model: Forecaster) -> None:
    assert fitted(model, "array").predict().shape == (3, 3)
    assert fitted(model, "array").predict(level=[50, 60]).shape == (3, 3, 5)
    assert fitted(model, "vector").predict().shape == (3,)
    assert fitted(model, "vector").predict(level=50).shape == (3, 3)


@for_each()
def test_layout_does_not_affect_the_values(model: Forecaster) -> None:
    # The instances set a season; its default depends on the layout: 7 for days, none for arrays.
    expected = fitted(model, "array").predict(level=50)
    long_one = to_numpy(fitted(model, "long").predict(level=50)).reshape(3, 3, 3)
    wide_one = to_numpy(fitted(model, "wide").predict(level=50)).reshape(3, 3, 3)
    np.testing.assert_array_equal(long_one.transpose(1, 0, 2), expected)
    np.testing.assert_array_equal(wide_one, expected)


@for_each()
def test_row_order_does_not_affect_the_forecast(model: Forecaster) -> None:
    shuffled = layout("long").sample(frac=1, random_state=0)
    assert_identical(
        clone(model).fit(shuffled).predict(level=50), fitted(model, "long").predict(level=50)
    )


@for_each()
def test_predict_from_newer_history(model: Forecaster) -> None:
    forecaster, newer = fitted(model), values(LENGTH + 5)
    result = forecaster.predict(newer)
    assert result.shape == (3, 3)
    assert not np.array_equal(result, forecaster.predict())


@for_each()
def test_predict_continues_the_fitted_frame_by_default(model: Forecaster) -> None:
    forecaster = fitted(model, "long")
    assert_identical(forecaster.predict(layout("long"), level=50), forecaster.predict(level=50))


@for_each()
@pytest.mark.parametrize("name", ("long", "wide of periods", "Series", "array", "vector"))
def test_update_appends_points_without_refitting(model: Forecaster, name: str) -> None:
    frame = layout(name)
    if name == "long":
        older = frame.groupby("unique_id").head(LENGTH - 5)
        newer = frame.groupby("unique_id").tail(5)
    else:
        older, newer = frame[: LENGTH - 5], frame[LENGTH - 5 :]
    forecaster = clone(model).fit(older)
    expected = forecaster.predict(frame, level=50)
    before = sorted(vars(forecaster))
    assert forecaster.update(newer) is forecaster
    np.testing.assert_allclose(
        to_numpy(forecaster.predict(level=50)), to_numpy(expected), rtol=1e-6
    )
    assert sorted(vars(forecaster)) == before


@for_each([SMALL[0], SMALL[2]])
def test_update_of_one_series_does_not_affect_the_others(model: Forecaster) -> None:
    frame = layout("long")
    newer = frame.query("unique_id == 'b'").assign(ds=lambda f: f["ds"] + pd.Timedelta(days=LENGTH))
    forecaster = clone(model).fit(frame)
    before = forecaster.predict()
    after = forecaster.update(newer[:4]).predict()
    for key in "abc":
        old, new = (f[f["unique_id"] == key] for f in (before, after))
        assert (old["ds"].iloc[0] == new["ds"].iloc[0]) == (key != "b")
        if key != "b":
            np.testing.assert_allclose(to_numpy(old), to_numpy(new), rtol=1e-6)
    with pytest.raises(ValueError, match="got earlier times for series 'a'"):
        forecaster.update(frame)
    with pytest.raises(ValueError, match=r"got 2 missing row\(s\) before series 'b'"):
        forecaster.update(newer[6:])


@for_each()
def test_update_with_missing_values(model: Forecaster) -> None:
    """A row may lack the value of one series, or of all."""
    frame = layout("wide of periods").astype(float)
    frame.iloc[-6:, 0], frame.iloc[-3:] = np.nan, np.nan
    older = frame[: LENGTH - 6]
    forecaster = clone(model).fit(older)
    expected = forecaster.predict(frame, level=50)
    for row in range(LENGTH - 6, LENGTH):
        forecaster.update(frame[row : row + 1])
    np.testing.assert_allclose(
        to_numpy(forecaster.predict(level=50)), to_numpy(expected), rtol=1e-6
    )


@for_each([SMALL[0], SMALL[2]])
def test_update_by_a_wide_frame_requires_all_series(model: Forecaster) -> None:
    """Otherwise missing series would be forecast at the times of the others."""
    frame = layout("wide of periods")
    forecaster = clone(model).fit(frame[: LENGTH - 5])
    before = forecaster.predict()
    message = r"must hold all 3 series that were fitted, whose layout \(wide\) .* got 1"
    with pytest.raises(ValueError, match=message):
        forecaster.update(frame.iloc[LENGTH - 5 :, 0])
    assert_identical(forecaster.predict(), before)


@for_each([SMALL[0], SMALL[2]])
def test_update_of_a_long_frame_by_a_wide_one(model: Forecaster) -> None:
    """Without scikit-learn's warning about feature names unseen at fit."""
    wide = layout("wide of periods")
    wide.index = wide.index.to_timestamp()
    long = wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    forecaster = clone(model).fit(long[long["ds"] < wide.index[-5]])
    expected = forecaster.predict(long)
    assert_identical(forecaster.update(wide[-5:]).predict(), expected)


# --- forecasts --------------------------------------------------------------------------------


@for_each()
@pytest.mark.parametrize("value", (np.inf, -np.inf))
def test_context_with_infinity_raises(model: Forecaster, value: float) -> None:
    context = torch.ones(3, LENGTH, dtype=torch.float64)
    context[1, 4] = value
    message = f"context must be finite or NaN; got {value} in row 1 at point 4"
    with pytest.raises(ValueError, match=message):
        fitted(model).forecast(context)


@for_each()
def test_random_state_makes_fit_reproducible(model: Forecaster) -> None:
    torch.manual_seed(1)
    first = clone(model).fit(values()).predict(level=50)
    torch.manual_seed(2)
    np.random.seed(3)
    assert_identical(clone(model).fit(values()).predict(level=50), first)


@for_each()
def test_fit_does_not_use_the_global_generator(model: Forecaster) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    clone(model).fit(values()).predict()
    assert torch.equal(torch.rand(3), expected)


@for_each(LOCAL)
def test_local_model_forecasts_each_series_independently(model: Forecaster) -> None:
    together = fitted(model).predict(level=50)
    for k in range(3):
        alone = clone(model).fit(values()[:, [k]]).predict(level=50)
        np.testing.assert_allclose(alone[:, 0], together[:, k], rtol=1e-9)


@for_each()
def test_forecast_does_not_depend_on_other_series_of_the_frame(model: Forecaster) -> None:
    forecaster, frame = fitted(model, "long"), layout("long")
    alone = forecaster.predict(frame[frame["unique_id"] == "b"], level=50)
    together = forecaster.predict(frame, level=50)
    together_b = together[together["unique_id"] == "b"]
    np.testing.assert_allclose(to_numpy(alone), to_numpy(together_b), rtol=1e-5)


@for_each(NETWORKS)
def test_batch_size_does_not_affect_the_forecast(model: Forecaster) -> None:
    frame = values()
    one, many = (clone(model).set_params(inference_batch_size=size).fit(frame) for size in (1, 100))
    np.testing.assert_allclose(one.predict(level=50), many.predict(level=50), rtol=1e-5)


@pytest.mark.gpu
@for_each(NETWORKS)
def test_gpu_forecast_equals_cpu_forecast(model: Forecaster) -> None:
    forecaster = clone(model).fit(values())
    on_cpu = forecaster.predict(level=50)
    on_gpu = forecaster.set_params(device="cuda").predict(level=50)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)


@for_each()
def test_short_forecast_is_a_prefix_of_a_longer_one(model: Forecaster) -> None:
    forecaster = fitted(model)
    longest = forecaster.predict(horizon=7)
    for horizon in (1, 2, 3, 5):
        np.testing.assert_allclose(
            forecaster.predict(horizon=horizon), longest[:horizon], rtol=1e-5
        )
    spread = forecaster.predict(horizon=3, level=50)
    np.testing.assert_allclose(forecaster.predict(horizon=2, level=50), spread[:2], rtol=1e-5)


@for_each()
def test_intervals_do_not_affect_the_point_forecast(model: Forecaster) -> None:
    forecaster = fitted(model)
    np.testing.assert_array_equal(forecaster.predict(level=50)[:, :, 0], forecaster.predict())


@for_each()
def test_level_equals_two_quantile_levels(model: Forecaster) -> None:
    forecaster = fitted(model)
    by_level = forecaster.predict(level=[50, 60])
    by_quantile = forecaster.predict(quantile_levels=[0.25, 0.75, 0.2, 0.8])
    np.testing.assert_array_equal(by_level, by_quantile)


@for_each()
def test_quantiles_do_not_cross(model: Forecaster) -> None:
    result = fitted(model).predict(quantile_levels=LEVELS)[:, :, 1:]
    assert (np.diff(result, axis=-1) >= 0).all()
    assert (result[:, :, -1] > result[:, :, 0]).all()


@for_each()
def test_forecast_of_tensors_equals_predict(model: Forecaster) -> None:
    forecaster = fitted(model)
    context = torch.from_numpy(values()).T
    np.testing.assert_allclose(
        forecaster.forecast(context), forecaster.predict(values()).T, rtol=1e-6
    )
    some = forecaster.forecast(
        context[[2, 0]], 2, series=torch.tensor([2, 0]), quantile_levels=[0.3, 0.7]
    )
    expected = forecaster.predict(horizon=2, quantile_levels=[0.3, 0.7])[:, [2, 0], 1:].transpose(
        1, 0, 2
    )
    np.testing.assert_allclose(some, expected, rtol=1e-5)
    assert forecaster.forecast(context.float()).dtype == torch.float32


@for_each(SKIPS_GAPS)
def test_missing_values_are_masked(model: Forecaster) -> None:
    gappy = values()
    gappy[[5, 6, 20], [0, 0, 1]] = np.nan
    gappy[-2:, 2] = np.nan
    gappy[:4, 1] = np.nan
    forecaster = clone(model).fit(gappy)
    assert np.isfinite(forecaster.predict(level=50)).all()
    filled = np.where(np.isnan(gappy), np.nanmean(gappy, axis=0), gappy)
    assert not np.allclose(forecaster.predict(), clone(model).fit(filled).predict())


@for_each()
def test_score_is_higher_for_smaller_errors(model: Forecaster) -> None:
    forecaster = fitted(model)
    forecast = forecaster.predict(horizon=4)
    assert forecaster.score(forecast + 1e-9) > forecaster.score(forecast + 1.0)
    assert forecaster.score(forecast) == pytest.approx(0, abs=1e-6)


# --- invalid input --------------------------------------------------------------------------


@pytest.mark.wrong_types
@for_each()
@pytest.mark.parametrize("horizon", (0, -1, 2.5, "3", True))
def test_invalid_horizon_raises(model: Forecaster, horizon: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="horizon must be an integer of at least 1"):
        clone(model).set_params(horizon=horizon).fit(values())
    with pytest.raises((ValueError, TypeError), match="horizon must be an integer of at least 1"):
        fitted(model).predict(horizon=horizon)


@for_each()
@pytest.mark.parametrize("kind", ("past", "future", "static"))
def test_unsupported_covariates_raise(model: Forecaster, kind: str) -> None:
    frame = layout("long").assign(x=1.0)
    copy = clone(model).set_params(columns=Columns(**{kind: ("x",)}))
    if kind in model.uses:
        copy.set_params(horizon=1).fit(frame)
        return
    with pytest.raises(
        ValueError, match=rf"columns\.{kind} must be empty for {type(model).__name__}"
    ):
        copy.fit(frame)


@pytest.mark.wrong_types
@for_each()
def test_columns_must_be_a_columns_object(model: Forecaster) -> None:
    with pytest.raises(TypeError, match=r"columns must be a tsar\.Columns; got \{"):
        clone(model).set_params(columns={"id": "shop"}).fit(values())


@for_each([model for model in SMALL if not isinstance(model, AutoTimes)])
def test_frame_of_another_frequency_raises(model: Forecaster) -> None:
    weeks = layout("long").assign(ds=lambda f: f["ds"] + 6 * (f["ds"] - f["ds"].min()))
    with pytest.raises(ValueError, match=r"frequency|regular|a row for every time"):
        fitted(model, "long").predict(weeks)


@pytest.mark.wrong_types
@for_each(NETWORKS)
@pytest.mark.parametrize(
    ("option", "value"),
    (
        ("context_length", 0),  # `order` of ARNet
        ("inference_batch_size", 0),
        ("device", "unknown"),
        ("training", {"epochs": 2}),
    ),
)
def test_options_of_networks_are_checked_at_fit(model: Forecaster, option: str, value: Any) -> None:
    if isinstance(model, ARNet) and option == "context_length":
        option = "order"
    with pytest.raises((ValueError, TypeError), match=f"^{option} must be"):
        clone(model).set_params(**{option: value}).fit(values())


# --- saving -----------------------------------------------------------------------------------


@for_each()
@pytest.mark.parametrize("name", LAYOUTS)
def test_loaded_model_forecasts_identically(model: Forecaster, name: str, tmp_path: Any) -> None:
    forecaster = fitted(model, name)
    forecaster.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is type(forecaster)
    assert again.get_params() == forecaster.get_params()
    assert sorted(vars(again)) == sorted(vars(forecaster))
    assert_identical(again.predict(level=[50, 60]), forecaster.predict(level=[50, 60]))
    assert_identical(
        again.predict(layout(name), quantile_levels=0.3),
        forecaster.predict(layout(name), quantile_levels=0.3),
    )
    assert again.score(layout(name)) == forecaster.score(layout(name)) if name == "array" else True


# --- networks ---------------------------------------------------------------------------------


def float64_network(model: Forecaster, gaps: tuple[int, ...] = ()) -> tuple[ForecastModule, Batch]:
    """A fitted network in float64, and a batch of windows of standardized series with gaps."""
    module = fitted_at(SMALL.index(model), "array").module_  # type: ignore[attr-defined]
    points = (values() - values().mean(axis=0)) / values().std(axis=0)
    points[list(gaps)] = np.nan
    panel = Panel.from_frame(points)
    windows = Windows.sliding(panel, module.context_length, module.horizon)
    fresh = fitted(model)._build().double()  # type: ignore[attr-defined]
    fresh.load_state_dict(module.state_dict())
    return fresh, windows.batch(slice(0, 20))


TRAINABLE = [model for model in NETWORKS if getattr(model, "training", None) is not None]


@for_each(TRAINABLE)
def test_every_parameter_gets_a_gradient(model: Forecaster) -> None:
    module, batch = float64_network(model)
    module.train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a layer of zeros blocks gradients of those before it
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    module.loss(batch).backward()
    for key, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.numel():
            assert parameter.grad is not None, key
            assert bool(parameter.grad.abs().sum() > 0), key


@for_each(NETWORKS)
def test_forecast_in_eval_mode_is_deterministic(model: Forecaster) -> None:
    module, batch = float64_network(model)
    module.eval()
    first = module.forecast(batch.context, module.horizon)
    assert torch.equal(module.forecast(batch.context, module.horizon), first)


@for_each(NETWORKS)
def test_batch_forecast_equals_forecasts_of_its_rows(model: Forecaster) -> None:
    module, batch = float64_network(model)
    module.eval()
    together = module.forecast(batch.context, module.horizon)
    alone = [forecast_row(module, batch.context, k) for k in range(len(batch.context))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


def forecast_row(module: ForecastModule, context: Context, row: int) -> torch.Tensor:
    return module.forecast(context[slice(row, row + 1)], module.horizon)


@for_each(NETWORKS)
def test_short_forecast_of_a_network_is_a_prefix(model: Forecaster) -> None:
    module, batch = float64_network(model)
    module.eval()
    longest = module.forecast(batch.context, module.horizon)
    for horizon in range(1, module.horizon + 1):
        part = module.forecast(batch.context, horizon)
        torch.testing.assert_close(part, longest[:, :horizon], rtol=1e-9, atol=1e-9)


@for_each(TRAINABLE)
def test_loss_and_gradients_are_finite_with_missing_values(model: Forecaster) -> None:
    module, batch = float64_network(model, gaps=(2, 3, 9, 17))
    # At a horizon of 1, windows without an observed target are excluded.
    assert bool(batch.target.isnan().any()) or module.horizon == 1
    assert bool(batch.context.values.isnan().any())
    loss = module.loss(batch)
    loss.backward()
    assert bool(loss.isfinite())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in module.parameters())


# --- documentation ----------------------------------------------------------------------------

every_class = pytest.mark.parametrize("kind", FORECASTERS, ids=lambda kind: kind.__name__)


def section(docstring: str, title: str) -> list[str]:
    """Names listed in a section of a numpydoc docstring."""
    text = inspect.cleandoc(docstring)
    result = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = result.group(1).splitlines() if result else []
    return [word for line in lines if line[:1].strip() for word in line.split(", ")]


@every_class
def test_docstring_lists_the_parameters_in_order(kind: type[Forecaster]) -> None:
    parameters = list(inspect.signature(kind).parameters)
    assert section(kind.__doc__ or "", "Parameters") == parameters


@every_class
def test_docstring_has_an_example(kind: type[Forecaster]) -> None:
    assert re.search(r"^Examples\n-+\n>>> ", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)


@every_class
def test_documented_attributes_exist_after_fit(kind: type[Forecaster]) -> None:
    documented = section(kind.__doc__ or "", "Attributes")
    result = {key for m in SMALL if type(m) is kind for key in dir(fitted(m))}
    assert documented
    assert set(documented) <= result
    assert all(key.endswith("_") for key in documented)


# --- regressions ---------------------------------------------------------------------------


def random_walks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(300, count)).cumsum(axis=0)


def coverage(result: np.ndarray, truth: np.ndarray) -> float:
    return float(((result[..., 1] <= truth) & (truth <= result[..., 2])).mean())


@pytest.mark.parametrize(
    ("model", "n_missing"), [(ARNet(8, device="cpu"), 1), (Naive(), 1), (Naive(), 5), (Naive(), 30)]
)
def test_intervals_cover_after_missing_points_at_the_end(model: Forecaster, n_missing: int) -> None:
    values = random_walks(400, seed=0)
    known = values[:-1].copy()
    known[-n_missing:] = np.nan
    result = clone(model).fit(known).predict(level=80)
    assert abs(coverage(result[0], values[-1]) - 0.8) < 0.08  # 400 walks: standard error 0.02


@pytest.mark.parametrize("model", [ARNet(6, sparsity=None, device="cpu"), Naive()], ids=str)
def test_forecast_after_missing_points_starts_at_the_last_observed_one(
    model: Forecaster,
) -> None:
    y = np.arange(100.0) + np.sin(np.arange(100.0))
    late = clone(model).fit(np.append(y, [np.nan] * 4)).predict(horizon=3)
    early = clone(model).fit(y).predict(horizon=7)[4:]
    np.testing.assert_allclose(late, early, rtol=1e-9)


def test_intervals_cover_series_that_were_not_fitted() -> None:
    values = random_walks(400, seed=1)
    names = [f"s{k:03}" for k in range(400)]
    frame = pd.DataFrame(values[:-1], columns=names).melt(var_name="unique_id", value_name="y")
    frame["ds"] = np.tile(np.arange(299), 400)
    fitted = frame["unique_id"] < "s200"
    model = ARNet(5, scope="global", device="cpu").fit(frame[fitted])
    result = model.predict(frame[~fitted], level=80)
    truth = values[-1, 200:]
    inside = (result["ARNet-lo-80"] <= truth) & (truth <= result["ARNet-hi-80"])
    assert abs(inside.mean() - 0.8) < 0.1


def test_seasonal_forecast_does_not_depend_on_gaps_of_another_series() -> None:
    y = np.arange(60.0)
    y[[47, 59]], y[35] = np.nan, 777.0
    gappy = np.arange(60.0)
    gappy[10:40] = np.nan
    model = SeasonalNaive(12, horizon=12)
    alone = clone(model).fit(y[:, None]).predict()[:, 0]
    together = clone(model).fit(np.stack([y, gappy], axis=1)).predict()[:, 0]
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_forecast_is_equivariant_to_the_unit_of_a_series(scale: float) -> None:
    y = random_walks(1, seed=2)
    model = ARNet(5, sparsity=None, device="cpu")
    result, known = model.fit(y * scale).predict(level=80), clone(model).fit(y).predict(level=80)
    np.testing.assert_allclose(result, known * scale, rtol=1e-9)


def test_tensor_without_fitted_covariates_raises() -> None:
    frame = pd.DataFrame(
        {"ds": range(50), "y": random_walks(1, 3)[:50, 0], "p": random_walks(1, 4)[:50, 0]}
    )
    model = ARNet(3, columns=Columns(future=("p",)), device="cpu").fit(frame)
    with pytest.raises(ValueError, match=r"takes contexts alone, and ARNet needs the covariates"):
        model.forecast(torch.zeros(1, 3))
