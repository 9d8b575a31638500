"""The contract: what every forecaster keeps, whatever it learns."""

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

TRAINING = Training(epochs=2, batch_size=16)
CPU: dict[str, Any] = {"device": "cpu", "random_state": 0}
TRAINED: dict[str, Any] = {**CPU, "training": TRAINING}
SCRATCH: dict[str, Any] = {"backbone": None, "depth": 1, "width": 16}
LEVELS = (0.2, 0.25, 0.3, 0.4, 0.45, 0.5, 0.55, 0.7, 0.75, 0.8)

# Small instances of every forecaster, one for each way in which it works. A new forecaster needs a
# line here.
SMALL: tuple[Forecaster, ...] = (
    Naive(3),
    SeasonalNaive(4, horizon=3),
    NLinear(8, horizon=3, **TRAINED),
    DLinear(8, horizon=3, moving_average=3, **TRAINED),
    ARNet(3, horizon=3, **CPU),
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


def name(model: Forecaster) -> str:
    """Its class, and what makes it another instance of it."""
    words = [
        str(getattr(model, key, "")) for key in ("model", "strategy", "scope", "hidden", "loss")
    ]
    return "-".join([type(model).__name__, *(word for word in words if word)])


def every(models: Any = SMALL) -> Any:
    return pytest.mark.parametrize("model", models, ids=name)


# --- data -------------------------------------------------------------------------------------

LENGTH = 48


def values(length: int = LENGTH, seed: int = 0) -> np.ndarray[Any, Any]:
    """Three series of season 4 with errors, of different level and spread."""
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
    """The model fitted once for all tests: none of them may change it."""
    return fitted_at(SMALL.index(model), layout_name)


def numbers(forecast: Any) -> np.ndarray[Any, Any]:
    """The numbers of a forecast in any layout."""
    if isinstance(forecast, np.ndarray):
        return forecast
    frame = forecast.to_pandas() if isinstance(forecast, pl.DataFrame | pa.Table) else forecast
    if isinstance(frame, pd.DataFrame) and "ds" in frame:
        frame = frame.drop(columns=["unique_id", "ds"], errors="ignore")
    return np.asarray(frame, dtype=np.float64)


def same(left: Any, right: Any) -> None:
    """Of the same type, labels and numbers, bit by bit."""
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
def test_scikit_learn_takes_it_for_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.wrong_types
@every()
def test_init_stores_its_arguments_and_does_nothing_else(model: Forecaster) -> None:
    given = {key: object() for key in model.get_params()}
    made = type(model)(**given)
    assert vars(made) == given


@every()
def test_all_parameters_but_the_first_are_keywords(model: Forecaster) -> None:
    _, first, *others = inspect.signature(type(model).__init__).parameters.values()
    assert first.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in others)


@every()
def test_parameters_are_cloned_and_set(model: Forecaster) -> None:
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.set_params(horizon=7) is copy
    assert copy.horizon == 7
    with pytest.raises(ValueError, match="Invalid parameter"):
        copy.set_params(wings=2)


@every()
def test_fit_returns_self_and_keeps_the_parameters(model: Forecaster) -> None:
    copy = clone(model)
    assert copy.fit(values()) is copy
    assert copy.get_params() == model.get_params()


@every()
def test_a_forecast_before_fit_is_refused(model: Forecaster) -> None:
    fresh = clone(model)
    for call in (
        fresh.predict,
        lambda: fresh.score(values()),
        lambda: fresh.forecast(torch.ones(1, 9)),
    ):
        with pytest.raises(NotFittedError):
            call()


@every()
def test_a_second_fit_forgets_the_first(model: Forecaster) -> None:
    once = clone(model).fit(layout("long"))
    twice = clone(model).fit(layout("wide")).fit(layout("long"))
    assert sorted(vars(twice)) == sorted(vars(once))
    same(twice.predict(level=50), once.predict(level=50))


@every()
def test_predict_changes_nothing(model: Forecaster) -> None:
    made = clone(model).fit(values())
    before = sorted(vars(made))
    first = made.predict(level=50)
    made.predict(values(seed=1), horizon=2)
    same(made.predict(level=50), first)
    assert sorted(vars(made)) == before


