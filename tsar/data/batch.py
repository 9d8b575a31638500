"""Context and Batch: the inputs of a network, and in training their targets."""

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Context:
    """Input of a network: values and covariates known at the cutoff; missing ones are NaN.

    Attributes
    ----------
    values
        The last points of each series, oldest first; padded on the left with NaN.
    past
        Past covariates at the same times.
    future
        Future covariates: at the times of `values`, then at those of the horizon.
    static, category
        Numeric static covariates, and category codes (-1: unknown).
    series
        Position of each context's series in its panel.
    origin
        Ordinal of the first time of each horizon; see `tsar.data.panel.frequency.Frequency`.
    step
        Ordinals from one time to the next.
    time_shift
        `at` and `by` of each context: times before ordinal `at` are `by` earlier, as those of a
        prompt are. None without prompts.
    gapless
        True if no value of contexts and targets is missing, so that no code needs to check for NaN.
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
        """Contexts without covariates, each of a different series."""
        batch, length = values.shape
        empty = values.new_empty
        return cls(
            values,
            empty(batch, length, 0),
            empty(batch, length, 0),
            empty(batch, 0),
            torch.empty(batch, 0, dtype=torch.int64, device=values.device),
            torch.arange(batch, device=values.device),
            torch.zeros(batch, dtype=torch.int64, device=values.device),
        )

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"] | Bool[Tensor, " batch"]) -> "Context":
        return replace(self, **{name: tensor[rows] for name, tensor in self._tensors().items()})

    def to(self, device: torch.device, dtype: torch.dtype) -> "Context":
        """Contexts on a device; `dtype` applies to the floating-point tensors."""
        moved = {
            name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).to(device)
            for name, tensor in self._tensors().items()
        }
        return replace(self, **moved)

    def _tensors(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}


class Times(NamedTuple):
    """Times of the contexts of windows, in ordinals, as in `Context`; `length` is their length."""

    origin: Int[Tensor, " window"]
    step: int
    length: int
    time_shift: Int[Tensor, "window 2"] | None = None


def shift_times(
    ordinals: Int[Tensor, "batch time"], time_shift: Int[Tensor, "batch 2"] | None
) -> Int[Tensor, "batch time"]:
    """Ordinals, of which those before `at` are moved `by` earlier: the true times of a prompt.

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
    """Contexts and their targets; a target of NaN is masked."""

    context: Context
    target: Float[Tensor, "batch horizon"]

    @property
    def mask(self) -> Bool[Tensor, "batch horizon"]:
        """True where the target was observed."""
        return ~self.target.isnan()

    @property
    def count(self) -> Int[Tensor, ""]:
        """Number of observed targets, by which a sum of losses is divided."""
        return self.mask.sum()
