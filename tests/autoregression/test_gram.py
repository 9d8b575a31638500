import numpy as np
import pytest
import reference_autoregression as reference
import torch
from torch.testing import assert_close

from tsar.autoregression import Moments, Segments, lagged_moments

GENERATOR = np.random.default_rng(0)


def segments_of(starts: list[int], lengths: list[int], group: list[int], n_groups: int) -> Segments:
    return Segments(torch.tensor(starts), torch.tensor(lengths), torch.tensor(group), n_groups)


def one_segment(length: int, start: int = 0) -> Segments:
    return segments_of([start], [length], [0], 1)


def relative_error(result: Moments, group: int, gram: np.ndarray) -> float:
    scale = np.sqrt(np.outer(gram.diagonal(), gram.diagonal()))
    return float((np.abs(result.gram[group].numpy() - gram) / scale).max())


@pytest.mark.parametrize("max_lag", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("channels", [1, 3])
def test_moments_are_those_of_the_lag_matrix(max_lag: int, channels: int) -> None:
    values = GENERATOR.normal(size=(channels, 200))
    result = lagged_moments(torch.tensor(values), one_segment(150, 20), max_lag)
    gram, mean, nobs = reference.moments(reference.lag_matrix(values, 20, 150, max_lag))
    assert relative_error(result, 0, gram) < 1e-13
    assert_close(result.mean[0], torch.tensor(mean), rtol=1e-13, atol=1e-15)
    assert result.nobs.tolist() == [nobs]


def test_segments_of_many_blocks_lose_nothing_at_the_block_borders() -> None:
    values = GENERATOR.normal(size=(2, 30_000))
    result = lagged_moments(torch.tensor(values), one_segment(29_990, 7), 5)
    gram, _, _ = reference.moments(reference.lag_matrix(values, 7, 29_990, 5))
    assert relative_error(result, 0, gram) < 1e-13


def test_many_segments_of_different_lengths_add_up_in_their_groups() -> None:
    lengths = GENERATOR.integers(1, 60, size=150)
    starts = np.cumsum(lengths + 1) - lengths
    values = GENERATOR.normal(size=(2, int((lengths + 1).sum()) + 1))
    values[:, starts - 1] = np.nan  # between the segments
    group = GENERATOR.integers(0, 40, size=150)
    segments = Segments(*(torch.tensor(x) for x in (starts, lengths, group)), 40)
    result = lagged_moments(torch.tensor(values), segments, 4)
    checked = 0
    for number in range(40):
        own = np.flatnonzero((group == number) & (lengths > 4))
        if (lengths[own] - 4).sum() < 2:
            continue
        matrix = reference.design(values, starts[own].tolist(), lengths[own].tolist(), 4)
        gram, mean, nobs = reference.moments(matrix)
        assert relative_error(result, number, gram) < 1e-12
        assert_close(result.mean[number], torch.tensor(mean), rtol=1e-12, atol=1e-14)
        assert result.nobs[number].item() == nobs
        checked += 1
    assert checked > 20


def test_overlapping_segments_may_belong_to_different_groups() -> None:
    values = GENERATOR.normal(size=(1, 80))
    result = lagged_moments(torch.tensor(values), segments_of([0, 10], [60, 70], [0, 1], 2), 3)
    for group, (start, length) in enumerate([(0, 60), (10, 70)]):
        gram, _, _ = reference.moments(reference.lag_matrix(values, start, length, 3))
        assert relative_error(result, group, gram) < 1e-13


def test_a_large_level_costs_no_digits() -> None:
    # Multiples of 2^-20, so that the level itself is added without rounding.
    values = np.round(GENERATOR.normal(size=(1, 5000)) * 2**20) / 2**20
    plain = lagged_moments(torch.tensor(values), one_segment(5000), 6)
    raised = lagged_moments(torch.tensor(values + 2.0**26), one_segment(5000), 6)
    assert relative_error(raised, 0, plain.gram[0].numpy()) < 1e-13


def test_missing_values_outside_the_segments_are_never_read() -> None:
    values = GENERATOR.normal(size=(1, 120))
    holes = values.copy()
    holes[:, [49, 100]] = np.nan, np.inf
    segments = segments_of([0, 50], [49, 50], [0, 0], 1)
    assert_close(
        lagged_moments(torch.tensor(holes), segments, 5).gram,
        lagged_moments(torch.tensor(values), segments, 5).gram,
        rtol=1e-12,
        atol=1e-12,
    )


def test_groups_without_a_complete_window_are_zero() -> None:
    values = torch.tensor(GENERATOR.normal(size=(1, 30)))
    result = lagged_moments(values, segments_of([0, 25], [25, 5], [0, 2], 3), 5)
    assert result.nobs.tolist() == [20, 0, 0]
    assert not result.gram[1:].any()
    assert not result.mean[1:].any()


def test_no_segments_give_zero_moments() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    result = lagged_moments(torch.full((1, 9), torch.nan), Segments(none, none, none, 2), 3)
    assert result.gram.shape == (2, 4, 4)
    assert not result.gram.any()


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9 / 3])
def test_a_constant_channel_has_exactly_zero_moments(level: float) -> None:
    values = np.stack([GENERATOR.normal(size=300), np.full(300, level)])
    result = lagged_moments(torch.tensor(values), one_segment(300), 4)
    assert not result.gram[0, 5:].any()
    assert not result.gram[0, :, 5:].any()
    assert (result.gram[0].diagonal()[:5] > 0).all()


