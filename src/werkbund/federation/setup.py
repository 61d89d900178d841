"""Everything that a run in process needs, made from a configuration and the clients' rows, and nothing started yet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from werkbund.core.clients import ClientSplits
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_seed
from werkbund.core.weights import FloatArray
from werkbund.engine import Grid, InProcessGrid, LocalWork, Rules, RunState, Strategy, Worker, weights_from_client
from werkbund.federation.config import changed
from werkbund.federation.population import Population
from werkbund.federation.preparing import Learnt, StatisticsWork, learn_preparation
from werkbund.federation.sections import Config
from werkbund.federation.wiring import model_spec, rules_of, strategy_of, training_plan
from werkbund.learner import CohortTrainer, ModelSpec, build_network, weights_of
from werkbund.model import TrainedModel


@dataclass(frozen=True)
class Setup:
    """Hold the parts of a run.

    Parameters
    ----------
    config
        What they were made from.
    learnt
        The common preparation and the counts behind it.
    spec, network
        Which network, and the network with its random initial weights.
    trainer
        Trains clients and scores rows.
    splits
        The clients' prepared rows.
    grid
        Reaches the clients.
    strategy, rules
        Who trains, how updates become weights, and what every round obeys.
    """

    config: Config
    learnt: Learnt
    spec: ModelSpec
    network: nn.Module
    trainer: CohortTrainer
    splits: ClientSplits
    grid: Grid
    strategy: Strategy
    rules: Rules

    def initial_weights(self) -> FloatArray:
        """Return the first global weights, as `model.initial` says."""
        initial = self.config.model.initial
        random = weights_of(self.network)
        if initial == "random":
            return random
        kind, _, name = initial.partition(":")
        if kind == "client":
            client = self._first_client(name)
            return weights_from_client(self.grid, client, random, self.rules, self.config.model.initial_rounds)
        return _stored_weights(Path(initial), len(random))

    def begin(self) -> RunState:
        """Return the state before the first round."""
        return RunState.begin(self.initial_weights(), self.strategy)

    def model(self, weights: FloatArray, threshold: float, label: str) -> TrainedModel:
        """Return these weights as a model that scores raw tables."""
        return TrainedModel.of(self.network, self.spec, weights, self.learnt.preparation, threshold, label)

    def _first_client(self, name: str) -> int:
        """Return the client of this name; without a name, the one with the most rows."""
        names = self.grid.clients()
        if not name:
            return int(np.argmax(self.learnt.rows))
        if name not in names:
            raise ConfigError(f"model.initial must name a client, got {name!r}; clients: {', '.join(names[:20])}")
        return names.index(name)


def set_up(config: Config, population: Population) -> Setup:
    """Learn the preparation, build the network, and wire grid and worker.

    Raises
    ------
    ConfigError, ModelError
        If the configuration does not fit.
    """
    strategy = strategy_of(config)
    spec = model_spec(config.model)
    statistics = Worker(StatisticsWork(population.splits["train"], population.schema).handlers())
    learnt = learn_preparation(
        InProcessGrid(population.names, statistics), population.schema, config.federation.round_timeout_s
    )
    seed = derived_seed(config.federation.seed, "initial weights")
    network = build_network(spec, learnt.preparation.num_features, seed)
    plan = training_plan(config.training, learnt.survey)
    batched, compiled = config.training.batched, config.training.compiled
    trainer = CohortTrainer(network, plan, learnt.preparation.num_features, batched, compiled)
    splits = population.prepared(learnt.preparation)
    grid = _grid(splits, trainer, strategy)
    rules = rules_of(config, trainer.layout.fingerprint, {"rows": learnt.rows})
    return Setup(config, learnt, spec, network, trainer, splits, grid, strategy, rules)


def without_federation(setup: Setup, splits: ClientSplits) -> Setup:
    """Return the set-up of one party that trains by itself, with the same budget of passes over its rows.

    It has the federation's preparation and the same random first weights. There is no server momentum: that makes up
    for averaging over clients, and one party does better without it.

    Parameters
    ----------
    setup
        The federation's.
    splits
        The rows of one client: a plant by itself, or all plants pooled.
    """
    config = changed(
        setup.config,
        federation={"quorum": 1.0},
        model={"initial": "random"},
        strategy={"selection": {}, "aggregation": {"momentum": 0.0}},
    )
    strategy = strategy_of(config)
    rules = rules_of(config, setup.rules.fingerprint, {"rows": splits.train.sizes})
    grid = _grid(splits, setup.trainer, strategy)
    return replace(setup, config=config, splits=splits, grid=grid, strategy=strategy, rules=rules)


def _grid(splits: ClientSplits, trainer: CohortTrainer, strategy: Strategy) -> Grid:
    work = LocalWork(splits, trainer, strategy.aggregator.weighting)
    return InProcessGrid(splits.train.names, Worker(work.handlers()))


def _stored_weights(path: Path, num_parameters: int) -> FloatArray:
    """Return weights from a `.npy` file or from a run's folder."""
    file = path / "model" / "weights.npy" if path.is_dir() else path
    try:
        weights = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            "model.initial must be random, client, client:NAME, a run's folder or a .npy file, "
            f"got {str(path)!r}: {error}"
        ) from error
    if not isinstance(weights, np.ndarray) or weights.shape != (num_parameters,) or not np.isfinite(weights).all():
        found = getattr(weights, "shape", type(weights).__name__)
        raise ConfigError(f"model.initial: {file} must hold {num_parameters} finite parameters, got {found}")
    return np.asarray(weights, dtype=np.float32)
