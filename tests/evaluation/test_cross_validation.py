"""Cross-validation and its metrics, against loops over series, windows and points."""

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from tsar import AutoTimes, Columns, Training, cross_validation, evaluate
from tsar.forecasters import ARNet, Naive, NLinear, SeasonalNaive
from tsar.forecasters.base import Forecaster

LENGTHS = {"a": 60, "b": 45, "c": 80}
HORIZON = 3


def walk(length: int, seed: int = 0) -> np.ndarray:
    return 20 + np.random.default_rng(seed).normal(size=length).cumsum()


def long_frame(freq: str = "D", timezone: str | None = None) -> pd.DataFrame:
    parts = []
    for seed, (name, length) in enumerate(LENGTHS.items()):
        times = pd.date_range("2024-03-20", periods=length, freq=freq, tz=timezone)
        values = {
            "y": walk(length, seed),
            "f": np.random.default_rng(seed + 9).normal(size=length),
        }
        parts.append(pd.DataFrame({"unique_id": name, "ds": times} | values))
    frame = pd.concat(parts, ignore_index=True)
    frame["y"] += 2 * frame["f"]
    frame.loc[[5, 50, 101], "y"] = math.nan
    return frame


def reference_backtest(
    model: Forecaster,
    frame: pd.DataFrame,
    n_windows: int,
    step_size: int,
    refit: bool | int,
    **predict: Any,
) -> pd.DataFrame:
    """Fit and predict window by window, on frames that end at the cutoff."""
    series = [part for _, part in frame.groupby("unique_id", sort=False)]
    future = list((model.columns or Columns()).future)
    windows = []
    for window in range(n_windows):
        back = HORIZON + step_size * (n_windows - 1 - window)
        history = pd.concat([part.iloc[: len(part) - back] for part in series])
        every = int(refit) if refit else n_windows
        if window % every == 0:
            model.fit(history)
        actual = [part.iloc[len(part) - back :].iloc[:HORIZON] for part in series]
        covariates = pd.concat(actual)[["unique_id", "ds", *future]] if future else None
        forecast = model.predict(history, horizon=HORIZON, future=covariates, **predict)
        cutoffs = [part["ds"].iloc[len(part) - back - 1] for part in series]
        forecast["cutoff"] = np.repeat(pd.Index(cutoffs), HORIZON)
        forecast["y"] = pd.concat(actual)["y"].to_numpy()
        windows.append(forecast)
    joined = pd.concat(windows)
    order = {name: k for k, name in enumerate(LENGTHS)}
    key = joined["unique_id"].map(order)
    return joined.assign(key=key).sort_values(["key", "cutoff", "ds"]).drop(columns="key")


FUTURE = Columns(future=("f",))
MODELS = {
    "naive": Naive(),
    "season": SeasonalNaive(),
    "local": ARNet(4),
    "global": ARNet(3, scope="global", sparsity=None),
    "direct": ARNet(3, horizon=HORIZON, strategy="direct", sparsity=None),
    "covariate": ARNet(3, sparsity=None, columns=FUTURE),
}


@pytest.mark.parametrize(
    ("n_windows", "step_size", "refit"),
    [(1, None, False), (4, None, False), (3, None, True), (3, 2, 2), (2, 5, True)],
)
@pytest.mark.parametrize("name", MODELS)
def test_cross_validation_equals_fit_and_predict_at_each_cutoff(
    name: str, n_windows: int, step_size: int | None, refit: bool | int
) -> None:
    frame = long_frame()
    found = cross_validation(
        {name: MODELS[name]},
        frame,
        horizon=HORIZON,
        n_windows=n_windows,
        step_size=step_size,
        refit=refit,
        level=80,
    )
    expected = reference_backtest(
        MODELS[name], frame, n_windows, step_size or HORIZON, refit, level=80
    )
    assert list(found) == ["unique_id", "ds", "cutoff", "y", name, f"{name}-lo-80", f"{name}-hi-80"]
    for column in ("unique_id", "ds", "cutoff"):
        assert found[column].tolist() == expected[column].tolist()
    np.testing.assert_array_equal(found["y"], expected["y"])
    own = type(MODELS[name]).__name__
    for suffix in ("", "-lo-80", "-hi-80"):
        np.testing.assert_allclose(found[name + suffix], expected[own + suffix], rtol=1e-9)


