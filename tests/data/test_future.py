"""Covariates and their future values in batches, compared with a look-up of each cell in pandas."""

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from reference import value_at

from tsar.data.panel import Columns, Panel, make_future, read_future
from tsar.data.windows import Windows

PAST, FUTURE = ("rain", "heat"), ("price", "holiday")
COLUMNS = Columns(past=PAST, future=FUTURE, static=("size", "region", "floor", "owner"))
LENGTHS = {"c": 9, "a": 4, "b": 12}
SIZES = {"a": 1.5, "b": 2.5, "c": np.nan}
REGIONS = {"a": "north", "b": "east", "c": "north"}
FLOORS = {"a": 1, "b": pd.NA, "c": 3}
OWNERS = {"a": "Li", "b": "Ng", "c": None}


def frame_with_covariates(seed: int = 0) -> pd.DataFrame:
    """Series that begin and end at different times, with a number in each cell."""
    generator = np.random.default_rng(seed)
    starts = {"c": 3, "a": 0, "b": 5}
    rows = [(name, starts[name] + k) for name, length in LENGTHS.items() for k in range(length)]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds"])
    for name in ("y", *PAST, *FUTURE):
        frame[name] = generator.normal(size=len(frame))
    frame.loc[[2, 7, 14], "y"] = np.nan
    frame.loc[[3], "rain"] = np.nan
    frame["size"] = frame["unique_id"].map(SIZES)
    frame["region"] = frame["unique_id"].map(REGIONS).astype("category")
    frame["floor"] = frame["unique_id"].map(FLOORS).astype("Int64")
    frame["owner"] = frame["unique_id"].map(OWNERS)
    return frame


def future_frame(panel: Panel, horizon: int, seed: int = 1) -> pd.DataFrame:
    """The times to forecast, with a number in each cell, in no order."""
    frame = pd.DataFrame(
        {
            "unique_id": panel.labels.ids.repeat(horizon),
            "ds": panel.future_times(horizon),
        }
    )
    generator = np.random.default_rng(seed)
    for name in FUTURE:
        frame[name] = generator.normal(size=len(frame))
    return frame.sample(frac=1, random_state=seed)


def test_batches_hold_the_cells_of_the_frame() -> None:
    frame = frame_with_covariates()
    panel = Panel.from_frame(frame.sample(frac=1, random_state=0), COLUMNS)
    windows = Windows.sliding(panel, 4, 3)
    batch = windows.batch(slice(None))
    points = windows.cutoffs - windows.panel.offsets[windows.series]
    left = int(windows.panel.lengths[0]) - int(panel.lengths[0])
    assert len(windows) == 10
    for row in range(len(windows)):
        name = panel.labels.ids[int(batch.context.series[row])]
        last = int(windows.panel.labels.starts[int(batch.context.series[row])]) + int(points[row])
        times = range(last - 4, last + 3)
        columns = {
            "y": torch.cat([batch.context.values[row], batch.target[row]]),
            **{n: batch.context.past[row, :, k] for k, n in enumerate(PAST)},
            **{n: batch.context.future[row, :, k] for k, n in enumerate(FUTURE)},
        }
        for column, found in columns.items():
            expected = [value_at(frame, column, name, time) for time in times][: len(found)]
            np.testing.assert_array_equal(found.numpy(), expected, err_msg=f"{name} {column}")
    assert left > 0  # the short series was padded, and no window reaches into another series


def test_static_columns_are_numbers_or_codes() -> None:
    panel = Panel.from_frame(frame_with_covariates(), COLUMNS)
    np.testing.assert_array_equal(panel.static.numpy(), [[1.5, 1], [2.5, np.nan], [np.nan, 3]])
    assert panel.category.tolist() == [[1, 0], [0, 1], [1, -1]]
    assert panel.labels.categories == (("east", "north"), ("Li", "Ng"))
    batch = Windows.sliding(panel, 4, 3).batch(slice(None))
    assert torch.equal(batch.context.category, panel.category[batch.context.series])
    assert torch.equal(
        batch.context.static.nan_to_num(-1.0), panel.static[batch.context.series].nan_to_num(-1.0)
    )


def test_static_values_may_be_missing_in_some_rows() -> None:
    frame = frame_with_covariates()
    frame.loc[frame.groupby("unique_id").head(2).index, ["size", "region", "floor"]] = None
    panel = Panel.from_frame(frame, COLUMNS)
    complete = Panel.from_frame(frame_with_covariates(), COLUMNS)
    assert torch.equal(panel.category, complete.category)
    assert torch.equal(panel.static.nan_to_num(-1.0), complete.static.nan_to_num(-1.0))


