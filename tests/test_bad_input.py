"""Errors of invalid frames and options: the condition, the value, the series and the remedy."""

import pickle
import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tsar.data.panel import Columns, Panel
from tsar.intervals import Levels
from tsar.runtime.seeds import resolve_seed
from tsar.training import Training
from tsar.validation import ParameterError

FRAME = pd.DataFrame(
    {
        "unique_id": ["a"] * 5 + ["b"] * 5,
        "ds": [*pd.date_range("2024-01-01", periods=5), *pd.date_range("2024-02-01", periods=5)],
        "y": np.arange(10.0),
        "x": np.arange(10.0),
    }
)
WIDE = FRAME.iloc[:5].set_index("ds")[["y", "x"]]


def rejects(frame: Any, message: str, error: type[Exception] = ValueError, **columns: Any) -> None:
    """Check that reading a frame raises an error whose message starts with `message`."""
    with pytest.raises(error, match=f"^{re.escape(message)}") as caught:
        Panel.from_frame(frame, Columns(**columns))
    assert str(caught.value).endswith(".")


def frame_with(row: int, name: str, value: Any) -> pd.DataFrame:
    frame = FRAME.astype({name: object}) if isinstance(value, str) else FRAME.copy()
    frame.loc[row, name] = value
    return frame


def test_frame_must_have_rows_and_columns() -> None:
    rejects(FRAME.iloc[:0], "frame must have rows and columns; got shape (0, 4)")
    rejects(WIDE.iloc[:0], "frame must have rows and columns; got shape (0, 2)")
    rejects(WIDE[[]], "frame must have rows and columns; got shape (5, 0)")
    rejects(WIDE["y"].iloc[:0], "frame must have rows; got an empty Series")
    rejects(np.empty((0, 2)), "Found array with 0 sample(s)")


@pytest.mark.parametrize("frame", (None, "file.csv", {"y": [1.0]}, 3.0))
def test_frame_must_have_a_supported_type(frame: Any) -> None:
    rejects(frame, "frame must be a DataFrame, a Series or a 2-D array; got", TypeError)


def test_array_must_have_one_or_two_axes() -> None:
    rejects(
        np.ones((2, 2, 2)), "frame must be an array (time,) or (time, series); got shape (2, 2,"
    )


def test_array_must_be_finite_or_nan() -> None:
    rejects(np.array([1.0, np.inf]), "Input contains infinity")


def test_polars_table_must_be_in_memory() -> None:
    message = "frame must be a table in memory; got polars's"
    rejects(pl.from_pandas(FRAME).lazy(), f"{message} LazyFrame", TypeError)
    rejects(pl.from_pandas(FRAME)["y"], f"{message} Series", TypeError)


def test_polars_frame_must_be_long() -> None:
    rejects(pl.DataFrame({"a": [1.0]}), "frame must have the column 'ds', which holds its times")


@pytest.mark.parametrize("name", ("y", "ds"))
def test_long_frame_must_have_target_and_time_columns(name: str) -> None:
    rejects(FRAME.drop(columns=name), f"frame must have the column '{name}'")


def test_named_columns_must_exist() -> None:
    rejects(FRAME, "frame must have the column 'shop'; got columns", id="shop")
    rejects(FRAME, "frame must have the column 'sales'; got columns", target="sales")
    rejects(FRAME, "frame must have the column 'day' beside ['unique_id', 'y']", time="day")
    for role in ("past", "future", "static"):
        rejects(FRAME, "frame must have the column 'price'; got columns", **{role: ("price",)})
    rejects(WIDE, "frame must have the column 'price'; got columns", past="price")


def test_long_frame_without_the_time_column_is_not_read_as_wide() -> None:
    frame = FRAME.rename(columns={"ds": "day"}).iloc[:5]
    rejects(frame, "frame must have the column 'ds' beside ['unique_id', 'y']; got columns")
    rejects(frame[["day", "y"]], "frame must have the column 'ds' beside ['y']; got columns")
    rejects(frame[["unique_id", "y"]].set_index(frame["day"]), "frame must have the column 'ds'")


@pytest.mark.parametrize("text", (False, True))
def test_error_suggests_a_column_of_dates_as_time(text: bool) -> None:
    frame = FRAME[["ds", "y"]].set_axis(["date", "sales"], axis=1)
    frame = frame.astype({"date": str}) if text else frame
    message = (
        "frame must have the column 'ds', which holds its times; got columns ['date', 'sales']"
    )
    advice = "Name it by Columns(time='date', target='sales'), or make it the index"
    rejects(frame, f"{message}. {advice}")
    rejects(frame.rename(columns={"sales": "y"}), "frame must have the column 'ds' beside ['y']")
    with pytest.raises(ValueError, match=r"Columns\(time='date'\), or make it the index"):
        Panel.from_frame(frame.rename(columns={"sales": "y"}))
    with pytest.raises(ValueError, match=r"Columns\(time='date', target=\.\.\.\), or make it"):
        Panel.from_frame(frame.assign(returns=1.0))
    assert len(Panel.from_frame(frame[["sales"]])) == 1