def test_cross_validation_of_a_trained_model() -> None:
    model = NLinear(5, horizon=HORIZON, training=Training(epochs=2), random_state=0)
    frame = long_frame()
    found = cross_validation(model, frame, horizon=HORIZON, n_windows=2, refit=True, level=50)
    expected = reference_backtest(model, frame, 2, HORIZON, True, level=50)
    for column in ("NLinear", "NLinear-lo-50", "NLinear-hi-50"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5)


@pytest.mark.parametrize("refit", (False, True))
@pytest.mark.parametrize("prompts", ("last", "nearest"))
def test_prompts_are_read_before_each_cutoff(refit: bool, prompts: Any) -> None:
    frame = long_frame().drop(columns="f")
    model = AutoTimes(
        8,
        horizon=HORIZON,
        segment_length=4,
        **{"backbone": None, "depth": 1, "width": 16, "random_state": 0, "device": "cpu"},
        training=Training(epochs=1),
    )
    prompted = clone(model).set_params(prompts=prompts)
    options: dict[str, Any] = {"horizon": HORIZON, "n_windows": 2, "refit": refit}
    found = cross_validation([prompted, Naive()], frame, **options)
    plain = cross_validation([model, Naive()], frame, **options)
    expected = reference_backtest(prompted, frame, 2, HORIZON, refit)
    merged = found.merge(expected, on=["unique_id", "ds", "cutoff"], suffixes=("", "_slow"))
    assert len(merged) == len(found)
    np.testing.assert_allclose(merged["AutoTimes"], merged["AutoTimes_slow"], rtol=1e-5)
    assert not np.allclose(found["AutoTimes"], plain["AutoTimes"])
    np.testing.assert_array_equal(found["Naive"], plain["Naive"])


def test_several_models_are_cloned_and_share_one_frame() -> None:
    frame, models = long_frame(), [Naive(), ARNet(3), ARNet(2, columns=FUTURE)]
    found = cross_validation(models, frame, horizon=2, n_windows=2, quantile_levels=[0.1])
    assert list(found)[4:] == [
        *("Naive", "Naive-q-0.1", "ARNet", "ARNet-q-0.1", "ARNet-2", "ARNet-2-q-0.1")
    ]
    for name, model in zip(("Naive", "ARNet", "ARNet-2"), models, strict=True):
        single = cross_validation({name: model}, frame, horizon=2, n_windows=2)
        np.testing.assert_array_equal(found[name], single[name])
        assert not hasattr(model, "context_")


def test_all_layouts_give_equal_forecasts() -> None:
    y = np.stack([walk(50, seed) for seed in range(2)], axis=1)
    times = pd.date_range("2024-01-01", periods=50, freq="D")
    wide = pd.DataFrame(y, index=times, columns=["a", "b"])
    long = wide.melt(ignore_index=False, var_name="unique_id", value_name="y")
    found = [
        cross_validation(ARNet(3), frame, horizon=4, n_windows=2)
        for frame in (y, wide, long.rename_axis("ds").reset_index())
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0]["ARNet"], other["ARNet"])
        np.testing.assert_array_equal(found[0]["y"], other["y"])
    assert found[0]["cutoff"].unique().tolist() == [41, 45]
    assert found[1]["cutoff"].unique().tolist() == [times[41], times[45]]
    assert found[0]["unique_id"].tolist() == [0] * 8 + [1] * 8
    one = cross_validation(ARNet(3), wide["a"], horizon=4, n_windows=2)
    np.testing.assert_array_equal(one["ARNet"], found[0]["ARNet"][:8])