def test_booleans_are_numbers_and_integer_categoricals_categories() -> None:
    frame = frame_with_covariates()
    frame["open"] = frame["unique_id"] != "a"
    frame["kind"] = pd.Categorical(frame["unique_id"].map({"a": 7, "b": 7, "c": 4}))
    panel = Panel.from_frame(frame, Columns(static=("open", "kind")))
    assert panel.static.tolist() == [[0.0], [1.0], [1.0]]
    assert panel.labels.categories == (("4", "7"),)
    assert panel.category.tolist() == [[1], [1], [0]]


def test_covariates_of_a_wide_frame_are_shared_by_its_series() -> None:
    frame = pd.DataFrame(
        {"north": [1.0, 2.0, 3.0], "rain": [4.0, 5.0, 6.0], "south": [7.0, 8.0, 9.0]},
        index=pd.date_range("2024-01-01", periods=3),
    )
    panel = Panel.from_frame(frame.iloc[::-1], Columns(future=("rain",)))
    assert panel.labels.ids.tolist() == ["north", "south"]
    assert panel.values.tolist() == [1, 2, 3, 7, 8, 9]
    assert panel.future.tolist() == [[4.0], [5.0], [6.0]] * 2


def test_future_values_are_matched_by_series_and_time() -> None:
    panel = Panel.from_frame(frame_with_covariates(), COLUMNS)
    frame = future_frame(panel, 3)
    found = read_future(panel, frame, 3)
    assert found.shape == (3, 3, 2)
    for row, name in enumerate(panel.labels.ids):
        for step, time in enumerate(panel.end_ordinals(1)[row] + np.arange(3)):
            for feature, column in enumerate(FUTURE):
                cell = float(found[row, step, feature])
                assert cell == value_at(frame, column, name, time)


def test_later_times_and_other_series_in_the_future_are_ignored() -> None:
    panel = Panel.from_frame(frame_with_covariates(), COLUMNS)
    frame = future_frame(panel, 5)
    others = pd.concat([frame.assign(unique_id=name, price=9.0) for name in "xz"] + [frame])
    assert torch.equal(read_future(panel, others, 3), read_future(panel, frame, 5)[:, :3])


@pytest.mark.parametrize(
    "index",
    (
        pd.date_range("2024-03-30", periods=6, tz="Europe/Berlin"),
        pd.period_range("2024-01", periods=6, freq="M"),
        pd.RangeIndex(6),
    ),
)
def test_future_of_a_wide_frame_is_matched_by_its_index(index: pd.Index) -> None:
    frame = pd.DataFrame({"a": 1.0, "b": 2.0, "rain": np.arange(6.0)}, index=index)
    columns = Columns(future=("rain",))
    panel = Panel.from_frame(frame.iloc[:3], columns)
    ahead = frame[["rain"]].iloc[[5, 4, 3]]
    assert read_future(panel, ahead, 3)[..., 0].tolist() == [[3, 4, 5]] * 2
    empty = make_future(frame.iloc[:3], 3, columns=columns)
    assert empty.index.equals(pd.Index(index[3:]))
    assert empty.index.dtype == index.dtype
    assert list(empty.columns) == ["rain"]
    assert empty["rain"].isna().all()


@pytest.mark.parametrize("ids", (True, False))
@pytest.mark.parametrize("kind", ("pandas", "polars", "category"))
def test_a_filled_in_frame_of_make_future_is_read(kind: str, ids: bool) -> None:
    frame: Any = frame_with_covariates().assign(
        ds=lambda f: pd.Timestamp("2024-01-01") + pd.to_timedelta(f["ds"], "D")
    )
    frame = frame[["unique_id", "ds", "y", "price"]]
    columns = Columns(future=("price",))
    if not ids:
        frame = frame[frame["unique_id"] == "b"].drop(columns="unique_id")
    elif kind == "category":
        frame = frame.astype({"unique_id": "category"})
    if kind == "polars":
        frame = pl.from_pandas(frame).with_columns(pl.col("ds").cast(pl.Date))
    panel = Panel.from_frame(frame, columns)
    template = make_future(frame, 2, columns=columns)
    prices = np.arange(2.0 * len(panel))
    if kind == "polars":
        assert template.schema["ds"] == pl.Date
        assert template["price"].is_nan().all()
        filled = template.with_columns(price=prices)
    else:
        assert template["price"].isna().all()
        assert (template.dtypes == frame.drop(columns="y").dtypes).all()
        filled = template.assign(price=prices)
    assert read_future(panel, filled, 2).reshape(-1).tolist() == prices.tolist()


