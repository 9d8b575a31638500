"""Sequences in groups (usually one a series): each group is fitted by models of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from tsar.hmm.observations import Block, Observations
from tsar.hmm.robust_scale import RobustScaling, robust_standardize
from tsar.runtime.memory import CACHE_ELEMENTS, rows_within


@dataclass(frozen=True)
class SequenceGroups:
    """Sequences, and the index of the group to which each belongs."""

    observations: Observations
    group: Int[Tensor, " sequence"]

    @property
    def n_groups(self) -> int:
        """Number of groups; device synchronization."""
        return int(self.group.max()) + 1

    @cached_property
    def point_group(self) -> Int[Tensor, " time"]:
        """Group of each point."""
        return self.group.repeat_interleave(self.observations.lengths)

    @property
    def nobs(self) -> Int[Tensor, " group"]:
        """Observed points of each group."""
        return torch.bincount(self.point_group[self.observations.observed], minlength=self.n_groups)

    def robust_standardize(self) -> tuple["SequenceGroups", RobustScaling]:
        """Apply `tsar.hmm.robust_scale.robust_standardize` to sequences of one feature."""
        values = self.observations.values[:, 0]
        values, scaling = robust_standardize(values, self.point_group, self.n_groups)
        observations = Observations(values[:, None], self.observations.offsets)
        return SequenceGroups(observations, self.group), scaling

    def sorted_by_group(self) -> "SequenceGroups":
        """The same sequences, those of a group next to each other."""
        if bool((self.group.diff() >= 0).all()):
            return self
        order = self.group.argsort(stable=True)
        return SequenceGroups(self.observations.select(order), self.group[order])

    def group_offsets(self) -> Int[Tensor, " border"]:
        """First point of each group, and the number of points; sequences are sorted by group."""
        last = torch.bincount(self.group, minlength=self.n_groups).cumsum(0)
        return self.observations.offsets[torch.nn.functional.pad(last, (1, 0))]

    def pairs(
        self, model_group: Int[Tensor, " model"], n_components: int
    ) -> Iterator[tuple[Block, Int[Tensor, " row"], Int[Tensor, " row"]]]:
        """Pairs of a sequence and a model of its group, in chunks of bounded memory.

        Yields a block of sequences, and for each pair a row of the block and a model.
        """
        by_group = model_group.argsort(stable=True)
        n_models = torch.bincount(model_group, minlength=self.n_groups)
        first = n_models.cumsum(0) - n_models
        for block in self.observations.blocks():
            group = self.group[block.sequences]
            size = n_models[group]
            row = torch.arange(len(group), device=size.device).repeat_interleave(size)
            if not len(row):  # all models of these sequences have converged
                continue
            within = torch.arange(len(row), device=row.device) - (size.cumsum(0) - size)[row]
            model = by_group[first[group][row] + within]
            chunk = rows_within(CACHE_ELEMENTS, block.values.shape[1] * n_components)
            for rows, models in zip(row.split(chunk), model.split(chunk), strict=True):
                yield block, rows, models
