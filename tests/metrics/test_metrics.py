"""Metrics by hand, against scikit-learn and published formulas, and with missing values."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor

from tsar import metrics
from tsar.metrics import METRICS

NAN = math.nan
LEVELS = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)


@pytest.fixture
def inputs() -> dict[str, Tensor | float]:
    """All inputs of the metrics, for 5 series of 7 steps."""
    generator = torch.Generator().manual_seed(0)
    forecast = 5 + torch.randn(5, 7, generator=generator, dtype=torch.float64)
    half_width = torch.rand(5, 7, generator=generator, dtype=torch.float64)
    return {
        "target": 5 + torch.randn(5, 7, generator=generator, dtype=torch.float64),
        "forecast": forecast,
        "lower": forecast - half_width,
        "upper": forecast + half_width,
        "level": 80.0,
        "quantiles": torch.stack([forecast - half_width, forecast, forecast + half_width], dim=-1),
        "quantile_levels": LEVELS,
        "scale": 0.5 + torch.rand(5, 1, generator=generator, dtype=torch.float64),
        "squared_scale": 0.5 + torch.rand(5, 1, generator=generator, dtype=torch.float64),
    }


def required_inputs(name: str, inputs: dict[str, Tensor | float]) -> dict[str, Tensor | float]:
    return {key: inputs[key] for key in METRICS[name].required}


def reference_pinball(target: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """The pinball loss by its definition, element by element."""
    loss = np.empty(quantiles.shape)
    for index, quantile in np.ndenumerate(quantiles):
        error = target[index[:-1]] - quantile
        level = levels[index[-1]]
        loss[index] = level * error if error > 0 else (level - 1) * error
    return loss


def reference_scale(series: list[float], season_length: int) -> float:
    pairs = zip(series, series[season_length:], strict=False)
    differences = [abs(b - a) for a, b in pairs if not math.isnan(a) and not math.isnan(b)]
    mean = sum(differences) / len(differences) if differences else NAN
    return mean if mean > 0 else NAN


def test_point_metrics_by_hand() -> None:
    target, forecast = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2.0, 4.0, 4.0])
    assert metrics.mae(target, forecast).item() == 1.0
    assert metrics.mse(target, forecast).item() == pytest.approx(5 / 3)
    assert metrics.rmse(target, forecast).item() == pytest.approx(math.sqrt(5 / 3))
    assert metrics.mape(target, forecast).item() == pytest.approx(2 / 3)
    assert metrics.smape(target, forecast).item() == pytest.approx((2 / 3 + 4 / 6) / 3)


def test_scaled_metrics_by_hand() -> None:
    target, forecast = (
        torch.tensor([[1.0, 2.0], [30.0, 10.0]]),
        torch.tensor([[2.0, 2.0], [10.0, 10.0]]),
    )
    scale = torch.tensor([[2.0], [10.0]])
    assert metrics.mase(target, forecast, scale).item() == pytest.approx((0.5 + 2) / 4)
    assert metrics.rmsse(target, forecast, scale**2).item() == pytest.approx(math.sqrt(4.25 / 4))


def test_interval_metrics_by_hand() -> None:
    target = torch.tensor([1.0, 2.0, 5.0, -1.0])
    lower, upper = torch.zeros(4), torch.full((4,), 2.0)
    assert metrics.coverage(target, lower, upper).item() == 0.5
    assert metrics.interval_width(target, lower, upper).item() == 2.0
    # 2 / (1 - 0.9) = 20 for each unit outside, and 3 + 1 units over 4 points.
    assert metrics.winkler(target, lower, upper, 90).item() == pytest.approx(2 + 20 * 4 / 4)


def test_smape_is_between_zero_and_two() -> None:
    target = torch.tensor([0.0, 3.0])
    assert metrics.smape(target, target).item() == 0.0
    assert metrics.smape(target, torch.tensor([7.0, -3.0])).item() == 2.0


def test_point_metrics_equal_scikit_learn(inputs: dict[str, Tensor]) -> None:
    target, forecast = inputs["target"].flatten(), inputs["forecast"].flatten()
    for ours, theirs in [
        (metrics.mae, reference.mean_absolute_error),
        (metrics.mse, reference.mean_squared_error),
        (metrics.rmse, reference.root_mean_squared_error),
        (metrics.mape, reference.mean_absolute_percentage_error),
    ]:
        assert ours(target, forecast).item() == pytest.approx(theirs(target, forecast))


def test_quantile_loss_equals_scikit_learn(inputs: dict[str, Tensor]) -> None:
    target, quantiles = inputs["target"], inputs["quantiles"]
    theirs = [
        reference.mean_pinball_loss(target.flatten(), quantiles[..., i].flatten(), alpha=level)
        for i, level in enumerate(LEVELS.tolist())
    ]
    ours = metrics.quantile_loss(target, quantiles, LEVELS).item()
    assert ours == pytest.approx(np.mean(theirs))


def test_quantile_metrics_equal_the_published_formulas(inputs: dict[str, Tensor]) -> None:
    """WQL and SQL as fev defines them: twice the pinball, each level averaged over all points."""
    target, quantiles, scale = inputs["target"], inputs["quantiles"], inputs["scale"]
    twice = 2 * reference_pinball(target.numpy(), quantiles.numpy(), LEVELS.numpy())
    wql = np.mean([twice[..., q].sum() / target.abs().sum().item() for q in range(3)])
    sql = np.mean([(twice[..., q] / scale.numpy()).mean() for q in range(3)])
    assert metrics.wql(target, quantiles, LEVELS).item() == pytest.approx(wql)
    ours = metrics.scaled_quantile_loss(target, quantiles, LEVELS, scale).item()
    assert ours == pytest.approx(sql)


def test_scaled_quantile_loss_of_the_median_equals_mase(inputs: dict[str, Tensor]) -> None:
    target, forecast, scale = inputs["target"], inputs["forecast"], inputs["scale"]
    median = metrics.scaled_quantile_loss(target, forecast[..., None], LEVELS[1:2], scale)
    torch.testing.assert_close(median, metrics.mase(target, forecast, scale))


def test_winkler_score_equals_the_pinball_loss_of_both_bounds(inputs: dict[str, Tensor]) -> None:
    target, lower, upper = inputs["target"], inputs["lower"], inputs["upper"]
    bounds = torch.stack([lower, upper], dim=-1)
    pinball = metrics.quantile_loss(target, bounds, torch.tensor([0.1, 0.9], dtype=torch.float64))
    # The mean of two losses is half their sum: 2 / 0.2 * 2.
    torch.testing.assert_close(metrics.winkler(target, lower, upper, 80), 20 * pinball)


@pytest.mark.parametrize("name", METRICS)
def test_registry_equals_the_functions(name: str, inputs: dict[str, Tensor]) -> None:
    target, arguments = inputs["target"], required_inputs(name, inputs)
    torch.testing.assert_close(
        METRICS[name](target, **arguments), getattr(metrics, name)(target, **arguments)
    )


@pytest.mark.parametrize("name", METRICS)
def test_missing_targets_are_ignored(name: str, inputs: dict[str, Tensor]) -> None:
    target = inputs["target"]
    with_missing = target.clone()
    with_missing[:, 4:] = NAN
    observed = {
        key: value[:, :4] if isinstance(value, Tensor) and value.shape[1:2] == (7,) else value
        for key, value in required_inputs(name, inputs).items()
    }
    expected = METRICS[name](target[:, :4], **observed)
    torch.testing.assert_close(
        METRICS[name](with_missing, **required_inputs(name, inputs)), expected
    )


@pytest.mark.parametrize("name", METRICS)
def test_metric_without_observed_points_is_nan(name: str, inputs: dict[str, Tensor]) -> None:
    target = torch.full_like(inputs["target"], NAN)
    assert METRICS[name](target, **required_inputs(name, inputs)).isnan()


@pytest.mark.parametrize("name", METRICS)
def test_nan_forecast_gives_nan(name: str, inputs: dict[str, Tensor]) -> None:
    arguments = required_inputs(name, inputs)
    for key in {"forecast", "lower", "quantiles"} & set(arguments):
        arguments[key] = arguments[key].clone()
        arguments[key][2, 3] = NAN
    assert METRICS[name](inputs["target"], **arguments).isnan()


@pytest.mark.parametrize("name", METRICS)
def test_metric_by_group_equals_the_metric_of_each_group(
    name: str, inputs: dict[str, Tensor]
) -> None:
    target = inputs["target"].clone()
    target[1, 2:5] = NAN
    group = torch.tensor([[0], [2], [0], [0], [2]])
    values = METRICS[name].by_group(group, 3, target, **required_inputs(name, inputs))
    assert values[1].isnan()
    for index in (0, 2):
        rows = group[:, 0] == index
        subset = {
            key: value[rows] if isinstance(value, Tensor) and len(value) == 5 else value
            for key, value in required_inputs(name, inputs).items()
        }
        torch.testing.assert_close(values[index], METRICS[name](target[rows], **subset))


@pytest.mark.parametrize("name", ["mae", "mse", "rmse", "smape", "mape", "mase", "rmsse"])
def test_gradient_is_finite_with_missing_targets_and_scales(
    name: str,
) -> None:
    forecast = torch.tensor([[0.0, 2.0], [3.0, 4.0]], requires_grad=True)
    scale = torch.tensor([[1.0], [NAN]])
    inputs = {"forecast": forecast, "scale": scale, "squared_scale": scale}
    METRICS[name](
        torch.tensor([[NAN, 1.0], [5.0, 6.0]]), **required_inputs(name, inputs)
    ).backward()
    assert forecast.grad is not None
    assert forecast.grad.isfinite().all()
    assert forecast.grad[0, 0] == 0


def test_infinite_bounds_have_full_coverage() -> None:
    bound = torch.full((3,), math.inf)
    assert metrics.coverage(torch.tensor([1.0, -9.0, 3.0]), -bound, bound).item() == 1.0


def test_series_without_a_scale_are_ignored() -> None:
    target, forecast = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.zeros(2, 2)
    scale = torch.tensor([[NAN], [2.0]])
    assert metrics.mase(target, forecast, scale).item() == pytest.approx(3.5 / 2)


@pytest.mark.parametrize("season_length", [1, 2, 3, 12])
def test_scale_equals_the_reference_in_both_layouts(season_length: int) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(n, generator=generator, dtype=torch.float64) for n in (1, 9, 4, 14, 3)]
    rows[1][4] = NAN
    rows[3][:] = 7.0
    flat, lengths = torch.cat(rows), torch.tensor([0, *map(len, rows)])
    expected = torch.tensor(
        [reference_scale(row.tolist(), season_length) for row in rows], dtype=torch.float64
    )
    ours = metrics.seasonal_scale(flat, season_length, lengths.cumsum(0))
    torch.testing.assert_close(ours, expected, equal_nan=True)
    padded = torch.full((5, 14), NAN, dtype=torch.float64)
    for row, values in zip(padded, rows, strict=True):
        row[14 - len(values) :] = values
    dense = metrics.seasonal_scale(padded, season_length)
    torch.testing.assert_close(dense, expected, equal_nan=True)
    equal = metrics.seasonal_scale(padded.reshape(-1), season_length, torch.arange(6) * 14)
    torch.testing.assert_close(equal, expected, equal_nan=True)


def test_scale_is_nan_if_the_season_repeats_exactly() -> None:
    values = torch.tensor([[1.0, 2.0, 1.0, 2.0]])
    assert metrics.seasonal_scale(values, 2).isnan().all()
    assert metrics.seasonal_squared_scale(values, 2, None).isnan().all()
    assert metrics.seasonal_scale(values, 1).item() == 1.0


def test_squared_scale_by_hand() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 9.0, 9.0, 12.0])
    ours = metrics.seasonal_squared_scale(values, 1, torch.tensor([0, 3, 6]))
    torch.testing.assert_close(ours, torch.tensor([2.5, 4.5]))


def test_invalid_inputs_raise() -> None:
    target = torch.zeros(8)
    with pytest.raises(ValueError, match=r"forecast must have the shape \(8,\).*got \(8, 1\)"):
        METRICS["mae"](target, forecast=torch.zeros(8, 1))
    with pytest.raises(ValueError, match=r"quantiles must have the shape \(8, 3\)"):
        METRICS["wql"](target, quantiles=torch.zeros(8, 2), quantile_levels=LEVELS)
    with pytest.raises(ValueError, match="inputs of mase must be forecast, scale; got forecast"):
        METRICS["mase"](target, forecast=target)
    with pytest.raises(ValueError, match="level must be a percentage"):
        metrics.winkler(target, target, target, 0.9 * 1000)
    with pytest.raises(ValueError, match="season_length must be at least 1; got 0"):
        metrics.seasonal_scale(torch.zeros(1, 8), 0)
