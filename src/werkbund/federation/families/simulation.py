"""A federation in one process: the server's parts beside all clients' rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import Float32Array, Int64Array
from werkbund.core.clients import ClientSplits
from werkbund.data import Preparation
from werkbund.engine import Grid, InProcessGrid, LocalWork, Strategy, Worker
from werkbund.federation.families.judging import check_score, score_on, servers_share, servers_table
from werkbund.federation.families.network_setup import Setup, network_of, trainer_of
from werkbund.federation.population import Population
from werkbund.federation.preparing import Learnt, StatisticsWork, learn_preparation
from werkbund.federation.wiring import rules_of, strategy_of
from werkbund.learner import CohortTrainer


@dataclass(frozen=True)
class Simulation(Setup):
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

    def alone(self, client: int | None) -> Simulation:
        """Return one client as a federation by itself; without a number, all rows in one place."""
        return without_federation(self, self.splits.pooled() if client is None else self.splits.only(client))

    def logits(self, learnt: Float32Array) -> Float32Array:
        """Return the logits of everybody's test rows: (rows,)."""
        return self.trainer.score(learnt, self.splits.test.features)

    def work(self) -> LocalWork:
        """Return what clients do, with their rows."""
        return _work(self.splits, self.trainer, self.strategy)


def set_up(config: Config, population: Population) -> Simulation:
    """Learn the preparation, build the network, and wire grid and worker.

    Raises
    ------
    ConfigError, ModelError
        If the configuration does not fit.
    """
    learnt = learnt_in_process(config, population)
    return in_process(config, population, learnt.preparation, learnt.survey.labels)


def learnt_in_process(config: Config, population: Population) -> Learnt:
    """Let clients that are all here count their rows, and fit the common preparation."""
    statistics = Worker(StatisticsWork(population.splits["train"], population.schema).handlers())
    grid = InProcessGrid(population.names, statistics)
    return learn_preparation(grid, population.schema, config.federation.round_timeout_s)


def in_process(config: Config, population: Population, preparation: Preparation, labels: Int64Array) -> Simulation:
    """Wire grid and worker of clients that are all here, with a preparation that is known.

    Parameters
    ----------
    config, population
        As for `set_up`.
    preparation
        From raw units to features.
    labels
        (2,), training rows of the whole federation by class.
    """
    strategy = strategy_of(config)
    spec, network = network_of(config, preparation.num_features)
    trainer = trainer_of(config, network, preparation.num_features, labels)
    splits, modes = population.prepared(preparation), population.mode_names
    grid = _grid(splits, trainer, strategy)
    rules = rules_of(config, trainer.layout.fingerprint, {"rows": splits.train.sizes}, len(modes))
    held = servers_table(config, population.schema, preparation) or servers_share(splits.validation, config)
    rules = replace(rules, score=score_on(trainer, held))
    check_score(strategy, rules)
    return Simulation(config, preparation, spec, network, modes, grid, strategy, rules, trainer, splits)


def without_federation(simulation: Simulation, splits: ClientSplits) -> Simulation:
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
        strategy={"selection": {}, "aggregation": {"momentum": 0.0}},
    )
    strategy = strategy_of(config)
    rules = rules_of(config, simulation.rules.fingerprint, {"rows": splits.train.sizes}, len(simulation.mode_names))
    grid = _grid(splits, simulation.trainer, strategy)
    return replace(simulation, config=config, splits=splits, grid=grid, strategy=strategy, rules=rules)


def with_strategy(simulation: Simulation, config: Config) -> Simulation:
    """Return the same clients, network and preparation with the strategy of another configuration, and nothing held."""
    strategy = strategy_of(config)
    grid = _grid(simulation.splits, simulation.trainer, strategy)
    return replace(simulation, config=config, grid=grid, strategy=strategy)


def _grid(splits: ClientSplits, trainer: CohortTrainer, strategy: Strategy) -> Grid:
    return InProcessGrid(splits.train.names, Worker(_work(splits, trainer, strategy).handlers()))


def _work(splits: ClientSplits, trainer: CohortTrainer, strategy: Strategy) -> LocalWork:
    return LocalWork(splits, trainer, strategy.aggregator.weighting)