def check_grid_search(model: Forecaster, horizons: Any) -> None:
    search = GridSearchCV(model, {"horizon": horizons}, cv=TimeSeriesSplit(2, test_size=4))
    search.fit(layout("wide"))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert (search.cv_results_["mean_test_score"] < 0).all()
    assert search.predict(None).shape == (search.best_params_["horizon"], 3)


@every()
def test_a_grid_search_over_splits_in_time_works_on_a_wide_frame(model: Forecaster) -> None:
    check_grid_search(model, [1, 2])


@pytest.mark.wrong_types  # numpy numbers, which searches over parameters give
@every()
def test_a_grid_search_may_be_over_an_array(model: Forecaster) -> None:
    check_grid_search(model, np.arange(1, 3))


@pytest.mark.wrong_types
@every()
def test_a_horizon_may_be_a_whole_number_of_numpy(model: Forecaster) -> None:
    made = clone(model).set_params(horizon=np.int64(3)).fit(values())
    same(made.predict(level=50), fitted(model).predict(level=50))
    same(made.predict(horizon=np.int64(2)), fitted(model).predict(horizon=2))


@every()
def test_a_forecaster_ends_a_pipeline(model: Forecaster) -> None:
    frame = layout("wide")
    pipeline = make_pipeline(FunctionTransformer(np.abs), clone(model))
    found = pipeline.fit(frame).predict(frame)
    same(found, clone(model).fit(frame.abs()).predict(frame.abs()))


# --- frames -----------------------------------------------------------------------------------


def check_long(
    found: pd.DataFrame, given: pd.DataFrame, columns: list[str], following: Any
) -> None:
    ids = ["unique_id"] if "unique_id" in given else []
    assert list(found.columns) == [*ids, "ds", *columns]
    assert found["ds"].dtype == given["ds"].dtype
    for key in given["unique_id"].unique() if ids else [None]:
        rows = found if key is None else found[found["unique_id"] == key]
        assert list(rows["ds"]) == list(following)


FOLLOWING: dict[str, Any] = {
    "long": pd.date_range("2024-03-18", periods=3),
    "long with a time zone": pd.date_range("2024-04-01", periods=3, freq="h", tz="Europe/Berlin")
    + pd.Timedelta("1h"),  # the night that summer time began had 23 hours
    "long of integers": [101, 103, 105],
}


@every()
@pytest.mark.parametrize("name", FOLLOWING)
def test_a_long_frame_comes_out_long(model: Forecaster, name: str) -> None:
    given, kind = layout(name), type(model).__name__
    made = fitted(model, name)
    check_long(made.predict(), given, [kind], FOLLOWING[name])
    columns = [kind, f"{kind}-lo-50", f"{kind}-hi-50"]
    check_long(made.predict(level=50), given, columns, FOLLOWING[name])


@every()
def test_a_long_frame_of_one_series_has_no_ids(model: Forecaster) -> None:
    found = fitted(model, "long of one series").predict(quantile_levels=[0.25])
    kind = type(model).__name__
    check_long(found, layout("long of one series"), [kind, f"{kind}-q-0.25"], FOLLOWING["long"])


@every()
@pytest.mark.parametrize("name", ("polars", "pyarrow"))
def test_frames_of_other_libraries_come_out_theirs(model: Forecaster, name: str) -> None:
    found = fitted(model, name).predict(level=50)
    assert type(found) is type(layout(name))
    told = fitted(model, "long").predict(level=50)
    np.testing.assert_array_equal(numbers(found), numbers(told))


@every()
@pytest.mark.parametrize("name", ("wide", "wide of periods", "wide of integers"))
def test_a_wide_frame_comes_out_wide(model: Forecaster, name: str) -> None:
    given, found = layout(name), fitted(model, name).predict()
    assert isinstance(found, pd.DataFrame)
    pd.testing.assert_index_equal(found.columns, given.columns)
    assert type(found.index) is type(given.index) or isinstance(found.index, pd.Index)
    step = given.index[1] - given.index[0]
    assert list(found.index) == [given.index[-1] + k * step for k in (1, 2, 3)]
    assert found.index.name == given.index.name
    pairs = fitted(model, name).predict(level=50).columns
    assert pairs.get_level_values(0).unique().tolist() == given.columns.tolist()


