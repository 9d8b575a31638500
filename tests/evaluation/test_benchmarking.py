"""The LTSF protocol on a small data set, against a loop over its test windows."""

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
EXTRA = 7  # rows after the split


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Two series and a constant one, at times that are not quite regular."""
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
    info = {
        "tiny": SimpleNamespace(split=(TRAIN, VALIDATION, TEST), freq="h"),
        "unsplit": SimpleNamespace(split=None, freq="h"),
    }
    monkeypatch.setattr(benchmarking.datasets, "describe", lambda name: info[name])
    monkeypatch.setattr(benchmarking.datasets, "names", lambda: list(info))
    monkeypatch.setattr(benchmarking.datasets, "load", lambda name, raw: frame if raw else None)
    return frame


def scaled(raw: pd.DataFrame) -> np.ndarray:
    values = raw.to_numpy(dtype=float)[: TRAIN + VALIDATION + TEST]
    mean, deviation = values[:TRAIN].mean(0), values[:TRAIN].std(0)
    return (values - mean) / np.where(deviation > 0, deviation, 1.0)


def reference_scores(
    model: Forecaster, raw: pd.DataFrame, horizon: int, n_train: int
) -> dict[str, float]:
    """Fit to the first rows, and forecast every window whose target lies in the test rows."""
    values, first = scaled(raw), TRAIN + VALIDATION
    model.set_params(horizon=horizon).fit(values[:n_train])
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
    "huber": (ARNet(4, loss="huber"), ARNet(4, loss="huber"), TRAIN),
    "network": (
        ARNet(4, hidden=(2,), training=Training(**TRAINED, validation=0.5), random_state=0),
        ARNet(4, hidden=(2,), training=Training(**TRAINED, validation=VALIDATION), random_state=0),
        TRAIN + VALIDATION,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_a_loop_over_all_test_windows(name: str, raw: pd.DataFrame) -> None:
    model, reference, n_train = MODELS[name]
    scores = benchmark("tiny", {name: model}, horizons=[1, 6])
    assert scores.index.names == ["dataset", "horizon", "model"]
    for horizon in (1, 6):
        row = scores.loc["tiny", horizon, name]
        expected = reference_scores(reference, raw, horizon, n_train)
        assert row["windows"] == expected["windows"] == TEST - horizon + 1
        assert row["mse"] == pytest.approx(expected["mse"], rel=1e-5)
        assert row["mae"] == pytest.approx(expected["mae"], rel=1e-5)
    assert (scores[["fit_seconds", "forecast_seconds"]] > 0).all(axis=None)


def test_chunks_do_not_affect_the_scores(
    raw: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = benchmark("tiny", Naive(), horizons=[6])
    monkeypatch.setattr(benchmarking, "MAX_ELEMENTS", 50)
    chunked = benchmark("tiny", Naive(), horizons=[6])
    pd.testing.assert_frame_equal(expected.iloc[:, :3], chunked.iloc[:, :3])


class Spy(Naive):
    """Naive forecaster that records the rows it was fitted to."""

    fits: ClassVar[list[Any]] = []

    def __init__(
        self, *, horizon: int = 1, training: Any = None, stops_early: bool = False
    ) -> None:
        super().__init__(horizon=horizon)
        self.training = training
        self.stops_early = stops_early

    @property
    def holds_back(self) -> bool:
        return self.stops_early

    def fit(self, frame: pd.DataFrame, y: None = None) -> "Spy":
        Spy.fits.append((frame, self.training))
        return super().fit(frame)


@pytest.mark.parametrize("stops_early", [False, True])
def test_validation_rows_are_used_for_early_stopping_only(
    stops_early: bool, raw: pd.DataFrame
) -> None:
    Spy.fits.clear()
    model = Spy(stops_early=stops_early, training=Training(epochs=7))
    benchmark("tiny", model, horizons=[2])
    (frame, training), values = Spy.fits[0], scaled(raw)
    assert len(frame) == (TRAIN + VALIDATION if stops_early else TRAIN)
    np.testing.assert_allclose(frame.to_numpy(), values[: len(frame)], atol=1e-12)
    assert training.validation == (VALIDATION if stops_early else Training().validation)
    assert training.epochs == 7 and model.horizon == 1


def test_scaling_uses_the_training_rows_only(raw: pd.DataFrame) -> None:
    before = benchmarking.read_protocol("tiny")
    raw.iloc[TRAIN:, 0] += 1e6
    after = benchmarking.read_protocol("tiny")
    np.testing.assert_array_equal(before.frame.iloc[:TRAIN], after.frame.iloc[:TRAIN])
    np.testing.assert_allclose(before.frame["a"].iloc[:TRAIN].std(ddof=0), 1.0)
    assert (before.train, before.validation) == (TRAIN, TRAIN + VALIDATION)
    assert len(before.frame) == TRAIN + VALIDATION + TEST
    assert before.frame.index.freq is not None
    assert not before.frame["c"].any()


def test_missing_targets_are_ignored_and_missing_forecasts_give_nan(
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
    original = Naive._forecast

    def failing(self: Naive, windows: Any, levels: tuple[float, ...]) -> Any:
        forecast = original(self, windows, levels)
        forecast.point[0, 0] = math.nan
        return forecast

    monkeypatch.setattr(Naive, "_forecast", failing)
    assert math.isnan(benchmark("tiny", Naive(), horizons=[1]).iloc[0]["mse"])


def scaled_with_gaps(raw: pd.DataFrame) -> np.ndarray:
    values = raw.to_numpy(dtype=float)[: TRAIN + VALIDATION + TEST]
    deviation = np.nanstd(values[:TRAIN], axis=0)
    mean = np.nanmean(values[:TRAIN], axis=0)
    return (values - mean) / np.where(deviation > 0, deviation, 1.0)


def test_benchmark_of_some_series(raw: pd.DataFrame) -> None:
    scores = benchmark("tiny", Naive(), horizons=[4], series=["b"]).iloc[0]
    raw["a"], raw["c"] = raw["b"], raw["b"]
    assert scores["mse"] == pytest.approx(benchmark("tiny", Naive(), [4]).iloc[0]["mse"])
    with pytest.raises(ValueError, match=r"series must be among .*; got 'z'"):
        benchmark("tiny", Naive(), [4], series=["b", "z"])


@pytest.mark.wrong_types
@pytest.mark.parametrize("wrong", ("b", 3, []))
def test_series_that_are_no_list_of_names_raise(wrong: Any, raw: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match="series must be names"):
        benchmark("tiny", Naive(), [4], series=wrong)


def test_several_models_and_horizons_give_one_table(raw: pd.DataFrame) -> None:
    scores = benchmark("tiny", [Naive(), Naive(), ARNet(2)], horizons=[2, 4])
    assert scores.index.tolist() == [
        ("tiny", horizon, name) for horizon in (2, 4) for name in ("Naive", "Naive-2", "ARNet")
    ]
    assert list(scores) == ["mse", "mae", "windows", "fit_seconds", "forecast_seconds"]


@pytest.mark.wrong_types
def test_invalid_arguments_raise(raw: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"dataset must have a published split; got 'unsplit'"):
        benchmark("unsplit", Naive())
    with pytest.raises(ValueError, match="horizons must be an integer of at least 1; got 0"):
        benchmark("tiny", Naive(), horizons=[0])
    with pytest.raises(ValueError, match="horizons must be at most 25, the test rows; got 26"):
        benchmark("tiny", Naive(), horizons=[2, 26])
    with pytest.raises(TypeError, match="horizons must be integers; got 96"):
        benchmark("tiny", Naive(), horizons=96)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="models must be forecasters"):
        benchmark("tiny", [], horizons=[2])


def test_unknown_data_set_raises() -> None:
    with pytest.raises(ValueError, match=r"got 'ETTx1'.*Did you mean"):
        benchmark("ETTx1", Naive())


def test_scores_of_several_horizons_equal_those_of_single_horizons(raw: pd.DataFrame) -> None:
    protocol = benchmarking.read_protocol("tiny")
    fitted = benchmarking.fit_protocol(protocol, Naive(), 3)
    combined = benchmarking.score_horizons(protocol, fitted, (5, 1, 3))
    for horizon, scores in combined.items():
        single = benchmarking.score_protocol(protocol, fitted, horizon)
        assert scores == pytest.approx(single, rel=1e-12)
    assert list(combined) == [1, 3, 5]


@pytest.mark.parametrize("stride", (2, 3, 7, 100))
def test_stride_between_windows(raw: pd.DataFrame, stride: int) -> None:
    protocol = benchmarking.read_protocol("tiny")
    fitted = benchmarking.fit_protocol(protocol, Naive(), 3)
    values = protocol.frame.to_numpy()
    scores_by_horizon = benchmarking.score_horizons(protocol, fitted, (5, 1, 3, 4), stride=stride)
    for horizon, scores in scores_by_horizon.items():
        starts = range(protocol.validation, len(values) - horizon + 1, stride)
        errors = [values[k : k + horizon] - values[k - 1] for k in starts]
        assert scores["windows"] == len(errors)
        assert scores["mse"] == pytest.approx(np.square(errors).mean(), rel=1e-9)
        assert scores["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
