"""A run of a network: the server's parts, whatever grid reaches the clients, and a federation in one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from werkbund.aggregation.clusters import ONE, Clustering
from werkbund.aggregation.contract import half_of
from werkbund.aggregation.personal import NOTHING
from werkbund.config.privacy import PROMISE_NOTHING
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_seed
from werkbund.core.target import FAILURE, Target
from werkbund.data import Preparation, Schema
from werkbund.engine import (
    Checkpoint,
    Grid,
    LocalWork,
    PersonalWork,
    Rules,
    RunState,
    Strategy,
    grid_in_process,
    parting_of,
    weights_from_client,
)
from werkbund.engine.clusters import ClusteredStage, ClusteredState, models_apart
from werkbund.engine.crediting import check_crediting
from werkbund.engine.stage import WeightsStage
from werkbund.engine.weighing import declared_factors
from werkbund.federation.families.judging import check_signals, crediting_on, score_on, servers_share, servers_table
from werkbund.federation.preparing import CommonPreparation, learn_in_process
from werkbund.federation.wiring import (
    added_of,
    network_of,
    rules_of,
    strategy_of,
    sums_of,
    trainer_of,
    weights_in,
)
from werkbund.federation.worlds import told_by, world_around
from werkbund.learner import CohortTrainer, LocalObjective, ModelSpec, build_network, layout_of, weights_of
from werkbund.learner.parting import Parting
from werkbund.model import TrainedModel
from werkbund.model.storage import stored_weights
from werkbund.partition.population import Population


@dataclass(frozen=True)
class NetworkSetup:
    """Hold the server's parts of a run.

    Parameters
    ----------
    config
        What they were made from.
    preparation
        From raw units to features, the same at all clients.
    spec, network
        Which network, and the network with its random initial weights.
    mode_names
        Names of the failure modes that clients count.
    grid
        Reaches the clients.
    strategy, rules
        Who trains, how updates become weights, and what every round obeys.
    parting
        Which layers stay at clients.
    target
        What is foretold.
    """

    config: Config
    preparation: Preparation
    spec: ModelSpec
    network: nn.Module
    mode_names: tuple[str, ...]
    grid: Grid
    strategy: Strategy
    rules: Rules
    parting: Parting
    target: Target

    def initial_weights(self) -> Float32Array:
        """Return the first global weights, as `model.initial` says."""
        initial, random = self.config.model.initial, self.parting.travelling(weights_of(self.network))
        if initial == "random":
            return random
        kind, _, name = initial.partition(":")
        if kind == "client":
            client = self._first_client(name)
            return weights_from_client(self.grid, client, random, self.rules, self.config.model.initial_rounds)
        return stored_weights(Path(initial), len(random))

    def begin(self) -> WeightsStage | ClusteredStage:
        """Return the stage before the first round."""
        method = self.config.strategy.clusters.method
        if method is None:
            return self._stage(RunState.begin(self.initial_weights(), self.strategy))
        first = [self._first_weights(number, method.start) for number in range(method.count)]
        states = tuple(RunState.begin(weights, self.strategy) for weights in first)
        return self._clustered(method, ClusteredState(states, np.zeros(len(self.grid.clients()), np.int64))).begun()

    def restore(self, checkpoint: Checkpoint) -> WeightsStage | ClusteredStage:
        """Return the stage that a checkpoint was made of."""
        method = self.config.strategy.clusters.method
        if method is None:
            return self._stage(RunState.of_checkpoint(checkpoint))
        return self._clustered(method, ClusteredState.of_checkpoint(checkpoint))

    def _stage(self, state: RunState) -> WeightsStage:
        has_own = self.config.strategy.personal.name != NOTHING
        return WeightsStage(self.grid, self.strategy, self.rules, self.num_rounds, has_own, state)

    def _clustered(self, method: Clustering, state: ClusteredState) -> ClusteredStage:
        return ClusteredStage(self.grid, self.strategy, self.rules, method, self.num_rounds, state)

    def _first_weights(self, cluster: int, start: int) -> Float32Array:
        """Return the first weights of a cluster's model: those of a run without clusters for the first of all."""
        if cluster == start == 0:
            return self.initial_weights()
        seed = derived_seed(self.config.federation.seed, f"initial weights, start {start}", client=cluster)
        return weights_of(build_network(self.spec, self.preparation.num_features, seed))

    @property
    def num_rounds(self) -> int:
        """Rounds that are planned."""
        return self.config.federation.rounds

    @property
    def num_parameters(self) -> int:
        """Numbers that are learnt."""
        return layout_of(self.network).num_parameters

    @property
    def absent(self) -> Mapping[str, str]:
        """Nobody: a network needs no agreement beyond the common preparation."""
        return {}

    def model(self, learnt: Arrays, threshold: float, label: str) -> TrainedModel:
        """Return these weights as a model that scores raw tables."""
        weights = self.parting.whole(weights_in(learnt))
        return TrainedModel.of(self.network, self.spec, weights, self.preparation, threshold, label, self.target)

    def _first_client(self, name: str) -> int:
        """Return the number of the client of this name; without a name, of the one with the most rows."""
        names = self.grid.clients()
        if not name:
            return int(np.argmax(np.nan_to_num(self.rules.facts.get("rows", np.zeros(1)), nan=-1.0)))
        if name not in names:
            raise ConfigError(f"model.initial must name a client, got {name!r}; clients: {', '.join(names[:20])}")
        return names.index(name)


