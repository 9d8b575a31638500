"""Sample paths: forecasts that go on from draws of their own density, not from its centre."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.data.batch import Context
from tsar.nn.density import Density
from tsar.nn.module import ForecastModule, ReadingModule
from tsar.rollout.loop import Plain, advance

GOLDEN = 2_654_435_769  # 2 ** 32 by the golden ratio: its multiples are spread evenly
PATHS = 200  # behind a quantile beyond the first step of a network


def sample_paths(
    module: ForecastModule,
    context: Context,
    uniform: Float[Tensor, "batch path horizon 2"],
    generation: Plain,
    at_once: int,
) -> Float[Tensor, "batch path horizon"]:
    """Sample paths of a module with a density, each made of its own uniform draws in (0, 1].

    Points of one step of the module are drawn independently of each other, given what came before.
    At most `at_once` paths are held, or those of one context.
    """
    paths = uniform.shape[1]
    pieces = []
    with torch.inference_mode():
        for rows in torch.arange(len(uniform)).split(max(at_once // paths, 1)):
            rows = rows.to(uniform.device)
            found = _paths(
                module,
                context[rows.repeat_interleave(paths)],
                uniform[rows].flatten(0, 1),
                generation,
            )
            pieces.append(found.unflatten(0, (-1, paths)))
    return torch.cat(pieces)


def _paths(
    module: ForecastModule,
    context: Context,
    uniform: Float[Tensor, "path horizon 2"],
    generation: Plain,
) -> Float[Tensor, "path horizon"]:
    steps = _steps(module, context, uniform, generation)
    return torch.cat([_draw(module, output, uniform, first) for output, first in steps], dim=1)


def _steps(
    module: ForecastModule,
    context: Context,
    uniform: Float[Tensor, "path horizon 2"],
    generation: Plain,
) -> Iterator[tuple[Tensor, int]]:
    """Outputs of each step, which goes on from the draws of the one before."""
    length, horizon = module.horizon, uniform.shape[1]
    if generation == "cached" and isinstance(module, ReadingModule):
        reading, output = module.read(context)
        yield output, 0
        for first in range(length, horizon, length):
            points = _draw(module, output, uniform, first - length)
            reading, output = module.go_on(reading, points)
            yield output, first
        return
    for first in range(0, horizon, length):
        output = module.forecast(context, length)
        yield output, first
        if first + length < horizon:
            context = advance(context, _draw(module, output, uniform, first))


def _draw(
    module: ForecastModule,
    output: Float[Tensor, "path step output"],
    uniform: Float[Tensor, "path horizon 2"],
    first: int,
) -> Float[Tensor, "path drawn"]:
    part = uniform[:, first : first + output.shape[1]]
    return density_of(module).draw(output[:, : part.shape[1]], part)


def density_of(module: ForecastModule) -> Density:
    """The density of a module, or an error where it has none."""
    if module.density is None:
        raise ValueError(
            "n_samples must be None where no density is forecast; got a model without. Fit with "
            "loss='gaussian' or 'student_t'."
        )
    return module.density


def uniforms(
    rows: Iterable[int], paths: int, horizon: int, seed: int
) -> Float[Tensor, "row path horizon 2"]:
    """Uniform draws in (0, 1], those of each row its own.

    They are the same whatever rows are beside it, and those of a shorter horizon are the first of a
    longer one's.
    """
    draws = []
    for row in rows:
        # Far apart, so that a row under one seed is not the next row under another.
        own = torch.Generator().manual_seed((seed + row * GOLDEN) % 2**32)
        draws.append(torch.rand(horizon, paths, 2, generator=own))
    return 1 - torch.stack(draws).transpose(1, 2)
