"""How trees grow: the numbers a user may turn, and beside them the edges and scales that all clients agreed on."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ConfigError
from werkbund.trees.arithmetic.edges import BinEdges
from werkbund.trees.arithmetic.objectives import FixedPoint
from werkbund.trees.arithmetic.splits import FeatureTraits, Limits


@dataclass(frozen=True)
class GrowthRules:
    """Hold what every tree obeys.

    Parameters
    ----------
    learning_rate
        What a leaf's Newton step is multiplied by, above 0.
    l2
        Added to the hessian below each value, at least 0.
    min_child_weight, min_child_rows
        Least summed hessian and least rows of a child.
    min_gain
        What a split must gain more than.
    max_depth
        Splits between root and leaf: messages a tree.
    max_leaves
        Leaves of a tree at most, 0 for any number: of a level's splits those with the highest gain are made.
    monotone
        For each feature 1 or -1 where the score must rise or fall with it, else 0; empty for none.
    category_smoothing
        Added to the hessian of a level before levels are sorted, at least 0.
    tree_features, node_features
        Share of the features that a tree may ask, and of those the share that each node may, in (0, 1]; below 1 for
        nodes, no histogram can be had by subtraction.
    random_cuts
        Give each number feature of a node one random threshold among its occupied bins, as extremely randomised trees
        do (Geurts, Ernst, Wehenkel, Machine Learning 2006), where theirs is even between its extreme values.
    row_share
        Chance of a row to be in a tree, in (0, 1].
    bootstrap
        Draw rows by Poisson numbers of mean 1 in place of `row_share`.
    """

    learning_rate: float = 0.1
    l2: float = 1.0
    min_child_weight: float = 1e-3
    min_child_rows: int = 20
    min_gain: float = 0.0
    max_depth: int = 6
    max_leaves: int = 0
    monotone: tuple[int, ...] = ()
    category_smoothing: float = 10.0
    tree_features: float = 1.0
    node_features: float = 1.0
    random_cuts: bool = False
    row_share: float = 1.0
    bootstrap: bool = False

    def __post_init__(self) -> None:
        _check_numbers(self)
        if self.min_child_rows < 1:
            raise ConfigError(f"min_child_rows must be at least 1, got {self.min_child_rows}")
        if not 1 <= self.max_depth <= 30:
            raise ConfigError(f"max_depth must be in 1..30, got {self.max_depth}")
        if self.max_leaves < 0 or self.max_leaves == 1:
            raise ConfigError(f"max_leaves must be 0 for any number, or at least 2, got {self.max_leaves}")
        if any(sign not in (-1, 0, 1) for sign in self.monotone):
            raise ConfigError(f"monotone must hold -1, 0 or 1 for each feature, got {self.monotone}")

    def to_array(self) -> Float64Array:
        """Return all numbers, in the order of the fields, the monotone signs last."""
        own = [float(getattr(self, field.name)) for field in fields(self) if field.name != "monotone"]
        return np.array([*own, *map(float, self.monotone)])

    @classmethod
    def from_array(cls, numbers: Float64Array) -> GrowthRules:
        """Return what `to_array` described.

        Raises
        ------
        ConfigError
            If there are fewer numbers than rules, or one is out of its range.

        Examples
        --------
        >>> rules = GrowthRules(l2=0.5, bootstrap=True, monotone=(0, -1))
        >>> GrowthRules.from_array(rules.to_array()) == rules
        True
        """
        kinds: dict[str, Any] = {field.name: type(field.default) for field in fields(cls) if field.name != "monotone"}
        values = numbers.tolist()
        if len(values) < len(kinds):
            raise ConfigError(f"rules must be at least {len(kinds)} numbers, got {len(values)}")
        own: dict[str, Any] = {name: kind(value) for (name, kind), value in zip(kinds.items(), values, strict=False)}
        return cls(**own, monotone=tuple(int(sign) for sign in values[len(kinds) :]))

    @property
    def subtracts(self) -> bool:
        """Whether the larger of two children is had by subtraction."""
        return self.node_features == 1


def _check_numbers(rules: GrowthRules) -> None:
    for name in ("l2", "min_child_weight", "min_gain", "category_smoothing"):
        if not 0 <= getattr(rules, name) < math.inf:
            raise ConfigError(f"{name} must be at least 0 and finite, got {getattr(rules, name)}")
    for name in ("tree_features", "node_features", "row_share"):
        if not 0 < getattr(rules, name) <= 1:
            raise ConfigError(f"{name} must be in (0, 1], got {getattr(rules, name)}")
    if not 0 < rules.learning_rate < math.inf:
        raise ConfigError(f"learning_rate must be above 0 and finite, got {rules.learning_rate}")


@dataclass(frozen=True)
class GrowthBasis:
    """Hold what stays the same while trees grow.

    Parameters
    ----------
    edges
        Agreed by all.
    fixed
        The scales of what is summed.
    rules
        What every tree obeys.
    leaf_range
        Between which a leaf's value must stay.
    """

    edges: BinEdges
    fixed: FixedPoint
    rules: GrowthRules
    leaf_range: tuple[float, float] = (-math.inf, math.inf)

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
        )

    @property
    def traits(self) -> FeatureTraits:
        """What a split must know of each feature."""
        signs = np.array(self.rules.monotone or [0] * self.edges.num_features, np.int64)
        return FeatureTraits(self.edges.sizes, self.edges.levels, signs)
