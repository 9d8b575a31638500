"""Measured risks against separate refits, exact risks of a known model, and the theory."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression, Ridge
from small_analysis import AR2, analysis
from theory.simulation import sample_model, sample_rows
from torch import Tensor

from tsar.complexity import Lags
from tsar.complexity.risk import RiskOptions, risk_curves
from tsar.complexity.splits import Rows, Split


def one_series(response: Tensor) -> Rows:
    rows = torch.arange(len(response))
    return Rows(rows, rows * 0, response)


def split_of(rows: Rows, *lengths: int) -> Split:
    """Training, validation, test and extra rows, one after the other."""
    return Split(*(rows.select(part) for part in torch.arange(len(rows)).split(list(lengths))))


def test_risks_equal_those_of_separate_refits() -> None:
    fitted = analysis(Lags(30), n_train=None, sizes=(1, 7, 30)).fit(AR2)
    first = 360
    scaled = (AR2 - AR2[:first].mean()) / AR2[:first].std()
    points = {
        "train": range(29, first - 1),
        "validation": range(first, 479),
        "test": range(480, 599),
    }
    for _, row in fitted.curves_.iterrows():
        size = int(row["size"])
        if not size:
            continue
        designs = {
            name: (
                np.stack([scaled[t - size + 1 : t + 1][::-1] for t in part]),
                scaled[[t + 1 for t in part]],
            )
            for name, part in points.items()
        }
        head = LinearRegression() if row["head"] == "ridgeless" else Ridge(alpha=row["penalty"])
        head.fit(*designs["train"])
        for name, (features, response) in designs.items():
            error = ((head.predict(features) - response) ** 2).mean()
            assert row[name] == pytest.approx(error, rel=1e-6)
    assert fitted.summary_["n_train"] == len(points["train"])


def test_the_peak_is_at_the_interpolation_threshold() -> None:
    fitted = analysis("random", n_train=60).fit(AR2)
    curve = fitted.curves_[fitted.curves_["head"] == "ridgeless"].set_index("ratio")
    assert 0.9 < curve["test"].idxmax() < 1.3
    assert curve["test"].max() > 3 * curve["test"].iloc[-1]
    assert curve["train"][curve.index > 1.5].max() < 1e-9
    assert curve["variance"].max() > 5 * curve["variance"].iloc[-1]
    ridge = fitted.curves_[fitted.curves_["head"] == "ridge"]
    assert ridge["test"].max() < 2 * fitted.summary_["null_risk"]
    assert fitted.recommend().peak_risk == pytest.approx(curve["test"].max())


def test_estimated_risks_are_near_the_exact_ones() -> None:
    sizes, n_train = (4, 16, 60, 300), 150
    generator = torch.Generator().manual_seed(0)
    model = sample_model(8, max(sizes), generator=generator)
    features, states = sample_rows(model, n_train + 3000, 1, serial=True, generator=generator)
    features, split = features[0], split_of(one_series(states[0]), n_train, 1000, 2000, 0)
    by_size = [(size, features[:, :size]) for size in sizes]
    curves = risk_curves(by_size, split, RiskOptions("ridgeless", 1, 100, False, 0))
    table = curves.table[curves.table["head"] == "ridgeless"].set_index("size")
    for size in sizes:
        smaller = model.with_features(size)
        irreducible = float(smaller.residual_variance) / 8
        train = features[:n_train, :size]
        head = torch.linalg.pinv(train - train.mean(dim=0))
        head = head @ (split.train.response - split.train.response.mean(dim=0))
        excess = float(smaller.excess(head)) / 8
        row = table.loc[size]
        assert row["irreducible"] == pytest.approx(irreducible, rel=0.3)
        assert row["excess"] == pytest.approx(excess, rel=0.5)
        assert row["theory_excess"] == pytest.approx(excess, rel=0.5)
        assert row["test"] == pytest.approx(irreducible + excess, rel=0.15)


def isotropic_table(n_extra: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """400 independent features, 100 training rows, a response of variance 1: both heads."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100 + 600 + 1000 + n_extra, 400, generator=generator).double()
    weights = torch.randn(400, 1, generator=generator).double() / 20
    noise = 0.1 * torch.randn(len(features), 1, generator=generator).double()
    split = split_of(one_series(features @ weights + noise), 100, 600, 1000, n_extra)
    by_size = [(size, features[:, :size]) for size in (40, 150, 400)]
    table = risk_curves(by_size, split, RiskOptions("ridgeless", 1, 50, False, 0)).table
    ridgeless, ridge = (table[table["head"] == head] for head in ("ridgeless", "ridge"))
    return ridgeless.set_index("size"), ridge.set_index("size")