def network_server(
    config: Config, common: CommonPreparation, mode_names: tuple[str, ...], grid: Grid, target: Target = FAILURE
) -> NetworkSetup:
    """Wire the server of a network whose clients are elsewhere and have learnt their common preparation.

    Where a client does not say how many rows it has, the selector gets NaN for it.

    Raises
    ------
    ConfigError
        If `model`, `training` or `strategy` names an option, a method or a value that is none.
    ModelError
        If the network cannot be built.
    """
    spec, network = network_of(config, common.preparation.num_features)
    facts = {"rows": np.where(common.rows > 0, common.rows, np.nan)} if common.rows.any() else {}
    facts |= declared_factors(config.clients.factors, grid.clients())
    strategy = strategy_of(config)
    parting = parting_of(strategy.personal, network)
    rules = rules_of(config, parting.common.fingerprint, facts, len(mode_names), target)
    rules = common.held_to_its_word(replace(rules, added=added_of(config, common.survey.labels)), grid.clients())
    return NetworkSetup(config, common.preparation, spec, network, mode_names, grid, strategy, rules, parting, target)


def with_servers_table(setup: NetworkSetup, schema: Schema, labels: Int64Array) -> NetworkSetup:
    """Return a server that judges weights by its own table, where the configuration names one.

    Parameters
    ----------
    setup
        The server of clients that are elsewhere.
    schema, labels
        Of the federation; labels (2,) are its training rows by class.
    """
    rows = servers_table(setup.config, schema, setup.preparation)
    rules = setup.rules
    if rows is not None and setup.parting.is_whole:
        trainer = trainer_of(setup.config, setup.network, setup.preparation.num_features, labels, setup.target)
        rules = replace(rules, score=score_on(trainer, rows))
    if setup.config.evaluation.contributions:
        check_crediting(setup.strategy.aggregator, setup.strategy.stack)
        if rows is None:
            raise ConfigError(
                "evaluation.contributions needs rows that the server holds, got no evaluation.server_rows; name a "
                "table with failures and others there, or leave it out"
            )
        rules = replace(rules, crediting=crediting_on(trainer, rows))
    check_signals(setup.strategy, rules, ("seconds",))
    setup.strategy.check(len(setup.grid.clients()) - len(rules.left_out), rules.score is not None)
    return replace(setup, rules=rules)


@dataclass(frozen=True)
class NetworkSimulation(NetworkSetup):
    """Hold the parts of a run in process.

    Parameters
    ----------
    trainer
        Trains clients and scores rows.
    splits
        The clients' prepared rows.
    """

    trainer: CohortTrainer
    splits: ClientSplits

    def alone(self, client: int | None) -> NetworkSimulation:
        """Return one client as a federation by itself; without a number, all rows in one place."""
        return without_federation(self, self.splits.pooled() if client is None else self.splits.only(client))

    def logits(self, learnt: Arrays) -> Float32Array:
        """Return the logits of everybody's test rows, each client's by its cluster's model: (rows,)."""
        table = self.splits.test
        logits = np.empty(len(table.labels), np.float32)
        for clients, own in models_apart(learnt, table.num_clients):
            rows = table.row_numbers(clients)
            logits[rows] = self.trainer.score(self.parting.whole(weights_in(own)), table.features[rows])
        return logits

    def work(self, numbers: Int64Array | None = None) -> LocalWork:
        """Return what clients do for a network, with the rows that are here."""
        return replace(_work(self.splits, self.trainer, self.strategy, self.parting), numbers=numbers)


def simulate_network(config: Config, population: Population) -> NetworkSimulation:
    """Learn the preparation, build the network, and wire grid and worker.

    Raises
    ------
    ConfigError
        If `model`, `training`, `strategy` or `world` names an option, a method or a value that is none.
    ModelError
        If the network cannot be built.
    """
    common = learn_in_process(config, population)
    made = simulate_prepared_network(config, population, common.preparation, common.survey.labels)
    made.strategy.check(made.splits.train.num_clients, made.rules.score is not None)
    return made