def test_column_names_must_be_distinct() -> None:
    frame = FRAME.rename(columns={"x": "y"})
    rejects(frame, "frame must have distinct column names; got 'y' twice")


def test_column_names_must_have_one_level() -> None:
    frame = WIDE.set_axis(
        pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["shop", "floor"]), axis=1
    )
    rejects(frame, "frame must have one level of column names; got 2, named ['shop', 'floor']")


def test_wide_frame_must_have_a_series_besides_covariates() -> None:
    frame = WIDE.rename(columns={"y": "z"})
    rejects(frame, "frame must have at least one series; got covariates only", past=("x", "z"))


@pytest.mark.parametrize(
    ("frame", "what"), ((WIDE, "a wide frame"), (WIDE["y"], "a Series")), ids=("wide", "series")
)
def test_static_columns_require_a_long_frame(frame: Any, what: str) -> None:
    rejects(frame, f"columns.static must be empty for {what}; got ('x',)", static=("x",))


def test_covariates_require_a_frame() -> None:
    rejects(WIDE["y"], "frame must have the covariate 'x'; got a Series", future=("x",))
    rejects([1.0, 2.0], "columns must name no covariates for an array; got ('x',)", past=("x",))


def test_static_column_must_be_constant_within_a_series() -> None:
    message = "static column 'x' must be constant within a series; got 5.0 and 7.0 for series 'b'"
    frame = FRAME.assign(x=[1.0] * 5 + [5.0, np.nan, 7.0, 7.0, 5.0])
    rejects(frame.sample(frac=1, random_state=0).sort_values("ds"), message, static=("x",))
    words = FRAME.assign(x=["north"] * 4 + ["south"] * 6)
    message = "static column 'x' must be constant within a series; got 'north' and 'south' for"
    rejects(words, f"{message} series 'a'", static=("x",))


def test_ids_must_not_be_missing() -> None:
    message = "frame['unique_id'] must name a series in every row; got a missing value in row 3"
    rejects(frame_with(3, "unique_id", None), message)


@pytest.mark.parametrize("shuffled", (False, True))
def test_times_of_a_series_must_be_distinct(shuffled: bool) -> None:
    frame = pd.concat([FRAME, FRAME.iloc[[7, 8]]], ignore_index=True)
    frame = frame.sample(frac=1, random_state=0) if shuffled else frame
    rejects(
        frame,
        "frame must have one row for each (unique_id, ds); got several for series 'b' at "
        "2024-02-03 00:00:00 (2 duplicate row(s) in all)",
    )
    wide = pd.concat([WIDE, WIDE.iloc[[1]]])
    message = "frame must have one row for each time of its index; got several at 2024-01-02"
    rejects(wide, message)
    rejects(wide["y"], message)
    message = "frame must have one row for each 'ds'; got several at 2024-01-02 00:00:00 (1 dupl"
    rejects(wide["y"].reset_index(), message)


def test_repeated_times_without_ids_may_be_those_of_several_series() -> None:
    renamed = FRAME.assign(ds=[*FRAME["ds"][:5]] * 2).rename(columns={"unique_id": "shop"})
    for frame in (renamed, renamed.set_index("ds")[["y"]]):
        with pytest.raises(ParameterError, match=r"drop them, or name .* by Columns\(id=\.\.\.\)"):
            Panel.from_frame(frame)
    assert len(Panel.from_frame(renamed, Columns(id="shop"))) == 2


def test_error_counts_missing_rows_and_names_the_first() -> None:
    rejects(
        FRAME.drop(index=[2, 6, 7]),
        "frame must have a row for every time (frequency 'D'); got 3 missing row(s) in 2 series, "
        "for series 'a' first at 2024-01-03 00:00:00. Pass Columns(fill_gaps=True)",
        freq="D",
    )
    rejects(
        pd.Series(1.0, index=[0, 2, 4, 8, 10]),
        "frame must have a row for every time (frequency '2'); got 1 missing row(s) in 1 series, "
        "for series 'y' first at 6.",
    )


