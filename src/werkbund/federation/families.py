"""Families of models: how the parts of a run are made for each value of `model.kind`, and what is cited for it.

This is the one place where a kind is looked up; whatever comes after sees a `Trainable` and a `Model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkbund.core.errors import ConfigError
from werkbund.federation.population import Population
from werkbund.federation.sections import Config
from werkbund.federation.simulation import set_up
from werkbund.federation.sources import boosting_sources, forest_sources, network_sources
from werkbund.federation.trainable import Simulated
from werkbund.federation.worlds import in_world


@dataclass(frozen=True)
class Family:
    """Say how models of some kind are made.

    Parameters
    ----------
    set_up
        Makes the parts of a run whose clients are all here.
    sources
        The methods that a configuration uses, each with its source.
    facts
        What the model's card says of the training, beside clients and rounds.
    limits
        What a reader must know of how it was trained: sentences for card, report and output.
    """

    set_up: Callable[[Config, Population], Simulated]
    sources: Callable[[Config], list[tuple[str, str]]]
    facts: Callable[[Config], Mapping[str, Any]]
    limits: Callable[[Config], list[str]]


def family_of(config: Config) -> Family:
    """Return the family of a configuration's `model.kind`; whatever is no kind of trees is a network."""
    return _FAMILIES.get(config.model.kind, _NETWORKS)


def check_is_network(config: Config, what: str) -> None:
    """Refuse what only networks can do.

    Raises
    ------
    ConfigError
        If the model is none.
    """
    kind = config.model.kind
    if kind in _FAMILIES:
        raise ConfigError(
            f"model.kind must be a network, such as mlp, for {what}, got {kind!r}: trees grow in one process, by "
            "`werkbund run`"
        )


def _network(config: Config, population: Population) -> Simulated:
    return in_world(set_up(config, population), config.world)


def _trees(config: Config, population: Population) -> Simulated:
    from werkbund.federation.trees import set_up_trees  # loads a compiler, which networks do without

    return set_up_trees(config, population)


def _strategy(config: Config) -> Mapping[str, Any]:
    return {"selection": config.strategy.selection.name, "aggregation": config.strategy.aggregation.name}


def _combined(config: Config) -> Mapping[str, Any]:
    ways = {"exact": "exact sums of histograms", "bagging": "each client's own trees, united by share of rows"}
    return {"selection": config.strategy.selection.name, "aggregation": ways[config.trees.combine]}


def _inexact(config: Config) -> list[str]:
    if config.trees.combine == "bagging":
        return [
            "Each client grew its trees on its own rows (trees.combine = bagging): they are not the trees of the "
            "pooled rows, and are the worse the more clients differ."
        ]
    return []


_NETWORKS = Family(_network, network_sources, _strategy, lambda config: [])
_FAMILIES = {
    "trees": Family(_trees, boosting_sources, _combined, _inexact),
    "forest": Family(_trees, forest_sources, _combined, _inexact),
    "extra-trees": Family(_trees, forest_sources, _combined, _inexact),
}
