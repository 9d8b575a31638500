"""Frozen features: causal, nested where they say so, and fitted to training points alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_analysis import AR2, Floats, analysis, autoregression, long_frame
from torch import Tensor

import tsar
from tsar import Training
from tsar.complexity import (
    Features,
    FilteredStates,
    FrozenFeatures,
    HiddenStates,
    Lags,
    RandomFeatures,
    Representation,
)
from tsar.data.batch import Context
from tsar.data.panel import Panel

# --- windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ("relu", "fourier"))
def test_random_features_are_nested_and_causal(activation: Any) -> None:
    values = torch.from_numpy(autoregression([0.5], 60))
    panel, changed = Panel.from_tensor(values[None]), Panel.from_tensor(values[None].clone())
    changed.values[31:] = 99.0
    large = RandomFeatures(lags=5, activation=activation).freeze(panel, [3, 40], 0)
    small = RandomFeatures(lags=5, activation=activation).freeze(panel, [3], 0)
    positions = torch.arange(4, 31)
    features = large.compute(panel, positions, 40).values
    torch.testing.assert_close(small.compute(panel, positions, 3).values, features[:, :3])
    torch.testing.assert_close(large.compute(changed, positions, 40).values, features)
    assert large.usable(panel).tolist() == [False] * 4 + [True] * 56
    assert not torch.equal(large.compute(changed, torch.tensor([31]), 40).values, features[:1])


def test_precomputed_features_belong_to_the_points_of_the_frame() -> None:
    frame = long_frame({"a": np.full(600, 1.0), "b": AR2})
    features = np.r_[np.zeros((600, 2)), np.c_[AR2, np.r_[0, AR2[:-1]]]]
    precomputed = analysis(features, n_train=None).fit(frame)
    lags = analysis(Lags(2), n_train=None).fit(AR2)
    assert precomputed.curves_["size"].tolist() == lags.curves_["size"].tolist()
    assert precomputed.curves_["test"].to_numpy() == pytest.approx(lags.curves_["test"], rel=0.02)


# --- hidden Markov models ---------------------------------------------------------------------


class SoftQuantiles:
    """Soft assignments to quantiles of the fitted values."""

    def __init__(self, states: int, lengths: list[int]) -> None:
        self.states, self.fitted_lengths = states, lengths

    def fit(self, X: Floats, lengths: Any) -> "SoftQuantiles":
        self.fitted_lengths.append(len(X))
        self.centres = np.nanquantile(X, (np.arange(self.states) + 0.5) / self.states)
        return self

    def transform(self, X: Floats, lengths: Any) -> Floats:
        assert np.sum(lengths) == len(X)
        weight = np.exp(-4 * np.abs(np.nan_to_num(X) - self.centres))
        return weight / weight.sum(axis=1, keepdims=True)


def test_filtered_states_are_fitted_to_the_training_points_alone() -> None:
    lengths: list[int] = []
    states = FilteredStates(lambda size, seed: SoftQuantiles(size, lengths), max_states=6)
    fitted = analysis(states).fit(AR2)
    assert set(lengths) == {360}
    assert fitted.curves_["size"].unique().tolist() == [0, 1, 2, 3, 4, 6]
    risk = fitted.curves_[fitted.curves_["head"] == "ridgeless"]["test"]
    assert risk.iloc[-1] < 0.9 * fitted.summary_["null_risk"]


def test_states_of_a_regime_switching_series() -> None:
    regime = np.repeat(np.random.default_rng(0).integers(0, 2, 40), 15)
    series = 6.0 * regime + np.random.default_rng(1).normal(size=600)
    fitted = analysis("hmm", sizes=(1, 2)).fit(series)
    risks = fitted.curves_.set_index(["size", "head"])["test"]
    assert risks[2, "ridgeless"] < 0.4 * risks[1, "ridgeless"]
    assert fitted.per_series_["n_components"].tolist() == [2]
    assert fitted.recommend().size == 2


def test_linear_gaussian_states_of_a_noisy_autoregression() -> None:
    series = autoregression([0.95], 500) + np.random.default_rng(9).normal(size=500)
    fitted = analysis("linear_gaussian", sizes=(1, 2)).fit(series)
    risks = fitted.curves_.set_index(["size", "head"])["test"]
    one_lag = analysis("lags", sizes=(1,)).fit(series).curves_["test"].iloc[1]
    assert risks[1, "ridgeless"] < 0.95 * one_lag  # a filter uses more than the last point


# --- networks ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wave() -> Floats:
    sine = np.sin(np.arange(500) * 2 * np.pi / 12)
    return sine + 0.3 * np.random.default_rng(0).normal(size=500)


@pytest.fixture(scope="module")
def networks(wave: Floats) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "horizon": 12,
        "random_state": 0,
        "device": "cpu",
        "training": Training(epochs=1, batch_size=64),
    }
    autotimes = tsar.AutoTimes(24, segment_length=12, backbone=None, depth=1, width=16, **shared)
    spacetime = tsar.SpaceTime(24, state_size=6, width=8, **shared)
    return {"AutoTimes": autotimes.fit(wave[:300]), "SpaceTime": spacetime.fit(wave[:300])}


@pytest.mark.parametrize("name", ("AutoTimes", "SpaceTime"))
def test_heads_on_the_hidden_states_of_a_network(
    networks: dict[str, Any], wave: Floats, name: str
) -> None:
    fitted = analysis(networks[name], horizon=3, task="next_segment").fit(wave)
    assert fitted.summary_["representation"] == name
    curve = fitted.curves_[fitted.curves_["head"] == "ridgeless"].set_index("size")
    assert curve.index.max() == (16 if name == "AutoTimes" else 48)
    assert curve["test"].min() < 0.4 * fitted.summary_["null_risk"]


def test_the_forecast_of_a_network_follows_from_its_hidden_state(
    networks: dict[str, Any], wave: Floats
) -> None:
    context = Context.of(torch.from_numpy(wave[None, :24]).float())
    for name in ("AutoTimes", "SpaceTime"):
        module = networks[name].module_.eval()
        hidden, units = module.hidden(context)
        expected = module.forecast(context, 5)
        if name == "AutoTimes":
            forecast = module.decode(hidden, units)[:, :5]
        else:
            state = hidden.unflatten(1, (8, -1))
            known = context.future[:, :5]
            decoded = module.decoder.system(1).forecast(state, 5)
            forecast = units.denormalize(module.head(decoded, known))
        torch.testing.assert_close(forecast, expected)


def test_hidden_states_are_principal_components(networks: dict[str, Any], wave: Floats) -> None:
    panel = Panel.from_tensor(torch.from_numpy(wave[None, :300]))
    frozen = HiddenStates(networks["SpaceTime"]).freeze(panel, [4], 0)
    positions = frozen.usable(panel).nonzero()[:, 0]
    assert positions[0] == 23
    features = frozen.compute(panel, positions, 4)
    assert bool((features.values.var(dim=0).diff() < 0).all())
    assert features.units is not None
    mean = panel.values.unfold(0, 24, 1).mean(dim=1)
    torch.testing.assert_close(features.units.level[:, 0], mean, rtol=1e-4, atol=1e-4)


def test_a_network_with_joint_channels_is_refused() -> None:
    model = tsar.SpaceTime(24, joint=True)
    with pytest.raises(ValueError, match="without covariates and with joint=False; got"):
        HiddenStates(model)


# --- custom -----------------------------------------------------------------------------------


class Squares(Representation):
    """The last value and its square."""

    def max_size(self, training: Panel) -> int:
        return 2

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        class FrozenSquares(FrozenFeatures):
            def usable(self, panel: Panel) -> Tensor:
                return torch.ones_like(panel.values, dtype=torch.bool)

            def compute(self, panel: Panel, positions: Tensor, size: int) -> Features:
                last = panel.values[positions]
                return Features(torch.stack([last, last.square()], dim=1)[:, :size])

        return FrozenSquares()


def test_a_custom_representation() -> None:
    fitted = analysis(Squares()).fit(AR2)
    assert fitted.curves_["size"].unique().tolist() == [0, 1, 2]
    assert fitted.summary_["representation"] == "Squares"
