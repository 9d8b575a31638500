"""Causal convolution by real Fourier transforms."""

from functools import cache

import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor


@cache
def fast_length(length: int) -> int:
    """Least even length from `length` on that transforms fast: no prime factor above 5."""
    size = int(scipy.fft.next_fast_len(length, real=True))
    while size % 2:
        size = int(scipy.fft.next_fast_len(size + 1, real=True))
    return size


def convolve(
    signal: Float[Tensor, "*#batch time"],
    kernel: Float[Tensor, "*#batch tap"],
    length: int | None = None,
) -> Float[Tensor, "*batch length"]:
    """Causal convolution: ``result[t] = sum(kernel[j] * signal[t - j])``, zero before the start.

    O(n log n) for n the sum of the lengths; nothing wraps around.

    Parameters
    ----------
    length
        Points to return; None for as many as `signal` has.

    Examples
    --------
    >>> convolve(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, -1.0])).round(decimals=4)
    tensor([1., 1., 1.])
    """
    length = signal.shape[-1] if length is None else length
    signal, kernel = signal[..., :length], kernel[..., :length]
    size = fast_length(max(signal.shape[-1] + kernel.shape[-1], 2))
    product = torch.fft.rfft(signal, n=size) * torch.fft.rfft(kernel, n=size)
    result = torch.fft.irfft(product, n=size)[..., :length]
    return torch.nn.functional.pad(result, (0, length - result.shape[-1]))


def correlate(
    signal: Float[Tensor, "*#batch time"], taps: Float[Tensor, "*#batch tap"], lags: int
) -> Float[Tensor, "*batch lags"]:
    """Products at a lag: ``result[k] = sum(signal[t] * taps[t - k])``, k from 0 to `lags` - 1.

    Examples
    --------
    >>> correlate(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0]), 3).round(decimals=4)
    tensor([3., 5., 3.])
    """
    size = fast_length(signal.shape[-1] + taps.shape[-1])
    spectrum = torch.fft.rfft(signal, n=size) * torch.fft.rfft(taps, n=size).conj()
    return torch.fft.irfft(spectrum, n=size)[..., :lags]
