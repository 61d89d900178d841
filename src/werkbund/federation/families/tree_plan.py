"""From the sections of a configuration to how trees grow: plan, bins, objective, and which clients a round asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from werkbund.aggregation.personal import NOTHING
from werkbund.config.sections import Config
from werkbund.core.arrays import Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.core.target import NumberTarget, Target
from werkbund.data import Preparation
from werkbund.engine import Rules
from werkbund.federation.wiring import strategy_of
from werkbund.selection.contract import View
from werkbund.trees.arithmetic import ObjectiveKind, TreePlan
from werkbund.trees.protocol.bins import Binning
from werkbund.trees.protocol.rounds import Cohort

_DEFAULTS: dict[str, dict[str, Any]] = {
    "trees": {"max_depth": 5, "min_child_rows": 5},
    "forest": {},
    "extra-trees": {"node_features": 1.0},
}
"""Where a kind of trees departs from what its plan usually has: small federations have few rows a leaf.

On validation rows of AI4I 2020 the values near these differ by less than seeds do.
"""

_SHARES = 2
"""An interval is cut if it has so many times the rows that each client must have in it: else most halves are lost."""

_SELECTIONS = ("all", "uniform")
_OPTIONS = ("learning_rate", "max_depth", "min_child_rows", "l2", "node_features", "max_leaves", "row_share")


def plan_of(config: Config, preparation: Preparation) -> TreePlan:
    """Return how the trees grow.

    Raises
    ------
    ConfigError
        If a key does not fit the kind of model, or a feature that is named is not there.
    """
    kind, section = config.model.kind, config.trees
    check_trees(config)
    given = {name: getattr(section, name) for name in (*_OPTIONS, "tree_features")}
    rules = _DEFAULTS[kind] | {name: value for name, value in given.items() if value is not None}
    rules["monotone"] = _signs(section.monotone, preparation)
    if kind == "trees":
        return TreePlan.boosting(config.federation.rounds, **rules)
    build = TreePlan.random_forest if kind == "forest" else TreePlan.extra_trees
    return build(section.count, min(section.together, section.count), **rules)


def binning_of(config: Config, preparation: Preparation, num_clients: int) -> Binning:
    """Return how bins are found: by halves where clients withhold small counts, and not into such."""
    section = config.trees
    binning = Binning(preparation.levels, num_bins=section.num_bins, rank_error=float(section.rank_error))
    if section.min_cell_rows <= 1:
        return binning
    return replace(binning, least=_SHARES * section.min_cell_rows * num_clients, most_parts=2)


def objective_of(plan: TreePlan, target: Target) -> ObjectiveKind:
    """Return what trees minimise: of a number the squared error, of failures the log loss, or in forests the share."""
    if isinstance(target, NumberTarget):
        return "squared"
    return "share" if plan.forest else "logistic"


def class_weights_of(config: Config) -> tuple[float, ...] | str:
    """Return what a row of each class counts: a number each, `balanced`, or nothing where all count alike."""
    chosen = config.trees.positive_weight
    if chosen == "balanced":
        return "balanced"
    return () if chosen == "none" else (1.0, float(chosen))


def cohort_of(config: Config, rules: Rules, num_clients: int) -> Cohort | None:
    """Return who is asked in each round; None for everybody."""
    if config.strategy.selection.name == "all":
        return None
    strategy, everyone = strategy_of(config), np.arange(num_clients)
    strategy.check(num_clients, is_scored=True)
    selector = strategy.selector

    def choose(round: int) -> Int64Array:
        view = View(round, everyone, rules.facts)
        return selector.choose(view, (), generator(rules.seed, "selection", round)).cohort

    return choose


def check_trees(config: Config) -> None:
    """Refuse what does not fit trees, as far as that shows without knowing the features.

    Raises
    ------
    ConfigError
        If an option, first weights, a selector, clusters, personal parts or a world is given that only networks have,
        or a learning rate to a forest.
    """
    kind, model, selection = config.model.kind, config.model, config.strategy.selection
    unfit = [name for name in ("hidden", "activation", "dropout", "width", "depth") if getattr(model, name) is not None]
    for name in [*unfit, *model.options]:
        raise ConfigError(f"model.{name} is no option of model.kind = {kind!r}; how trees grow stands under [trees]")
    if model.initial != "random":
        raise ConfigError(f"model.initial is for networks, got {model.initial!r} with model.kind = {kind!r}; drop it")
    if kind != "trees" and config.trees.learning_rate is not None:
        raise ConfigError(f"trees.learning_rate is for model.kind = 'trees', got it with {kind!r}: forests have none")
    strategy_of(config)  # refuses what is no method
    if selection.name not in _SELECTIONS:
        raise ConfigError(
            f"strategy.selection.name must be {' or '.join(_SELECTIONS)} where model.kind = {kind!r}, got "
            f"{selection.name!r}: trees have no weights before a round to choose clients by, and add whole numbers, "
            "which a client's part cannot be multiplied in"
        )
    _check_networks_sections(config)


def _check_networks_sections(config: Config) -> None:
    kind = config.model.kind
    if config.evaluation.contributions:
        raise ConfigError(f"evaluation.contributions is told of networks, got it with model.kind = {kind!r}; drop it")
    if not config.strategy.pace.close == "all":
        raise ConfigError(
            f"strategy.pace.close must be all with model.kind = {kind!r}, got {config.strategy.pace.close!r}: a tree "
            "grows from the counts of all its clients; drop strategy.pace"
        )
    if config.privacy.secure_sums and config.trees.combine == "bagging":
        raise ConfigError(
            "trees.combine must be exact with privacy.secure_sums, got 'bagging': each client's trees are in clear; "
            "leave it out, or drop secure sums"
        )
    for key in ("clusters", "personal"):
        if getattr(config.strategy, key).name != NOTHING:
            raise ConfigError(f"strategy.{key} is for networks, got it with model.kind = {kind!r}; drop it")
    if config.attack.kind != "none":
        raise ConfigError(f"attack is on networks' updates, got it with model.kind = {kind!r}; drop [attack]")
    if config.world.preset != "none" or config.world.path is not None:
        raise ConfigError(f"world simulates networks' clients, got it with model.kind = {kind!r}; drop [world]")


def _signs(named: dict[str, Any], preparation: Preparation) -> tuple[int, ...]:
    for name in named:
        if name not in preparation.numbers:
            known = ", ".join(preparation.numbers)
            raise ConfigError(f"trees.monotone must name number features, got {name!r}; there are {known}")
    return tuple(int(named.get(name, 0)) for name in preparation.raw_names) if named else ()
