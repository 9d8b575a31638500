"""Conformal intervals by hand and by simulation, and the columns of requested levels."""

import math

import numpy as np
import pytest
import torch
from reference import conformal_half_width
from scipy import stats

from tsar.intervals import Calibration, Levels, gaussian_quantiles

NAN = math.nan


def errors_by_step(*columns: list[float]) -> torch.Tensor:
    return torch.tensor(columns, dtype=torch.float64).T.contiguous()


def test_half_width_is_the_score_at_the_conformal_rank() -> None:
    # Nine errors: ceil(10 * 0.8) = 8 of them, ceil(10 * 0.81) = 9, ceil(10 * 0.1) = 1.
    calibration = Calibration.from_errors(errors_by_step([3, -1, 2, -9, 5, 4, -6, 7, 8]))
    assert calibration.half_width(0.8).tolist() == [8]
    assert calibration.half_width(0.81).tolist() == [9]
    assert calibration.half_width(0.9).tolist() == [9]
    assert calibration.half_width(0.1).tolist() == [1]
    assert calibration.half_width(1e-6).tolist() == [1]


@pytest.mark.parametrize("count", (1, 4, 9, 19, 100, 1999))
def test_half_width_of_each_step_equals_the_reference(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    errors = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    errors[torch.rand(count, 3, generator=generator) < 0.2] = NAN
    errors[0] = 1.0
    calibration = Calibration.from_errors(errors)
    for coverage in (0.05, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99):
        expected = [conformal_half_width(step.tolist(), coverage) for step in errors.T]
        found = calibration.half_width(coverage).tolist()
        for step, width, exact in zip(errors.T, found, expected, strict=True):
            if exact == math.inf:  # Student's t, and not below any score
                assert width >= step.abs().nan_to_num(0.0).max()
                width = exact
            assert width == exact


def test_coverage_that_needs_more_scores_is_that_of_normal_errors() -> None:
    calibration = Calibration.from_errors(errors_by_step([1, 2, 3, 4], [1, 2, NAN, 4]))
    assert calibration.half_width(0.75).tolist() == [4, 4]
    first, second = calibration.half_width(0.95).tolist()
    for width, scores in ((first, [1, 2, 3, 4]), (second, [1, 2, 4])):
        n, deviation = len(scores), np.sqrt(np.mean(np.square(scores)))
        assert width == pytest.approx(stats.t.ppf(0.975, n) * deviation * np.sqrt(1 + 1 / n))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_intervals_of_few_scores_hold_for_normal_errors(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(4000, count + 1, generator=generator, dtype=torch.float64)
    for coverage in (0.8, 0.95):
        calibration = Calibration.from_errors(errors[:, :count].T)  # a step for each repetition
        inside = errors[:, count].abs() <= calibration.half_width(coverage)
        assert coverage - 0.02 < float(inside.double().mean()) < coverage + 0.12


def test_a_step_without_a_score_has_the_width_of_the_nearest() -> None:
    calibration = Calibration.from_errors(
        errors_by_step([1.0, 2], [NAN, NAN], [NAN, NAN], [5, 6.0])
    )
    assert calibration.half_width(0.5).tolist() == [2, 2, 6, 6]


def test_without_any_score_there_is_no_interval() -> None:
    for empty in (torch.empty(0, 2), torch.full((5, 2), NAN)):
        with pytest.raises(ValueError, match="level must be None without a window"):
            Calibration.from_errors(empty.double()).half_width(0.1)


def test_few_scores_and_those_of_training_are_warned_of() -> None:
    errors, point = errors_by_step([1.0, 2, 3]), torch.zeros(1, 1)
    with pytest.warns(UserWarning, match="of 80 % rest on 3 held-back window"):
        Calibration.from_errors(errors).quantiles(point, [0.1, 0.9])
    with pytest.warns(UserWarning, match=r"errors of 3 window\(s\) that were trained on"):
        Calibration.from_errors(errors, in_sample=True).quantiles(point, [0.4, 0.6])


def test_quantiles_are_symmetric_around_the_point_forecast() -> None:
    calibration = Calibration.from_errors(
        errors_by_step([1.0, 2, 3, 4], [10.0, 20, 30, 40], [5.0, 6, 7, 8])
    )
    point = torch.tensor([[0.0, 0.0], [100.0, 100.0]])
    found = calibration.quantiles(point, [0.2, 0.5, 0.8])
    assert found.dtype == point.dtype
    assert found.tolist() == [
        [[-3, 0, 3], [-30, 0, 30]],
        [[97, 100, 103], [70, 100, 130]],
    ]


def test_scores_of_steps_after_the_horizon_are_not_required() -> None:
    calibration = Calibration.from_errors(errors_by_step([1.0, 2, 3, 4], [NAN, NAN, NAN, 4]))
    assert calibration.quantiles(torch.zeros(1, 1), [0.9]).tolist() == [[[4]]]
    with pytest.warns(UserWarning, match="rest on 1 held-back window"):
        calibration.quantiles(torch.zeros(1, 2), [0.9])


def test_median_is_the_point_forecast_without_scores() -> None:
    point = torch.tensor([[1.0, 2.0]])
    assert Calibration.from_errors(torch.empty(0, 2)).quantiles(point, [0.5]).tolist() == [
        [[1], [2]]
    ]


def test_horizon_beyond_the_calibrated_one_raises() -> None:
    calibration = Calibration.from_errors(errors_by_step([1.0, 2], [3.0, 4]))
    with pytest.raises(ValueError, match=r"^horizon must be at most 2 with intervals, .*; got 3"):
        calibration.quantiles(torch.zeros(1, 3), [0.5])


@pytest.mark.parametrize("coverage", (0.5, 0.8, 0.95))
def test_coverage_of_exchangeable_errors_is_at_least_nominal(coverage: float) -> None:
    # 4,000 samples of 39 calibration errors and one new error, from a skewed distribution.
    count, repetitions = 39, 4000
    generator = torch.Generator().manual_seed(1)
    errors = torch.randn(count + 1, repetitions, generator=generator).double().exp() - 1
    half_width = Calibration.from_errors(errors[:count]).half_width(coverage)
    covered = (errors[count].abs() <= half_width).double().mean().item()
    nominal = math.ceil((count + 1) * coverage) / (count + 1)  # exact for continuous errors
    std_err = math.sqrt(nominal * (1 - nominal) / repetitions)
    assert nominal >= coverage
    assert abs(covered - nominal) < 3 * std_err


def test_gaussian_quantiles_equal_scipy() -> None:
    point = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    deviation = torch.tensor([[0.5, 3.0]], dtype=torch.float64)
    levels = (0.025, 0.5, 0.9)
    expected = stats.norm.ppf(
        levels, loc=point.numpy()[..., None], scale=deviation.numpy()[..., None]
    )
    np.testing.assert_allclose(gaussian_quantiles(point, deviation, levels).numpy(), expected)


# --- levels ---


def test_one_level_gives_two_quantiles() -> None:
    level, quantiles = Levels.parse(level=80), Levels.parse((0.1, 0.9))
    assert level.levels == quantiles.levels == (0.1, 0.9)
    assert level.columns == (("-lo-80", 0), ("-hi-80", 1))
    assert quantiles.columns == (("-q-0.1", 0), ("-q-0.9", 1))


def test_levels_are_sorted_and_distinct_and_columns_in_request_order() -> None:
    parsed = Levels.parse([0.9, 0.5], [95, 80])
    assert parsed.levels == (0.025, 0.1, 0.5, 0.9, 0.975)
    assert parsed.columns == (
        *(("-lo-95", 0), ("-hi-95", 4), ("-lo-80", 1), ("-hi-80", 3)),
        *(("-q-0.9", 3), ("-q-0.5", 2)),
    )


@pytest.mark.parametrize(
    "quantile_levels", (0.9, [0.9], (0.9,), np.array([0.9]), np.float32(0.9), torch.tensor([0.9]))
)
def test_levels_accept_numbers_and_any_sequence(quantile_levels: object) -> None:
    parsed = Levels.parse(quantile_levels)  # type: ignore[arg-type]
    assert parsed.levels == pytest.approx((0.9,))
    assert parsed.columns == (("-q-0.9", 0),)


def test_no_request_gives_no_levels() -> None:
    assert Levels.parse() == Levels((), ())
    assert Levels.parse([], []) == Levels((), ())
    assert Levels.parse(level=99.5).columns == (("-lo-99.5", 0), ("-hi-99.5", 1))