def test_times_must_be_regular() -> None:
    rejects(
        frame_with(7, "ds", pd.Timestamp("2024-02-03 07:00")),
        "times must lie on the frequency 'D'; got 2024-02-03 07:00:00 for series 'b'",
    )
    hours = FRAME.assign(ds=[*range(5), 0, 1, 2, 5, 6]).drop(index=[9])
    rejects(
        hours.assign(ds=hours["ds"] * 2 + (hours["ds"] > 4)),
        "times must be regular, in steps of '2'; got 4 then 11 for series 'b'",
    )
    rejects(
        frame_with(2, "ds", pd.Timestamp("2024-01-03 07:00")).iloc[:5],
        "columns.freq must be given where it can't be inferred; got times such as",
    )


def test_series_must_have_one_frequency() -> None:
    slow = pd.DataFrame(
        {"unique_id": "c", "ds": pd.date_range("2024-01-01", periods=4, freq="90min"), "y": 1.0}
    )
    fast = pd.DataFrame(
        {"unique_id": "d", "ds": pd.date_range("2024-01-01", periods=9, freq="h"), "y": 1.0}
    )
    rejects(
        pd.concat([slow, fast]),
        "times must be regular, in steps of 'h'; got 2024-01-01 00:00:00 then 2024-01-01 01:30:00 "
        "for series 'c'. Resample the series, pass another Columns(freq=...), or forecast series "
        "of each frequency separately.",
    )


def test_times_must_not_be_missing() -> None:
    rejects(
        frame_with(4, "ds", pd.NaT), "ds must have a time in every row; got a missing one in row 4"
    )
    index = WIDE.index.where(np.arange(5) != 1)
    rejects(WIDE.set_index(index), "the index must have a time in every row; got a missing one")


@pytest.mark.parametrize(
    ("times", "dtype"),
    (
        (np.arange(5.0), "float64"),
        (pd.to_timedelta(np.arange(5), "D"), "timedelta64"),
        (pd.MultiIndex.from_product([["a"], range(5)]), "2 levels"),
        (np.arange(5) > 2, "bool"),
    ),
    ids=("real", "spans", "levels", "truth"),
)
def test_times_must_be_dates_periods_or_integers(times: Any, dtype: str) -> None:
    message = f"the index must hold dates, periods or integers; got {dtype}"
    rejects(pd.Series(1.0, index=times), message, TypeError)


def test_text_times_must_be_iso_dates() -> None:
    message = "ds must hold dates, periods or integers, text as in '2024-12-31 23:59'; got"
    for text in ("next week", "31/12/2024", "1 Jan 2024"):
        rejects(FRAME.assign(ds=text), f"{message} '{text}'")
    periods = [pd.Period("2024", "Y"), *pd.period_range("2024-01", periods=9, freq="M")]
    frame = FRAME.assign(ds=np.array(periods, dtype=object))
    rejects(frame, f"{message} Period('2024'")


@pytest.mark.parametrize("freq", ("fortnight", ""))
def test_frequency_must_be_a_pandas_alias(freq: str) -> None:
    rejects(FRAME, f"columns.freq must be a pandas alias; got {freq!r}", freq=freq)


@pytest.mark.parametrize("freq", ("-1D", "0h"))
def test_frequency_must_be_positive(freq: str) -> None:
    rejects(FRAME, f"columns.freq must step forward; got {freq!r}", freq=freq)
    rejects([1.0, 2.0], "columns.freq must step forward; got 0", freq=0)


@pytest.mark.parametrize("freq", ("1ns", "1500ns"))
def test_frequency_must_be_regular(freq: str) -> None:
    rejects(
        FRAME, "columns.freq must be one of ticks of whole microseconds, days, weeks, ", freq=freq
    )


def test_frequency_must_match_the_type_of_the_times() -> None:
    rejects(FRAME, "columns.freq must fit the times, which are dates; got 2", freq=2)
    rejects([1.0, 2.0], "columns.freq must fit the times, which are integers; got 'h'", freq="h")
    rejects(
        pd.Series(1.0, index=pd.period_range("2024-01", periods=3, freq="M")),
        "columns.freq must be None with periods, which have their own, 'M'; got 'QS'",
        freq="QS",
    )


@pytest.mark.parametrize("freq", ("MS", "B", "W", "BYE"))
def test_times_must_lie_on_the_given_frequency(freq: str) -> None:
    frame = FRAME.assign(ds=pd.date_range("2024-01-06", periods=10))
    message = "times must be regular" if freq == "W" else "times must lie on the frequency"
    rejects(frame, message, freq=freq)


def test_times_must_be_whole_microseconds() -> None:
    index = pd.DatetimeIndex(np.arange(5) * 2000 + 500, dtype="datetime64[ns]")
    rejects(pd.Series(1.0, index=index), "times must lie on the frequency '2us'; got 1970")


