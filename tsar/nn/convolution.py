"""Causal convolution and cross-correlation by real fast Fourier transforms (FFT)."""

from functools import cache
from typing import Any

import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


@cache
def next_fast_length(length: int) -> int:
    """Smallest even FFT size of at least `length` without prime factors above 5."""
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

    O(n log n) for n the sum of both lengths. Zero padding prevents circular wrap-around.

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
    # Half precision has too few digits for an FFT, and no FFT at all on a CPU.
    signal, kernel = (x.float() if x.dtype.itemsize < 4 else x for x in (signal, kernel))
    result: Tensor = _Convolution.apply(signal[..., :length], kernel[..., :length], length)
    return result


class _Convolution(torch.autograd.Function):
    """Convolution as a product of spectra, with both gradients as products of spectra.

    Autograd through `torch.fft` takes twice as long: it uses complex transforms where real ones
    suffice, and inverts the kernel's gradient before it sums over the batch.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, kernel: Tensor, length: int) -> Tensor:
        lengths = signal.shape[-1], kernel.shape[-1]
        size = next_fast_length(max(sum(lengths), 2))
        spectra = torch.fft.rfft(signal, n=size), torch.fft.rfft(kernel, n=size)
        ctx.save_for_backward(*spectra)
        ctx.lengths, ctx.size = lengths, size
        result = torch.fft.irfft(spectra[0] * spectra[1], n=size)[..., :length]
        padding = length - result.shape[-1]
        return torch.nn.functional.pad(result, (0, padding)) if padding > 0 else result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        spectra, size = ctx.saved_tensors, ctx.size
        grad_spectrum = torch.fft.rfft(grad_outputs[0][..., :size], n=size)
        gradients: list[Tensor | None] = [None, None]
        for index, other in ((0, 1), (1, 0)):
            if ctx.needs_input_grad[index]:
                product = grad_spectrum * spectra[other].conj()
                product = product.sum_to_size(spectra[index].shape)
                gradients[index] = torch.fft.irfft(product, n=size)[..., : ctx.lengths[index]]
        return gradients[0], gradients[1], None


def correlate(
    signal: Float[Tensor, "*#batch time"], taps: Float[Tensor, "*#batch tap"], lags: int
) -> Float[Tensor, "*batch lags"]:
    """Cross-correlation: ``result[k] = sum(signal[t] * taps[t - k])`` for k from 0 to `lags` - 1.

    Examples
    --------
    >>> correlate(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0]), 3).round(decimals=4)
    tensor([3., 5., 3.])
    """
    size = next_fast_length(signal.shape[-1] + taps.shape[-1])
    spectrum = torch.fft.rfft(signal, n=size) * torch.fft.rfft(taps, n=size).conj()
    return torch.fft.irfft(spectrum, n=size)[..., :lags]
