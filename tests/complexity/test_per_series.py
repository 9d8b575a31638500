"""Orders and R2 of each series against refits; series that are excluded or have no rows."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from small_analysis import AR2, Floats, analysis, autoregression, long_frame

from tsar.complexity.inputs import standardize_series
from tsar.complexity.per_series import autoregression_table
from tsar.data.panel import Panel


def test_risks_of_the_selected_orders_equal_refits() -> None:
    series = {"short": autoregression([0.9], 200), "long": AR2}
    data = standardize_series(Panel.from_frame(long_frame(series)), (0.2, 0.2))
    max_order = 6
    table = autoregression_table(data.panel, (0.2, 0.2), max_order)
    for name, values in series.items():
        first = round(0.6 * len(values))
        scaled = (values - values[:first].mean()) / values[:first].std()
        row = table.loc[name]
        order = int(row["order"])

        def design(points: range, order: int = order, scaled: Floats = scaled) -> Any:
            lags = [scaled[t - order + 1 : t + 1][::-1] for t in points]
            return np.stack(lags), scaled[[t + 1 for t in points]]

        head = LinearRegression().fit(*design(range(max_order - 1, first - 1)))
        features, response = design(range(round(0.8 * len(values)), len(values) - 1))
        error = ((head.predict(features) - response) ** 2).mean()
        assert row["risk"] == pytest.approx(error, rel=1e-4)
        assert row["r2"] == pytest.approx(1 - error / row["null_risk"], rel=1e-4)
        assert row["entropy_rate"] == pytest.approx(0.5 * np.log(2 * np.pi * np.e * error))
    assert table["order"].to_dict() == {"short": 3, "long": 2}


def test_order_zero_has_exactly_no_r2() -> None:
    noise = np.random.default_rng(0).normal(size=(30, 400))
    table = autoregression_table(Panel.from_tensor(torch.from_numpy(noise)), (0.2, 0.2), 9)
    order_zero = table[table["order"] == 0]
    assert len(order_zero) > 5
    assert (order_zero["r2"] == 0).all()


def test_chunks_of_series_do_not_affect_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel.from_tensor(torch.from_numpy(np.stack([autoregression([0.7], 300)] * 5)))
    panel.values[300:] += torch.randn(1200, dtype=torch.float64)
    expected = autoregression_table(panel, (0.2, 0.2), 5)
    monkeypatch.setattr("tsar.complexity.per_series.MAX_ELEMENTS", 1)
    pd.testing.assert_frame_equal(autoregression_table(panel, (0.2, 0.2), 5), expected)


def test_every_series_of_a_panel_has_a_row() -> None:
    noise = np.random.default_rng(3).normal(size=600)
    frame = long_frame(
        {
            "autoregression": AR2,
            "noise": noise,
            "constant": np.full(600, 3.0),
            "missing": np.r_[np.full(590, np.nan), np.ones(10)],
            "short": AR2[:12],
        }
    )
    fitted = analysis().fit(frame)
    table = fitted.per_series_
    assert list(table.index) == ["autoregression", "constant", "missing", "noise", "short"]
    assert table["excluded"].dropna().to_dict() == {
        "short": "8 observed training points",
        "constant": "constant",
        "missing": "0 observed training points",
    }
    assert table.loc["autoregression", "order"] == 2
    assert table["order"].isna().sum() == 3
    assert table.loc["autoregression", "r2"] > 0.3
    assert abs(table.loc["noise", "r2"]) < 0.1
    assert fitted.summary_["n_excluded"] == 3
    others = analysis().fit(frame[frame["unique_id"].isin(["autoregression", "noise"])])
    pd.testing.assert_frame_equal(fitted.curves_, others.curves_)


def test_a_last_series_without_a_complete_window_has_no_size() -> None:
    fitted = analysis().fit(long_frame({"a": AR2, "z": AR2[:25]}))
    assert fitted.per_series_["size"].isna().tolist() == [False, True]
    assert fitted.per_series_["excluded"].isna().all()