def simulate_prepared_network(
    config: Config, population: Population, preparation: Preparation, labels: Int64Array
) -> NetworkSimulation:
    """Wire grid and worker of clients that are all here, with a preparation that is known.

    Parameters
    ----------
    config, population
        As for `simulate_network`.
    preparation
        From raw units to features.
    labels
        (2,), training rows of the whole federation by class.
    """
    strategy = strategy_of(config)
    spec, network = network_of(config, preparation.num_features)
    target = population.schema.target
    trainer = trainer_of(config, network, preparation.num_features, labels, target)
    splits, modes = population.prepared(preparation, config.privacy.unit == "machine"), population.mode_names
    parting = parting_of(strategy.personal, network)
    grid = _grid(splits, trainer, strategy, parting, config)
    facts = {"rows": splits.train.sizes, **declared_factors(config.clients.factors, splits.train.names)}
    rules = rules_of(config, parting.common.fingerprint, facts, len(modes), target)
    held = servers_table(config, population.schema, preparation) or servers_share(splits.validation, config)
    rules = replace(rules, score=score_on(trainer, held) if parting.is_whole else None)
    if config.evaluation.contributions:
        check_crediting(strategy.aggregator, strategy.stack)
        validation = splits.validation.features, splits.validation.followed
        rules = replace(rules, crediting=crediting_on(trainer, validation))
    check_signals(strategy, rules, told_by(config.world))
    parts = NetworkSetup(config, preparation, spec, network, modes, grid, strategy, rules, parting, target)
    return NetworkSimulation(**vars(parts), trainer=trainer, splits=splits)


def without_federation(simulation: NetworkSimulation, splits: ClientSplits) -> NetworkSimulation:
    """Return the parts of one party that trains by itself, with the same budget of passes over its rows.

    It has the federation's preparation and the same random first weights. There is no server momentum: that makes up
    for averaging over clients, and one party does better without it.

    Parameters
    ----------
    simulation
        The federation's.
    splits
        The rows of one client: a plant by itself, or all plants pooled.
    """
    config = changed(
        simulation.config,
        federation={"quorum": 1.0},
        model={"initial": "random"},
        strategy={"selection": {}, "aggregation": {"momentum": 0.0}, "clusters": {"name": ONE}, "personal": {}},
        privacy={**PROMISE_NOTHING, "secure_sums": False},
    )
    strategy, parting = strategy_of(config), Parting.of(simulation.network)
    rules = rules_of(
        config, parting.common.fingerprint, {"rows": splits.train.sizes}, len(simulation.mode_names), simulation.target
    )
    trainer = simulation.trainer.following(LocalObjective())
    alone = replace(simulation, config=config, splits=splits, trainer=trainer, rules=rules, parting=parting)
    return replace(alone, grid=_grid(splits, trainer, strategy, parting, config), strategy=strategy)


def with_strategy(simulation: NetworkSimulation, config: Config) -> NetworkSimulation:
    """Return the same clients, network and preparation with the strategy of another configuration, and nothing held."""
    strategy = strategy_of(config)
    grid = _grid(simulation.splits, simulation.trainer, strategy, simulation.parting, config)
    return replace(simulation, config=config, grid=grid, strategy=strategy)


def _grid(splits: ClientSplits, trainer: CohortTrainer, strategy: Strategy, parting: Parting, config: Config) -> Grid:
    sums = sums_of(config, [table.sizes for table in (splits.train, splits.validation, splits.test)])
    return grid_in_process(splits.train.names, _work(splits, trainer, strategy, parting).handlers(), sums)


def _work(splits: ClientSplits, trainer: CohortTrainer, strategy: Strategy, parting: Parting) -> LocalWork:
    rule, personal = strategy.aggregator, PersonalWork.of(strategy.personal, parting, trainer, splits)
    work = LocalWork(splits, personal.rest(trainer), rule.weighting, half_of(rule), rule.folds, strategy.stack)
    return replace(work, personal=personal)


def in_world(simulation: NetworkSimulation) -> NetworkSimulation:
    """Return a simulation whose clients live in the world that its configuration names; itself where it names none."""
    trainer, section, seed = simulation.trainer, simulation.config.world, simulation.config.federation.seed
    size, table = simulation.parting.common.num_parameters, simulation.splits.train
    late, plan = not simulation.strategy.pace.is_full, trainer.plan
    grid = world_around(simulation.grid, section, table, plan, num_parameters=size, seed=seed, one_by_one=late)
    return replace(simulation, grid=grid)
