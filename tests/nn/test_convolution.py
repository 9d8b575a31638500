"""FFT convolution and correlation against numpy, with gradients."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tsar.nn.convolution import convolve, correlate, next_fast_length


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("length", (None, 1, 4, 9, 30))
@pytest.mark.parametrize(("time", "taps"), ((1, 1), (9, 3), (4, 12)))
def test_convolve_equals_numpy(time: int, taps: int, length: int | None) -> None:
    signal, kernel = normal(2, time), normal(2, taps, seed=1)
    actual = convolve(signal, kernel, length).numpy()
    for row in range(2):
        expected = np.zeros(30)
        full = np.convolve(signal[row], kernel[row])
        expected[: len(full)] = full
        np.testing.assert_allclose(actual[row], expected[: length or time], atol=1e-12)


def test_correlate_equals_numpy() -> None:
    signal, taps = normal(9), normal(4, seed=1)
    expected = [signal[lag:].numpy()[:4] @ taps[: 9 - lag].numpy() for lag in range(9)]
    np.testing.assert_allclose(correlate(signal, taps, 9), expected, atol=1e-12)


@pytest.mark.parametrize("length", (3, 7, 12))
def test_gradients_of_convolve_equal_finite_differences(length: int) -> None:
    signal, kernel = normal(2, 1, 7).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, k: convolve(s, k, length), (signal, kernel))


def test_half_precision_is_convolved_in_float32() -> None:
    signal, kernel = normal(9).bfloat16(), normal(3, seed=1).bfloat16()
    assert convolve(signal, kernel).dtype == torch.float32


def test_next_fast_length_is_even_with_prime_factors_up_to_5() -> None:
    for length in range(1, 300):
        size = next_fast_length(length)
        assert size >= length and size % 2 == 0
        for factor in (2, 3, 5):
            while size % factor == 0:
                size //= factor
        assert size == 1