@every()
def test_a_series_comes_out_as_one(model: Forecaster) -> None:
    made = fitted(model, "Series")
    assert isinstance(made.predict(), pd.Series)
    assert made.predict().name == "load"
    assert list(made.predict(level=50).columns)[1:] == [
        f"{type(model).__name__}-lo-50",
        f"{type(model).__name__}-hi-50",
    ]


@every()
def test_an_array_comes_out_as_one(model: Forecaster) -> None:
    assert fitted(model, "array").predict().shape == (3, 3)
    assert fitted(model, "array").predict(level=[50, 60]).shape == (3, 3, 5)
    assert fitted(model, "vector").predict().shape == (3,)
    assert fitted(model, "vector").predict(level=50).shape == (3, 3)


@every()
def test_the_layout_changes_no_number(model: Forecaster) -> None:
    # Days have a season of 7 and arrays none, where the season is not given.
    told = fitted(model, "array").predict(level=50)
    long_one = numbers(fitted(model, "long").predict(level=50)).reshape(3, 3, 3)
    wide_one = numbers(fitted(model, "wide").predict(level=50)).reshape(3, 3, 3)
    np.testing.assert_array_equal(long_one.transpose(1, 0, 2), told)
    np.testing.assert_array_equal(wide_one, told)


@every()
def test_the_order_of_rows_changes_nothing(model: Forecaster) -> None:
    shuffled = layout("long").sample(frac=1, random_state=0)
    same(clone(model).fit(shuffled).predict(level=50), fitted(model, "long").predict(level=50))


@every()
def test_newer_history_is_forecast(model: Forecaster) -> None:
    made, newer = fitted(model), values(LENGTH + 5)
    found = made.predict(newer)
    assert found.shape == (3, 3)
    assert not np.array_equal(found, made.predict())


@every()
def test_the_frame_that_was_fitted_is_the_history_by_default(model: Forecaster) -> None:
    made = fitted(model, "long")
    same(made.predict(layout("long"), level=50), made.predict(level=50))


@every()
@pytest.mark.parametrize("name", ("long", "wide of periods", "Series", "array", "vector"))
def test_newer_points_are_taken_without_fitting_again(model: Forecaster, name: str) -> None:
    frame = layout(name)
    if name == "long":
        older = frame.groupby("unique_id").head(LENGTH - 5)
        newer = frame.groupby("unique_id").tail(5)
    else:
        older, newer = frame[: LENGTH - 5], frame[LENGTH - 5 :]
    made = clone(model).fit(older)
    told = made.predict(frame, level=50)
    before = sorted(vars(made))
    assert made.update(newer) is made
    np.testing.assert_allclose(numbers(made.predict(level=50)), numbers(told), rtol=1e-6)
    assert sorted(vars(made)) == before


@every([SMALL[0], SMALL[2]])
def test_newer_points_of_some_series_leave_the_others(model: Forecaster) -> None:
    frame = layout("long")
    newer = frame.query("unique_id == 'b'").assign(ds=lambda f: f["ds"] + pd.Timedelta(days=LENGTH))
    made = clone(model).fit(frame)
    before = made.predict()
    after = made.update(newer[:4]).predict()
    for key in "abc":
        old, new = (f[f["unique_id"] == key] for f in (before, after))
        assert (old["ds"].iloc[0] == new["ds"].iloc[0]) == (key != "b")
        if key != "b":
            np.testing.assert_allclose(numbers(old), numbers(new), rtol=1e-6)
    with pytest.raises(ValueError, match="got earlier times for series 'a'"):
        made.update(frame)
    with pytest.raises(ValueError, match=r"got 2 missing row\(s\) before series 'b'"):
        made.update(newer[6:])


