"""Trees as flat arrays: while they grow, when they travel, and when they are done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array, Int32Array, Int64Array, UInt8Array
from werkbund.core.errors import ModelError

_TYPES: dict[str, Any] = {
    "roots": np.int32,
    "outputs": np.int32,
    "feature": np.int32,
    "bin": np.int32,
    "threshold": np.float64,
    "missing_left": np.bool_,
    "subset": np.int32,
    "left": np.int32,
    "value": np.float64,
    "rows": np.int64,
    "gain": np.float64,
    "subsets": np.uint8,
}
LEAF = -1


@dataclass(frozen=True)
class Trees:
    """Hold any number of trees; an inner node's right child follows its left child.

    Parameters
    ----------
    roots
        (trees,), number of each root among all nodes.
    outputs
        (trees,), to which score a tree adds.
    feature
        (nodes,), feature that a node asks; `LEAF` for a leaf.
    bin, threshold
        (nodes,), a row goes left if its bin is at most `bin`: its value at most `threshold`.
    missing_left
        (nodes,), where a row goes whose value is missing.
    subset
        (nodes,), which row of `subsets` a categorical split uses; -1 for none.
    left
        (nodes,), number of the left child, always higher than the node's own.
    value
        (nodes,), what a node would add to the score of its rows if it were a leaf.
    rows
        (nodes,), training rows that came here, drawn ones as often as they were drawn.
    gain
        (nodes,), by how much a split lowers the objective, times two; 0 for a leaf.
    subsets
        (splits, 32), a bit a level, lowest bit first: those that go left.
    """

    roots: Int32Array
    outputs: Int32Array
    feature: Int32Array
    bin: Int32Array
    threshold: Float64Array
    missing_left: BoolArray
    subset: Int32Array
    left: Int32Array
    value: Float64Array
    rows: Int64Array
    gain: Float64Array
    subsets: UInt8Array

    @classmethod
    def none(cls) -> Trees:
        """Return no tree."""
        empty: dict[str, Any] = {name: np.empty(0, kind) for name, kind in _TYPES.items()}
        return cls(**{**empty, "subsets": np.empty((0, 32), np.uint8)})

    @classmethod
    def stumps(cls, outputs: npt.ArrayLike, nodes: int | None = None) -> Trees:
        """Return one tree for each output that is a single leaf of value 0."""
        to = np.asarray(outputs, np.int32)
        n = len(to) if nodes is None else nodes
        leaves: dict[str, Any] = {name: np.zeros(n, kind) for name, kind in _TYPES.items()}
        leaves |= {"roots": np.arange(len(to), dtype=np.int32), "outputs": to, "subsets": np.empty((0, 32), np.uint8)}
        minus: dict[str, Any] = {name: np.full(n, -1, np.int32) for name in ("feature", "subset", "left")}
        return cls(**{**leaves, **minus})

    def __len__(self) -> int:
        return len(self.roots)

    @property
    def num_nodes(self) -> int:
        """Number of nodes of all trees."""
        return len(self.feature)

    @property
    def num_leaves(self) -> int:
        """Number of leaves of all trees."""
        return int((self.feature == LEAF).sum())

    @cached_property
    def digest(self) -> str:
        """Hexadecimal digits that differ as soon as one bit of a tree does."""
        state = hashlib.blake2b(digest_size=16)
        for name in _TYPES:
            array = getattr(self, name)
            state.update(f"{name}{array.shape}".encode())
            state.update(np.ascontiguousarray(array, np.dtype(_TYPES[name]).newbyteorder("<")).tobytes())
        return state.hexdigest()

    def joined(self, more: Trees) -> Trees:
        """Return these trees, and more behind them."""
        nodes, splits = self.num_nodes, len(self.subsets)
        shifted = replace(
            more,
            roots=(more.roots + nodes).astype(np.int32),
            left=np.where(more.left >= 0, more.left + nodes, -1).astype(np.int32),
            subset=np.where(more.subset >= 0, more.subset + splits, -1).astype(np.int32),
        )
        return Trees(**{name: np.concatenate([getattr(self, name), getattr(shifted, name)]) for name in _TYPES})

    def scaled(self, factors: Float64Array) -> Trees:
        """Return the same trees, with the values of each times a factor of its own: (trees,)."""
        return replace(self, value=self.value * factors[self.tree_of_nodes()])

    @property
    def grown(self) -> BoolArray:
        """Whether any training row came to a tree: (trees,)."""
        return np.asarray(self.rows[self.roots] > 0)

    def first(self, num_trees: int) -> Trees:
        """Return the first trees alone."""
        if num_trees >= len(self):
            return self
        return self.take(np.arange(num_trees))

    def take(self, numbers: npt.ArrayLike) -> Trees:
        """Return these trees alone, in this order, nodes that belong to others left out."""
        wanted = np.asarray(numbers, np.int64)
        owner = self.tree_of_nodes()
        keep = np.concatenate([np.empty(0, np.int64), *(np.flatnonzero(owner == tree) for tree in wanted.tolist())])
        place = np.full(self.num_nodes + 1, -1, np.int64)
        place[keep] = np.arange(len(keep))
        used = self.subset[keep]
        splits = used[used >= 0]
        where = np.full(len(self.subsets) + 1, -1, np.int64)
        where[splits] = np.arange(len(splits))
        own = {name: getattr(self, name)[keep] for name in _TYPES if name not in ("roots", "outputs", "subsets")}
        own |= {"left": place[own["left"]].astype(np.int32), "subset": where[own["subset"]].astype(np.int32)}
        roots = place[self.roots[wanted]].astype(np.int32)
        return Trees(roots=roots, outputs=self.outputs[wanted], subsets=self.subsets[splits], **own)

    def tree_of_nodes(self) -> Int64Array:
        """Return to which tree each node belongs: (nodes,)."""
        owner = np.full(self.num_nodes, -1, np.int64)
        owner[self.roots] = np.arange(len(self))
        level = self.roots.astype(np.int64)
        while len(level):
            level = level[self.left[level] >= 0]
            left = self.left[level].astype(np.int64)
            owner[left], owner[left + 1] = owner[level], owner[level]
            level = np.concatenate([left, left + 1])
        return owner

    def to_arrays(self, prefix: str = "") -> dict[str, AnyArray]:
        """Return named arrays."""
        return {f"{prefix}{name}": getattr(self, name) for name in _TYPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], prefix: str = "") -> Trees:
        """Return what `to_arrays` described, checked.

        Raises
        ------
        ModelError
            If an array is missing or of another length, or a node points to what is no later node.
        """
        lacking = [name for name in _TYPES if f"{prefix}{name}" not in arrays]
        if lacking:
            raise ModelError(f"trees need the arrays {', '.join(_TYPES)}, got none named {', '.join(lacking)}")
        trees = cls(**{name: np.ascontiguousarray(arrays[f"{prefix}{name}"], kind) for name, kind in _TYPES.items()})
        _check(trees)
        return trees


def _check(trees: Trees) -> None:
    per_tree, nodes = ("roots", "outputs"), trees.num_nodes
    for field in fields(trees):
        array = getattr(trees, field.name)
        length = len(trees.roots) if field.name in per_tree else nodes
        if field.name != "subsets" and array.shape != (length,):
            raise ModelError(f"{field.name} of trees must have the shape ({length},), got {array.shape}")
    if trees.subsets.ndim != 2 or trees.subsets.shape[1] != 32:
        raise ModelError(f"subsets of trees must have the shape (splits, 32), got {trees.subsets.shape}")
    inner = np.flatnonzero(trees.feature != LEAF)
    left = trees.left[inner]
    beyond = (left <= inner) | (left + 1 >= nodes)
    if beyond.any() or (trees.feature < LEAF).any() or (trees.left[trees.feature == LEAF] != -1).any():
        raise ModelError("an inner node must point to two later nodes and a leaf to none; the trees are damaged")
    if ((trees.roots < 0) | (trees.roots >= nodes)).any() or (trees.outputs < 0).any():
        raise ModelError("roots must be nodes and outputs at least 0; the trees are damaged")
    if ((trees.subset < -1) | (trees.subset >= len(trees.subsets))).any():
        raise ModelError("a categorical split must have a row of subsets; the trees are damaged")


@dataclass(frozen=True)
class Ensemble:
    """Hold trees that predict together: a score is `base + factor * sum of leaves`.

    Parameters
    ----------
    base
        (outputs,), the score without a tree.
    trees
        In the order in which their values are added.
    mean
        A forest: the leaves' sum is divided by the number of trees of an output; else they are simply added.
    """

    base: Float64Array
    trees: Trees
    mean: bool = False

    @property
    def num_outputs(self) -> int:
        """Number of scores."""
        return len(self.base)

    @property
    def factor(self) -> float:
        """What the sum of leaves is multiplied by."""
        return self.num_outputs / max(len(self.trees), 1) if self.mean else 1.0

    @property
    def digest(self) -> str:
        """Hexadecimal digits that differ as soon as one bit of the ensemble does."""
        head = np.concatenate([self.base, [float(self.mean)]]).astype("<f8").tobytes()
        return hashlib.blake2b(head + self.trees.digest.encode(), digest_size=16).hexdigest()

    def first(self, num_trees: int) -> Ensemble:
        """Return the ensemble of the first trees alone."""
        return replace(self, trees=self.trees.first(num_trees))

    def with_trees(self, more: Trees) -> Ensemble:
        """Return the ensemble with more trees."""
        return replace(self, trees=self.trees.joined(more))

    def to_arrays(self, prefix: str = "") -> dict[str, AnyArray]:
        """Return named arrays."""
        return {f"{prefix}base": self.base, f"{prefix}mean": np.array(self.mean), **self.trees.to_arrays(prefix)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray], prefix: str = "") -> Ensemble:
        """Return what `to_arrays` described.

        Raises
        ------
        ModelError
            If the arrays hold no ensemble.
        """
        if f"{prefix}base" not in arrays or f"{prefix}mean" not in arrays:
            raise ModelError("an ensemble needs the arrays base and mean beside those of its trees")
        base, trees = np.array(arrays[f"{prefix}base"], np.float64), Trees.from_arrays(arrays, prefix)
        if base.ndim != 1 or not np.isfinite(base).all() or (trees.outputs >= len(base)).any():
            raise ModelError(f"an ensemble's base must be finite, one number an output, got {base}")
        return cls(base, trees, bool(arrays[f"{prefix}mean"]))


def importance(trees: Trees, num_features: int) -> dict[str, Float64Array]:
    """Return how much each feature matters: `gain`, the sum of its splits' gains, and `splits`, their number."""
    inner = trees.feature != LEAF
    features = trees.feature[inner].astype(np.int64)
    return {
        "gain": np.bincount(features, trees.gain[inner], num_features).astype(np.float64),
        "splits": np.bincount(features, minlength=num_features).astype(np.float64),
    }
