"""Rows and responses: periods in order of time, gaps between them, subsamples."""

import numpy as np
import torch
from small_analysis import long_frame

from tsar.complexity.splits import future_values, split_points, split_rows
from tsar.data.panel import Panel


def test_periods_follow_each_other_with_a_gap() -> None:
    panel = Panel.from_frame(long_frame({"a": np.arange(100.0), "b": np.arange(60.0)}))
    response = future_values(panel, 3, segment=True)
    usable = torch.ones(160, dtype=torch.bool)
    split = split_rows(panel, response, usable, horizon=3, shares=(0.2, 0.3), n_train=None)
    first_validation, first_test = split_points(panel.lengths, 0.2, 0.3)
    for row in range(2):
        train, validation, test = (
            rows.positions[rows.series == row] - panel.offsets[row] for rows in split.measured
        )
        assert train.max() + 3 < first_validation[row] <= validation.min()
        assert validation.max() + 3 < first_test[row] <= test.min()
        assert len(train) == first_validation[row] - 3
    expected = split.train.positions[:, None] + torch.arange(1, 4)
    torch.testing.assert_close(split.train.response, panel.values[expected])
    few = split_rows(panel, response, usable, horizon=3, shares=(0.2, 0.3), n_train=20)
    assert len(few.train) == 20
    assert set(few.train.positions.tolist()) <= set(split.train.positions.tolist())
    assert few.train.series.unique().tolist() == [0, 1]


def test_a_response_does_not_reach_beyond_its_series() -> None:
    panel = Panel.from_frame(long_frame({"a": [1.0, 2.0, np.nan, 4.0], "b": [5.0, 6.0]}))
    step = future_values(panel, 2, segment=False)[:, 0]
    np.testing.assert_array_equal(step, [np.nan, 4, np.nan, np.nan, np.nan, np.nan])
    segment = future_values(panel, 2, segment=True)
    np.testing.assert_array_equal(segment[4], [6, np.nan])