@every()
def test_newer_points_may_be_missing(model: Forecaster) -> None:
    """A row read online may hold no value of a series, or of none."""
    frame = layout("wide of periods").astype(float)
    frame.iloc[-6:, 0], frame.iloc[-3:] = np.nan, np.nan
    older = frame[: LENGTH - 6]
    made = clone(model).fit(older)
    told = made.predict(frame, level=50)
    for row in range(LENGTH - 6, LENGTH):
        made.update(frame[row : row + 1])
    np.testing.assert_allclose(numbers(made.predict(level=50)), numbers(told), rtol=1e-6)


@every([SMALL[0], SMALL[2]])
def test_a_wide_frame_of_newer_points_holds_all_series(model: Forecaster) -> None:
    """Or those that it leaves out would be forecast at the times of the others."""
    frame = layout("wide of periods")
    made = clone(model).fit(frame[: LENGTH - 5])
    before = made.predict()
    words = r"must hold all 3 series that were fitted, whose layout \(wide\) .* got 1"
    with pytest.raises(ValueError, match=words):
        made.update(frame.iloc[LENGTH - 5 :, 0])
    same(made.predict(), before)


@every([SMALL[0], SMALL[2]])
def test_a_wide_frame_may_follow_a_long_one(model: Forecaster) -> None:
    """Without a warning of names of columns that fit never saw."""
    wide = layout("wide of periods")
    wide.index = wide.index.to_timestamp()
    long = wide.rename_axis("ds").reset_index().melt("ds", var_name="unique_id", value_name="y")
    made = clone(model).fit(long[long["ds"] < wide.index[-5]])
    told = made.predict(long)
    same(made.update(wide[-5:]).predict(), told)


# --- forecasts --------------------------------------------------------------------------------


@every()
@pytest.mark.parametrize("value", (np.inf, -np.inf))
def test_a_context_is_finite(model: Forecaster, value: float) -> None:
    context = torch.ones(3, LENGTH, dtype=torch.float64)
    context[1, 4] = value
    message = f"context must be finite or NaN; got {value} in row 1 at point 4"
    with pytest.raises(ValueError, match=message):
        fitted(model).forecast(context)


@every()
def test_a_seed_decides_all(model: Forecaster) -> None:
    torch.manual_seed(1)
    first = clone(model).fit(values()).predict(level=50)
    torch.manual_seed(2)
    np.random.seed(3)
    same(clone(model).fit(values()).predict(level=50), first)


@every()
def test_no_generator_but_its_own_is_drawn_from(model: Forecaster) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    clone(model).fit(values()).predict()
    assert torch.equal(torch.rand(3), expected)


@every(LOCAL)
def test_a_local_model_forecasts_a_series_as_if_it_were_alone(model: Forecaster) -> None:
    together = fitted(model).predict(level=50)
    for k in range(3):
        alone = clone(model).fit(values()[:, [k]]).predict(level=50)
        np.testing.assert_allclose(alone[:, 0], together[:, k], rtol=1e-9)


@every()
def test_a_series_is_forecast_alike_beside_others(model: Forecaster) -> None:
    made, frame = fitted(model, "long"), layout("long")
    alone = made.predict(frame[frame["unique_id"] == "b"], level=50)
    together = made.predict(frame, level=50)
    beside = together[together["unique_id"] == "b"]
    np.testing.assert_allclose(numbers(alone), numbers(beside), rtol=1e-5)


@every(NETWORKS)
def test_the_batch_size_changes_no_forecast(model: Forecaster) -> None:
    frame = values()
    one, many = (clone(model).set_params(inference_batch_size=size).fit(frame) for size in (1, 100))
    np.testing.assert_allclose(one.predict(level=50), many.predict(level=50), rtol=1e-5)


@pytest.mark.gpu
@every(NETWORKS)
def test_a_gpu_forecasts_as_the_cpu_does(model: Forecaster) -> None:
    made = clone(model).fit(values())
    on_cpu = made.predict(level=50)
    on_gpu = made.set_params(device="cuda").predict(level=50)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4)


