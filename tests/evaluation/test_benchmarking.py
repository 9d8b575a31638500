"""The published protocol on a small data set, against a loop over its test windows."""

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from tsar import Training, benchmark
from tsar.evaluation import benchmarking
from tsar.forecasters import ARNet, Naive, NLinear
from tsar.forecasters.base import Forecaster

TRAIN, VALIDATION, TEST = 60, 20, 25
EXTRA = 7  # rows that the split leaves out


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Two channels and a constant one, at times that are not quite regular."""
    rows = TRAIN + VALIDATION + TEST + EXTRA
    generator = np.random.default_rng(0)
    times = pd.date_range("2020-01-01", periods=rows, freq="h").delete(5)
    times = times.append(pd.DatetimeIndex([times[-1] + pd.Timedelta("3h")]))
    frame = pd.DataFrame(
        {
            "a": 500 + 20 * generator.normal(size=rows).cumsum(),
            "b": 1e-3 * generator.normal(size=rows),
            "c": np.full(rows, 4, dtype=int),
        },
        index=times.rename("date"),
    )
    facts = {
        "tiny": SimpleNamespace(split=(TRAIN, VALIDATION, TEST), freq="h"),
        "whole": SimpleNamespace(split=None, freq="h"),
    }
    monkeypatch.setattr(benchmarking.datasets, "describe", lambda name: facts[name])
    monkeypatch.setattr(benchmarking.datasets, "names", lambda: list(facts))
    monkeypatch.setattr(benchmarking.datasets, "load", lambda name, raw: frame if raw else None)
    return frame


def scaled(raw: pd.DataFrame) -> np.ndarray:
    values = raw.to_numpy(dtype=float)[: TRAIN + VALIDATION + TEST]
    mean, spread = values[:TRAIN].mean(0), values[:TRAIN].std(0)
    return (values - mean) / np.where(spread > 0, spread, 1.0)


def slowly(model: Forecaster, raw: pd.DataFrame, horizon: int, known: int) -> dict[str, float]:
    """Fit on the first rows, then forecast every window whose target lies in the test rows."""
    values, first = scaled(raw), TRAIN + VALIDATION
    model.set_params(horizon=horizon).fit(values[:known])
    squared, absolute = [], []
    for cutoff in range(first, len(values) - horizon + 1):
        error = values[cutoff : cutoff + horizon] - model.predict(values[:cutoff])
        squared.append(error**2)
        absolute.append(np.abs(error))
    return {"mse": np.mean(squared), "mae": np.mean(absolute), "windows": len(squared)}


TRAINED = {"epochs": 2, "learning_rate": 1e-2}
MODELS: dict[str, tuple[Forecaster, Forecaster, int]] = {
    "naive": (Naive(), Naive(), TRAIN),
    "closed form": (ARNet(4, sparsity=None), ARNet(4, sparsity=None), TRAIN),
    "direct": (ARNet(4, strategy="direct"), ARNet(4, strategy="direct"), TRAIN),
    "trained": (
        NLinear(8, training=Training(**TRAINED), random_state=0),
        NLinear(8, training=Training(**TRAINED, validation=VALIDATION), random_state=0),
        TRAIN + VALIDATION,
    ),
    "huber": (
        ARNet(4, loss="huber", training=Training(**TRAINED, validation=0.5), random_state=0),
        ARNet(4, loss="huber", training=Training(**TRAINED, validation=VALIDATION), random_state=0),
        TRAIN + VALIDATION,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_test_window_counts_once(name: str, raw: pd.DataFrame) -> None:
    model, twin, known = MODELS[name]
    scores = benchmark("tiny", {name: model}, horizons=[1, 6])
    assert scores.index.names == ["dataset", "horizon", "model"]
    for horizon in (1, 6):
        row, slow = scores.loc["tiny", horizon, name], slowly(twin, raw, horizon, known)
        assert row["windows"] == slow["windows"] == TEST - horizon + 1
        assert row["mse"] == pytest.approx(slow["mse"], rel=1e-5)
        assert row["mae"] == pytest.approx(slow["mae"], rel=1e-5)
    assert (scores[["fit_seconds", "forecast_seconds"]] > 0).all(axis=None)


def test_windows_are_forecast_in_parts_without_a_change(
    raw: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = benchmark("tiny", Naive(), horizons=[6])
    monkeypatch.setattr(benchmarking, "CHUNK", 50)
    parts = benchmark("tiny", Naive(), horizons=[6])
    pd.testing.assert_frame_equal(whole.iloc[:, :3], parts.iloc[:, :3])


class Spy(Naive):
    """Naive that notes which rows it was fitted on."""

    seen: ClassVar[list[Any]] = []

    def __init__(self, *, horizon: int = 1, training: Any = None, late: bool = False) -> None:
        super().__init__(horizon=horizon)
        self.training = training
        self.late = late

    @property
    def holds_back(self) -> bool:
        return self.late

    def fit(self, frame: pd.DataFrame, y: None = None) -> "Spy":
        Spy.seen.append((frame, self.training))
        return super().fit(frame)


@pytest.mark.parametrize("late", [False, True])
def test_models_see_the_validation_rows_only_to_stop_early(late: bool, raw: pd.DataFrame) -> None:
    Spy.seen.clear()
    model = Spy(late=late, training=Training(epochs=7))
    benchmark("tiny", model, horizons=[2])
    (frame, training), values = Spy.seen[0], scaled(raw)
    assert len(frame) == (TRAIN + VALIDATION if late else TRAIN)
    np.testing.assert_allclose(frame.to_numpy(), values[: len(frame)], atol=1e-12)
    assert training.validation == (VALIDATION if late else Training().validation)
    assert training.epochs == 7 and model.horizon == 1


def test_scaling_knows_the_training_rows_alone(raw: pd.DataFrame) -> None:
    before = benchmarking.read_protocol("tiny")
    raw.iloc[TRAIN:, 0] += 1e6
    after = benchmarking.read_protocol("tiny")
    np.testing.assert_array_equal(before.frame.iloc[:TRAIN], after.frame.iloc[:TRAIN])
    np.testing.assert_allclose(before.frame["a"].iloc[:TRAIN].std(ddof=0), 1.0)
    assert (before.train, before.validation) == (TRAIN, TRAIN + VALIDATION)
    assert len(before.frame) == TRAIN + VALIDATION + TEST
    assert before.frame.index.freq is not None
    assert not before.frame["c"].any()


def test_missing_targets_do_not_count_and_missing_forecasts_are_not_hidden(
    raw: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw.iloc[TRAIN + VALIDATION + 3, 0] = math.nan
    row = benchmark("tiny", Naive(), horizons=[1]).iloc[0]
    values, first = scaled_with_gaps(raw), TRAIN + VALIDATION
    errors = []
    for cutoff in range(first, len(values)):
        past = pd.DataFrame(values[:cutoff]).ffill().to_numpy()[-1]
        errors.append(values[cutoff] - past)
    assert row["mse"] == pytest.approx(np.nanmean(np.square(errors)))
    honest = Naive._forecast

    def failing(self: Naive, windows: Any, levels: tuple[float, ...]) -> Any:
        forecast = honest(self, windows, levels)
        forecast.point[0, 0] = math.nan
        return forecast

    monkeypatch.setattr(Naive, "_forecast", failing)
    assert math.isnan(benchmark("tiny", Naive(), horizons=[1]).iloc[0]["mse"])


def scaled_with_gaps(raw: pd.DataFrame) -> np.ndarray:
    values = raw.to_numpy(dtype=float)[: TRAIN + VALIDATION + TEST]
    spread = np.nanstd(values[:TRAIN], axis=0)
    return (values - np.nanmean(values[:TRAIN], axis=0)) / np.where(spread > 0, spread, 1.0)


def test_some_series_may_be_scored(raw: pd.DataFrame) -> None:
    alone = benchmark("tiny", Naive(), horizons=[4], series=["b"]).iloc[0]
    raw["a"], raw["c"] = raw["b"], raw["b"]
    assert alone["mse"] == pytest.approx(benchmark("tiny", Naive(), [4]).iloc[0]["mse"])
    with pytest.raises(ValueError, match=r"series must be among .*; got 'z'"):
        benchmark("tiny", Naive(), [4], series=["b", "z"])


@pytest.mark.wrong_types
@pytest.mark.parametrize("wrong", ("b", 3, []))
def test_series_are_a_list_of_names(wrong: Any, raw: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match="series must be names"):
        benchmark("tiny", Naive(), [4], series=wrong)


def test_several_models_and_horizons_make_one_table(raw: pd.DataFrame) -> None:
    scores = benchmark("tiny", [Naive(), Naive(), ARNet(2)], horizons=[2, 4])
    assert scores.index.tolist() == [
        ("tiny", horizon, name) for horizon in (2, 4) for name in ("Naive", "Naive-2", "ARNet")
    ]
    assert list(scores) == ["mse", "mae", "windows", "fit_seconds", "forecast_seconds"]


@pytest.mark.wrong_types
def test_a_wrong_request_is_refused(raw: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"dataset must have a published split; got 'whole'"):
        benchmark("whole", Naive())
    with pytest.raises(ValueError, match="horizons must be an integer of at least 1; got 0"):
        benchmark("tiny", Naive(), horizons=[0])
    with pytest.raises(ValueError, match="horizons must be at most 25, the test rows; got 26"):
        benchmark("tiny", Naive(), horizons=[2, 26])
    with pytest.raises(TypeError, match="horizons must be integers; got 96"):
        benchmark("tiny", Naive(), horizons=96)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="models must be forecasters"):
        benchmark("tiny", [], horizons=[2])


def test_a_set_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got 'ETTx1'.*Did you mean"):
        benchmark("ETTx1", Naive())


def test_one_forecast_scores_all_horizons_of_a_model(raw: pd.DataFrame) -> None:
    protocol = benchmarking.read_protocol("tiny")
    fitted = benchmarking.fit_protocol(protocol, Naive(), 3)
    together = benchmarking.score_horizons(protocol, fitted, (5, 1, 3))
    for horizon, scores in together.items():
        alone = benchmarking.score_protocol(protocol, fitted, horizon)
        assert scores == pytest.approx(alone, rel=1e-12)
    assert list(together) == [1, 3, 5]


@pytest.mark.parametrize("stride", (2, 3, 7, 100))
def test_every_so_many_th_window_is_scored(raw: pd.DataFrame, stride: int) -> None:
    protocol = benchmarking.read_protocol("tiny")
    fitted = benchmarking.fit_protocol(protocol, Naive(), 3)
    values = protocol.frame.to_numpy()
    found = benchmarking.score_horizons(protocol, fitted, (5, 1, 3, 4), stride=stride)
    for horizon, scores in found.items():
        starts = range(protocol.validation, len(values) - horizon + 1, stride)
        errors = [values[k : k + horizon] - values[k - 1] for k in starts]
        assert scores["windows"] == len(errors)
        assert scores["mse"] == pytest.approx(np.square(errors).mean(), rel=1e-9)
        assert scores["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
