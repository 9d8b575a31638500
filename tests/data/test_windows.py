"""Windows and batches, compared with loops; no window reaches into another series."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from reference import pad_slice, sliding_windows

from tsar.data.batch import Batch, Context
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.training import Training

NAN = math.nan


def random_series(seed: int) -> list[list[float]]:
    """Series of 1 to 20 points with distinct values, some of them missing."""
    generator = np.random.default_rng(seed)
    series = []
    for row in range(8):
        values = row * 100.0 + np.arange(generator.integers(1, 21))
        values[generator.random(len(values)) < 0.3] = NAN
        values[generator.integers(len(values))] = row * 100.0
        series.append(values.tolist())
    return series


def panel_of(series: list[list[float]]) -> Panel:
    rows = [(row, k, v) for row, values in enumerate(series) for k, v in enumerate(values)]
    return Panel.from_frame(pd.DataFrame(rows, columns=["unique_id", "ds", "y"]))


def pairs(windows: Windows) -> list[tuple[int, int]]:
    """(series, point) of each window, independent of padding."""
    begins = windows.panel.offsets[windows.series]
    missing = torch.as_tensor(windows.panel.labels.starts)[windows.series]
    return list(
        zip(windows.series.tolist(), (windows.cutoffs - begins + missing).tolist(), strict=True)
    )


def check_batch(batch: Batch, series: list[list[float]], expected: list[tuple[int, int]]) -> None:
    length, horizon = batch.context.values.shape[1], batch.target.shape[1]
    for row, (owner, point) in enumerate(expected):
        context, target = batch.context.values[row].numpy(), batch.target[row].numpy()
        np.testing.assert_array_equal(context, pad_slice(series[owner], point - length, point))
        np.testing.assert_array_equal(target, pad_slice(series[owner], point, point + horizon))
        np.testing.assert_array_equal(batch.mask[row].numpy(), ~np.isnan(target))
    assert batch.context.series.tolist() == [owner for owner, _ in expected]


@pytest.mark.parametrize(
    ("length", "horizon"), ((1, 1), (3, 1), (1, 3), (4, 3), (2, 9), (12, 2), (25, 25))
)
@pytest.mark.parametrize("seed", (0, 1, 2))
def test_sliding_windows_equal_those_of_a_loop(seed: int, length: int, horizon: int) -> None:
    series = random_series(seed)
    windows = Windows.sliding(panel_of(series), length, horizon)
    expected = sliding_windows(series, length, horizon, [0] * len(series))
    assert pairs(windows) == expected
    assert len(windows) == len(expected)
    check_batch(windows.batch(slice(None)), series, expected)


@pytest.mark.parametrize("seed", (0, 1, 2))
def test_targets_begin_at_the_first_point_or_later(seed: int) -> None:
    series = random_series(seed)
    first = torch.as_tensor(np.random.default_rng(seed).integers(0, 22, len(series)))
    windows = Windows.sliding(panel_of(series), 4, 3, first=first)
    assert pairs(windows) == sliding_windows(series, 4, 3, first.tolist())


def test_windows_of_a_long_series_begin_at_every_point_once() -> None:
    windows = Windows.sliding(panel_of([list(range(10))]), 3, 2)
    batch = windows.batch(slice(None))
    assert batch.target.tolist() == [[k, k + 1] for k in range(3, 9)]
    assert batch.context.values.tolist() == [[k - 3, k - 2, k - 1] for k in range(3, 9)]


def test_windows_without_observed_context_or_target_are_excluded() -> None:
    windows = Windows.sliding(panel_of([[1.0, NAN, NAN, NAN, 5.0, 6.0]]), 2, 1)
    assert pairs(windows) == [(0, 5)]
    assert pairs(Windows.sliding(panel_of([[1.0, NAN, NAN, NAN, 5.0, 6.0]]), 4, 2)) == [(0, 4)]


def test_a_series_of_one_point_has_no_window() -> None:
    assert len(Windows.sliding(Panel.from_tensor(torch.ones(2, 1)), 3, 2)) == 0


def test_no_window_reaches_into_another_series_or_the_validation_points() -> None:
    lengths = [len(values) for seed in range(4) for values in random_series(seed)]
    panel = panel_of([[row * 100.0 + k for k in range(n)] for row, n in enumerate(lengths)])
    n_held_back = Training(validation=0.3).validation_points(panel.lengths, 2)
    assert n_held_back.sum() > 0
    batch = Windows.sliding(panel.without_last(n_held_back), 3, 2).batch(slice(None))
    values = torch.cat([batch.context.values, batch.target], dim=1)
    points = values - batch.context.series[:, None] * 100  # position within the series
    left = (panel.lengths - n_held_back)[batch.context.series][:, None]
    assert (((points >= 0) & (points < left)) | values.isnan()).all()


def test_validation_targets_are_exactly_the_validation_points() -> None:
    panel = panel_of([[row * 100.0 + k for k in range(n)] for row, n in enumerate((20, 3, 9, 12))])
    n_held_back = Training(validation=0.3).validation_points(panel.lengths, 2)
    assert n_held_back.tolist() == [6, 0, 3, 4]
    first = torch.where(n_held_back > 0, panel.lengths - n_held_back, panel.lengths)
    batch = Windows.sliding(panel, 3, 2, first=first).batch(slice(None))
    expected = {
        100 * row + n - k
        for row, n, h in ((0, 20, 6), (2, 9, 3), (3, 12, 4))
        for k in range(1, h + 1)
    }
    assert set(batch.target.reshape(-1).tolist()) == expected


def test_a_batch_equals_its_rows() -> None:
    windows = Windows.sliding(panel_of(random_series(3)), 4, 3)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(0))
    batch = windows.batch(order)
    for position, row in enumerate(order.tolist()):
        one = windows.batch(torch.tensor([row]))
        assert torch.equal(one.target[0].nan_to_num(-1), batch.target[position].nan_to_num(-1))
        values = batch.context.values[position].nan_to_num(-1)
        assert torch.equal(one.context.values[0].nan_to_num(-1), values)
    batches = list(windows.batches(5))
    assert [len(b.target) for b in batches[:-1]] == [5] * (len(batches) - 1)
    joined = torch.cat([b.target for b in batches]).nan_to_num(-1)
    assert torch.equal(joined, windows.batch(slice(None)).target.nan_to_num(-1))


def test_windows_at_given_points_are_padded() -> None:
    series = [[1.0, 2.0, 3.0], [4.0, 5.0]]
    positions = [(0, 3), (1, 1), (0, 1), (1, 2)]
    rows, points = torch.tensor(positions).T
    windows = Windows.at(panel_of(series), 4, 2, rows, points)
    assert pairs(windows) == positions
    check_batch(windows.batch(slice(None)), series, positions)


def test_subsampled_windows_are_evenly_spaced() -> None:
    windows = Windows.sliding(panel_of([list(range(100))]), 1, 1)
    assert windows.subsample(99) is windows
    few = windows.subsample(5)
    assert few.cutoffs.tolist() == windows.cutoffs[[0, 24, 49, 73, 98]].tolist()
    assert windows.subsample(1).cutoffs.tolist() == windows.cutoffs[:1].tolist()
    assert len(set(windows.subsample(98).cutoffs.tolist())) == 98


def test_subsampling_is_exact_beyond_the_integers_of_float32() -> None:
    panel = panel_of([[1.0, 2.0]])
    many = torch.ones(1, dtype=torch.int64).expand(2**24 + 4)
    assert len(Windows(panel, many, 1, 1).subsample(3)) == 3


def test_all_tensors_of_a_context_are_sliced_and_converted() -> None:
    context = Context(
        values=torch.arange(6.0).reshape(3, 2),
        past=torch.arange(6.0).reshape(3, 2, 1),
        future=torch.arange(12.0).reshape(3, 4, 1),
        static=torch.arange(3.0)[:, None],
        category=torch.arange(3)[:, None],
        series=torch.tensor([7, 8, 9]),
        origin=torch.tensor([70, 80, 90]),
    )
    assert len(context) == 3
    for rows in (slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True])):
        part = context[rows]
        assert part.series.tolist() == [8, 9]
        assert part.origin.tolist() == [80, 90]
        assert part.values.tolist() == [[2, 3], [4, 5]]
        assert part.future[:, 0, 0].tolist() == [4, 8]
        assert (part.past[:, 0, 0].tolist(), part.static[:, 0].tolist()) == ([2, 4], [1, 2])
        assert part.category[:, 0].tolist() == [1, 2]
    moved = context.to(torch.device("cpu"), torch.float64)
    assert moved.values.dtype == moved.past.dtype == moved.static.dtype == torch.float64
    assert moved.category.dtype == moved.series.dtype == torch.int64


def test_a_context_of_values_has_no_covariates() -> None:
    context = Context.of(torch.zeros(3, 5))
    assert context.past.shape == context.future.shape == (3, 5, 0)
    assert context.static.shape == context.category.shape == (3, 0)
    assert context.series.tolist() == [0, 1, 2]


def test_the_mask_is_true_for_observed_targets() -> None:
    target = torch.tensor([[1.0, NAN], [NAN, NAN]])
    batch = Batch(Context.of(torch.zeros(2, 3)), target)
    assert batch.mask.tolist() == [[True, False], [False, False]]
    assert replace(batch, target=target.nan_to_num()).mask.all()


def test_the_origin_of_a_context_is_the_time_of_its_target() -> None:
    times = pd.date_range("2024-01-01", periods=6, freq="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(6.0)})
    late = frame.assign(unique_id="b", ds=frame["ds"] + pd.Timedelta("1D"))
    panel = Panel.from_frame(pd.concat([frame, late]))
    windows = Windows.sliding(panel, 4, 1)  # contexts of 4 points, and the short ones are padded
    context = windows.batch(slice(None)).context
    found = panel.labels.frequency.to_times(context.origin.numpy())
    series = np.asarray(["a", "b"])[context.series.numpy()]
    both = pd.concat([frame, late]).set_index(["unique_id", "ds"])["y"]
    target = windows.batch(slice(None)).target[:, 0].tolist()
    assert [both[key] for key in zip(series, found, strict=True)] == target
    assert context.step == panel.labels.frequency.step