@pytest.mark.parametrize(
    ("freq", "timezone"), [("h", "Europe/Berlin"), ("D", "America/New_York"), ("MS", None)]
)
def test_times_and_cutoffs_keep_time_zone_and_frequency(freq: str, timezone: str | None) -> None:
    frame = long_frame(freq, timezone)
    found = cross_validation(Naive(), frame, horizon=2, n_windows=20)
    for name, part in found.groupby("unique_id"):
        own = frame[frame["unique_id"] == name]["ds"]
        assert part["ds"].tolist() == own.iloc[-40:].tolist()
        assert part["cutoff"].tolist() == np.repeat(own.iloc[-41:-2:2], 2).tolist()
    assert found["ds"].dtype == found["cutoff"].dtype == frame["ds"].dtype
    scores = evaluate(found, ["mase"], train=frame, by="cutoff", season_length=1)
    assert scores["mase"].notna().all()


def test_cross_validation_of_monthly_periods() -> None:
    wide = pd.DataFrame({"a": walk(40)}, index=pd.period_range("2020-01", periods=40, freq="M"))
    found = cross_validation(Naive(), wide, horizon=2, n_windows=2)
    assert found["cutoff"].unique().tolist() == [wide.index[35], wide.index[37]]
    assert evaluate(found, ["mase"], train=wide).notna().all(axis=None)


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_do_not_depend_on_data_after_their_cutoff(name: str) -> None:
    frame, arguments = long_frame(), {"horizon": HORIZON, "n_windows": 4, "level": 80}
    before = cross_validation({name: MODELS[name]}, frame, **arguments)
    cutoffs = before.groupby("unique_id")["cutoff"].unique()
    for window in range(4):
        changed = frame.copy()
        limit = changed["unique_id"].map({k: v[window] for k, v in cutoffs.items()})
        changed.loc[changed["ds"] > limit, "y"] = -1e3
        after = cross_validation({name: MODELS[name]}, changed, **arguments)
        early = np.arange(len(before)) // HORIZON % 4 <= window
        columns = [column for column in before if column.startswith(name)]
        pd.testing.assert_frame_equal(before.loc[early, columns], after.loc[early, columns])


def test_future_covariates_are_read_after_the_cutoff_and_past_covariates_are_not() -> None:
    frame = long_frame()
    one = cross_validation(MODELS["covariate"], frame, horizon=2)
    last = frame.groupby("unique_id").tail(1).index
    frame.loc[last, "f"] += 10
    two = cross_validation(MODELS["covariate"], frame, horizon=2)
    moved = (one["ARNet"] != two["ARNet"]).to_numpy().reshape(3, 2)
    assert moved.tolist() == [[False, True]] * 3
    past = ARNet(3, horizon=2, strategy="direct", columns=Columns(past=("f",)))
    frame.loc[last, "f"] = math.nan
    np.testing.assert_array_equal(
        cross_validation(past, frame, horizon=2)["ARNet"],
        cross_validation(past, long_frame(), horizon=2)["ARNet"],
    )


