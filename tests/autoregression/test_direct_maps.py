"""Averaged ridge maps against scikit-learn's ridge on windows that are built."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from tsar.autoregression import (
    DirectMaps,
    Segments,
    WindowMoments,
    WindowSplit,
    error_products,
    fit_direct_maps,
    stacking_errors,
    stacking_weight,
)
from tsar.autoregression.direct_maps import BASELINES, RIDGES, lag_groups

HORIZON, CONTEXTS, BEFORE = 3, [5, 8], 150
SIZE = HORIZON + max(CONTEXTS)
Floats = NDArray[np.float64]


@pytest.fixture
def values() -> Floats:
    rng = np.random.default_rng(0)
    return np.sin(np.arange(200) * 0.7) + rng.normal(size=200).cumsum() * 0.1 + 5


def moments(values: Floats, begin: int, end: int, size: int = SIZE) -> WindowMoments:
    segments = Segments(torch.tensor([begin]), torch.tensor([end - begin]), torch.tensor([0]), 1)
    return WindowMoments.of(torch.from_numpy(values), segments, size)


def split_of(values: Floats) -> WindowSplit:
    parts = (0, BEFORE), (BEFORE - max(CONTEXTS), len(values)), (0, len(values))
    return WindowSplit(*(moments(values, *span) for span in parts))


def windows(values: Floats) -> tuple[Floats, Floats]:
    """Contexts of the longest length, newest first, and targets in the order of time."""
    rows = np.lib.stride_tricks.sliding_window_view(values, SIZE)
    return rows[:, : max(CONTEXTS)][:, ::-1], rows[:, max(CONTEXTS) :]


def slow_map(values: Floats) -> list[tuple[Floats, Floats, float]]:
    """Slope, intercept and ridge of each member, by scikit-learn, before the validation block."""
    (past_x, past_y), (x, y) = windows(values[:BEFORE]), windows(values[BEFORE - max(CONTEXTS) :])
    members = []
    for n_lags in CONTEXTS:
        ridge = None
        for share in BASELINES:
            weights = np.zeros(n_lags)
            if share is not None:
                count = max(int(share * n_lags), 1)
                weights[:count] = 1 / count
            level, new = past_x[:, :n_lags] @ weights, x[:, :n_lags] @ weights
            design, target = past_x[:, :n_lags] - level[:, None], past_y - level[:, None]
            centred = design - design.mean(axis=0) if share is None else design
            scale = (centred**2).sum() / n_lags

            def fit(value: float, design=design, target=target, scale=scale, share=share) -> Ridge:
                return Ridge(value * scale, fit_intercept=share is None).fit(design, target)

            def error(value: float, fit=fit, n_lags=n_lags, new=new) -> float:
                forecast = fit(value).predict(x[:, :n_lags] - new[:, None]) + new[:, None]
                return float(((forecast - y) ** 2).sum())

            ridge = min(RIDGES, key=error) if ridge is None else ridge
            best = fit(ridge)
            slope = best.coef_ + np.outer(1 - best.coef_.sum(axis=1), weights)
            members.append((slope, np.broadcast_to(best.intercept_, 3), ridge))
    return members


def test_maps_are_the_mean_of_ridge_regressions(values: Floats) -> None:
    past, _ = fit_direct_maps(split_of(values), HORIZON, CONTEXTS)
    slopes = np.zeros((HORIZON, max(CONTEXTS)))
    members = slow_map(values)
    for slope, _, _ in members:
        slopes[:, : slope.shape[1]] += slope / len(members)
    intercept = np.mean([member[1] for member in members], axis=0)
    assert np.allclose(past.coef[0].flip(0), slopes, atol=1e-8)
    assert np.allclose(past.intercept[0].flip(0), intercept, atol=1e-7)


def test_errors_are_those_of_the_forecasts_of_all_windows(values: Floats) -> None:
    split = split_of(values)
    first, second = fit_direct_maps(split, HORIZON, CONTEXTS)
    contexts, targets = windows(values[BEFORE - max(CONTEXTS) :])
    errors = [
        targets - contexts @ maps.coef[0].flip(0).T.numpy() - maps.intercept[0].flip(0).numpy()
        for maps in (first, second)
    ]
    for left, right in ((0, 0), (0, 1), (1, 1)):
        pair = (first, second)[left], (first, second)[right]
        products = error_products(*pair, split.validation)[0].flip(0)
        assert np.allclose(products, (errors[left] * errors[right]).mean(axis=0), atol=1e-9)


def test_stacking_weight_minimizes_the_error_of_the_blend(values: Floats) -> None:
    split = split_of(values)
    own, _ = fit_direct_maps(split, HORIZON, CONTEXTS)
    shared = DirectMaps(own.coef * 0.7, own.intercept + 1.4)
    weight = stacking_weight(stacking_errors(own, shared, split.validation).sum(dim=(1, 2)))
    error = [
        float(error_products(own.blend(shared, w), own.blend(shared, w), split.validation).sum())
        for w in (max(weight - 0.05, 0.0), weight, min(weight + 0.05, 1.0))
    ]
    assert 0 < weight < 1
    assert error[1] < min(error[0], error[2])


def test_stacking_weight_stays_between_the_maps() -> None:
    assert stacking_weight(torch.tensor([1.0, 2.0, 5.0])) == 0
    assert stacking_weight(torch.tensor([5.0, 2.0, 1.0])) == 1
    assert stacking_weight(torch.tensor([1.0, 1.0, 1.0])) == 0.5


def test_a_series_gets_the_same_maps_alone_and_among_others(values: Floats) -> None:
    other = values[::-1] * 100
    split, both = split_of(values), []
    for part, another in zip(vars(split).values(), vars(split_of(other)).values(), strict=True):
        stacked = (
            torch.cat(pair)
            for pair in zip(vars(part).values(), vars(another).values(), strict=True)
        )
        both.append(WindowMoments(*stacked))
    alone = fit_direct_maps(split, HORIZON, CONTEXTS)[1]
    among = fit_direct_maps(WindowSplit(*both), HORIZON, CONTEXTS)[1]
    assert torch.allclose(alone.coef[0], among.coef[0], rtol=1e-10, atol=1e-12)


def test_a_constant_series_is_forecast_as_constant() -> None:
    maps = fit_direct_maps(split_of(np.full(200, 3.0)), HORIZON, CONTEXTS)[1]
    context = torch.full((max(CONTEXTS),), 3.0, dtype=torch.float64)
    assert torch.allclose(maps.coef[0] @ context + maps.intercept[0], context[:3])


@pytest.mark.parametrize("n_lags", [1, 96, 432, 433, 720, 1440])
def test_groups_hold_all_lags_and_are_few(n_lags: int) -> None:
    sizes = lag_groups(n_lags)
    assert int(sizes.sum()) == n_lags and len(sizes) <= 432
    assert bool((sizes > 0).all()) and bool((sizes[:96] == 1).all())
