"""What the server of a federation is made of, whatever grid reaches its clients, and nothing started yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from werkbund.config.sections import Config
from werkbund.core.arrays import Arrays, Float32Array, Int64Array
from werkbund.core.errors import ConfigError
from werkbund.core.rng import derived_seed
from werkbund.core.types import RoundRecord
from werkbund.data import Preparation
from werkbund.engine import Grid, Rules, RunState, Strategy, evaluate, rounds, weights_from_client
from werkbund.federation.preparing import Learnt
from werkbund.federation.wiring import model_spec, rules_of, strategy_of, training_plan
from werkbund.learner import CohortTrainer, ModelSpec, build_network, layout_of, weights_of
from werkbund.model import TrainedModel


@dataclass(frozen=True)
class Setup:
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
    """

    config: Config
    preparation: Preparation
    spec: ModelSpec
    network: nn.Module
    mode_names: tuple[str, ...]
    grid: Grid
    strategy: Strategy
    rules: Rules

    def initial_weights(self) -> Float32Array:
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
        """Nobody: these parts follow from what is learnt before."""
        return {}

    def rounds(self, state: RunState) -> Iterator[tuple[RunState, RoundRecord]]:
        """Do the rounds that are left from a state on."""
        return rounds(self.grid, self.strategy, self.rules, state, self.num_rounds)

    def evaluate(self, state: RunState, clients: Int64Array | None = None) -> RoundRecord:
        """Let clients count the weights: if given, these; else everybody, or a sample of very many."""
        return evaluate(self.grid, self.rules, state, clients)

    def model(self, learnt: Float32Array, threshold: float, label: str) -> TrainedModel:
        """Return these weights as a model that scores raw tables."""
        return TrainedModel.of(self.network, self.spec, learnt, self.preparation, threshold, label)

    def pack(self, learnt: Float32Array) -> Arrays:
        """Return the weights as they travel."""
        return {"weights": learnt}

    def unpack(self, arrays: Arrays) -> Float32Array:
        """Return the weights in a message."""
        return arrays["weights"]

    def _first_client(self, name: str) -> int:
        """Return the client of this name; without a name, the one with the most rows."""
        names = self.grid.clients()
        if not name:
            rows = self.rules.facts.get("rows", np.zeros(1))
            return int(np.argmax(np.nan_to_num(rows, nan=-1.0)))
        if name not in names:
            raise ConfigError(f"model.initial must name a client, got {name!r}; clients: {', '.join(names[:20])}")
        return names.index(name)


def server_parts(config: Config, learnt: Learnt, mode_names: tuple[str, ...], grid: Grid) -> Setup:
    """Wire the server of a federation whose common preparation is learnt.

    How many rows a client has is not known where it does not tell.

    Raises
    ------
    ConfigError, ModelError
        If the configuration does not fit.
    """
    spec, network = network_of(config, learnt.preparation.num_features)
    known = {"rows": np.where(learnt.rows > 0, learnt.rows, np.nan)} if learnt.rows.any() else {}
    rules = rules_of(config, layout_of(network).fingerprint, known, len(mode_names))
    return Setup(config, learnt.preparation, spec, network, mode_names, grid, strategy_of(config), rules)


def network_of(config: Config, num_features: int) -> tuple[ModelSpec, nn.Module]:
    """Return which network is trained, and it with its random initial weights: alike at the server and each client."""
    spec = model_spec(config.model)
    seed = derived_seed(config.federation.seed, "initial weights")
    return spec, build_network(spec, num_features, seed)


def trainer_of(config: Config, network: nn.Module, num_features: int, labels: Int64Array) -> CohortTrainer:
    """Return what trains clients and scores rows; `labels` (2,) are the rows of all clients by class."""
    training = config.training
    plan = training_plan(training, labels)
    return CohortTrainer(network, plan, num_features, training.batched, training.compiled)


def _stored_weights(path: Path, num_parameters: int) -> Float32Array:
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