INVALID_ARGUMENTS: list[tuple[Any, dict[str, Any], str]] = [
    ([], {}, "models must be forecasters, or forecasters by name; got"),
    ({}, {}, "models must be forecasters, or forecasters by name; got"),
    ("Naive", {}, "models must be forecasters, or forecasters by name; got 'Naive'"),
    (Naive, {}, "models must be forecasters, or forecasters by name; got"),
    ({"a": 3}, {}, "models must be forecasters, or forecasters by name; got"),
    (pd.DataFrame({"y": range(99)}), {}, r"(?s)got .{,60}\. Give them first, and the data"),
    ({3: Naive()}, {}, "models must have strings as names; got 3"),
    ({"y": Naive()}, {}, "models must not be named like a column of the result; got 'y'"),
    ({"cutoff": Naive()}, {}, "models must not be named like a column of the result"),
    ({"a-lo-b": Naive()}, {}, "models must not have '-lo-', '-hi-' or '-q-' in a name"),
    (Naive(), {"horizon": 0}, "horizon must be an integer of at least 1; got 0"),
    (Naive(), {"n_windows": 0}, "n_windows must be an integer of at least 1; got 0"),
    (Naive(), {"step_size": 0}, "step_size must be an integer of at least 1; got 0"),
    (Naive(), {"refit": -1}, "refit must be an integer of at least 0; got -1"),
    (Naive(), {"refit": 2.5}, "refit must be an integer"),
    (Naive(), {"refit": None}, "refit must be an integer"),
    (Naive(), {"n_windows": 23}, "more than 46 points for these windows; got 45 for series 'b'"),
    (Naive(columns=FUTURE), {}, "columns.future must be empty for Naive"),
    (
        [Naive(), ARNet(2, columns=Columns(target="f"))],
        {},
        "models must have the same columns, except for covariates",
    ),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(("models", "options", "message"), INVALID_ARGUMENTS)
def test_invalid_arguments_raise(models: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        cross_validation(models, long_frame(), **({"horizon": 2} | options))


def test_column_that_is_a_series_for_one_model_and_a_covariate_for_another_raises() -> None:
    wide = pd.DataFrame({"a": walk(40), "f": walk(40, 1)}, index=pd.RangeIndex(40))
    single = cross_validation(ARNet(2, columns=FUTURE), wide, horizon=2)
    assert single["unique_id"].unique().tolist() == ["a"]
    with pytest.raises(ValueError, match=r"models must find the same series.*got \['a', 'f'\]"):
        cross_validation([Naive(), ARNet(2, columns=FUTURE)], wide, horizon=2)


# --- metrics ---------------------------------------------------------------------------------


def forecasts() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unique_id": ["a", "a", "a", "a", "b", "b", "b", "b"],
            "ds": [8, 9, 10, 11, 4, 5, 6, 7],
            "cutoff": [7, 7, 9, 9, 3, 3, 5, 5],
            "y": [1.0, 2.0, math.nan, 4.0, 10.0, 20.0, 30.0, 40.0],
            "z": [2.0, 2.0, 9.0, 1.0, 12.0, 19.0, 30.0, 44.0],
            "z-lo-80": [0.0, 1.0, 0.0, 2.0, 11.0, 18.0, 29.0, 43.0],
            "z-hi-80": [3.0, 3.0, 9.0, 3.0, 13.0, 21.0, 31.0, 45.0],
            "m": [1.0, 2.0, 0.0, 4.0, 10.0, 20.0, 30.0, 41.0],
            "m-lo-80": [0.0] * 8,
            "m-hi-80": [50.0] * 8,
        }
    )


ABSOLUTE = {"z": [1, 0, None, 3, 2, 1, 0, 4], "m": [0, 0, None, 0, 0, 0, 0, 1]}


def reference_metric(model: str, rows: list[int], metric: str) -> float:
    table = forecasts()
    observed = [row for row in rows if ABSOLUTE[model][row] is not None]
    errors = [float(ABSOLUTE[model][row]) for row in observed]
    if metric == "smape":
        size = [abs(table["y"][row]) + abs(table[model][row]) for row in observed]
        return float(np.mean([2 * e / s for e, s in zip(errors, size, strict=True)]))
    if metric == "coverage-80":
        low, high = table[f"{model}-lo-80"], table[f"{model}-hi-80"]
        return float(np.mean([low[row] <= table["y"][row] <= high[row] for row in observed]))
    if metric == "mase":  # steps of 2 in a up to its first cutoff, of 5 in b
        scale = {"a": 2.0, "b": 5.0}
        scaled = [e / scale[table["unique_id"][r]] for e, r in zip(errors, observed, strict=True)]
        return float(np.mean(scaled))
    return float(np.mean(errors) if metric == "mae" else np.sqrt(np.mean(np.square(errors))))


def history() -> pd.DataFrame:
    """Absolute differences of 2 and 5 up to the first cutoffs, and larger ones after them."""
    a = [0, 2, 0, 2, 0, 2, 0, 2, 90, 0, 90, 0]
    b = [0, 5, 0, 5, 900, 0, 900, 0]
    ids, times = ["a"] * 12 + ["b"] * 8, [*range(12), *range(8)]
    return pd.DataFrame({"unique_id": ids, "ds": times, "y": np.array(a + b, dtype=float)})


