"""Sample paths: forecasts that continue from samples of their density, not from its location."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.data.batch import Context
from tsar.forecasters.autotimes.density import Density
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.rollout import advance

GOLDEN_RATIO = 2_654_435_769  # 2 ** 32 divided by the golden ratio: its multiples spread evenly
QUANTILE_PATHS = 200  # sample paths per context for quantiles beyond the first segment


def sample_paths(
    module: AutoTimesModule,
    context: Context,
    uniform: Float[Tensor, "batch path horizon 2"],
    generation: Literal["exact", "cached"],
    batch_size: int,
) -> Float[Tensor, "batch path horizon"]:
    """Sample paths of a network with a density, each from its own uniform numbers in (0, 1].

    Points of one segment are independent of each other, given what came before. At most
    `batch_size` paths are held at once, or those of one context.
    """
    paths = uniform.shape[1]
    samples = []
    with torch.inference_mode():
        for rows in torch.arange(len(uniform)).split(max(batch_size // paths, 1)):
            rows = rows.to(uniform.device)
            repeated = context[rows.repeat_interleave(paths)]
            flat = _sample(module, repeated, uniform[rows].flatten(0, 1), generation)
            samples.append(flat.unflatten(0, (-1, paths)))
    return torch.cat(samples)


def _sample(
    module: AutoTimesModule,
    context: Context,
    uniform: Float[Tensor, "path horizon 2"],
    generation: Literal["exact", "cached"],
) -> Float[Tensor, "path horizon"]:
    outputs = _segments(module, context, uniform, generation)
    return torch.cat([_sample_segment(module, o, uniform, start) for o, start in outputs], dim=1)


def _segments(
    module: AutoTimesModule,
    context: Context,
    uniform: Float[Tensor, "path horizon 2"],
    generation: Literal["exact", "cached"],
) -> Iterator[tuple[Tensor, int]]:
    """Outputs and start of each segment, which continues from the samples of the one before."""
    length, horizon = module.horizon, uniform.shape[1]
    if generation == "cached":
        state, output = module.prefill(context)
        yield output, 0
        for start in range(length, horizon, length):
            points = _sample_segment(module, output, uniform, start - length)
            state, output = module.extend_cache(state, points)
            yield output, start
        return
    for start in range(0, horizon, length):
        output = module.forecast(context, length)
        yield output, start
        if start + length < horizon:
            context = advance(context, _sample_segment(module, output, uniform, start))


def _sample_segment(
    module: AutoTimesModule,
    output: Float[Tensor, "path step output"],
    uniform: Float[Tensor, "path horizon 2"],
    start: int,
) -> Float[Tensor, "path sample"]:
    part = uniform[:, start : start + output.shape[1]]
    return _density(module).sample(output[:, : part.shape[1]], part)


def _density(module: AutoTimesModule) -> Density:
    """The density of a network.

    Raises
    ------
    ValueError
        Its outputs are not the parameters of a density.
    """
    if module.density is None:
        raise ValueError(
            "n_samples must be None where no density is forecast; got a model without one. Fit "
            "with loss='gaussian' or 'student_t'."
        )
    return module.density


def uniforms(
    rows: Iterable[int], paths: int, horizon: int, seed: int
) -> Float[Tensor, "row path horizon 2"]:
    """Uniform numbers in (0, 1] of each row.

    They do not depend on the other rows, and those of a shorter horizon are a prefix of those of a
    longer one.
    """
    numbers = []
    for row in rows:
        # Seeds far apart: a row with one seed must not equal the next row with another.
        generator = torch.Generator().manual_seed((seed + row * GOLDEN_RATIO) % 2**32)
        numbers.append(torch.rand(horizon, paths, 2, generator=generator))
    return 1 - torch.stack(numbers).transpose(1, 2)
