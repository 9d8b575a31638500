"""Frames of every layout and library are read, and forecasts returned in the same layout."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from tsar.data.panel import Columns, Panel, is_long, make_future

DAYS = pd.date_range("2024-03-30", periods=5, freq="D")


def long_frame(ids: tuple[object, ...] = ("b", "a"), periods: int = 4) -> pd.DataFrame:
    """Series of `periods`, `periods + 1`, ... days, each value its own."""
    parts = [
        pd.DataFrame(
            {
                "unique_id": pd.Series([name] * (periods + k), dtype=object).infer_objects(),
                "ds": pd.date_range("2024-01-01", periods=periods + k, freq="D"),
                "y": 10.0 * k + np.arange(periods + k),
            }
        )
        for k, name in enumerate(ids)
    ]
    return pd.concat(parts, ignore_index=True)


def forecasts(panel: Panel, horizon: int = 2, names: tuple[str, ...] = ("Model",)) -> Any:
    """Frame of the forecasts 100, 101, ...; the columns after the first are negative."""
    values = 100.0 + np.arange(len(panel) * horizon).reshape(len(panel), horizon)
    return panel.to_frame({name: values * (-1) ** k for k, name in enumerate(names)})


def series_of(panel: Panel) -> dict[object, list[float]]:
    """Values of each series by its name, -1 where missing."""
    borders = zip(panel.offsets[:-1].tolist(), panel.offsets[1:].tolist(), strict=True)
    values = [panel.values[first:last].nan_to_num(-1.0).tolist() for first, last in borders]
    return dict(zip(panel.labels.ids.tolist(), values, strict=True))


def test_long_frames_are_returned_long() -> None:
    panel = Panel.from_frame(long_frame())
    assert series_of(panel) == {"a": [10, 11, 12, 13, 14], "b": [0, 1, 2, 3]}
    expected = pd.DataFrame(
        {
            "unique_id": ["a", "a", "b", "b"],
            "ds": pd.DatetimeIndex(["2024-01-06", "2024-01-07", "2024-01-05", "2024-01-06"]),
            "Model": [100.0, 101.0, 102.0, 103.0],
        }
    ).astype({"ds": long_frame()["ds"].dtype})
    pd.testing.assert_frame_equal(forecasts(panel), expected)


def test_columns_may_have_other_names_in_any_order() -> None:
    columns = Columns(id="shop", time="day", target="sales")
    names = {"unique_id": "shop", "ds": "day", "y": "sales"}
    frame = long_frame().rename(columns=names).assign(note="text")
    panel = Panel.from_frame(frame[["note", "sales", "day", "shop"]], columns)
    assert series_of(panel) == series_of(Panel.from_frame(long_frame()))
    assert list(forecasts(panel).columns) == ["shop", "day", "Model"]


def test_a_long_frame_without_ids_is_one_series() -> None:
    frame = long_frame(("a",)).drop(columns="unique_id")
    panel = Panel.from_frame(frame)
    assert series_of(panel) == {"y": [0, 1, 2, 3]}
    assert list(forecasts(panel).columns) == ["ds", "Model"]


@pytest.mark.parametrize(
    "ids",
    (
        ("b", "a", "c"),
        (10, 9, -1),
        (2.5, 1.5, 0.5),
        (False, True),
        ("b", 1, "1", 2),
        ("b", (1, "x"), 3, 2),
    ),
    ids=("text", "integers", "floats", "booleans", "mixed", "tuples"),
)
def test_ids_of_every_type_are_returned(ids: tuple[object, ...]) -> None:
    frame = long_frame(ids)
    panel = Panel.from_frame(frame)
    found = series_of(panel)
    assert found == {name: [10.0 * k + i for i in range(4 + k)] for k, name in enumerate(ids)}
    out = forecasts(panel)
    assert {(type(name), name) for name in out["unique_id"]} == {(type(n), n) for n in ids}
    assert out["unique_id"].dtype == frame["unique_id"].dtype
    shuffled = Panel.from_frame(frame.sample(frac=1, random_state=0))
    assert shuffled.labels.ids.tolist() == panel.labels.ids.tolist()


@pytest.mark.parametrize("dtype", ("int32", "Int64", "string", "category", "float32"))
def test_the_dtype_of_ids_is_kept(dtype: str) -> None:
    frame = long_frame((3, 1, 2)).astype({"unique_id": dtype})
    out = forecasts(Panel.from_frame(frame))
    assert out["unique_id"].dtype == frame["unique_id"].dtype
    assert out["unique_id"].tolist() == sorted(frame["unique_id"].unique().repeat(2))
    known = frame.drop(columns="y").assign(x=1.0)
    again = make_future(frame.assign(x=1.0), 2, columns=Columns(future=("x",)))
    assert again["unique_id"].dtype == known["unique_id"].dtype


def test_unused_categories_are_no_series() -> None:
    names = pd.Categorical(["b"] * 3 + ["a"] * 3, categories=["c", "b", "a"], ordered=True)
    frame = pd.DataFrame({"unique_id": names, "ds": [1, 2, 3] * 2, "y": np.arange(6.0)})
    panel = Panel.from_frame(frame)
    assert series_of(panel) == {"a": [3, 4, 5], "b": [0, 1, 2]}


def test_rows_may_be_in_any_order() -> None:
    frame = long_frame(("b", "a", "c"))
    shuffled = frame.sample(frac=1, random_state=1)
    left, right = Panel.from_frame(frame), Panel.from_frame(shuffled)
    assert torch.equal(left.values, right.values)
    assert torch.equal(left.offsets, right.offsets)
    pd.testing.assert_frame_equal(forecasts(left), forecasts(right))


def test_reading_does_not_change_the_frame() -> None:
    frame = long_frame().sample(frac=1, random_state=1)
    before = frame.copy()
    Panel.from_frame(frame).values.zero_()
    pd.testing.assert_frame_equal(frame, before)
    array = np.arange(6.0).reshape(3, 2)
    Panel.from_frame(array).values.zero_()
    assert array.sum() == 15


@pytest.mark.parametrize(
    "index",
    (
        DAYS.rename("day"),
        DAYS.tz_localize("Europe/Berlin").rename("day"),
        DAYS.as_unit("s"),
        pd.period_range("2024-01", periods=5, freq="M", name="month"),
        pd.RangeIndex(5),
        pd.Index([2, 4, 6, 8, 10], name="step"),
    ),
    ids=("naive", "aware", "seconds", "periods", "range", "integers"),
)
def test_wide_frames_are_returned_wide(index: pd.Index) -> None:
    columns = pd.Index(["b", "a"], name="shop")
    frame = pd.DataFrame(np.arange(10.0).reshape(5, 2), index=index, columns=columns)
    panel = Panel.from_frame(frame.iloc[:3])
    assert series_of(panel) == {"b": [0, 2, 4], "a": [1, 3, 5]}
    expected = pd.DataFrame([[100.0, 102.0], [101.0, 103.0]], index=index[3:], columns=columns)
    pd.testing.assert_frame_equal(forecasts(panel), expected, check_freq=False)
    assert forecasts(panel).index.dtype == index.dtype
    turned = Panel.from_frame(frame.iloc[[2, 0, 1]])
    assert torch.equal(turned.values, panel.values)
    assert turned.labels.starts.tolist() == panel.labels.starts.tolist()


def test_a_wide_frame_may_have_a_column_named_as_the_target() -> None:
    frame = pd.DataFrame({"y": [1.0, 2.0]}, index=DAYS[:2])
    assert list(forecasts(Panel.from_frame(frame)).columns) == ["y"]


def test_wide_forecasts_with_intervals_have_pairs_as_columns() -> None:
    frame = pd.DataFrame({"b": [1.0, 2.0], "a": [3.0, 4.0]}, index=DAYS[:2])
    out = forecasts(Panel.from_frame(frame), 2, ("Model", "Model-lo-80"))
    assert out.columns.tolist() == [
        *(("b", "Model"), ("b", "Model-lo-80"), ("a", "Model"), ("a", "Model-lo-80"))
    ]
    assert out["a"]["Model"].tolist() == [102, 103]
    assert out["a"]["Model-lo-80"].tolist() == [-102, -103]


@pytest.mark.parametrize("name", ("sales", None, 7))
def test_series_are_returned_as_series(name: object) -> None:
    series = pd.Series([1.0, 2.0, 3.0], index=DAYS[:3].rename("day"), name=name)
    expected = pd.Series([100.0, 101.0], index=DAYS[3:].rename("day"), name=name)
    panel = Panel.from_frame(series.iloc[[1, 0, 2]])
    pd.testing.assert_series_equal(forecasts(panel), expected, check_freq=False)
    both = forecasts(panel, 2, ("Model", "Model-lo-80"))
    assert list(both.columns) == ["Model", "Model-lo-80"]
    assert both["Model-lo-80"].tolist() == [-100, -101]


@pytest.mark.parametrize("kind", (np.array, list, tuple, torch.tensor))
def test_arrays_are_returned_as_arrays(kind: Callable[[Any], Any]) -> None:
    flat, square = kind([1.0, 2.0, 3.0]), kind([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])
    assert series_of(Panel.from_frame(flat)) == {0: [1, 2, 3]}
    assert series_of(Panel.from_frame(square)) == {0: [1, 2, 3], 1: [4, 5, 6]}
    assert forecasts(Panel.from_frame(flat)).tolist() == [100, 101]
    assert forecasts(Panel.from_frame(square)).tolist() == [[100, 102], [101, 103]]
    both = ("Model", "Model-lo-80")
    assert forecasts(Panel.from_frame(flat), 2, both).tolist() == [[100, -100], [101, -101]]
    assert forecasts(Panel.from_frame(square), 2, both).shape == (2, 2, 2)


def test_an_array_with_one_column_is_returned_with_one_column() -> None:
    assert forecasts(Panel.from_frame([[1.0], [2.0]])).tolist() == [[100], [101]]


def test_an_array_of_one_point_is_read() -> None:
    assert series_of(Panel.from_frame([5.0])) == {0: [5]}


@pytest.mark.parametrize("times", (pl.Date, pl.Datetime("us"), pl.Datetime("ms", "Europe/Berlin")))
@pytest.mark.parametrize("names", (pl.String, pl.Categorical, pl.Int32))
def test_polars_frames_are_returned_as_polars_frames(times: Any, names: Any) -> None:
    ids = ["2", "2", "2", "1", "1", "1"]
    frame = pl.DataFrame(
        {
            "unique_id": pl.Series(ids).cast(names),
            "ds": pl.Series(list(DAYS[:3]) * 2).cast(pl.Datetime("us")),
            "y": [1, 2, None, 4, 5, 6],
        }
    )
    zone = getattr(times, "time_zone", None)
    day = pl.col("ds").dt.replace_time_zone(zone) if zone else pl.col("ds")
    frame = frame.with_columns(day.cast(times))
    panel = Panel.from_frame(frame)
    assert list(series_of(panel).values()) == [[4, 5, 6], [1, 2, -1]]
    out = forecasts(panel)
    assert isinstance(out, pl.DataFrame)
    assert out.schema["ds"] == frame.schema["ds"]
    assert out.schema["unique_id"] == frame.schema["unique_id"]
    joined = out.join(frame, on=["unique_id", "ds"], how="left")
    assert joined["y"].null_count() == 4
    assert out["ds"].cast(pl.String).str.head(10).to_list() == ["2024-04-02", "2024-04-03"] * 2


@pytest.mark.parametrize("times", (pa.date32(), pa.timestamp("us"), pa.timestamp("ms", "UTC")))
def test_arrow_tables_are_returned_as_arrow_tables(times: pa.DataType) -> None:
    table = pa.table({"ds": pa.array(DAYS[:3]).cast(times), "y": [1.0, 2.0, None]})
    panel = Panel.from_frame(table)
    assert series_of(panel) == {"y": [1, 2, -1]}
    out = forecasts(panel)
    assert isinstance(out, pa.Table)
    assert out.column_names == ["ds", "Model"]
    assert out.schema.field("ds").type == times
    assert not out.schema.metadata
    assert [str(day)[:10] for day in out["ds"].to_pylist()] == ["2024-04-02", "2024-04-03"]


def test_a_frame_with_the_time_column_is_long() -> None:
    columns = Columns()
    frame = long_frame()
    assert is_long(frame, columns)
    assert is_long(pl.from_pandas(frame), columns)
    assert is_long(pa.Table.from_pandas(frame), columns)
    assert not is_long(frame.set_index("ds")[["y"]], columns)
    assert not is_long(frame, Columns(time="day"))
    assert not is_long(frame["y"], columns)
    assert not is_long(pd.Series({"ds": 1.0}), columns)
    assert not is_long(np.zeros((2, 2)), columns)


@pytest.mark.parametrize(
    "values",
    (
        [1.0, np.nan, 3.0],
        pd.array([1, pd.NA, 3], dtype="Int64"),
        pd.array([1, pd.NA, 3], dtype="Float32"),
        pd.array([1, None, 3], dtype=pd.ArrowDtype(pa.int16())),
        np.array([1, None, 3], dtype=object),
        np.array([1, pd.NA, 3], dtype=object),
        np.array([True, None, True], dtype=object),
    ),
    ids=("NaN", "Int64", "Float32", "arrow", "None", "NA", "truth"),
)
def test_missing_values_of_every_dtype_are_nan(values: Any) -> None:
    frame = pd.DataFrame({"ds": [1, 2, 3], "y": values})
    found = Panel.from_frame(frame).values
    assert found.dtype == torch.float64
    assert found.isnan().tolist() == [False, True, False]
    assert found[0] == 1
    wide = pd.DataFrame({"a": values}, index=DAYS[:3])
    assert Panel.from_frame(wide).values.isnan().tolist() == [False, True, False]


def test_columns_of_arrow_dtypes_are_read() -> None:
    expected = Panel.from_frame(long_frame())
    types = {
        "unique_id": "string[pyarrow]",
        "ds": pd.ArrowDtype(pa.timestamp("us")),
        "y": "double[pyarrow]",
    }
    for days in (types["ds"], pd.ArrowDtype(pa.date32())):
        panel = Panel.from_frame(long_frame().astype({**types, "ds": days}))
        assert torch.equal(panel.values, expected.values)
        assert panel.labels.starts.tolist() == expected.labels.starts.tolist()
        assert panel.labels.ids.tolist() == expected.labels.ids.tolist()


@pytest.mark.parametrize("dtype", ("int8", "float16", "bool", "UInt8", "boolean"))
def test_numbers_of_every_dtype_are_read(dtype: str) -> None:
    frame = pd.DataFrame({"ds": [1, 2], "y": pd.Series([0, 1]).astype(dtype)})
    assert Panel.from_frame(frame).values.tolist() == [0.0, 1.0]


def test_times_may_be_text_or_dates() -> None:
    expected = Panel.from_frame(long_frame(("a",)))
    for times in (
        expected.labels.frequency.to_times(expected.labels.starts + np.arange(4)).strftime(
            "%Y-%m-%d"
        ),
        pd.date_range("2024-01-01", periods=4).date,
    ):
        frame = long_frame(("a",)).assign(ds=np.asarray(times, dtype=object))
        assert Panel.from_frame(frame).labels.starts.tolist() == expected.labels.starts.tolist()


def test_fill_gaps_inserts_missing_rows() -> None:
    frame = long_frame(("a", "b"), 6).drop(index=[2, 3, 8])
    columns = Columns(past=("rain",), fill_gaps=True)
    frame["rain"] = frame["y"] * 2
    panel = Panel.from_frame(frame.sample(frac=1, random_state=0), columns)
    assert series_of(panel) == {"a": [0, 1, -1, -1, 4, 5], "b": [10, 11, -1, 13, 14, 15, 16]}
    assert torch.equal(panel.past[:, 0].nan_to_num(-1.0), (panel.values * 2).nan_to_num(-1.0))
    assert (
        panel.labels.starts.tolist()
        == Panel.from_frame(long_frame(("a", "b"))).labels.starts.tolist()
    )


def test_series_may_start_and_end_at_different_times() -> None:
    early = pd.DataFrame({"unique_id": "a", "ds": DAYS[:3], "y": 1.0})
    late = pd.DataFrame({"unique_id": "b", "ds": DAYS[2:], "y": 2.0})
    out = forecasts(Panel.from_frame(pd.concat([late, early])), 1)
    assert out["ds"].tolist() == [DAYS[3], pd.Timestamp("2024-04-04")]


def test_the_order_of_categorical_ids_is_kept() -> None:
    order = pd.CategoricalDtype(["b", "a"], ordered=True)
    frame = pd.DataFrame({"unique_id": list("aabb"), "ds": [0, 1, 0, 1], "y": 1.0})
    panel = Panel.from_frame(frame.astype({"unique_id": order}))
    found = panel.to_frame({"m": np.ones((2, 1))})
    assert found["unique_id"].dtype == order
    assert list(found["unique_id"]) == ["a", "b"]


def test_ordered_interval_categories_are_returned_without_order() -> None:
    parts = pd.cut([1.0, 1.0, 7.0, 7.0], 2)
    frame = pd.DataFrame({"unique_id": parts, "ds": [0, 1, 0, 1], "y": 1.0})
    panel = Panel.from_frame(frame)
    assert panel.labels.layout.category_order == ()
    assert list(panel.to_frame({"m": np.ones((2, 1))})["unique_id"]) == list(parts[[0, 2]])


@pytest.mark.parametrize("kind", ["int32", "Int32", "uint8", "int64"])
def test_the_dtype_of_integer_times_is_kept(kind: str) -> None:
    frame = pd.DataFrame({"ds": [4, 6, 8], "y": 1.0}).astype({"ds": kind})
    found = Panel.from_frame(frame).to_frame({"m": np.ones((1, 2))})
    assert found["ds"].dtype == kind
    assert list(found["ds"]) == [10, 12]


@pytest.mark.parametrize(
    ("freq", "zone"),
    [("h", "Europe/Berlin"), ("D", "Europe/Berlin"), ("MS", None), ("W-WED", None)],
)
def test_wide_forecasts_have_an_index_with_a_frequency(freq: str, zone: str | None) -> None:
    index = pd.date_range("2024-03-01", periods=30, freq=freq, tz=zone)
    for frame in (pd.Series(1.0, index), pd.DataFrame({"a": 1.0, "b": 2.0}, index)):
        panel = Panel.from_frame(frame)
        found = panel.to_frame({"m": np.ones((len(panel), 3))})
        assert found.index.freq == index.freq
        assert list(found.index) == list(index.shift(3)[-3:])


def test_times_beyond_the_range_of_nanoseconds_are_in_microseconds() -> None:
    for freq, zone, steps in (("YS", None, 300), ("D", "Europe/Berlin", 100_000)):
        index = pd.date_range("2000", periods=9, freq=freq, tz=zone).as_unit("ns")
        panel = Panel.from_frame(pd.Series(1.0, index))
        found = panel.to_frame({"m": np.ones((1, steps))})
        coarse = pd.date_range("2000", periods=9 + steps, freq=freq, tz=zone, unit="us")
        assert list(found.index) == list(coarse[9:])
        near = panel.to_frame({"m": np.ones((1, 2))})
        assert near.index.dtype == index.dtype
