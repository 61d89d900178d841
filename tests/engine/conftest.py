"""A small federation in process, and a grid whose clients say what a test lets them say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import Aggregator, FedAvg
from werkbund.core import ClientSplits, Failure, Replies, Tasks
from werkbund.engine import Handler, InProcessGrid, LocalWork, Rules, RunState, Strategy, Worker
from werkbund.learner import CohortTrainer, ModelSpec, TrainingPlan, build_network, weights_of
from werkbund.selection import Everyone, Selector

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
class Federation:
    """Hold the parts of a run in process."""

    splits: ClientSplits
    work: LocalWork
    grid: InProcessGrid
    strategy: Strategy
    rules: Rules
    state: RunState

    def handlers(self) -> dict[str, Handler]:
        return self.work.handlers()

    def with_handlers(self, **handlers: Handler) -> Federation:
        """Return the same federation with some work done otherwise."""
        worker = Worker({**self.handlers(), **handlers})
        return replace(self, grid=InProcessGrid(self.grid.clients(), worker))


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
        aggregator = aggregator or FedAvg()
        trainer = CohortTrainer(network, plan or TrainingPlan(), splits.train.num_features, batched)
        work = LocalWork(splits, trainer, aggregator.weighting)
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
        return Replies("train", round, np.array(clients, np.int64), arrays, {}, fingerprint)

    return build