def test_single_precision_is_summed_in_double() -> None:
    values = torch.tensor(GENERATOR.normal(size=(1, 500))).float()
    assert_close(
        lagged_moments(values, one_segment(500), 3).gram,
        lagged_moments(values.double(), one_segment(500), 3).gram,
    )


def test_normal_equations_of_direct_horizons_come_from_the_same_moments() -> None:
    values = GENERATOR.normal(size=(1, 100))
    moments = lagged_moments(torch.tensor(values), one_segment(100), 6)
    steps = moments.normal_equations(moments.terms(0, 3, 6), moments.terms(0, 0, 2).flip(0))
    matrix = reference.lag_matrix(values, 0, 100, 6)
    centred = matrix - matrix.mean(0)
    assert_close(steps.cross[0].numpy(), centred[:, 3:].T @ centred[:, [2, 1, 0]])
    assert_close(steps.tss[0].numpy(), (centred[:, [2, 1, 0]] ** 2).sum(0))


def test_rss_and_intercept_are_those_of_explicit_residuals() -> None:
    values = GENERATOR.normal(size=(1, 100)) + 5
    moments = lagged_moments(torch.tensor(values), one_segment(100), 2)
    equations = moments.normal_equations(moments.terms(0, 1, 2), moments.terms(0, 0, 0))
    coef = torch.tensor([[[0.3], [-0.2]]], dtype=torch.float64)
    matrix = reference.lag_matrix(values, 0, 100, 2)
    residual = matrix[:, 0] - matrix[:, 1:] @ coef[0, :, 0].numpy()
    assert_close(equations.intercept(coef).item(), float(residual.mean()))
    assert_close(equations.rss(coef).item(), float(((residual - residual.mean()) ** 2).sum()))


def test_restricted_equations_leave_other_terms_without_variance() -> None:
    values = torch.tensor(GENERATOR.normal(size=(1, 100)))
    moments = lagged_moments(values, one_segment(100), 3)
    equations = moments.normal_equations(moments.terms(0, 1, 3), moments.terms(0, 0, 0))
    restricted = equations.restrict(torch.tensor([[True, False, True]]))
    assert not restricted.gram[0, 1].any()
    assert not restricted.cross[0, 1].any()
    assert_close(restricted.gram[0, 0, 2], equations.gram[0, 0, 2])


def test_a_negative_max_lag_is_an_error() -> None:
    with pytest.raises(ValueError, match="max_lag must be at least 0; got -1"):
        lagged_moments(torch.zeros(1, 5), one_segment(5), -1)
