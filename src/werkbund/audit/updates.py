"""What one update tells: the share of failures of a plant, and its very rows.

The attacker is a server that means ill, and stays within what a plant's policy lets it ask: it chooses the weights that
it sends, and asks for one step over all training rows, which is an ordinary task. What comes back goes through
whatever protects the run's updates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from werkbund.audit.contract import AttackCard, Reached, noise_in_words, without_promise
from werkbund.audit.membership import subset
from werkbund.config.reading import changed
from werkbund.config.sections import Config
from werkbund.core.arrays import BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ClientError
from werkbund.core.rng import generator, keys
from werkbund.core.text import one_line
from werkbund.core.types import Failure, Tasks
from werkbund.engine.asking import Form, ask
from werkbund.engine.kinds import TRAIN, WEIGHT
from werkbund.federation.families.networks import NetworkSimulation, simulate_network, simulate_prepared_network
from werkbund.learner import layout_of, weights_of
from werkbund.partition.population import Population, RawTable
from werkbund.privacy import Departure

_UPDATE = "update"
_PATIENCE_S = 600.0
_NEAR = 1e-3
"""How near a row must be told in each feature, in standard deviations."""

_SERVER = "a server that means ill"


@dataclass(frozen=True)
class Server:
    """Ask the plants of a federation for one step over all their rows.

    Parameters
    ----------
    simulation
        The federation, set up for that.
    in_sum
        Whether it learns the sum over all plants alone, as with secure sums.
    """

    simulation: NetworkSimulation
    in_sum: bool = False

    def updates(self, weights: Float32Array) -> Float64Array:
        """Return what it learns if it sends weights: (plants, parameters), or (1, parameters) of all together.

        Raises
        ------
        ClientError
            If a plant does not answer.
        """
        updates, weight = self.sums(weights, np.arange(self.simulation.splits.train.num_clients))
        return np.asarray(updates / weight[:, None])

    def sums(self, weights: Float32Array, clients: Int64Array, round: int = 1) -> tuple[Float64Array, Float64Array]:
        """Return weighted updates and their weights, as it receives them, if it asks some plants.

        Raises
        ------
        ClientError
            If a plant does not answer.
        """
        simulation, sums, weight = self.simulation, list[Float64Array](), list[Float64Array]()
        own = {"factor": np.ones(len(clients)), "key": keys(simulation.rules.seed, "training", round, clients)}
        question = Tasks(TRAIN, round, clients, {"weights": weights, "rate": np.ones(())}, own)
        form = Form(len(weights), simulation.rules.fingerprint)
        for reply in ask(simulation.grid, [question], _PATIENCE_S, form):
            if isinstance(reply, Failure):
                raise ClientError(reply.reason)
            figures = dict(reply.figures)
            if simulation.config.privacy.shared_noise:  # whole numbers, with all noise in them
                departure = Departure(round, reply.clients, np.empty(0, np.uint64), clients, len(weights))
                figures = dict(simulation.strategy.stack.unwind(figures, departure))
            sums.append(np.asarray(figures[_UPDATE], np.float64))
            weight.append(np.asarray(figures[WEIGHT], np.float64))
        updates, counts = np.concatenate(sums), np.concatenate(weight)
        return (updates.sum(0, keepdims=True), counts.sum(keepdims=True)) if self.in_sum else (updates, counts)


def servers(config: Config, population: Population, rows: int | None = None) -> Iterator[tuple[str, Server]]:
    """Yield servers that read each update, or their sum alone, or noised ones, each with the protection in words.

    Parameters
    ----------
    config
        Of the run; with `privacy.secure_sums` the second server gets what comes out under masks, else it adds up. The
        third one is there where the run promises noise.
    population
        The clients' rows.
    rows
        Training rows that each client has, the first of them; None for all.
    """
    taught = one_step(config)
    bare = _simulated(without_promise(taught), population, rows)
    yield "none", Server(bare)
    if config.privacy.secure_sums:
        masked = changed(without_promise(taught), privacy={"secure_sums": True})
        yield "secure sums", Server(_simulated(masked, population, rows))
    else:
        yield "sums alone, if they were on", Server(bare, in_sum=True)
    if config.privacy.unit != "none":
        noised = taught if taught.privacy.shared_noise else changed(taught, privacy={"secure_sums": False})
        yield noise_in_words(config), Server(_simulated(noised, population, rows))


def _simulated(config: Config, population: Population, rows: int | None) -> NetworkSimulation:
    """Return the federation; its preparation is that of all rows, also where clients have a few of them."""
    simulation = simulate_network(config, population)
    if rows is None:
        return simulation
    few = replace(population, splits={**population.splits, "train": _first(population, rows)})
    labels = simulation.splits.train.labels > 0
    classes = np.array([int((~labels).sum()), int(labels.sum())])
    return simulate_prepared_network(config, few, simulation.preparation, classes)


def one_step(config: Config) -> Config:
    """Return a configuration by which a client takes one plain step over all its rows."""
    training = {"optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.0, "weight_decay": 0.0, "proximal": 0.0}
    training |= {"epochs": 1, "steps": None, "batch_size": 2**20}
    kept = config.model.kind in ("mlp", "logistic") and config.model.activation in (None, "relu")
    model = {} if kept else {"kind": "mlp", "hidden": None, "activation": None, "width": None, "depth": None}
    return changed(config, training=training, model=model, strategy={"aggregation": {}, "personal": {}})


@dataclass(frozen=True)
class Differencing:
    """Tell one plant's update by asking all plants, and then all but this one, for a step over all their rows.

    Parameters
    ----------
    varied
        Whether the second question has other keys for draws: a step over all rows draws none, so that answers are the
        same, and plants do not know the question again.
    """

    varied: bool = False

    same: ClassVar[AttackCard] = AttackCard(
        "difference of two sums", _SERVER, "the same question over two sets of plants", "by calculation"
    )
    other: ClassVar[AttackCard] = AttackCard(
        "difference of two sums, keys varied", _SERVER, "two questions with the same answer", "by calculation"
    )

    @property
    def card(self) -> AttackCard:
        """What it says of itself."""
        return self.other if self.varied else self.same

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what it comes to against each protection; the error is in lengths of the update."""
        true = None
        for protection, server in servers(config, population):
            everybody = np.arange(server.simulation.splits.train.num_clients)
            start = weights_of(server.simulation.network)
            if true is None:
                true = server.sums(start, everybody[:1])[0][0]
            try:
                rounds = (2, 3) if self.varied else (2, 2)
                asked = zip((everybody, everybody[1:]), rounds, strict=True)
                both = [server.sums(start, who, round)[0].sum(0) for who, round in asked]
            except ClientError as refusal:
                yield Reached(self.card, protection, f"refused: {one_line(str(refusal), 200)}", error=1.0)
                continue
            error = float(np.linalg.norm(both[0] - both[1] - true) / np.linalg.norm(true))
            yield Reached(self.card, protection, f"the update is off by {error:.2g} of its length", error=error)