@every()
def test_a_short_forecast_is_the_prefix_of_a_longer_one(model: Forecaster) -> None:
    made = fitted(model)
    longest = made.predict(horizon=7)
    for horizon in (1, 2, 3, 5):
        np.testing.assert_allclose(made.predict(horizon=horizon), longest[:horizon], rtol=1e-5)
    spread = made.predict(horizon=3, level=50)
    np.testing.assert_allclose(made.predict(horizon=2, level=50), spread[:2], rtol=1e-5)


@every()
def test_intervals_change_no_point_forecast(model: Forecaster) -> None:
    made = fitted(model)
    np.testing.assert_array_equal(made.predict(level=50)[:, :, 0], made.predict())


@every()
def test_a_level_is_two_quantiles(model: Forecaster) -> None:
    made = fitted(model)
    by_level = made.predict(level=[50, 60])
    by_quantile = made.predict(quantile_levels=[0.25, 0.75, 0.2, 0.8])
    np.testing.assert_array_equal(by_level, by_quantile)


@every()
def test_quantiles_do_not_cross(model: Forecaster) -> None:
    found = fitted(model).predict(quantile_levels=LEVELS)[:, :, 1:]
    assert (np.diff(found, axis=-1) >= 0).all()
    assert (found[:, :, -1] > found[:, :, 0]).all()


@every()
def test_tensors_are_forecast_as_frames_are(model: Forecaster) -> None:
    made = fitted(model)
    context = torch.from_numpy(values()).T
    np.testing.assert_allclose(made.forecast(context), made.predict(values()).T, rtol=1e-6)
    some = made.forecast(
        context[[2, 0]], 2, series=torch.tensor([2, 0]), quantile_levels=[0.3, 0.7]
    )
    told = made.predict(horizon=2, quantile_levels=[0.3, 0.7])[:, [2, 0], 1:].transpose(1, 0, 2)
    np.testing.assert_allclose(some, told, rtol=1e-5)
    assert made.forecast(context.float()).dtype == torch.float32


@every(SKIPS_GAPS)
def test_missing_values_are_masked(model: Forecaster) -> None:
    gappy = values()
    gappy[[5, 6, 20], [0, 0, 1]] = np.nan
    gappy[-2:, 2] = np.nan
    gappy[:4, 1] = np.nan
    made = clone(model).fit(gappy)
    assert np.isfinite(made.predict(level=50)).all()
    filled = np.nan_to_num(gappy)
    assert not np.allclose(made.predict(), clone(model).fit(filled).predict())


@every()
def test_a_score_is_higher_where_the_forecast_is_nearer(model: Forecaster) -> None:
    made = fitted(model)
    forecast = made.predict(horizon=4)
    assert made.score(forecast + 1e-9) > made.score(forecast + 1.0)
    assert made.score(forecast) == pytest.approx(0, abs=1e-6)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.wrong_types
@every()
@pytest.mark.parametrize("horizon", (0, -1, 2.5, "3", True))
def test_a_horizon_that_is_none_is_refused(model: Forecaster, horizon: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="horizon must be an integer of at least 1"):
        clone(model).set_params(horizon=horizon).fit(values())
    with pytest.raises((ValueError, TypeError), match="horizon must be an integer of at least 1"):
        fitted(model).predict(horizon=horizon)


@every()
@pytest.mark.parametrize("kind", ("past", "future", "static"))
def test_a_covariate_that_it_can_not_use_is_refused(model: Forecaster, kind: str) -> None:
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
@every()
def test_columns_must_be_columns(model: Forecaster) -> None:
    with pytest.raises(TypeError, match=r"columns must be a tsar\.Columns; got \{"):
        clone(model).set_params(columns={"id": "shop"}).fit(values())


@every([model for model in SMALL if not isinstance(model, AutoTimes)])
def test_a_frame_of_another_frequency_is_refused(model: Forecaster) -> None:
    weeks = layout("long").assign(ds=lambda f: f["ds"] + 6 * (f["ds"] - f["ds"].min()))
    with pytest.raises(ValueError, match=r"frequency|regular|a row for every time"):
        fitted(model, "long").predict(weeks)


