"""Clustered federations: several models for clients that do not fit one, and the rules by which clients are assigned.

A method says what a round's end looks at, as a `Clustering`; the engine does it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from werkbund.aggregation.contract import Card
from werkbund.aggregation.rows import lengths
from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.methods import Registry, check_options, option

_KEY = "strategy.clusters"
_EACH_ITS_OWN = (
    "Momentum and other state of the aggregation rule is each cluster's own. Rules of which clients keep something for "
    "the next round (SCAFFOLD, FedDyn) are refused: what the server keeps of theirs is a mean over one federation."
)


class Clustering(Protocol):
    """Be a frozen dataclass with a `name` and a `card`, whose fields are its options."""

    @property
    def count(self) -> int:
        """Models that a run begins with."""

    @property
    def start(self) -> int:
        """Number of the random first weights."""

    @property
    def asks_losses(self) -> bool:
        """Whether clients are assigned by their losses of all models."""

    @property
    def sees_updates(self) -> bool:
        """Whether clusters are parted by the updates of their members, one by one."""

    def parted(self, round: int, rows: Float32Array, weights: Float64Array, usual: float) -> BoolArray | None:
        """Return which members of a cluster part from the others, (members,); None where all stay together.

        Parameters
        ----------
        round
            Its number.
        rows, weights
            (members, parameters), the members' updates, and (members,), what each counts.
        usual
            Middle length of the updates of the first round.
        """


@dataclass(frozen=True)
class IFCA:
    """Let each client train the one of several models that fits its own rows best.

    Parameters
    ----------
    count
        Models.
    start
        Number of the random first weights: others for each number.

    Raises
    ------
    ConfigError
        If an option breaks its rule.

    References
    ----------
    Ghosh et al., "An Efficient Framework for Clustered Federated Learning", NeurIPS 2020, algorithm 1 with model
    averaging. There clients choose before they train; here they choose when a round has ended, by the same models, so
    that the models that a run ends with are chosen among too. What a client counts is left to the aggregation rule,
    where the authors' code counts all alike.
    """

    count: int = option(2, "models", at_least=1, at_most=20)
    start: int = option(0, "number of the random first weights", at_least=0)
    name: ClassVar[str] = "ifca"
    card: ClassVar[Card] = Card(
        title="Clusters by losses (IFCA)",
        rule="There are `count` models with different random first weights. After each round every client tells the "
        "mean loss of each of them over its training rows; it belongs to the one with the lowest, the first of equal "
        "ones. In a round the clients of one model are a federation by themselves; a model without clients stays.",
        source="Ghosh et al., An Efficient Framework for Clustered Federated Learning, NeurIPS 2020",
        use_when="machines are of a few kinds, nobody knows which plant has which, and their failures look different",
        avoid_when="plants do not tell losses, or the line is slow: each round sends every model to every plant",
        notes=(
            "First weights decide what is found; it may be that one model takes all. Try some `start` and `count`, and "
            "keep the run with the best validation metric.",
            "A client that does not tell all its losses stays where it was, in the first cluster at the beginning, and "
            "is named.",
            _EACH_ITS_OWN,
        ),
    )
    asks_losses: ClassVar[bool] = True
    sees_updates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def parted(self, round: int, rows: Float32Array, weights: Float64Array, usual: float) -> BoolArray | None:
        """Part nobody."""
        return None


@dataclass(frozen=True)
class CFL:
    """Split a cluster whose mean update has become short while its members' updates have not.

    Parameters
    ----------
    converged
        A cluster has converged when its mean update is shorter than this, in middle lengths of the first round.
    moving
        Its members have not when one of their updates is longer than this, in the same unit.
    warm_up
        Rounds in which nothing is split.
    noise
        Relative noise of the gradients (gamma): two groups part if it is below sqrt((1 - a) / 2), where a is the
        largest cosine between updates of different groups. At 0.75 no two members of different groups may have a
        cosine above -0.125.

    Raises
    ------
    ConfigError
        If an option breaks its rule.

    References
    ----------
    Sattler, Müller, Samek, "Clustered Federated Learning: Model-Agnostic Distributed Multitask Optimization Under
    Privacy Constraints", IEEE TNNLS 2021, algorithm 1. There both thresholds are plain lengths, which depend on network
    and step size; here they are multiples of the middle length in the first round. The authors' code splits by complete
    linkage, which misses the best two groups; here single linkage finds them, as the paper's equation asks.
    """

    converged: float = option(0.4, "middle lengths of round 1 below which a mean update has converged", above=0)
    moving: float = option(0.6, "middle lengths of round 1 above which an update has not", above=0)
    warm_up: int = option(10, "rounds in which nothing is split", at_least=1)
    noise: float = option(0.75, "relative noise of the gradients (gamma); 0 asks nothing", at_least=0, at_most=1)
    name: ClassVar[str] = "cfl"
    card: ClassVar[Card] = Card(
        title="Clusters by the direction of updates (CFL)",
        rule="All clients begin in one cluster. When its mean update is short and a member's is long, and all members "
        "have answered, it is split into the two groups between which the largest cosine of two updates is smallest. "
        "Both begin with its weights, and each is a federation by itself from then on.",
        source="Sattler, Müller, Samek, Clustered Federated Learning, IEEE TNNLS 2021",
        use_when="plants may be of several kinds or of one, and it is not known how many there are",
        avoid_when="single updates are hidden, some clients do not train in each round, or the learning rate falls "
        "before the mean update does",
        notes=(
            "Lengths are multiples of the middle one of the first round, the paper's are plain.",
            "The noise of gradients is not measured. With 0, which the test always passes, plants that are alike were "
            "parted by chance; with the default a single plant that differs in part may stay.",
            "A cluster of two is not split. Clusters never unite again.",
            _EACH_ITS_OWN,
        ),
    )
    count: ClassVar[int] = 1
    start: ClassVar[int] = 0
    asks_losses: ClassVar[bool] = False
    sees_updates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_options(self, _KEY)

    def parted(self, round: int, rows: Float32Array, weights: Float64Array, usual: float) -> BoolArray | None:
        """Split by the norms criterion and the best bipartition."""
        if len(rows) <= 2 or round <= self.warm_up or not weights.sum() > 0:
            return None
        mean = weights @ rows.astype(np.float64) / weights.sum()
        if not np.linalg.norm(mean) < self.converged * usual or not lengths(rows).max() > self.moving * usual:
            return None
        found = bipartition(cosines(rows))
        return found.second if self.noise < math.sqrt(max(1.0 - found.across, 0.0) / 2.0) else None


class Bipartition(NamedTuple):
    """Hold two groups: who is in the second, (n,), where the first has member 0; and the largest entry across."""

    second: BoolArray
    across: float


def cosines(rows: Float32Array) -> Float64Array:
    """Return the cosine of the angle between each two rows, (n, n); 0 with a row of zeros."""
    exact = rows.astype(np.float64)
    sizes = np.linalg.norm(exact, axis=1)
    units = exact / np.where(sizes > 0, sizes, 1.0)[:, None]
    return np.asarray(np.clip(units @ units.T, -1.0, 1.0))


def bipartition(similarities: Float64Array) -> Bipartition:
    """Return the two groups between which the largest similarity is smallest.

    Single linkage finds them: the most similar two groups unite until two are left. Of equal ones the first unite.

    Parameters
    ----------
    similarities
        (n, n) and symmetric, n >= 2; the diagonal is not read.

    References
    ----------
    Sattler, Müller, Samek, "Clustered Federated Learning", IEEE TNNLS 2021, equation 14 (the best bipartition).
    """
    first, second = np.triu_indices(len(similarities), 1)
    order = np.argsort(-similarities[first, second], kind="stable")
    group: Int64Array = np.arange(len(similarities))
    left = len(similarities)
    for place in order.tolist():
        a, b = sorted((int(group[first[place]]), int(group[second[place]])))
        if a != b and left == 2:
            return Bipartition(group != group[0], float(similarities[first[place], second[place]]))
        if a != b:
            group[group == b] = a
            left -= 1
    raise ValueError("at least two members are needed for two groups")


CLUSTERINGS: dict[str, type[Any]] = {method.name: method for method in (IFCA, CFL)}
"""The methods by name."""

ONE = "none"
"""The name by which a configuration says that there is one model for all."""

_REGISTRY = Registry(_KEY, "a method of clusters", ("parted", "card"), CLUSTERINGS, "docs/architecture.md")


def build_clustering(name: str, options: Mapping[str, Any]) -> Clustering | None:
    """Return the method of a name, one of `CLUSTERINGS`; None for `ONE`.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option is not the method's or breaks its rule.
    """
    if name == ONE:
        _REGISTRY.check_names(name, options, {})
        return None
    made: Clustering = _REGISTRY.build(name, options)
    return made