@pytest.mark.parametrize("n_extra", (900, 3000))
def test_the_bias_of_interpolating_heads_is_the_signal_outside_the_row_space(n_extra: int) -> None:
    ridgeless, ridge = isotropic_table(n_extra)
    for size in (40, 150, 400):
        row = ridgeless.loc[size]
        bias = size / 400 * max(1 - 100 / size, 0)
        assert row["bias"] == pytest.approx(bias, rel=0.25, abs=1e-9)
        assert row["theory_bias"] == pytest.approx(bias, rel=0.5, abs=1e-9)
        assert row["excess"] + row["irreducible"] == pytest.approx(row["test"], rel=0.2)
    assert ridgeless["irreducible"].to_numpy() == pytest.approx([0.91, 0.635, 0.01], rel=0.5)
    assert (ridge["bias"] > 0.01).all()


def test_bias_and_variance_are_missing_where_the_best_head_is_not_determined() -> None:
    fitted = analysis("random", n_train=None, sizes=(50, 150, 300)).fit(AR2[:300])
    unknown = ["bias", "variance", "excess", "irreducible", "theory_bias", "theory_excess"]
    assert 150 < fitted.summary_[["n_train", "n_validation"]].sum() < 300
    curves = fitted.curves_[fitted.curves_["head"] == "ridgeless"].set_index("size")
    assert curves.loc[300, unknown].isna().all()
    assert curves.loc[[50, 150], unknown].notna().all(axis=None)
    assert curves[["test", "validation", "effective_sample_size"]].notna().all(axis=None)
    assert "known up to 150 features" in str(fitted.recommend())
    fitted.plot().canvas.draw()


def test_the_theory_includes_the_variance_of_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4000, 1, generator=generator).double()
    response = torch.randn(4000, 1, generator=generator).double()
    split = split_of(one_series(response), 50, 1000, 1000, 1950)
    options = RiskOptions("ridgeless", 1, 400, False, 0)
    table = risk_curves([(1, features)], split, options).table
    row = table[table["head"] == "ridgeless"].iloc[0]
    expected = row["irreducible"] * (1 / 50 + 1 / (49 - 1 - 1))
    assert row["theory_variance"] == pytest.approx(expected, rel=1e-6)
    assert row["theory_excess"] == pytest.approx(row["variance"], rel=0.25)


def test_the_risk_of_a_segment_is_the_mean_over_its_steps() -> None:
    single = [analysis(Lags(4), sizes=(4,), horizon=k).fit(AR2) for k in (1, 2)]
    both = analysis(Lags(4), sizes=(4,), horizon=2, task="next_segment").fit(AR2)
    mean = np.mean([fitted.curves_["test"].iloc[1] for fitted in single])
    assert both.curves_["test"].iloc[1] == pytest.approx(mean, rel=0.05)


def test_real_responses_are_used_as_they_are() -> None:
    fitted = analysis(Lags(4), sizes=(4,)).fit(AR2, np.r_[0.0, AR2[:-1]])
    assert fitted.curves_["test"].iloc[1] < 1e-9  # the previous point is one of the lags
    assert "order" not in fitted.per_series_


@pytest.mark.parametrize("head", ("ridgeless", "ridge", "logistic"))
def test_labels_are_classified(head: Any) -> None:
    labels = np.where(AR2 > 0.5, "up", np.where(AR2 < -0.5, "down", "flat"))
    fitted = analysis(Lags(3), sizes=(1, 3), head=head).fit(AR2, labels)
    assert fitted.classes_.tolist() == ["down", "flat", "up"]
    row = fitted.curves_[fitted.curves_["head"] == head].iloc[0]
    assert row["error_rate"] < (0.15 if head == "logistic" else 0.5)
    assert row["test"] < 0.8 * fitted.summary_["null_risk"]
    assert fitted.recommend().head == head
    assert np.isnan(row["excess"]) if head == "logistic" else row["excess"] > 0
    assert ("logistic" in str(fitted.recommend())) == (head == "logistic")