@pytest.mark.wrong_types
@every(NETWORKS)
@pytest.mark.parametrize(
    ("option", "value"),
    (
        ("context_length", 0),  # `order` of ARNet
        ("inference_batch_size", 0),
        ("device", "abacus"),
        ("training", {"epochs": 2}),
    ),
)
def test_options_of_networks_are_checked_at_fit(model: Forecaster, option: str, value: Any) -> None:
    if isinstance(model, ARNet) and option == "context_length":
        option = "order"
    with pytest.raises((ValueError, TypeError), match=f"^{option} must be"):
        clone(model).set_params(**{option: value}).fit(values())


# --- saving -----------------------------------------------------------------------------------


@every()
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_loaded_model_forecasts_bit_by_bit_the_same(
    model: Forecaster, name: str, tmp_path: Any
) -> None:
    made = fitted(model, name)
    made.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is type(made)
    assert again.get_params() == made.get_params()
    assert sorted(vars(again)) == sorted(vars(made))
    same(again.predict(level=[50, 60]), made.predict(level=[50, 60]))
    same(
        again.predict(layout(name), quantile_levels=0.3),
        made.predict(layout(name), quantile_levels=0.3),
    )
    assert again.score(layout(name)) == made.score(layout(name)) if name == "array" else True


# --- networks ---------------------------------------------------------------------------------


def network(model: Forecaster, gaps: tuple[int, ...] = ()) -> tuple[ForecastModule, Batch]:
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


@every(TRAINABLE)
def test_every_parameter_gets_a_gradient(model: Forecaster) -> None:
    module, batch = network(model)
    module.train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a layer may start from zeros, which hide those before it
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    module.loss(batch).backward()
    for key, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.numel():
            assert parameter.grad is not None, key
            assert bool(parameter.grad.abs().sum() > 0), key


@every(NETWORKS)
def test_a_network_in_eval_mode_repeats_itself(model: Forecaster) -> None:
    module, batch = network(model)
    module.eval()
    first = module.forecast(batch.context, module.horizon)
    assert torch.equal(module.forecast(batch.context, module.horizon), first)


@every(NETWORKS)
def test_a_batch_is_forecast_as_its_rows_are(model: Forecaster) -> None:
    module, batch = network(model)
    module.eval()
    together = module.forecast(batch.context, module.horizon)
    alone = [row_of(module, batch.context, k) for k in range(len(batch.context))]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


def row_of(module: ForecastModule, context: Context, row: int) -> torch.Tensor:
    return module.forecast(context[slice(row, row + 1)], module.horizon)


@every(NETWORKS)
def test_a_short_forecast_of_a_network_is_a_prefix(model: Forecaster) -> None:
    module, batch = network(model)
    module.eval()
    whole = module.forecast(batch.context, module.horizon)
    for horizon in range(1, module.horizon + 1):
        part = module.forecast(batch.context, horizon)
        torch.testing.assert_close(part, whole[:, :horizon], rtol=1e-9, atol=1e-9)


@every(TRAINABLE)
def test_missing_targets_and_contexts_leave_loss_and_gradient_finite(model: Forecaster) -> None:
    module, batch = network(model, gaps=(2, 3, 9, 17))
    assert bool(batch.target.isnan().any()) or module.horizon == 1  # then such windows are left out
    assert bool(batch.context.values.isnan().any())
    loss = module.loss(batch)
    loss.backward()
    assert bool(loss.isfinite())
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in module.parameters())


# --- documentation ----------------------------------------------------------------------------

every_class = pytest.mark.parametrize("kind", FORECASTERS, ids=lambda kind: kind.__name__)


def section(docstring: str, title: str) -> list[str]:
    """Names that a section of a numpydoc docstring explains."""
    text = inspect.cleandoc(docstring)
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", text, re.DOTALL | re.MULTILINE)
    lines = found.group(1).splitlines() if found else []
    return [word for line in lines if line[:1].strip() for word in line.split(", ")]


@every_class
def test_the_docstring_explains_the_parameters_in_order(kind: type[Forecaster]) -> None:
    parameters = list(inspect.signature(kind).parameters)
    assert section(kind.__doc__ or "", "Parameters") == parameters


