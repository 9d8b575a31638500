"""Hidden states of a fitted AutoTimes or SpaceTime as frozen features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsar.complexity.representations import (
    Features,
    FrozenFeatures,
    Representation,
    complete_windows,
)
from tsar.data.panel import Panel
from tsar.data.windows import Windows
from tsar.forecasters import AutoTimes, SpaceTime
from tsar.forecasters.autotimes.module import AutoTimesModule
from tsar.forecasters.spacetime.module import SpaceTimeModule
from tsar.nn.normalization import InstanceNorm
from tsar.runtime.devices import resolve_device
from tsar.runtime.memory import chunked

MAX_PCA_ROWS = 2000  # contexts that principal components are fitted to
Network: TypeAlias = AutoTimes | SpaceTime
Module: TypeAlias = AutoTimesModule | SpaceTimeModule


@dataclass(frozen=True)
class HiddenStates(Representation):
    """Principal components of the hidden states of a fitted network.

    Of `AutoTimes` the backbone's output at the newest segment; of `SpaceTime` the state from which
    the decoder starts. The components are fitted to the training points. Responses are taken in the
    units of each context, as for the network's own head.

    Parameters
    ----------
    forecaster
        Fitted to points before the validation and test points; without covariates.

    Raises
    ------
    ValueError
        The forecaster uses covariates or joint channels.
    """

    forecaster: Network

    def __post_init__(self) -> None:
        columns = self.forecaster.columns
        covariates = columns.covariates if columns is not None else ()
        if covariates or getattr(self.forecaster, "joint", False):
            raise ValueError(
                "representation must be a forecaster without covariates and with joint=False; got "
                f"one with {covariates or 'joint=True'}. Fit another one for the analysis."
            )

    def max_size(self, training: Panel) -> int:
        """Size of the hidden state, but less than the contexts that components are fitted to."""
        states, _ = self.states(training, torch.tensor([len(training.values) - 1]))
        return min(states.shape[1], len(training.values) - 1, MAX_PCA_ROWS - 1)

    def freeze(self, training: Panel, sizes: Sequence[int], seed: int) -> FrozenFeatures:
        """Fit the principal components."""
        positions = complete_windows(training, self.forecaster.context_length).nonzero()[:, 0]
        step = -(-len(positions) // MAX_PCA_ROWS)
        states, _ = self.states(training, positions[::step])
        mean = states.mean(dim=0)
        _, _, components = torch.linalg.svd(states - mean, full_matrices=False)
        return _PrincipalComponents(self, mean, components[: max(sizes)].T)

    def states(
        self, panel: Panel, positions: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, "row state"], InstanceNorm]:
        """Hidden states, and units, of the contexts that end at some points; float64, CPU."""
        model = self.forecaster
        series = panel.series[positions]
        cutoffs = positions - panel.offsets[series] + 1
        windows = Windows.at(panel, model.context_length, 0, series, cutoffs)
        device = resolve_device(model.device)
        module = cast(Module, model.module_).to(device).eval()
        dtype = next(module.parameters()).dtype
        module.prepare_times(windows.times, 1)

        @torch.inference_mode()
        def hidden(rows: slice) -> tuple[Tensor, InstanceNorm]:
            context = windows.batch(rows).context
            context = replace(context, series=torch.zeros_like(context.series))
            states, units = module.hidden(context.to(device, dtype))
            return states.double().cpu(), units

        states, units = zip(*chunked(hidden, len(windows), model.inference_batch_size), strict=True)
        level, scale, varies = (torch.cat(part).cpu() for part in zip(*units, strict=True))
        return torch.cat(states), InstanceNorm(level.double(), scale.double(), varies)


@dataclass(frozen=True)
class _PrincipalComponents(FrozenFeatures):
    source: HiddenStates
    mean: Float[Tensor, " state"]
    components: Float[Tensor, "state feature"]

    def usable(self, panel: Panel) -> Bool[Tensor, " time"]:
        """Points whose context has no missing value."""
        return complete_windows(panel, self.source.forecaster.context_length)

    def compute(self, panel: Panel, positions: Int[Tensor, " row"], size: int) -> Features:
        """Scores of the first components."""
        states, units = self.source.states(panel, positions)
        return Features((states - self.mean) @ self.components[:, :size], units)
