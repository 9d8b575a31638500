"""Operations on panels, compared with lists for each series."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from reference import pad_slice

from tsar.data.panel import Columns, Panel

NAN = math.nan
SERIES = ([1.0, 2.0, NAN, 4.0, 5.0], [6.0], [NAN, 8.0, 9.0])


@pytest.fixture
def panel() -> Panel:
    rows = [(k, k + i, value) for k, values in enumerate(SERIES) for i, value in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["size", "ds", "y"])
    frame = frame.assign(
        p=frame["y"] * 10, f=frame["y"] * 100, unique_id="s" + frame["size"].astype(str)
    )
    return Panel.from_frame(frame, Columns(past=("p",), future=("f",), static=("size",)))


def check_panel(panel: Panel, expected: list[list[float]], starts: list[int]) -> None:
    """Check values, covariates (multiples of the values), lengths and start times."""
    flat = [value for values in expected for value in values]
    np.testing.assert_array_equal(panel.values.numpy(), np.array(flat))
    np.testing.assert_array_equal(panel.past[:, 0].numpy(), np.array(flat) * 10)
    np.testing.assert_array_equal(panel.future[:, 0].numpy(), np.array(flat) * 100)
    assert panel.lengths.tolist() == [len(values) for values in expected]
    assert panel.labels.starts.tolist() == starts
    rows = [row for row, values in enumerate(expected) for _ in values]
    assert panel.series.tolist() == rows


def test_series_are_end_to_end_in_order_of_their_ids(panel: Panel) -> None:
    check_panel(panel, list(SERIES), [0, 1, 2])
    assert len(panel) == 3
    assert panel.end_ordinals().tolist() == [4, 1, 4]
    assert panel.end_ordinals(2).tolist() == [6, 3, 6]
    assert panel.future_times(2).tolist() == [5, 6, 2, 3, 5, 6]


@pytest.mark.parametrize("points", (0, 1, 2, 4, 9))
def test_tail_and_without_last_split_each_series(panel: Panel, points: int) -> None:
    tails = [values[max(len(values) - points, 0) :] for values in SERIES]
    check_panel(
        panel.tail(points), tails, [5 - len(tails[0]), 2 - len(tails[1]), 5 - len(tails[2])]
    )
    heads = [values[: max(len(values) - points, 0)] for values in SERIES]
    check_panel(panel.without_last(points), heads, [0, 1, 2])
    assert panel.tail(points).future_times(1).tolist() == panel.future_times(1).tolist()


def test_series_are_sliced_at_different_points(panel: Panel) -> None:
    first, last = torch.tensor([1, 0, 2]), torch.tensor([4, 9, 1])
    check_panel(panel.slice(first, last), [[2.0, NAN, 4.0], [6.0], []], [1, 1, 3])
    check_panel(
        panel.without_last(torch.tensor([3, 0, 1])), [[1.0, 2.0], [6.0], [NAN, 8.0]], [0, 1, 2]
    )
    check_panel(
        panel.slice(torch.tensor([-2, 0, 0]), last), [[1.0, 2.0, NAN, 4.0], [6.0], [NAN]], [0, 1, 2]
    )


def test_series_are_selected_in_any_order(panel: Panel) -> None:
    chosen = panel.select(np.array([2, 0, 2]))
    check_panel(chosen, [SERIES[2], SERIES[0], SERIES[2]], [2, 0, 2])
    assert chosen.labels.ids.tolist() == ["s2", "s0", "s2"]
    assert chosen.static.tolist() == [[2], [0], [2]]


@pytest.mark.parametrize(("left", "right"), ((0, 0), (2, 0), (0, 3), (1, 2)))
def test_padding_is_nan(panel: Panel, left: int, right: int) -> None:
    padded = [pad_slice(values, -left, len(values) + right) for values in SERIES]
    check_panel(panel.pad(left, right), padded, [0 - left, 1 - left, 2 - left])


def test_extend_appends_future_covariates(panel: Panel) -> None:
    future = torch.arange(6.0, dtype=torch.float64).reshape(3, 2, 1)
    extended = panel.extend(future)
    assert extended.lengths.tolist() == [7, 3, 5]
    for row, values in enumerate(SERIES):
        first, last = extended.offsets[row : row + 2].tolist()
        expected = [value * 100 for value in values] + future[row, :, 0].tolist()
        np.testing.assert_array_equal(extended.future[first:last, 0].numpy(), expected)
        np.testing.assert_array_equal(extended.values[first:last].numpy(), [*values, NAN, NAN])


def test_from_tensor_builds_series_of_equal_length() -> None:
    values = torch.arange(6.0).reshape(2, 3)
    panel = Panel.from_tensor(values)
    assert torch.equal(panel.values, values.reshape(-1))
    assert panel.lengths.tolist() == [3, 3]
    assert panel.labels.ids.tolist() == [0, 1]
    assert panel.future_times(2).tolist() == [3, 4, 3, 4]
    assert len(Panel.from_tensor(torch.empty(2, 0))) == 2


def test_to_converts_all_floating_point_tensors(panel: Panel) -> None:
    moved = panel.to("cpu", torch.float32)
    for name in ("values", "past", "future", "static"):
        assert getattr(moved, name).dtype == torch.float32
    assert moved.offsets.dtype == moved.category.dtype == torch.int64
    assert panel.to("cpu").values.dtype == torch.float64


def test_missing_before_counts_within_a_series(panel: Panel) -> None:
    series = torch.tensor(
        [row for row, values in enumerate(SERIES) for _ in range(len(values) + 1)]
    )
    points = torch.tensor([point for values in SERIES for point in range(len(values) + 1)])
    expected = []
    for row, point in zip(series.tolist(), points.tolist(), strict=True):
        observed = [k for k in range(point) if not np.isnan(SERIES[row][k])]
        expected.append(point - 1 - observed[-1] if observed else -1)
    assert panel.missing_before(series, points).tolist() == expected
    complete = Panel.from_tensor(torch.ones(2, 3))
    assert complete.missing_before(torch.tensor([0, 1]), torch.tensor([0, 3])).tolist() == [-1, 0]


def test_the_observed_span_begins_and_ends_with_an_observed_point() -> None:
    late, empty = [np.nan, 1.0, np.nan, 2.0, np.nan], [np.nan] * 5
    frame = pd.DataFrame({"a": late, "b": 1.0, "c": empty})
    panel = Panel.from_frame(frame, observed=False).observed_span()
    assert panel.lengths.tolist() == [3, 5, 5]
    assert panel.labels.starts.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(panel.values[:3], [1.0, np.nan, 2.0])