def test_error_recognizes_dates_written_as_integers() -> None:
    days = pd.date_range("2024-01-25", periods=15).strftime("%Y%m%d").astype(int)
    frame = pd.DataFrame({"ds": days, "y": 1.0})
    with pytest.raises(ValueError, match=r"days: pandas.to_datetime\(times, format='%Y%m%d'\)"):
        Panel.from_frame(frame)
    months = pd.date_range("2024-01-01", periods=30, freq="MS").strftime("%Y%m%d").astype(int)
    with pytest.raises(ValueError, match=r"days: pandas.to_datetime\(times, format='%Y%m%d'\)"):
        Panel.from_frame(pd.DataFrame({"ds": months, "y": 1.0}))
    with pytest.raises(ValueError, match=r"fill_gaps=True"):
        Panel.from_frame(pd.DataFrame({"ds": [20240101, 20240102, 20240104], "y": 1.0}) - [99, 0])


def test_series_of_a_multiple_of_the_frequency_is_not_a_gap() -> None:
    weeks = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=4, freq="7D"), "y": 1.0})
    rejects(
        pd.concat([FRAME, weeks.assign(unique_id="w")]),
        "frame must have series of one frequency, 'D'; got series 'w' in steps of 7 times that",
    )
    rejects(weeks, "frame must have series of one frequency, 'D'; got", freq="D")
    assert len(Panel.from_frame(weeks, Columns(freq="D", fill_gaps=True)).values) == 22


def test_error_of_an_unreadable_date_is_a_complete_sentence() -> None:
    with pytest.raises(ValueError, match=r"not ISO8601 format\)\. Use pandas"):
        Panel.from_frame(pd.DataFrame({"ds": ["1/13/2024", "1/14/2024"], "y": 1.0}))


def test_values_must_not_be_text() -> None:
    message = "'y' must hold numbers; got 'much' for series 'b', first at 2024-02-03 00:00:00. Conv"
    rejects(frame_with(7, "y", "much"), message)
    text = frame_with(7, "y", "much")
    rejects(text.assign(y=text["y"].map(str)), message)
    rejects(WIDE.assign(x=list("12x45")), "'x' must hold numbers; got 'x', first at 2024-01-03")
    rejects(frame_with(7, "x", "much"), "'x' must hold numbers; got 'much'", past=("x",))
    rejects(WIDE.assign(x="much"), "'x' must hold numbers; got 'much'")


def test_values_must_not_be_times() -> None:
    rejects(FRAME.assign(y=FRAME["ds"]), "'y' must hold numbers; got Timestamp('2024-01-01")
    rejects(FRAME.assign(y=pd.Timedelta("1D")), "'y' must hold numbers; got Timedelta('1 days")


def test_values_must_not_be_complex() -> None:
    rejects(FRAME.assign(y=1j), "'y' must hold real numbers; Complex data not supported")


@pytest.mark.parametrize("value", (np.inf, -np.inf))
def test_values_must_not_be_infinite(value: float) -> None:
    message = "must be finite or NaN; got infinity for series 'b', first at 2024-02-03 00:00:00"
    rejects(frame_with(7, "y", value), f"'y' {message}")
    rejects(frame_with(7, "y", value).sample(frac=1, random_state=0), f"'y' {message}")
    rejects(frame_with(7, "x", value), f"'x' {message}", future=("x",))
    wide = WIDE.assign(x=[0.0, value, 0.0, 0.0, 0.0])
    rejects(wide, "'x' must be finite or NaN; got infinity, first at 2024-01-02 00:00:00")
    static = FRAME.assign(x=[1.0] * 5 + [value] * 5)
    rejects(static, "'x' must be finite or NaN; got infinity for series 'b'", static=("x",))


def test_series_must_have_an_observed_value() -> None:
    message = "each series must have an observed value; got only NaN for series 'b'"
    rejects(FRAME.assign(y=[1.0] * 5 + [np.nan] * 5), message)
    rejects(WIDE.rename(columns={"x": "b"}).assign(b=np.nan), message)


