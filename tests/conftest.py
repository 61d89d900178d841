"""Small tables and federations, and a grid whose clients say what a test lets them say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from werkbund.aggregation import Aggregator, FedAvg
from werkbund.aggregation.contract import half_of
from werkbund.config import Config, check_config
from werkbund.core import ClientSplits, ClientTable, Failure, Replies, Tasks
from werkbund.core.kinds import Kind
from werkbund.core.store import PendingStore, RowStore
from werkbund.engine import Handler, InProcessGrid, LocalWork, Rules, RunState, Strategy, Worker
from werkbund.engine.kinds import TRAIN
from werkbund.learner import CohortTrainer, ModelSpec, TrainingPlan, build_network, weights_of
from werkbund.selection import Everyone, Selector

settings.register_profile("patient", deadline=None)  # a busy machine is no fault of a property
settings.load_profile("patient")

MakeTable = Callable[..., ClientTable]
MakeSplits = Callable[..., ClientSplits]


def _table(sizes: Sequence[int], num_features: int = 4, seed: int = 0, num_modes: int = 1) -> ClientTable:
    """Draw rows whose label follows a noisy linear rule that differs a little from client to client."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(np.asarray(sizes, dtype=np.int64))))
    rows = int(offsets[-1])
    client = np.repeat(np.arange(len(sizes)), sizes)
    features = (rng.normal(size=(rows, num_features)) + 0.2 * client[:, None]).astype(np.float32)
    signal = features @ np.linspace(1, -1, num_features) + rng.normal(0, 0.5, rows)
    labels = (signal > 0.5).astype(np.float32)
    modes = (labels[:, None] > 0) & (rng.random((rows, num_modes)) < 0.5)
    names = tuple(f"plant {i}" for i in range(len(sizes)))
    return ClientTable(names, offsets, features, labels, modes, tuple(f"mode {i}" for i in range(num_modes)))


@pytest.fixture(scope="session")
def make_table() -> MakeTable:
    """Build a table: `make_table(sizes, num_features=4, seed=0, num_modes=1)`."""
    return _table


@pytest.fixture(scope="session")
def make_splits() -> MakeSplits:
    """Build train rows of these sizes, with half as many rows for validation and for testing."""

    def make(sizes: Sequence[int], num_features: int = 4, seed: int = 0) -> ClientSplits:
        half = [size // 2 for size in sizes]
        return ClientSplits(
            _table(sizes, num_features, seed),
            _table(half, num_features, seed + 1),
            _table(half, num_features, seed + 2),
        )

    return make


Arrival = Replies | Failure


@dataclass
class SpokenGrid:
    """Carry tasks to one function a test, which says what arrives; it remembers what was sent."""

    names: tuple[str, ...]
    answer: Callable[[list[Tasks]], Sequence[Arrival]]
    sent: list[Tasks] = field(default_factory=list)
    fresh: list[Tasks] = field(default_factory=list)

    def clients(self) -> tuple[str, ...]:
        return self.names

    def send(self, tasks: Tasks) -> None:
        self.sent.append(tasks)
        self.fresh.append(tasks)

    def receive(self, timeout_s: float) -> Iterator[Arrival]:
        fresh, self.fresh = self.fresh, []
        yield from self.answer(fresh)


@dataclass(frozen=True)
class Doing:
    """Answer tasks by one function of a test."""

    answer: Callable[[Tasks], Replies]
    store: RowStore = field(default_factory=RowStore)

    def __call__(self, tasks: Tasks) -> Replies:
        return self.answer(tasks)


@dataclass(frozen=True)
class Federation:
    """Hold the parts of a run in process."""

    splits: ClientSplits
    work: LocalWork
    grid: InProcessGrid
    strategy: Strategy
    rules: Rules
    state: RunState

    def handlers(self) -> dict[Kind, Handler]:
        return self.work.handlers()

    def with_handlers(self, handlers: Mapping[Kind, Handler]) -> Federation:
        """Return the same federation with some work done otherwise."""
        worker = Worker({**self.handlers(), **handlers})
        return replace(self, grid=InProcessGrid(self.grid.clients(), worker))


def kept_by_clients(state: RunState) -> RowStore:
    """Return what clients keep after a round in process, with what was put in taken answers counted in."""
    store, everyone = RowStore(), np.arange(len(state.taken))
    store.go_back({name.removeprefix("kept."): array for name, array in state.world.items()})
    PendingStore(store, state.round + 1).settle(everyone, state.taken, is_last=True)
    return store


@pytest.fixture
def make_grid() -> Callable[..., SpokenGrid]:
    return SpokenGrid


@pytest.fixture
def federation(make_splits: Any) -> Callable[..., Federation]:
    """Build a federation: sizes, and what else shall differ from plain FedAvg on logistic regression."""

    def build(
        sizes: Sequence[int] = (20, 33, 7),
        *,
        kind: str = "logistic",
        plan: TrainingPlan | None = None,
        aggregator: Aggregator | None = None,
        selector: Selector | None = None,
        batched: bool = True,
        **rules: Any,
    ) -> Federation:
        splits = make_splits(sizes)
        network = build_network(ModelSpec(kind), splits.train.num_features, 0)
        aggregator = aggregator or FedAvg(momentum=0.0)
        trainer = CohortTrainer(network, plan or TrainingPlan(), splits.train.num_features, batched)
        work = LocalWork(splits, trainer, aggregator.weighting, half_of(aggregator), aggregator.folds)
        strategy = Strategy(selector or Everyone(), aggregator)
        settings: dict[str, Any] = {"seed": 0, "quorum": 0.5, "timeout_s": 60.0, **rules}
        return Federation(
            splits,
            work,
            InProcessGrid(splits.train.names, Worker(work.handlers())),
            strategy,
            Rules(fingerprint=trainer.layout.fingerprint, **settings),
            RunState.begin(weights_of(network), strategy),
        )

    return build


@pytest.fixture
def trained() -> Callable[..., Replies]:
    """Build an answer to `train`: clients, updates (clients, parameters), and what else shall differ."""

    def build(
        clients: Sequence[int], updates: Any, *, fingerprint: str = "same", round: int = 1, **sums: Any
    ) -> Replies:
        ones = np.ones(len(clients))
        arrays = {"update": np.asarray(updates, np.float32), "weight": ones, "loss": ones, "rows": ones, **sums}
        return Replies(TRAIN, round, np.array(clients, np.int64), arrays, {}, fingerprint)

    return build


Small = Callable[..., Config]

SMALL: dict[str, dict[str, Any]] = {
    "federation": {"rounds": 4, "seed": 3},
    "data": {"source": "generator", "rows": 1500, "plants": 3},
    "model": {"kind": "mlp", "hidden": [8]},
    "training": {"batch_size": 64},
}


@pytest.fixture
def small() -> Small:
    """Return a builder of small configurations; sections given replace single keys."""

    def build(**sections: dict[str, Any]) -> Config:
        values = {name: dict(keys) for name, keys in SMALL.items()}
        for name, keys in sections.items():
            values[name] = {**values.get(name, {}), **keys}
        return check_config(values)

    return build
