"""Generation: how a forecast continues beyond one segment (exact, cached or speculative)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tsar.data.batch import Context
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.autotimes.speculation import Speculation, can_speculate, speculate
from tsar.rollout import rollout

# "exact": the newest points are encoded again for each segment; "cached": the keys and values of
# all tokens are cached, so that the context grows.
Generation = Literal["exact", "cached"] | Speculation


def generate(
    module: AutoTimesModule, context: Context, horizon: int, generation: Generation = "exact"
) -> Float[Tensor, "batch horizon output"]:
    """Forecast any horizon.

    Raises
    ------
    ValueError
        A growing context exceeds the positions of the backbone.
    """
    if generation == "exact":
        return rollout(module, context, horizon)
    _check_positions(module, context, horizon)
    if isinstance(generation, Speculation) and can_speculate(module, context, horizon, generation):
        return speculate(module, context, horizon, generation).output
    return _generate_cached(module, context, horizon)


def _check_positions(module: AutoTimesModule, context: Context, horizon: int) -> None:
    n_segments = -(-context.values.shape[1] // module.horizon)
    needed = n_segments - 1 - (-horizon // module.horizon)
    if module.max_positions is not None and needed > module.max_positions:
        longest = (module.max_positions + 1 - n_segments) * module.horizon
        raise ValueError(
            f"horizon must be at most {longest} where a context of {n_segments} segments grows: "
            f"the network reads {module.max_positions} at most; got {horizon}. Use "
            "generation='exact', or a shorter context."
        )


def _generate_cached(
    module: AutoTimesModule, context: Context, horizon: int
) -> Float[Tensor, "batch horizon output"]:
    state, output = module.prefill(context)
    segments = [output]
    for _ in range(module.horizon, horizon, module.horizon):
        state, output = module.extend_cache(state, segments[-1][..., module.point])
        segments.append(output)
    return torch.cat(segments, dim=1)[:, :horizon]