METRICS = ["mae", "rmse", "smape", "coverage", "mase"]
COLUMNS = ["mae", "rmse", "smape", "coverage-80", "mase"]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ((), {None: list(range(8))}),
        ("unique_id", {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}),
        ("cutoff", {3: [4, 5], 5: [6, 7], 7: [0, 1], 9: [2, 3]}),
        (
            ["unique_id", "cutoff"],
            {("a", 7): [0, 1], ("a", 9): [2, 3], ("b", 3): [4, 5], ("b", 5): [6, 7]},
        ),
    ],
)
def test_metrics_by_hand(by: Any, groups: dict[Any, list[int]]) -> None:
    scores = evaluate(forecasts(), METRICS, by=by, train=history())
    assert list(scores) == COLUMNS
    expected = [(key, model) for key in groups for model in ("z", "m")]
    assert len(scores) == len(expected)
    for row, (key, model) in enumerate(expected):
        label = (model,) if key is None else (*(key if isinstance(key, tuple) else (key,)), model)
        index = scores.index[row]
        assert (index if isinstance(index, tuple) else (index,)) == label
        for column in COLUMNS:
            value = reference_metric(model, groups[key], column)
            assert scores[column].iloc[row] == pytest.approx(value), (label, column)


def test_single_metric_name() -> None:
    pd.testing.assert_frame_equal(evaluate(forecasts(), "mae"), evaluate(forecasts(), ["mae"]))


def test_season_length_of_the_scale() -> None:
    train = history()
    scores = evaluate(forecasts(), ["mase"], train=train, season_length=3, by="unique_id")
    assert scores["mase"].tolist() == pytest.approx([4 / 3 / 2, 0.0, 7 / 4 / 5, 1 / 4 / 5])


def test_order_of_rows_does_not_affect_metrics() -> None:
    shuffled = forecasts().sample(frac=1, random_state=0)
    arguments = {"metrics": METRICS, "by": "unique_id", "train": history()}
    pd.testing.assert_frame_equal(
        evaluate(shuffled, **arguments), evaluate(forecasts(), **arguments)
    )


def test_quantile_metrics_use_all_quantile_and_interval_columns() -> None:
    table = forecasts().assign(**{"z-q-0.5": forecasts()["z"]})
    scores = evaluate(table[[c for c in table if not c.startswith("m")]], ["quantile_loss"])
    losses = []
    for level, column in ((0.1, "z-lo-80"), (0.5, "z"), (0.9, "z-hi-80")):
        error = (table["y"] - table[column]).dropna()
        losses.append(np.maximum(level * error, (level - 1) * error).mean())
    assert scores["quantile_loss"].iloc[0] == pytest.approx(np.mean(losses))


def test_nan_forecast_gives_nan() -> None:
    table = forecasts()
    table.loc[1, "z"] = math.nan
    scores = evaluate(table, ["mae"])
    assert math.isnan(scores["mae"]["z"]) and not math.isnan(scores["mae"]["m"])


def test_categorical_ids() -> None:
    table = forecasts().astype({"unique_id": "category"})
    scores = evaluate(table, ["mae", "mase"], by="unique_id", train=history())
    np.testing.assert_allclose(
        scores, evaluate(forecasts(), ["mae", "mase"], by="unique_id", train=history())
    )


def test_other_column_names() -> None:
    names = Columns(id="shop", time="day", target="sales")
    renamed = {"unique_id": "shop", "ds": "day", "y": "sales"}
    frame = long_frame().rename(columns=renamed)
    found = cross_validation(Naive(columns=names), frame, horizon=2, n_windows=2)
    assert list(found) == ["shop", "day", "cutoff", "sales", "Naive"]
    scores = evaluate(found, ["mae", "mase"], by="shop", train=frame, columns=names)
    default = cross_validation(Naive(), long_frame(), horizon=2, n_windows=2)
    expected = evaluate(default, ["mae", "mase"], by="unique_id", train=long_frame())
    np.testing.assert_allclose(scores, expected)


