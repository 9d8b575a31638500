"""Parallel scan over time: recurrences in O(log time) steps, with repeated elements computed once.

A binary tree spans the time steps of a sequence; a node is the composition of the elements
below it. An up-sweep computes the nodes, a down-sweep what enters each time step (Blelloch 1990,
"Prefix sums and their applications"). Time steps with the same element share a leaf, so that a run
of them, however long, has one node per level. In the down-sweep a covariance that a node leaves
unchanged to rounding keeps its id: nothing is computed in steady state, while a recurrence without
steady state, or with a different element at each time step, is computed in full.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from tsar.runtime.memory import BLOCK_ELEMENTS, rows_within

Elements = tuple[Tensor, ...]  # each of shape (model, element, ...)
Compose = Callable[[Elements, Elements], Elements]


@dataclass(frozen=True)
class ElementIds:
    """Element of each time step of several rows.

    Attributes
    ----------
    ids
        Numbers from 0 to ``count - 1``. `count` itself is the identity element, which pads rows.
    count
        Number of distinct elements.
    """

    ids: Int[Tensor, "row time"]
    count: int

    def flip(self) -> "ElementIds":
        """Elements in reverse order."""
        return ElementIds(self.ids.flip(1), self.count)

    def first(self, length: int) -> "ElementIds":
        """Elements of the first time steps."""
        return self if length == self.ids.shape[1] else ElementIds(self.ids[:, :length], self.count)

    def halves(self) -> tuple["ElementIds", "ElementIds"]:
        """Elements at even and at odd time steps, an odd length padded by the identity."""
        odd = self.ids.shape[1] % 2
        ids = pad(self.ids, (0, 1), value=self.count) if odd else self.ids
        return ElementIds(ids[:, 0::2], self.count), ElementIds(ids[:, 1::2], self.count)

    def pair(self, others: Int[Tensor, "row time"]) -> "UniquePairs":
        """Distinct pairs of an element and another id."""
        codes = self.ids + (self.count + 1) * others
        unique, ids = codes.unique(return_inverse=True)
        first, second = unique % (self.count + 1), unique // (self.count + 1)
        return UniquePairs(ElementIds(ids, len(unique)), first, second)

    @cached_property
    def most_common(self) -> tuple[int, Int[Tensor, " index"]]:
        """The most common element, and the flat indices of the time steps with another one."""
        flat = self.ids.flatten()
        element = int(flat.bincount().argmax())
        return element, (flat != element).nonzero()[:, 0]

    def matvec(
        self,
        matrices: Float[Tensor, "model element out state"],
        vectors: Float[Tensor, "model row time state"],
    ) -> Float[Tensor, "model row time out"]:
        """Product of the matrix and the vector of each time step."""
        element, others = self.most_common
        flat, ids = vectors.flatten(1, 2), self.ids.flatten()
        product = flat @ matrices[:, element].mT
        size = rows_within(BLOCK_ELEMENTS // 2, matrices[:, 0].numel())
        for chunk in others.split(size) if len(others) else ():
            gathered = matrices[:, ids[chunk]] @ flat[:, chunk, :, None]
            product[:, chunk] = gathered[..., 0]
        return product.unflatten(1, vectors.shape[1:3])


@dataclass(frozen=True)
class UniquePairs:
    """Distinct pairs of ids, and the pair at each time step."""

    ids: ElementIds
    first: Int[Tensor, " pair"]
    second: Int[Tensor, " pair"]


@dataclass(frozen=True)
class ScanTree:
    """Binary tree over the time steps of each row.

    Attributes
    ----------
    levels
        Ids of the nodes of each level, from the leaves (the time steps) to one root per row.
    children
        Earlier and later child of each distinct node of the next level.
    """

    levels: tuple[ElementIds, ...]
    children: tuple[UniquePairs, ...]

    @classmethod
    def of(cls, leaves: ElementIds) -> "ScanTree":
        """Build the tree over at least one time step."""
        levels, children = [leaves], []
        while levels[-1].ids.shape[1] > 1:
            earlier, later = levels[-1].halves()
            children.append(earlier.pair(later.ids))
            levels.append(children[-1].ids)
        return cls(tuple(levels), tuple(children))

    def select(self, rows: Int[Tensor, " row"]) -> "ScanTree":
        """Tree of the rows with these indices; an index may occur more than once."""
        levels = tuple(ElementIds(level.ids[rows], level.count) for level in self.levels)
        return ScanTree(levels, self.children)

    @cached_property
    def halves(self) -> tuple[tuple[ElementIds, ElementIds], ...]:
        """Earlier and later children of the nodes, for each level above the leaves."""
        return tuple(level.halves() for level in self.levels[:-1])

    def up_sweep(self, leaves: Elements, identity: Elements, compose: Compose) -> list[Elements]:
        """Elements of the distinct nodes of each level, with the identity last.

        Parameters
        ----------
        leaves
            Elements of the time steps: (model, element, ...).
        identity
            Identity element: (model, 1, ...).
        compose
            Composition of two elements, the earlier one first.
        """
        nodes = [_append(leaves, identity)]
        for pairs in self.children:
            earlier = tuple(part[:, pairs.first] for part in nodes[-1])
            later = tuple(part[:, pairs.second] for part in nodes[-1])
            nodes.append(_append(compose(earlier, later), identity))
        return nodes

    def down_sweep(
        self,
        nodes: list[Elements],
        apply: Callable[[Elements, Tensor], Tensor],
        initial: Float[Tensor, "model initial state state"],
        initial_ids: Int[Tensor, " row"],
    ) -> tuple[Float[Tensor, "model covariance state state"], Int[Tensor, "row time"]]:
        """Distinct covariances that enter the time steps, and the id of the one that enters each.

        Parameters
        ----------
        nodes
            Result of `up_sweep`.
        apply
            Covariance after an element, given the one before it.
        initial, initial_ids
            Covariances at the first time step, and which of them each row has.
        """
        covariances, ids = initial, initial_ids[:, None]
        for (earlier, _), below in zip(reversed(self.halves), reversed(nodes[:-1]), strict=True):
            ids = ids[:, : earlier.ids.shape[1]]
            pairs = earlier.pair(ids)
            before = covariances[:, pairs.second]
            after = apply(tuple(part[:, pairs.first] for part in below), before)
            changed = (~_is_steady(before, after)).nonzero()[:, 0]
            after_ids = pairs.second.clone()
            new_ids = torch.arange(len(changed), device=ids.device) + covariances.shape[1]
            after_ids[changed] = new_ids
            covariances = torch.cat([covariances, after[:, changed]], dim=1)
            ids = torch.stack([ids, after_ids[pairs.ids.ids]], dim=2).flatten(1)
        return covariances, ids[:, : self.levels[0].ids.shape[1]]

    def linear_recurrence(
        self,
        matrices: Float[Tensor, "model element state state"],
        vectors: Float[Tensor, "model row time state"],
        initial: Float[Tensor, "model row state"],
    ) -> Float[Tensor, "model row time+1 state"]:
        """Every x[t] of x[t + 1] = matrix[t] x[t] + vector[t], from x[0] = `initial` on."""
        identity = torch.eye(matrices.shape[-1]).to(matrices).expand(len(matrices), 1, -1, -1)
        nodes = self.up_sweep((matrices,), (identity,), lambda a, b: (b[0] @ a[0],))
        sums = [vectors]
        for (_, later), (factors,) in zip(self.halves, nodes[:-1], strict=True):
            even = pad(sums[-1], (0, 0, 0, sums[-1].shape[2] % 2))
            sums.append(later.matvec(factors, even[:, :, 0::2]).add_(even[:, :, 1::2]))
        path = initial[:, :, None].repeat(1, 1, vectors.shape[2] + 1, 1)
        path[:, :, -1:] = self.levels[-1].matvec(nodes[-1][0], initial[:, :, None]) + sums[-1]
        for level in reversed(range(len(self.halves))):
            stride = 2 ** (level + 1)
            midpoints = path[:, :, stride // 2 : -1 : stride]
            length = midpoints.shape[2]
            earlier = self.halves[level][0].first(length)
            begins = path[:, :, 0:-1:stride][:, :, :length]
            moved = earlier.matvec(nodes[level][0], begins)
            midpoints.copy_(moved.add_(sums[level][:, :, 0::2][:, :, :length]))
        return path


def _append(elements: Elements, identity: Elements) -> Elements:
    return tuple(
        torch.cat([part, one.expand(len(part), *one.shape[1:])], dim=1)
        for part, one in zip(elements, identity, strict=True)
    )


def _is_steady(
    before: Float[Tensor, "model pair state state"], after: Float[Tensor, "model pair state state"]
) -> Bool[Tensor, " pair"]:
    """Whether covariances are equal to rounding, in all models."""
    scale = before.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    bound = 16 * before.shape[-1] * torch.finfo(before.dtype).eps
    change = (after - before).abs() <= bound * scale[..., :, None] * scale[..., None, :]
    return change.flatten(2).all(dim=2).all(dim=0)
