"""Causal convolution by real Fourier transforms."""

from functools import cache
from typing import Any

import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


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
    # A short number format has too few digits for transforms, and on a CPU none at all.
    signal, kernel = (x.float() if x.dtype.itemsize < 4 else x for x in (signal, kernel))
    result: Tensor = _Convolution.apply(signal[..., :length], kernel[..., :length], length)
    return result


class _Convolution(torch.autograd.Function):
    """A product of spectra; both gradients are products of spectra again.

    Autograd's own way transforms complex numbers where real ones do, and inverts the kernel's
    gradient before it sums over the batch: it takes twice as long.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: Tensor, length: int) -> Tensor:
        lengths = signal.shape[-1], kernel.shape[-1]
        size = fast_length(max(sum(lengths), 2))
        spectra = torch.fft.rfft(signal, n=size), torch.fft.rfft(kernel, n=size)
        ctx.save_for_backward(*spectra)
        ctx.lengths, ctx.size = lengths, size
        result = torch.fft.irfft(spectra[0] * spectra[1], n=size)[..., :length]
        missing = length - result.shape[-1]
        return torch.nn.functional.pad(result, (0, missing)) if missing > 0 else result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        spectra, size = ctx.saved_tensors, ctx.size
        change = torch.fft.rfft(gradients[0][..., :size], n=size)
        found: list[Tensor | None] = [None, None]
        for own, other in ((0, 1), (1, 0)):
            if ctx.needs_input_grad[own]:
                product = (change * spectra[other].conj()).sum_to_size(spectra[own].shape)
                found[own] = torch.fft.irfft(product, n=size)[..., : ctx.lengths[own]]
        return found[0], found[1], None


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