@dataclass(frozen=True)
class FailureShare:
    """Tell which share of a plant's training rows are failures.

    With weights of zero each row is scored 1/2, so that the step of the last bias is half the share of other rows less
    half that of failures times their weight in the loss.
    """

    card: ClassVar[AttackCard] = AttackCard(
        "share of failures", _SERVER, "one update of one step from weights of zero", "by calculation"
    )

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what it comes to against each protection; the error is in points of the share."""
        for protection, server in servers(config, population):
            simulation = server.simulation
            size, weight = simulation.parting.common.num_parameters, simulation.trainer.plan.positive_weight
            step = server.updates(np.zeros(size, np.float32))[:, -1]
            told = (0.5 + step) / (0.5 * (1 + weight))
            true = _shares(simulation.splits.train)
            error = float(np.mean(np.abs(told - true)))
            says = f"off by {100 * error:.2g} points on average; plants have {_range(100 * true)} %"
            yield Reached(self.card, protection, says, error=error)


@dataclass(frozen=True)
class RowsOfUpdate:
    """Tell rows by the gradients of the first layer's units.

    A unit that one row alone has made active gives that row: the step of its weights over that of its bias. A server
    that means ill has all units look the same way and become active one after the other, so that differences of
    neighbours are of few rows.

    Parameters
    ----------
    traps
        Whether the server chooses the weights so; else they are random, as at the begin of a run.

    References
    ----------
    Phong and others, "Privacy-Preserving Deep Learning via Additively Homomorphic Encryption", TIFS 2018, section 3;
    Fowl and others, "Robbing the Fed", ICLR 2022, section 4. The network is the run's own and no layer is added.
    """

    traps: bool
    rows: int = 20

    honest: ClassVar[AttackCard] = AttackCard(
        "rows of an update", "the server", "one update of one step, network as it begins", "Phong and others, TIFS 2018"
    )
    hostile: ClassVar[AttackCard] = AttackCard(
        "rows of an update, set traps", _SERVER, "one update of one step, weights chosen", "Fowl and others, ICLR 2022"
    )

    @property
    def card(self) -> AttackCard:
        """What it says of itself."""
        return self.hostile if self.traps else self.honest

    def play(self, config: Config, population: Population) -> Iterator[Reached]:
        """Yield what it comes to against each protection; the error is the share of rows that were not found."""
        for protection, server in servers(config, population, self.rows):
            simulation = server.simulation
            start = _traps(simulation) if self.traps else weights_of(simulation.network)
            told = [row for update in server.updates(start) for row in self._told(simulation, update)]
            rows = simulation.splits.train.features
            found = _found(np.array(told).reshape(-1, rows.shape[1]), rows)
            says = f"{int(found.sum())} of {len(rows)} rows told, of updates over {self.rows} rows each"
            yield Reached(self.card, protection, says, error=1 - float(found.mean()))

    def _told(self, simulation: NetworkSimulation, update: Float64Array) -> Float64Array:
        """Return candidates for rows: (candidates, features)."""
        weights, bias = _first_layer(simulation, update)
        if self.traps:
            weights, bias = (np.diff(part, axis=0, append=0.0) for part in (weights, bias))
        active = np.abs(bias) > 1e-9
        return np.asarray(weights[active] / bias[active, None])


def _traps(simulation: NetworkSimulation) -> Float32Array:
    """Return weights by which each unit of the first layer is active above a quantile of its own of one direction."""
    layout = layout_of(simulation.network)
    start = np.full(layout.num_parameters, 0.0)
    slices = layout.slices()
    names = [name for name in layout.names if name.endswith("weight")]
    for name in names:
        shape = layout.shapes[layout.names.index(name)]
        start[slices[name]] = 1.0 / shape[-1]
    first, width = names[0], layout.shapes[layout.names.index(names[0])]
    direction = generator(simulation.rules.seed, "traps").normal(size=width[1])
    start[slices[first]] = np.tile(direction / np.linalg.norm(direction), width[0])
    quantiles = np.asarray(ndtri((np.arange(width[0]) + 0.5) / width[0]))
    start[slices[first.replace("weight", "bias")]] = -quantiles
    return start.astype(np.float32)


def _first_layer(simulation: NetworkSimulation, update: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the steps of the first layer's weights, (units, features), and of its biases, (units,)."""
    layout = layout_of(simulation.network)
    name, slices = layout.names[0], layout.slices()
    shape = layout.shapes[0]
    return update[slices[name]].reshape(shape), update[slices[name.replace("weight", "bias")]]


def _found(told: Float64Array, rows: Float32Array) -> BoolArray:
    """Return which rows are among those told: (rows,)."""
    if not len(told):
        return np.zeros(len(rows), np.bool_)
    return np.array([bool((np.abs(told - row).max(axis=1) < _NEAR).any()) for row in rows])


def _first(population: Population, rows: int) -> RawTable:
    """Return the first training rows of each client, so many at most."""
    table = population.splits["train"]
    place = np.arange(len(table.rows)) - np.repeat(table.offsets[:-1], np.diff(table.offsets))
    return subset(table, place < rows)


def _shares(table: ClientTable) -> Float64Array:
    return np.array([float((table.labels[table.rows(client)] > 0).mean()) for client in range(table.num_clients)])


def _range(values: Float64Array) -> str:
    return f"{values.min():.2g} to {values.max():.2g}"