@every_class
def test_the_docstring_shows_an_example(kind: type[Forecaster]) -> None:
    assert re.search(r"^Examples\n-+\n>>> ", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE)


@every_class
def test_the_attributes_that_the_docstring_explains_are_there(kind: type[Forecaster]) -> None:
    explained = section(kind.__doc__ or "", "Attributes")
    found = {key for m in SMALL if type(m) is kind for key in dir(fitted(m))}
    assert explained
    assert set(explained) <= found
    assert all(key.endswith("_") for key in explained)


# --- what came late ---------------------------------------------------------------------------


def walks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(300, count)).cumsum(axis=0)


def coverage(found: np.ndarray, truth: np.ndarray) -> float:
    return float(((found[..., 1] <= truth) & (truth <= found[..., 2])).mean())


@pytest.mark.parametrize(
    ("model", "missed"), [(ARNet(8, device="cpu"), 1), (Naive(), 1), (Naive(), 5), (Naive(), 30)]
)
def test_points_missing_at_the_end_widen_the_intervals(model: Forecaster, missed: int) -> None:
    values = walks(400, seed=0)
    known = values[:-1].copy()
    known[-missed:] = np.nan
    found = clone(model).fit(known).predict(level=80)
    assert abs(coverage(found[0], values[-1]) - 0.8) < 0.08  # 400 walks: a deviation of 0.02


@pytest.mark.parametrize("model", [ARNet(6, sparsity=None, device="cpu"), Naive()], ids=str)
def test_a_forecast_after_missing_points_is_that_from_the_last_observed_one(
    model: Forecaster,
) -> None:
    y = np.arange(100.0) + np.sin(np.arange(100.0))
    late = clone(model).fit(np.append(y, [np.nan] * 4)).predict(horizon=3)
    early = clone(model).fit(y).predict(horizon=7)[4:]
    np.testing.assert_allclose(late, early, rtol=1e-9)


def test_series_that_were_not_fitted_get_intervals_that_hold() -> None:
    values = walks(400, seed=1)
    names = [f"s{k:03}" for k in range(400)]
    frame = pd.DataFrame(values[:-1], columns=names).melt(var_name="unique_id", value_name="y")
    frame["ds"] = np.tile(np.arange(299), 400)
    fitted = frame["unique_id"] < "s200"
    model = ARNet(5, scope="global", device="cpu").fit(frame[fitted])
    found = model.predict(frame[~fitted], level=80)
    truth = values[-1, 200:]
    inside = (found["ARNet-lo-80"] <= truth) & (truth <= found["ARNet-hi-80"])
    assert abs(inside.mean() - 0.8) < 0.1


def test_a_gap_in_another_series_changes_no_seasonal_forecast() -> None:
    y = np.arange(60.0)
    y[[47, 59]], y[35] = np.nan, 777.0
    gappy = np.arange(60.0)
    gappy[10:40] = np.nan
    model = SeasonalNaive(12, horizon=12)
    alone = clone(model).fit(y[:, None]).predict()[:, 0]
    beside = clone(model).fit(np.stack([y, gappy], axis=1)).predict()[:, 0]
    np.testing.assert_array_equal(alone, beside)


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_the_unit_of_a_series_does_not_matter(scale: float) -> None:
    y = walks(1, seed=2)
    model = ARNet(5, sparsity=None, device="cpu")
    found, known = model.fit(y * scale).predict(level=80), clone(model).fit(y).predict(level=80)
    np.testing.assert_allclose(found, known * scale, rtol=1e-9)


def test_a_tensor_without_covariates_is_refused_where_they_were_fitted() -> None:
    frame = pd.DataFrame({"ds": range(50), "y": walks(1, 3)[:50, 0], "p": walks(1, 4)[:50, 0]})
    model = ARNet(3, columns=Columns(future=("p",)), device="cpu").fit(frame)
    with pytest.raises(ValueError, match=r"takes contexts alone, and ARNet needs the covariates"):
        model.forecast(torch.zeros(1, 3))
