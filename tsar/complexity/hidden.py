"""Frozen features by networks: the hidden states of a fitted AutoTimes or SpaceTime."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.complexity.representations import Frozen, Representation, Told, whole_windows
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.forecasters import AutoTimes, SpaceTime
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.spacetime.module import SpaceTimeModule
from tsar.nn.normalization import InstanceNorm
from tsar.runtime.devices import resolve_device
from tsar.runtime.memory import chunked

MOST_LEARNED = 2000  # contexts that principal directions are learned from
Backbone: TypeAlias = AutoTimes | SpaceTime
Module: TypeAlias = AutoTimesModule | SpaceTimeModule


@dataclass(frozen=True)
class HiddenStates(Representation):
    """Hidden states of a fitted network, their directions of most variance first.

    Of `AutoTimes` the backbone's state behind the newest segment; of `SpaceTime` the state that the
    decoder runs on from. Directions are learned from the training points. Responses are taken in
    the units of each context, as the network's own head does.

    Parameters
    ----------
    forecaster
        Fitted, to points before those that are tested; without covariates.
    """

    forecaster: Backbone

    def __post_init__(self) -> None:
        columns = self.forecaster.columns
        told = columns.covariates if columns is not None else ()
        if told or self.forecaster.joint:
            raise ValueError(
                "representation must be a forecaster without covariates and with joint=False; got "
                f"one with {told or 'joint=True'}. Fit another for the analysis."
            )

    def limit(self, known: Panel) -> int:
        """As many as the network has, or as contexts to learn directions from."""
        window = self._windows(known, torch.arange(1) + len(known.values) - 1)
        states, _ = self._read(window)
        return min(states.shape[1], len(known.values) - 1, MOST_LEARNED - 1)

    def freeze(self, known: Panel, sizes: Sequence[int], seed: int) -> Frozen:
        """Learn the directions of most variance."""
        places = _Hidden(self, None, None).usable(known).nonzero()[:, 0]
        step = -(-len(places) // MOST_LEARNED)
        states, _ = self._read(self._windows(known, places[::step]))
        centre = states.mean(dim=0)
        _, _, directions = torch.linalg.svd(states - centre, full_matrices=False)
        return _Hidden(self, centre, directions[: max(sizes)].T)

    def _windows(self, panel: Panel, places: Int[Tensor, " row"]) -> Windows:
        series = panel.series[places]
        points = places - panel.offsets[series] + 1
        length = self.forecaster.context_length
        return Windows.at(panel, length, 0, series, points)

    def _read(self, windows: Windows) -> tuple[Float[Tensor, "row state"], InstanceNorm]:
        """Hidden states and units of contexts, in float64 on the CPU."""
        model = self.forecaster
        device = resolve_device(model.device)
        module = cast(Module, model.module_).to(device).eval()
        dtype = next(module.parameters()).dtype
        module.expect(windows.times, 1)

        @torch.inference_mode()
        def read(piece: slice) -> tuple[Tensor, InstanceNorm]:
            context = windows.batch(piece).context
            context = replace(context, series=torch.zeros_like(context.series))
            hidden, units = module.hidden(context.to(device, dtype))
            return hidden.double().cpu(), units

        states, units = zip(*chunked(read, len(windows), model.batch_size), strict=True)
        level, scale, varies = (torch.cat(part).cpu() for part in zip(*units, strict=True))
        return torch.cat(states), InstanceNorm(level.double(), scale.double(), varies)


@dataclass(frozen=True)
class _Hidden(Frozen):
    source: HiddenStates
    centre: Float[Tensor, " state"] | None
    directions: Float[Tensor, "state feature"] | None

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points with a whole context of observed ones."""
        return whole_windows(panel, self.source.forecaster.context_length)

    def tell(self, panel: Panel, places: Int[Tensor, " row"], size: int) -> Told:
        """Hidden states along the first directions."""
        states, units = self.source._read(self.source._windows(panel, places))
        if self.centre is None or self.directions is None:
            return Told(states[:, :size], units)
        return Told((states - self.centre) @ self.directions[:, :size], units)
