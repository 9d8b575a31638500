"""Conformal intervals by hand and by simulation, and the columns that levels ask for."""

import math

import numpy as np
import pytest
import torch
from reference import conformal_half_width
from scipy import stats

from tsar.intervals import Calibration, Levels, gaussian_quantiles

NAN = math.nan


def errors_of(*columns: list[float]) -> torch.Tensor:
    return torch.tensor(columns, dtype=torch.float64).T.contiguous()


def test_the_half_width_is_the_score_of_the_conformal_rank() -> None:
    # Nine errors: ceil(10 * 0.8) = 8 of them, ceil(10 * 0.81) = 9, ceil(10 * 0.1) = 1.
    calibration = Calibration.of(errors_of([3, -1, 2, -9, 5, 4, -6, 7, 8]))
    assert calibration.half_width(0.8).tolist() == [8]
    assert calibration.half_width(0.81).tolist() == [9]
    assert calibration.half_width(0.9).tolist() == [9]
    assert calibration.half_width(0.1).tolist() == [1]
    assert calibration.half_width(1e-6).tolist() == [1]


@pytest.mark.parametrize("count", (1, 4, 9, 19, 100, 1999))
def test_each_step_has_its_own_scores(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    errors = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    errors[torch.rand(count, 3, generator=generator) < 0.2] = NAN
    errors[0] = 1.0
    calibration = Calibration.of(errors)
    for coverage in (0.05, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99):
        expected = [conformal_half_width(step.tolist(), coverage) for step in errors.T]
        if math.inf in expected:
            with pytest.raises(ValueError, match=r"^level must be at most "):
                calibration.half_width(coverage)
        else:
            assert calibration.half_width(coverage).tolist() == expected


def test_too_few_scores_are_named() -> None:
    calibration = Calibration.of(errors_of([1, 2, 3, 4], [1, 2, NAN, 4]))
    message = r"level must be at most 75 with 3 calibration window\(s\); got 80. Hold back more"
    with pytest.raises(ValueError, match=message):
        calibration.half_width(0.8)
    assert calibration.half_width(0.75).tolist() == [4, 4]
    for empty in (torch.empty(0, 2), torch.full((5, 2), NAN)):
        with pytest.raises(ValueError, match=r"at most 0 with 0 calibration window\(s\); got 10\."):
            Calibration.of(empty.double()).half_width(0.1)


def test_quantiles_stand_around_the_forecast() -> None:
    calibration = Calibration.of(errors_of([1.0, 2, 3, 4], [10.0, 20, 30, 40], [5.0, 6, 7, 8]))
    point = torch.tensor([[0.0, 0.0], [100.0, 100.0]])
    found = calibration.quantiles(point, [0.2, 0.5, 0.8])
    assert found.dtype == point.dtype
    assert found.tolist() == [
        [[-3, 0, 3], [-30, 0, 30]],
        [[97, 100, 103], [70, 100, 130]],
    ]


def test_steps_beyond_those_asked_for_need_no_scores() -> None:
    calibration = Calibration.of(errors_of([1.0, 2, 3, 4], [NAN, NAN, NAN, 4]))
    assert calibration.quantiles(torch.zeros(1, 1), [0.9]).tolist() == [[[4]]]
    with pytest.raises(ValueError, match=r"at most 50 with 1 calibration window\(s\); got 80\."):
        calibration.quantiles(torch.zeros(1, 2), [0.9])


def test_the_median_needs_no_scores() -> None:
    point = torch.tensor([[1.0, 2.0]])
    assert Calibration.of(torch.empty(0, 2)).quantiles(point, [0.5]).tolist() == [[[1], [2]]]


def test_a_horizon_beyond_the_calibrated_one_is_refused() -> None:
    calibration = Calibration.of(errors_of([1.0, 2], [3.0, 4]))
    with pytest.raises(ValueError, match=r"^horizon must be at most 2 with intervals, .*; got 3"):
        calibration.quantiles(torch.zeros(1, 3), [0.5])


@pytest.mark.parametrize("coverage", (0.5, 0.8, 0.95))
def test_coverage_of_exchangeable_errors_is_at_least_nominal(coverage: float) -> None:
    # 4,000 draws of 39 calibration errors and one new one; skewed, for no shape is assumed.
    count, draws = 39, 4000
    generator = torch.Generator().manual_seed(1)
    errors = torch.randn(count + 1, draws, generator=generator).double().exp() - 1
    half = Calibration.of(errors[:count]).half_width(coverage)
    covered = (errors[count].abs() <= half).double().mean().item()
    nominal = math.ceil((count + 1) * coverage) / (count + 1)  # exact for continuous errors
    error = math.sqrt(nominal * (1 - nominal) / draws)
    assert nominal >= coverage
    assert abs(covered - nominal) < 3 * error


def test_gaussian_quantiles_are_those_of_the_normal_distribution() -> None:
    point = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    deviation = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    levels = (0.025, 0.5, 0.9)
    expected = stats.norm.ppf(
        levels, loc=point.numpy()[..., None], scale=deviation.numpy()[..., None]
    )
    np.testing.assert_allclose(gaussian_quantiles(point, deviation, levels).numpy(), expected)


# --- levels ---


def test_a_level_is_two_quantiles() -> None:
    level, quantiles = Levels.of(level=80), Levels.of((0.1, 0.9))
    assert level.levels == quantiles.levels == (0.1, 0.9)
    assert level.columns == (("-lo-80", 0), ("-hi-80", 1))
    assert quantiles.columns == (("-q-0.1", 0), ("-q-0.9", 1))


def test_levels_are_ascending_and_once_and_columns_as_they_were_asked_for() -> None:
    wanted = Levels.of([0.9, 0.5], [95, 80])
    assert wanted.levels == (0.025, 0.1, 0.5, 0.9, 0.975)
    assert wanted.columns == (
        *(("-lo-95", 0), ("-hi-95", 4), ("-lo-80", 1), ("-hi-80", 3)),
        *(("-q-0.9", 3), ("-q-0.5", 2)),
    )


@pytest.mark.parametrize(
    "quantile_levels", (0.9, [0.9], (0.9,), np.array([0.9]), np.float32(0.9), torch.tensor([0.9]))
)
def test_levels_may_come_as_any_sequence_or_number(quantile_levels: object) -> None:
    wanted = Levels.of(quantile_levels)  # type: ignore[arg-type]
    assert wanted.levels == pytest.approx((0.9,))
    assert wanted.columns == (("-q-0.9", 0),)


def test_nothing_asked_for_is_nothing() -> None:
    assert Levels.of() == Levels((), ())
    assert Levels.of([], []) == Levels((), ())
    assert Levels.of(level=99.5).columns == (("-lo-99.5", 0), ("-hi-99.5", 1))
