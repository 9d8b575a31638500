"""Recurrences over time in a logarithmic number of steps, in which what repeats is computed once.

A binary tree stands over the steps: a node is what its steps do together. Steps of the same kind
are the same leaf, so a run of them, however long, has one node for each height. On the way down a
state that a node leaves as it is, to rounding, keeps its number: so a recurrence that came to rest
is computed no further, and one that did not, or whose steps all differ, is computed in full.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Elements = tuple[Tensor, ...]  # each of shape (model, node, ...)
Combine = Callable[[Elements, Elements], Elements]
GATHERED = 1 << 21  # numbers of the matrices that are brought to their vectors at once


@dataclass(frozen=True)
class Kinds:
    """Kinds of the steps of some rows, each a number below `count`.

    The number `count` itself stands for a step that changes nothing.
    """

    rows: Int[Tensor, "row time"]
    count: int

    def flip(self) -> "Kinds":
        """The same in reverse."""
        return Kinds(self.rows.flip(1), self.count)

    def first(self, count: int) -> "Kinds":
        """Those of the first steps."""
        return self if count == self.rows.shape[1] else Kinds(self.rows[:, :count], self.count)

    def pad(self) -> "Kinds":
        """An even number of steps: with one behind the end that changes nothing."""
        if not self.rows.shape[1] % 2:
            return self
        return Kinds(torch.nn.functional.pad(self.rows, (0, 1), value=self.count), self.count)

    def join(self, others: Int[Tensor, "row time"]) -> "Pairs":
        """Distinct pairs of a kind and another number."""
        codes = self.rows + (self.count + 1) * others
        found, place = codes.unique(return_inverse=True)
        first, second = found % (self.count + 1), found // (self.count + 1)
        return Pairs(Kinds(place, len(found)), first, second)

    @cached_property
    def commonest(self) -> tuple[int, Int[Tensor, " place"]]:
        """The kind that most steps have, and the places of all others."""
        flat = self.rows.flatten()
        kind = int(flat.bincount().argmax())
        return kind, (flat != kind).nonzero()[:, 0]

    def multiply(
        self,
        matrices: Float[Tensor, "model node out state"],
        vectors: Float[Tensor, "model row time state"],
    ) -> Float[Tensor, "model row time out"]:
        """The matrix of each step times its vector."""
        kind, others = self.commonest
        flat, ids = vectors.flatten(1, 2), self.rows.flatten()
        found = flat @ matrices[:, kind].mT
        if not len(others):
            return found.unflatten(1, vectors.shape[1:3])
        size = max(1, GATHERED // max(1, matrices[:, 0].numel()))
        for part in others.split(size):
            chosen = matrices[:, ids[part]] @ flat[:, part, :, None]
            found[:, part] = chosen[..., 0]
        return found.unflatten(1, vectors.shape[1:3])


@dataclass(frozen=True)
class Pairs:
    """Distinct pairs, and which of them stands at each step."""

    kinds: Kinds
    first: Int[Tensor, " pair"]
    second: Int[Tensor, " pair"]


@dataclass(frozen=True)
class Tree:
    """Nodes over the steps of rows, from the steps up to one node for each row.

    Attributes
    ----------
    levels
        Kinds of the nodes at each height, the steps themselves first.
    joins
        Which two nodes below each node of the next height joins: earlier, later.
    """

    levels: tuple[Kinds, ...]
    joins: tuple[Pairs, ...]

    @classmethod
    def over(cls, kinds: Kinds) -> "Tree":
        """Build the tree of some steps, at least one."""
        levels, joins = [kinds], []
        while levels[-1].rows.shape[1] > 1:
            even = levels[-1].pad()
            earlier = Kinds(even.rows[:, 0::2], even.count)
            joins.append(earlier.join(even.rows[:, 1::2]))
            levels.append(joins[-1].kinds)
        return cls(tuple(levels), tuple(joins))

    def select(self, rows: Int[Tensor, " row"]) -> "Tree":
        """The tree of some of the rows, each as often as it is named."""
        levels = tuple(Kinds(level.rows[rows], level.count) for level in self.levels)
        return Tree(levels, self.joins)

    @cached_property
    def halves(self) -> tuple[tuple[Kinds, Kinds], ...]:
        """Kinds of the earlier and of the later nodes that are joined, for each height."""
        even = [level.pad() for level in self.levels[:-1]]
        return tuple(
            (Kinds(level.rows[:, 0::2], level.count), Kinds(level.rows[:, 1::2], level.count))
            for level in even
        )

    def ascend(self, leaves: Elements, neutral: Elements, combine: Combine) -> list[Elements]:
        """Elements of the nodes at each height, the neutral one last.

        Parameters
        ----------
        leaves
            Of the kinds of steps: (model, kind, ...).
        neutral
            Of a step that changes nothing: (model, 1, ...).
        combine
            What two elements do together, the earlier first.
        """
        found = [append(leaves, neutral)]
        for pairs in self.joins:
            earlier = tuple(part[:, pairs.first] for part in found[-1])
            later = tuple(part[:, pairs.second] for part in found[-1])
            found.append(append(combine(earlier, later), neutral))
        return found

    def descend(
        self,
        elements: list[Elements],
        apply: Callable[[Elements, Tensor], Tensor],
        start: Float[Tensor, "model origin state state"],
        origins: Int[Tensor, " row"],
    ) -> tuple[Float[Tensor, "model distinct state state"], Int[Tensor, "row time"]]:
        """Distinct covariances that come into the steps, and which of them comes into each.

        Parameters
        ----------
        elements
            From `ascend`.
        apply
            Where an element takes a covariance.
        start, origins
            Covariances at the start, and which of them each row has.
        """
        states, ids = start, origins[:, None]
        for (earlier, _), below in zip(reversed(self.halves), reversed(elements[:-1]), strict=True):
            pairs = earlier.join(ids[:, : earlier.rows.shape[1]])
            before = states[:, pairs.second]
            moved = apply(tuple(part[:, pairs.first] for part in below), before)
            fresh = (~at_rest(before, moved)).nonzero()[:, 0]
            target = pairs.second.clone()
            target[fresh] = torch.arange(len(fresh), device=ids.device) + states.shape[1]
            states = torch.cat([states, moved[:, fresh]], dim=1)
            halves = [ids[:, : earlier.rows.shape[1]], target[pairs.kinds.rows]]
            ids = torch.stack(halves, dim=2).flatten(1)
        return states, ids[:, : self.levels[0].rows.shape[1]]

    def run(
        self,
        matrices: Float[Tensor, "model kind state state"],
        vectors: Float[Tensor, "model row time state"],
        start: Float[Tensor, "model row state"],
    ) -> Float[Tensor, "model row time+1 state"]:
        """Every x[t], from x[0] = `start` on, of x[t + 1] = matrix[t] x[t] + vector[t]."""
        neutral = torch.eye(matrices.shape[-1]).to(matrices).expand(len(matrices), 1, -1, -1)
        nodes = self.ascend((matrices,), (neutral,), lambda a, b: (b[0] @ a[0],))
        sums = [vectors]
        for (_, later), (factors,) in zip(self.halves, nodes[:-1], strict=True):
            even = torch.nn.functional.pad(sums[-1], (0, 0, 0, sums[-1].shape[2] % 2))
            sums.append(later.multiply(factors, even[:, :, 0::2]).add_(even[:, :, 1::2]))
        path = start[:, :, None].repeat(1, 1, vectors.shape[2] + 1, 1)
        path[:, :, -1:] = self.levels[-1].multiply(nodes[-1][0], start[:, :, None]) + sums[-1]
        for height in reversed(range(len(self.halves))):
            stride = 2 ** (height + 1)
            middles = path[:, :, stride // 2 : -1 : stride]
            count = middles.shape[2]
            earlier = self.halves[height][0].first(count)
            begun = path[:, :, 0:-1:stride][:, :, :count]
            moved = earlier.multiply(nodes[height][0], begun)
            middles.copy_(moved.add_(sums[height][:, :, 0::2][:, :, :count]))
        return path


def append(elements: Elements, neutral: Elements) -> Elements:
    """Elements with the neutral one behind them."""
    return tuple(
        torch.cat([part, none.expand(len(part), *none.shape[1:])], dim=1)
        for part, none in zip(elements, neutral, strict=True)
    )


def at_rest(
    before: Float[Tensor, "model pair state state"], after: Float[Tensor, "model pair state state"]
) -> Bool[Tensor, " pair"]:
    """Whether covariances are the same to rounding, in all models."""
    scale = before.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    bound = 16 * before.shape[-1] * torch.finfo(before.dtype).eps
    change = (after - before).abs() <= bound * scale[..., :, None] * scale[..., None, :]
    return change.flatten(2).all(dim=2).all(dim=0)