INVALID_EVALUATIONS: list[tuple[Any, dict[str, Any], str]] = [
    (forecasts(), {"metrics": ["mad"]}, r"metrics must be among \[.*\]; got 'mad'"),
    (forecasts(), {"metrics": []}, "metrics must name at least one"),
    (forecasts(), {"metrics": ["mase"]}, "'mase', which needs scale"),
    (forecasts()[["unique_id", "ds", "cutoff", "y", "m"]], {"metrics": ["coverage"]}, "'coverage'"),
    (
        forecasts()[["unique_id", "ds", "cutoff", "y", "m"]],
        {"metrics": ["wql"]},
        "'wql', which",
    ),
    (forecasts(), {"by": "shop"}, "by must name columns of the forecasts; got 'shop'"),
    (forecasts().drop(columns="y"), {}, "forecasts must have the column 'y'"),
    (forecasts()[["unique_id", "ds", "cutoff", "y"]], {}, "forecasts must have a column for each"),
    (walk(9), {}, "forecasts must be a DataFrame; got ndarray"),
    (
        forecasts().drop(columns="cutoff"),
        {"metrics": ["mase"], "train": history()},
        "forecasts must have the column 'cutoff'",
    ),
    (
        forecasts(),
        {"metrics": ["mase"], "train": history().query("unique_id == 'a'")},
        "train must hold every series of the forecasts; got none of 'b'",
    ),
    (
        forecasts(),
        {"metrics": ["mase"], "train": history(), "season_length": 0},
        "season_length must be at least 1; got 0",
    ),
]


@pytest.mark.wrong_types
@pytest.mark.parametrize(("table", "options", "message"), INVALID_EVALUATIONS)
def test_invalid_evaluation_raises(table: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        evaluate(table, **options)


def test_missing_future_covariates_raise() -> None:
    frame = pd.DataFrame({"ds": range(40), "y": np.arange(40.0), "f": np.arange(40.0)})
    frame.loc[36:, "f"] = np.nan
    model = ARNet(3, columns=Columns(future=("f",)))
    with pytest.raises(ValueError, match="must have the future covariate 'f' at every time"):
        cross_validation(model, frame, horizon=5)


def test_columns_that_conflict_with_the_result_raise() -> None:
    frame = long_frame()[["unique_id", "ds", "y"]]
    for old, role in (("unique_id", "id"), ("ds", "time"), ("y", "target")):
        columns = Columns(**{role: "cutoff"})
        with pytest.raises(ValueError, match="columns must not contain 'cutoff'"):
            cross_validation(
                Naive(columns=columns), frame.rename(columns={old: "cutoff"}), horizon=1
            )
        columns = Columns(**{role: "Naive-lo-80"})
        named = frame.rename(columns={old: "Naive-lo-80"})
        with pytest.raises(ValueError, match="got 'Naive', which gives 'Naive-lo-80'"):
            cross_validation(Naive(columns=columns), named, horizon=1, level=80)
        if role != "target":
            model = Naive(columns=columns).fit(named)
            with pytest.raises(ValueError, match="got 'Naive-lo-80' for an id or time column"):
                model.predict(level=80)
            assert len(model.predict()) == 3


@pytest.mark.wrong_types
def test_numpy_integers_are_accepted() -> None:
    first, second = (
        cross_validation(
            ARNet(3),
            walk(40),
            horizon=kind(3),
            n_windows=kind(2),
            step_size=kind(2),
            refit=kind(1),
        )
        for kind in (np.int64, int)
    )
    pd.testing.assert_frame_equal(first, second)


def test_evaluate_accepts_a_polars_frame() -> None:
    table = cross_validation(Naive(), long_frame(), horizon=2)
    pd.testing.assert_frame_equal(evaluate(pl.from_pandas(table)), evaluate(table))


def test_train_with_another_time_zone_raises() -> None:
    table = cross_validation(Naive(), long_frame("h", "Europe/Berlin"), horizon=2)
    with pytest.raises(ValueError, match="forecasts must have times without a zone, as in train"):
        evaluate(table, ["mase"], train=long_frame("h"))
