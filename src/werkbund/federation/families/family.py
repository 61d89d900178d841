"""Families of models: how the parts of a run are made for each value of `model.kind`, and what is cited for it.

This is the one place where a kind is looked up; whatever comes after sees a `Setup` and a `Model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkbund.aggregation import DEFAULT, aggregator_of, build_aggregator
from werkbund.aggregation.clusters import CLUSTERINGS, ONE
from werkbund.aggregation.contract import needs_of
from werkbund.aggregation.personal import NOTHING, PERSONAL, limits_of
from werkbund.config.models import SHIPPED_MODELS
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.text import did_you_mean
from werkbund.data import Preparation, Schema
from werkbund.data.schema_json import schema_from_json, schema_to_json
from werkbund.engine import Checkpoint, Grid
from werkbund.engine.kinds import PERSONALISE
from werkbund.federation.asking import Asks, network_asks, tree_asks, with_errors
from werkbund.federation.attacked import under_attack
from werkbund.federation.families.contract import Setup, Simulation
from werkbund.federation.families.networks import (
    in_world,
    network_server,
    simulate_network,
    simulate_prepared_network,
    with_servers_table,
)
from werkbund.federation.families.tree_plan import check_trees
from werkbund.federation.families.trees import simulate_prepared_trees, simulate_trees, tree_server
from werkbund.federation.preparing import CommonPreparation
from werkbund.federation.wiring import model_spec, selector_of, strategy_of
from werkbund.partition.population import Population
from werkbund.selection.questions import LOSS


@dataclass(frozen=True)
class ClientKnowledge:
    """Hold what a server knows of clients that are elsewhere, before the first round.

    Parameters
    ----------
    common
        The common preparation, and the counts that gave it.
    schema, mode_names
        What the clients' columns mean, and the failure modes that they count.
    least_cell_rows
        Of the numbers of rows below which clients let no cell of trees leave, by their policies, the largest; 0 if no
        client has one.
    """

    common: CommonPreparation
    schema: Schema
    mode_names: tuple[str, ...]
    least_cell_rows: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return values that JSON holds; floats keep every bit."""
        return {
            "schema": schema_to_json(self.schema),
            "modes": list(self.mode_names),
            "least_cell_rows": self.least_cell_rows,
            **self.common.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClientKnowledge:
        """Return what `to_json` described."""
        schema, modes = schema_from_json(values["schema"]), tuple(values["modes"])
        return cls(CommonPreparation.from_json(values), schema, modes, int(values.get("least_cell_rows", 0)))


@dataclass(frozen=True)
class Family:
    """Say how models of some kind are made.

    Parameters
    ----------
    simulate
        Makes the parts of a run whose clients are all here.
    simulate_prepared
        Makes them with a preparation that is known, and the training rows of the whole federation by class, (2,).
    serve
        Makes the server's parts of a run whose clients are elsewhere. A run that is gone on with gives its checkpoint,
        and nobody is asked again for what that holds.
    check
        Refuses a configuration that does not fit, as far as that shows before anybody is asked.
    asks
        What a run asks of its clients.
    citations
        The methods that a configuration uses, each with its source.
    facts
        What the model's card says of the training, beside clients and rounds.
    limits
        What a reader must know of how it was trained: sentences for card, report and output.
    """

    simulate: Callable[[Config, Population], Simulation]
    simulate_prepared: Callable[[Config, Population, Preparation, Int64Array], Simulation]
    serve: Callable[[Config, ClientKnowledge, Grid, Checkpoint | None], Setup]
    check: Callable[[Config], None]
    asks: Callable[[Config], Asks]
    citations: Callable[[Config], list[tuple[str, str]]]
    facts: Callable[[Config], Mapping[str, str]]
    limits: Callable[[Config], list[str]]


def family_of(config: Config) -> Family:
    """Return the family of a configuration's `model.kind`; whatever is no kind of trees is a network.

    Raises
    ------
    ConfigError
        If the kind is neither shipped nor the place of a class.
    """
    kind = config.model.kind
    if kind not in SHIPPED_MODELS and ":" not in kind:
        known, like = ", ".join(SHIPPED_MODELS), did_you_mean(kind, SHIPPED_MODELS)
        raise ConfigError(f"model.kind must be one of {known} or 'package.module:Class', got {kind!r}{like}")
    return _FAMILIES.get(kind, _NETWORKS)


def grows_trees(config: Config) -> bool:
    """Say whether a configuration's model is one of trees."""
    return config.model.kind in _FAMILIES


def check_is_network(config: Config, what: str) -> None:
    """Refuse a model of trees for something that only networks can do.

    Parameters
    ----------
    config
        Its `model.kind` is looked at.
    what
        The thing, as the error names it.

    Raises
    ------
    ConfigError
        If the model is one of trees.
    """
    if grows_trees(config):
        raise ConfigError(
            f"model.kind must be a network, such as mlp, for {what}, got {config.model.kind!r}; trees know no "
            "choice of clients but by chance"
        )


def _network(config: Config, population: Population) -> Simulation:
    return in_world(under_attack(simulate_network(config, population), population))


def _network_server(config: Config, known: ClientKnowledge, grid: Grid, start: Checkpoint | None) -> Setup:
    del start  # a network's parts follow from the configuration and the common preparation
    setup = network_server(config, known.common, known.mode_names, grid, known.schema.target)
    return with_servers_table(setup, known.schema, known.common.survey.labels)


def _check_network(config: Config) -> None:
    model_spec(config.model)
    strategy_of(config)


def _network_asks(config: Config) -> Asks:
    rule = config.strategy.aggregation
    is_own = ":" in rule.name  # code of the server's own, which has no part at clients
    built = None if is_own else build_aggregator(rule.name, **rule.options)
    asks = network_asks(selector_of(config).declaration, {*built.folds, *needs_of(built)} if built else ())
    method = config.strategy.clusters.method
    asks = {LOSS: frozenset(), **asks} if method is not None and method.asks_losses else asks
    asks = asks if config.strategy.personal.name == NOTHING else {**asks, PERSONALISE: frozenset()}
    return with_errors(asks) if config.data.target == "number" else asks


def _prepared_trees(config: Config, population: Population, preparation: Preparation, labels: Int64Array) -> Simulation:
    del labels  # trees count them by themselves
    return simulate_prepared_trees(config, population, preparation)


def _tree_server(config: Config, known: ClientKnowledge, grid: Grid, start: Checkpoint | None) -> Setup:
    least = max(config.trees.min_cell_rows, known.least_cell_rows)
    config = changed(config, trees={"min_cell_rows": least})  # bins, report and card go by whoever withholds most
    return tree_server(config, known.common, known.mode_names, grid, start, known.schema.target)


def _tree_asks(config: Config) -> Asks:
    asks = tree_asks(config.trees.combine)
    return with_errors(asks) if config.data.target == "number" else asks


def _network_facts(config: Config) -> Mapping[str, str]:
    section = config.strategy
    clusters = {} if section.clusters.name == ONE else {"clusters": section.clusters.name}
    personal = {} if section.personal.name == NOTHING else {"personal": section.personal.name}
    return {"selection": section.selection.name, "aggregation": section.aggregation.name, **clusters, **personal}


def _tree_facts(config: Config) -> Mapping[str, str]:
    section = config.trees
    ways = {"exact": "exact sums of histograms", "bagging": "each client's own trees, united by share of rows"}
    least = section.min_cell_rows
    withheld = {"exact": f"sums of histograms without a client's cells of fewer than {least} rows"}
    aggregation = (ways | withheld if least > 1 else ways)[section.combine]
    return {"selection": config.strategy.selection.name, "aggregation": aggregation}


def _network_limits(config: Config) -> list[str]:
    if config.strategy.clusters.name == ONE:
        return limits_of(config.strategy.personal.name, config.strategy.personal.plan)
    return [
        "Every client is judged with the model of its own cluster. `model/` and this card are those of the cluster "
        "with the most clients; `werkbund predict --client NAME` takes a client's."
    ]


def _tree_limits(config: Config) -> list[str]:
    section, limits = config.trees, []
    if section.combine == "bagging":
        limits.append(
            "Each client grew its trees on its own rows (trees.combine = bagging): they are not the trees of the "
            "pooled rows, and are the worse the more clients differ."
        )
    if section.min_cell_rows > 1:
        limits.append(
            f"What was over fewer than {section.min_cell_rows} rows of a client did not leave it "
            "(trees.min_cell_rows, or its own policy): these are not exactly the trees of the pooled rows."
        )
    return limits


def _network_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that train a network, each with its source."""
    aggregation, training = config.strategy.aggregation, config.training
    used = [("Federated averaging", "McMahan et al., Communication-Efficient Learning of Deep Networks, AISTATS 2017")]
    if aggregation.name != DEFAULT:
        card = getattr(aggregator_of(aggregation.name), "card", None)
        used = [(card.title, card.source)] if card else []
    elif aggregation.options.get("momentum"):
        used.append(("Server momentum (FedAvgM)", "Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data, 2019"))
    if config.strategy.clusters.name != ONE:
        card = CLUSTERINGS[config.strategy.clusters.name].card
        used.append((card.title, card.source))
    if config.strategy.personal.name != NOTHING:
        personal = PERSONAL[config.strategy.personal.name].card
        used.append((personal.title, personal.source))
    if training.proximal:
        used.append(
            ("Proximal term (FedProx)", "Li et al., Federated Optimization in Heterogeneous Networks, MLSys 2020")
        )
    if training.optimizer == "adam":
        used.append(("Adam", "Kingma and Ba, Adam: A Method for Stochastic Optimization, ICLR 2015"))
    if training.optimizer == "adamw":
        used.append(("AdamW", "Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019"))
    if config.model.kind == "residual-mlp":
        used.append(
            ("Residual MLP", "Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021")
        )
    return used


def _boosting_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that grow boosted trees, each with its source."""
    return [
        ("Gradient boosting", "Friedman, Greedy Function Approximation: A Gradient Boosting Machine, 2001"),
        ("Newton steps on histograms", "Chen and Guestrin, XGBoost: A Scalable Tree Boosting System, KDD 2016"),
        *_united(config),
        _CONTRIBUTIONS,
    ]


def _forest_citations(config: Config) -> list[tuple[str, str]]:
    """Return the methods that grow a forest, each with its source."""
    forests = {
        "forest": ("Random forest", "Breiman, Random Forests, Machine Learning 2001"),
        "extra-trees": ("Extra trees", "Geurts, Ernst, Wehenkel, Extremely Randomized Trees, Machine Learning 2006"),
    }
    return [forests[config.model.kind], *_united(config), _CONTRIBUTIONS]


def _united(config: Config) -> list[tuple[str, str]]:
    return [_BAGGING] if config.trees.combine == "bagging" else []


_BAGGING = (
    "Clients' own trees, united",
    "FedXgbBagging of Flower, weighted by rows; Beutel et al., A Friendly Federated Learning Research Framework, 2020",
)
_CONTRIBUTIONS = ("Contributions of features", "Lundberg, Erion, Lee, Consistent Individualized Attribution, 2018")
_NETWORKS = Family(
    simulate=_network,
    simulate_prepared=simulate_prepared_network,
    serve=_network_server,
    check=_check_network,
    asks=_network_asks,
    citations=_network_citations,
    facts=_network_facts,
    limits=_network_limits,
)
_BOOSTED, _FOREST = (
    Family(
        simulate=simulate_trees,
        simulate_prepared=_prepared_trees,
        serve=_tree_server,
        check=check_trees,
        asks=_tree_asks,
        citations=citations,
        facts=_tree_facts,
        limits=_tree_limits,
    )
    for citations in (_boosting_citations, _forest_citations)
)
_FAMILIES = {"trees": _BOOSTED, "forest": _FOREST, "extra-trees": _FOREST}
