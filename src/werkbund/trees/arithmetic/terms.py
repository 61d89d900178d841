"""What server and clients agree on before the first tree, and which trees a round grows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, Float64Array, Int32Array, UInt64Array, under
from werkbund.core.errors import ClientError, ConfigError
from werkbund.core.rng import keys
from werkbund.trees.arithmetic.edges import BinEdges
from werkbund.trees.arithmetic.ensemble import Ensemble, Trees
from werkbund.trees.arithmetic.objectives import OBJECTIVE_KINDS, FixedPoint, Objective
from werkbund.trees.arithmetic.rules import GrowthBasis, GrowthRules
from werkbund.trees.arithmetic.sampling import MOST_DRAWS


@dataclass(frozen=True)
class TreePlan:
    """Say how an ensemble is grown.

    Parameters
    ----------
    rules
        How each tree grows.
    rounds
        How many rounds there are, each of `together` trees for every score.
    together
        Trees that a round grows side by side, in the same messages: of a forest any of them; when boosting, they share
        the round's step, so each should draw its own rows or features.
    forest
        Trees do not see one another, and are averaged; else each round goes on from the ones before.
    """

    rules: GrowthRules
    rounds: int = 100
    together: int = 1
    forest: bool = False

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.together < 1:
            raise ConfigError(f"rounds and together must be at least 1, got {self.rounds} and {self.together}")
        rules = self.rules
        drawn = (
            rules.bootstrap or rules.random_cuts or min(rules.row_share, rules.node_features, rules.tree_features) < 1
        )
        if (self.together > 1 or self.forest) and not drawn:
            raise ConfigError("trees of one round are all alike unless they draw rows or features; set bootstrap")

    @classmethod
    def boosting(cls, rounds: int = 100, **rules: Any) -> TreePlan:
        """Return gradient boosting with these rules."""
        return cls(GrowthRules(**rules), rounds)

    @classmethod
    def random_forest(cls, trees: int = 100, together: int = 10, **rules: Any) -> TreePlan:
        """Return a forest of bootstrapped trees, whose nodes each see a part of the features."""
        usual = {"learning_rate": 1.0, "l2": 0.0, "min_child_weight": 0.0, "min_child_rows": 1, "max_depth": 12}
        chosen = {"node_features": 0.5, "category_smoothing": 0.0, "bootstrap": True}
        return cls(GrowthRules(**{**usual, **chosen, **rules}), -(-trees // together), together, True)

    @classmethod
    def extra_trees(cls, trees: int = 100, together: int = 10, **rules: Any) -> TreePlan:
        """Return a forest of all rows with random cuts."""
        return cls.random_forest(trees, together, **{"bootstrap": False, "random_cuts": True, **rules})


@dataclass(frozen=True)
class Terms:
    """Hold what every client must know to count.

    Parameters
    ----------
    edges
        Of the bins.
    objective
        What is minimised.
    fixed
        The scales of gradients and hessians.
    base
        (outputs,), the score without a tree.
    forest
        Whether gradients stay those of the base, and leaves are averaged.
    row_share, bootstrap
        How rows are drawn into a tree.
    """

    edges: BinEdges
    objective: Objective
    fixed: FixedPoint
    base: Float64Array
    forest: bool = False
    row_share: float = 1.0
    bootstrap: bool = False

    @classmethod
    def agreed(cls, edges: BinEdges, objective: Objective, plan: TreePlan, num_rows: int, base: Float64Array) -> Terms:
        """Return the terms for so many rows of all clients together.

        Raises
        ------
        ConfigError
            If there are too many rows, or a forest is to follow a gradient that changes.
        """
        if plan.forest != (objective.kind == "share") and objective.kind != "squared":
            fitting = "share or squared" if plan.forest else "logistic, softmax or squared"
            raise ConfigError(f"objective must be {fitting} for this method, got {objective.kind}")
        fixed = objective.fixed_point(num_rows, MOST_DRAWS if plan.rules.bootstrap else 1)
        return cls(edges, objective, fixed, base, plan.forest, plan.rules.row_share, plan.rules.bootstrap)

    @property
    def num_outputs(self) -> int:
        """Number of scores."""
        return self.objective.num_outputs

    @property
    def most_draws(self) -> int:
        """How often a row may be drawn into one tree."""
        return MOST_DRAWS if self.bootstrap else 1

    @property
    def most_of_a_row(self) -> tuple[float, float]:
        """What the gradient and the hessian of one row cannot exceed, in whole steps."""
        gradient, hessian = self.objective.bounds
        return gradient * self.fixed.gradient_scale + 1, hessian * self.fixed.hessian_scale + 1

    def basis(self, rules: GrowthRules) -> GrowthBasis:
        """Return what stays the same while trees grow by these rules."""
        return GrowthBasis(self.edges, self.fixed, rules, self.objective.leaf_range)

    def without_trees(self) -> Ensemble:
        """Return the ensemble without a tree."""
        return Ensemble(self.base, Trees.none(), self.forest)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Return named arrays."""
        objective = self.objective
        numbers = [
            float(OBJECTIVE_KINDS.index(objective.kind)),
            objective.target_range,
            float(self.forest),
            self.row_share,
        ]
        numbers += [float(self.bootstrap), self.fixed.gradient_exponent, self.fixed.hessian_exponent]
        return {
            "terms.numbers": np.array(numbers),
            "terms.weights": np.array(objective.class_weights, np.float64),
            "terms.base": self.base,
            **{f"terms.{name}": array for name, array in self.edges.to_arrays().items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> Terms:
        """Return what `to_arrays` described.

        Raises
        ------
        ClientError
            If the arrays hold no terms.
        """
        try:
            own = under("terms.", arrays)
            kind, width, forest, share, bootstrap, gradient, hessian = own["numbers"].tolist()
            weights = tuple(own["weights"].tolist())
            objective = Objective(OBJECTIVE_KINDS[int(kind)], weights, width)
            fixed = FixedPoint(int(gradient), int(hessian))
            base = np.array(own["base"], np.float64)
            edges = BinEdges.from_arrays(own)
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise ClientError(f"the terms of the trees cannot be read ({error}); the server runs other code") from error
        return cls(edges, objective, fixed, base, bool(forest), share, bool(bootstrap))

    def digest(self) -> str:
        """Return hexadecimal digits that differ as soon as the terms do."""
        state = hashlib.blake2b(digest_size=16)
        for name, array in self.to_arrays().items():
            state.update(f"{name}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


@dataclass(frozen=True)
class Group:
    """Say which trees one round grows: (trees,) each.

    Parameters
    ----------
    outputs
        To which score each adds.
    keys
        The seed of each, for its features and cuts.
    row_keys
        The seed by which each draws its rows: the scores of one set of classes share it.
    """

    outputs: Int32Array
    keys: UInt64Array
    row_keys: UInt64Array

    @classmethod
    def of(cls, seed: int, round: int, num_outputs: int, together: int) -> Group:
        """Return the group of a round."""
        width = num_outputs * together
        rows = np.repeat(keys(seed, "rows of a tree", round, np.arange(together)), num_outputs)
        outputs = np.tile(np.arange(num_outputs, dtype=np.int32), together)
        return cls(outputs, keys(seed, "tree", round, np.arange(width)), rows)


def basis_of(terms: Terms, plan: TreePlan) -> GrowthBasis:
    """Return what stays the same while trees grow; boosted trees that stand side by side share the step."""
    rules = plan.rules
    if not plan.forest and plan.together > 1:
        rules = replace(rules, learning_rate=rules.learning_rate / plan.together)
    return terms.basis(rules)


def base_score(objective: Objective, counts: npt.ArrayLike, mean: float = 0.0) -> Float64Array:
    """Return the best score without a tree.

    Parameters
    ----------
    objective
        What is minimised.
    counts
        (classes,), rows of each class over all clients; a class without any counts as half a row.
    mean
        Of the target, for `squared`.

    Examples
    --------
    >>> base_score(Objective("logistic"), [50, 50]).tolist()
    [0.0]
    """
    if objective.kind == "squared":
        return np.array([mean])
    if objective.kind == "share":
        return np.zeros(objective.num_outputs)
    weighted = np.maximum(np.asarray(counts, np.float64), 0.5) * np.array(objective.class_weights)
    logs = np.log(weighted / weighted.sum())
    return np.array([logs[1] - logs[0]]) if objective.kind == "logistic" else logs