@pytest.mark.parametrize(
    ("options", "message", "error"),
    (
        ({"past": "y"}, "columns must give each column one role; got 'y' twice", ValueError),
        ({"time": "unique_id"}, "columns must give each column one role; got", ValueError),
        (
            {"past": ("x",), "future": ("x",)},
            "columns must give each column one role; got 'x' twice",
            ValueError,
        ),
        ({"past": (1,)}, "columns.past must be column names; got (1,)", TypeError),
        ({"future": 3}, "columns.future must be column names; got 3", TypeError),
        ({"static": {"x": 1}}, "columns.static must be column names; got {'x'", TypeError),
        ({"id": 0}, "columns.id must be a column name; got 0", TypeError),
        ({"time": None}, "columns.time must be a column name; got None", TypeError),
        (
            {"freq": 1.5},
            "columns.freq must be an alias or offset of pandas, or an integer; got 1.5",
            TypeError,
        ),
        ({"fill_gaps": "yes"}, "columns.fill_gaps must be True or False; got 'yes'", TypeError),
    ),
)
def test_columns_options_are_checked(
    options: dict[str, Any], message: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Columns(**options)


def test_column_names_become_tuples() -> None:
    columns = Columns(past=["b", "c"], future="a")  # type: ignore[arg-type]
    assert (columns.past, columns.future) == (("b", "c"), ("a",))
    assert columns.covariates == ("b", "c", "a")
    assert hash(columns) == hash(Columns(past=("b", "c"), future=("a",)))


@pytest.mark.parametrize(
    ("option", "value", "condition"),
    (
        ("epochs", -1, "an integer of at least 0"),
        ("epochs", 2.5, "an integer of at least 0"),
        ("epochs", "20", "an integer of at least 0"),
        ("learning_rate", 0.0, "positive and finite"),
        ("learning_rate", float("nan"), "positive and finite"),
        ("learning_rate", float("inf"), "positive and finite"),
        ("learning_rate", "fast", "positive and finite"),
        ("schedule", "linear", "one of ['one_cycle', 'cosine', 'constant']"),
        ("schedule", ["cosine"], "one of ['one_cycle', 'cosine', 'constant']"),
        ("batch_size", 0, "an integer of at least 1"),
        ("batch_size", 1.0, "an integer of at least 1"),
        ("weight_decay", -0.1, "finite and at least 0"),
        ("validation", -0.1, "a fraction from 0 to below 1, or an integer number of points"),
        ("validation", 1.5, "a fraction from 0 to below 1, or an integer number of points"),
        (
            "validation",
            float("nan"),
            "a fraction from 0 to below 1, or an integer number of points",
        ),
        ("patience", 0, "an integer of at least 1"),
        ("patience", None, "an integer of at least 1"),
        ("gradient_clip", -1, "finite and at least 0"),
        ("gradient_clip", float("inf"), "finite and at least 0"),
        ("precision", "float16", "one of ['float32', 'bfloat16']"),
        ("checkpoint", 3, "a path or None"),
        ("checkpoint", "", "a path or None"),
    ),
)
def test_training_options_are_checked(option: str, value: Any, condition: str) -> None:
    message = f"training.{option} must be {condition}; got {value!r}. Change it."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Training(**{option: value})


@pytest.mark.parametrize(
    ("arguments", "message", "error"),
    (
        ({"level": 0}, "level must be percentages from 1 to below 100; got 0", ValueError),
        (
            {"level": 0.8},
            "level must be percentages from 1 to below 100; got 0.8. Give 80, not 0.8.",
            ValueError,
        ),
        ({"level": 100}, "level must be percentages from 1 to below 100; got 100", ValueError),
        ({"level": [80, -5]}, "level must be percentages from 1 to below 100; got -5", ValueError),
        (
            {"level": float("nan")},
            "level must be percentages from 1 to below 100; got nan",
            ValueError,
        ),
        ({"quantile_levels": 0.0}, "quantile_levels must be between 0 and 1; got 0", ValueError),
        (
            {"quantile_levels": [0.5, 90]},
            "quantile_levels must be between 0 and 1; got 90",
            ValueError,
        ),
        ({"level": "80"}, "level must be numbers; got '80'", TypeError),
        ({"quantile_levels": ["a"]}, "quantile_levels must be numbers; got ['a']", TypeError),
    ),
)
def test_levels_are_checked(
    arguments: dict[str, Any], message: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        Levels.parse(**arguments)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_must_be_in_the_range_of_numpy(seed: int) -> None:
    with pytest.raises(ValueError, match=r"^random_state must be a seed from 0 to 2\*\*32 - 1"):
        resolve_seed(seed)


def test_parameter_error_keeps_its_parts_in_another_process() -> None:
    with pytest.raises(ParameterError) as caught:
        Panel.from_frame(FRAME.drop(index=2))
    error = pickle.loads(pickle.dumps(caught.value))
    assert str(error) == str(caught.value)
    assert "Pass Columns(fill_gaps=True) to read" in str(error)
    assert "Pass --fill-gaps to read" in error.message({"columns.fill_gaps": "--fill-gaps"})
