"""What stays the same while trees grow, how histograms lie behind one another, and what a split makes of its sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array, UInt8Array
from werkbund.core.errors import ConfigError
from werkbund.trees.arithmetic.edges import BinEdges
from werkbund.trees.arithmetic.fixed import FixedPoint
from werkbund.trees.arithmetic.rules import GrowthRules
from werkbund.trees.arithmetic.splits import Limits, Splits


@dataclass(frozen=True)
class Ground:
    """Hold what stays the same while trees grow.

    Parameters
    ----------
    edges
        Agreed by all.
    fixed
        The scales of what is summed.
    rules
        What every tree obeys.
    """

    edges: BinEdges
    fixed: FixedPoint
    rules: GrowthRules

    def __post_init__(self) -> None:
        monotone, levels = self.rules.monotone, self.edges.levels
        if monotone and len(monotone) != self.edges.num_features:
            raise ConfigError(f"monotone must have {self.edges.num_features} entries, got {len(monotone)}")
        if monotone and (levels[np.array(monotone) != 0] > 0).any():
            raise ConfigError("monotone must be 0 for a categorical feature: its levels have no order")

    @property
    def limits(self) -> Limits:
        """What a split must obey."""
        rules = self.rules
        return Limits(
            1.0 / self.fixed.gradient_scale,
            1.0 / self.fixed.hessian_scale,
            rules.l2,
            rules.min_child_weight,
            rules.min_child_rows,
            rules.min_gain,
            rules.category_smoothing,
            any(rules.monotone),
        )


@dataclass(frozen=True)
class Blocks:
    """Say of which nodes histograms are wanted, and how these lie one behind the other.

    Parameters
    ----------
    nodes
        (blocks,)
    features, starts
        (blocks, m), features of each node, and where their cells begin.
    num_cells
        Cells of all blocks together.
    """

    nodes: Int64Array
    features: Int64Array
    starts: Int64Array
    num_cells: int

    @classmethod
    def lay(cls, nodes: Int64Array, features: Int64Array, sizes: Int64Array) -> Blocks:
        """Return blocks of these features, one behind the other."""
        ends = np.cumsum(sizes[features].reshape(-1))
        starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
        return cls(nodes, features, starts.reshape(features.shape).astype(np.int64), int(ends[-1]) if len(ends) else 0)

    @property
    def edges(self) -> Int64Array:
        """Where each block begins, and the end: (blocks + 1,)."""
        return np.concatenate((self.starts[:, 0], [self.num_cells]))


def with_unknown(ground: Ground, splits: Splits, made: Int64Array) -> UInt8Array:
    """Return the subsets of these splits; a level that was not agreed goes where missing values go."""
    level = np.arange(256)
    unknown = level[None, :] >= ground.edges.levels[splits.feature[made]][:, None]
    bits = np.unpackbits(splits.subsets[made], axis=1, bitorder="little").astype(np.bool_)
    return np.packbits(bits | (unknown & splits.missing_left[made][:, None]), axis=1, bitorder="little")


def steps(ground: Ground, sums: Int64Array, bounds: Float64Array) -> Float64Array:
    """Return each node's Newton step, within its bounds."""
    limits = ground.limits
    below = sums[:, 1] * limits.hessian_step + limits.l2
    own = np.divide(-sums[:, 0] * limits.gradient_step, below, out=np.zeros(len(sums)), where=below > 0)
    return np.asarray(np.clip(own, bounds[:, 0], bounds[:, 1]) + 0.0)


def child_bounds(ground: Ground, bounds: Float64Array, sums: Int64Array, features: Int64Array) -> Float64Array:
    """Return the children's bounds: below and above the middle of both values, where a constraint says so."""
    own = np.repeat(bounds, 2, axis=0)
    if not any(ground.rules.monotone):
        return own
    weights = steps(ground, sums, own)
    middle = (weights[0::2] + weights[1::2]) / 2
    sign = np.array(ground.rules.monotone)[features]
    own[0::2][sign > 0, 1] = middle[sign > 0]
    own[1::2][sign > 0, 0] = middle[sign > 0]
    own[0::2][sign < 0, 0] = middle[sign < 0]
    own[1::2][sign < 0, 1] = middle[sign < 0]
    return own