def test_future_times_may_have_another_resolution_or_be_text() -> None:
    frame = frame_with_covariates()
    frame["ds"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["ds"], "D")
    panel = Panel.from_frame(frame.astype({"ds": "datetime64[s]"}), COLUMNS)
    ahead = future_frame(panel, 2)
    expected = read_future(panel, ahead, 2)
    for other in ("datetime64[ns]", "datetime64[ms]", str):
        assert torch.equal(read_future(panel, ahead.astype({"ds": other}), 2), expected)


def test_no_future_is_read_without_future_covariates() -> None:
    panel = Panel.from_frame(frame_with_covariates())
    assert read_future(panel, None, 4).shape == (3, 4, 0)


def test_missing_future_values_are_named() -> None:
    panel = Panel.from_frame(frame_with_covariates(), COLUMNS)
    frame = future_frame(panel, 3).sort_values(["unique_id", "ds"]).reset_index(drop=True)
    expected = (
        r"future must have the covariate 'holiday' for every \(id, time\) to forecast; got none "
        r"for series 'b' at 18 \(1 missing in all\). Fill in tsar.make_future\(frame, horizon\)."
    )
    row = frame.index[(frame["unique_id"] == "b") & (frame["ds"] == 18)]
    hole = frame.copy()
    hole.loc[row, "holiday"] = np.nan
    with pytest.raises(ValueError, match=expected):
        read_future(panel, hole, 3)
    with pytest.raises(ValueError, match=r"'price' .* for series 'b' at 18 \(2 missing in all\)"):
        read_future(panel, frame.drop(index=row), 3)
    with pytest.raises(ValueError, match=r"'price' .* for series 'a' at 4 \(6 missing in all\)"):
        read_future(panel, frame[frame["unique_id"] != "a"], 3)
    with pytest.raises(ValueError, match=r"for series 'a' at 7 \(6 missing in all\)"):
        read_future(panel, frame, 4)
    with pytest.raises(ValueError, match=r"for series 'a' at 4 \(18 missing in all\)"):
        read_future(panel, frame.iloc[:0], 3)


def test_invalid_futures_of_a_long_frame_are_refused() -> None:
    panel = Panel.from_frame(frame_with_covariates(), COLUMNS)
    frame = future_frame(panel, 3)
    with pytest.raises(ValueError, match=r"future must give the covariates \('price', 'holiday'\)"):
        read_future(panel, None, 3)
    for name in ("price", "unique_id", "ds"):
        with pytest.raises(ValueError, match=f"future must have the .* '{name}'; got columns"):
            read_future(panel, frame.drop(columns=name), 3)
    with pytest.raises(ValueError, match=r"\(unique_id, ds\); got several for series 'a' at 5"):
        read_future(panel, pd.concat([frame, frame[frame["ds"] == 5]]), 3)
    with pytest.raises(ValueError, match="'price' must hold numbers; got 'dear'"):
        read_future(panel, frame.assign(price="dear"), 3)
    with pytest.raises(ValueError, match="'price' must be finite or NaN; got infinity"):
        read_future(panel, frame.assign(price=math.inf), 3)
    with pytest.raises(TypeError, match="future must be a DataFrame; got ndarray"):
        read_future(panel, np.ones((3, 2)), 3)
    plain = Panel.from_frame(frame_with_covariates())
    with pytest.raises(ValueError, match="future must be None without future covariates"):
        read_future(plain, frame, 3)


def test_invalid_futures_of_a_wide_frame_are_refused() -> None:
    frame = pd.DataFrame(
        {"a": 1.0, "rain": np.arange(6.0)}, index=pd.date_range("2024-03-30", periods=6)
    )
    panel = Panel.from_frame(frame.iloc[:3], Columns(future=("rain",)))
    with pytest.raises(ValueError, match=r"'rain' .* for series 'a' at 2024-04-04 .*\(1 missing"):
        read_future(panel, frame[["rain"]].iloc[:5], 3)
    with pytest.raises(ValueError, match="future must have one row for each time; got several"):
        read_future(panel, frame[["rain"]].iloc[[3, 3, 4, 5]], 3)
    with pytest.raises(TypeError, match="frame must have times of its own; got an array"):
        make_future(np.ones((3, 2)), 2)


@pytest.mark.wrong_types
@pytest.mark.parametrize("horizon", [0, -1, 2.5])
def test_make_future_needs_a_positive_horizon(horizon: float) -> None:
    with pytest.raises(ValueError, match=r"horizon must be an integer of at least 1"):
        make_future(pd.DataFrame({"ds": [1, 2], "y": [3.0, 4.0]}), horizon)
