"""What a network is given: contexts, and in training their targets."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Context:
    """What is known when a forecast is made. A missing value is NaN, padding too.

    Attributes
    ----------
    values
        The last points of each series, oldest first.
    past
        Past covariates at the same times.
    future
        Covariates known ahead: at the times of `values`, then at those of the horizon.
    static, category
        Numeric facts of the series, and codes of its categories (-1: unknown).
    series
        Row of each context's series in the panel that it was cut from.
    origin
        Ordinal of the first time of each horizon; see `tsar.data.panel.frequency.Frequency`.
    step
        From one time to the next, in ordinals.
    jump
        Ordinals before which the times of each context are earlier than they seem, and by how
        much: those of a prompt. None: nowhere.
    gapless
        Whether no value is missing, in the targets neither: then nothing needs to look for NaN.
    """

    values: Float[Tensor, "batch context"]
    past: Float[Tensor, "batch context past"]
    future: Float[Tensor, "batch span future"]
    static: Float[Tensor, "batch static"]
    category: Int[Tensor, "batch category"]
    series: Int[Tensor, " batch"]
    origin: Int[Tensor, " batch"]
    step: int = 1
    gapless: bool = False
    time_shift: Int[Tensor, "batch 2"] | None = None

    @classmethod
    def of(cls, values: Float[Tensor, "batch context"]) -> "Context":
        """Contexts without covariates, each of a series of its own."""
        batch, length = values.shape
        none = values.new_empty
        return cls(
            values,
            none(batch, length, 0),
            none(batch, length, 0),
            none(batch, 0),
            torch.empty(batch, 0, dtype=torch.int64, device=values.device),
            torch.arange(batch, device=values.device),
            torch.zeros(batch, dtype=torch.int64, device=values.device),
        )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"] | Bool[Tensor, " batch"]) -> "Context":
        chosen = {name: tensor[rows] for name, tensor in self._tensors().items()}
        return replace(self, **chosen)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Context":
        """Contexts on a device; `dtype` is that of their real numbers."""
        moved = {
            name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).to(device)
            for name, tensor in self._tensors().items()
        }
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


class Times(NamedTuple):
    """Where the contexts of windows stand in time, in ordinals; see `Context`.

    `length` is the points of a context.
    """

    origin: Int[Tensor, " window"]
    step: int
    length: int
    time_shift: Int[Tensor, "window 2"] | None = None


def shift_times(
    ordinals: Int[Tensor, "batch time"], time_shift: Int[Tensor, "batch 2"] | None
) -> Int[Tensor, "batch time"]:
    """Ordinals with those before each time shift moved to the earlier times of the prompt.

    Examples
    --------
    >>> shift_times(torch.arange(4)[None], torch.tensor([[2, 10]]))
    tensor([[-10,  -9,   2,   3]])
    """
    if time_shift is None:
        return ordinals
    at, by = time_shift[:, None].unbind(2)
    return ordinals - by * (ordinals < at)


@dataclass(frozen=True)
class Batch:
    """Contexts and what came after them; a target of NaN does not count."""

    context: Context
    target: Float[Tensor, "batch horizon"]

    @property
    def mask(self) -> Bool[Tensor, "batch horizon"]:
        """True where the target was observed."""
        return ~self.target.isnan()

    @property
    def count(self) -> Int[Tensor, ""]:
        """Observed targets: what a mean of losses is over."""
        return self.mask.sum()
