"""An aggregator that must see each update: the median of each coordinate (Yin et al., ICML 2018, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests.conftest import Federation, Small
from werkbund.aggregation import AGGREGATORS, Aggregator, Card, Carry, Closing, Sees, Weighting, register
from werkbund.config import check_config
from werkbund.core.arrays import Arrays, Float32Array, Float64Array, Int64Array
from werkbund.core.errors import ConfigError, FederationError
from werkbund.core.methods import check_options, option
from werkbund.core.store import Store
from werkbund.core.types import Choice, Replies, Tasks
from werkbund.engine import RunState, Strategy, one_round
from werkbund.engine.kinds import TRAIN
from werkbund.engine.round import tasks_of
from werkbund.federation.wiring import strategy_of
from werkbund.privacy import Departure, Stack
from werkbund.selection import Everyone


@dataclass(frozen=True)
class CoordinateMedian:
    """Move the weights by the median, coordinate by coordinate, of the clients' updates."""

    weighting: Weighting = option("equal", "How clients weigh, which the median does not look at.")
    step: float = option(1.0, "Size of the server's step.", above=0)

    name: ClassVar[str] = "coordinate-median"
    card: ClassVar[Card] = Card(
        title="Median of each coordinate",
        rule="The median of the clients' updates, coordinate by coordinate, moves the weights.",
        source="Yin et al., ICML 2018, algorithm 1",
        use_when="fewer than half of the clients may send harmful updates",
        avoid_when="privacy hides single updates",
        unbiased=False,
    )
    sees: ClassVar[Sees] = "each"
    folds: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        check_options(self, "strategy.aggregation")

    def init(self, num_parameters: int) -> Carry:
        return {}

    def outgoing(self, carry: Carry) -> Arrays:
        return {}

    def begin(self, num_parameters: int) -> tuple[Float32Array, ...]:
        return ()

    def fold(
        self, accumulator: tuple[Float32Array, ...], updates: Arrays, weights: Float64Array
    ) -> tuple[Float32Array, ...]:
        """Keep each update, without its weight; one that weighs nothing has seen no row."""
        counted = weights > 0
        rows = updates["update"][counted] / weights[counted, None].astype(np.float32)
        return (*accumulator, *rows)

    def finish(
        self,
        accumulator: tuple[Float32Array, ...],
        weights: Float32Array,
        carry: Carry,
        closing: Closing = Closing(),
    ) -> tuple[Float32Array, Carry]:
        if not accumulator:
            raise FederationError("a median needs one update at least, got none of any weight")
        middle = np.median(np.stack(accumulator), axis=0)
        return np.asarray(weights + np.float32(self.step) * middle, np.float32), carry


@dataclass(frozen=True)
class Hidden:
    """A layer that lets the server see sums alone."""

    on: tuple[str, ...] = ("update",)
    sums_only: bool = True

    def leave(self, answers: Arrays, departure: Departure) -> Arrays:
        return {}

    def unwind(self, total: Arrays, departure: Departure) -> Arrays:
        return {}


@pytest.fixture
def built(federation: Any) -> Federation:
    return federation((20, 33, 7, 41, 12), aggregator=CoordinateMedian(), quorum=1.0)  # type: ignore[no-any-return]


@pytest.fixture
def registered() -> Iterator[None]:
    register(CoordinateMedian)
    yield
    del AGGREGATORS[CoordinateMedian.name]


def _updates(built: Federation) -> Replies:
    """Return what each client answers in the first round."""
    everyone: Int64Array = np.arange(5)
    choice = Choice(everyone, np.ones(5), np.ones(5), ("",) * 5)
    tasks, _ = tasks_of(choice, built.strategy, built.rules, built.state, 5)
    (replies,) = [one for one in _asked(built, tasks) if isinstance(one, Replies)]
    return replies


def _asked(built: Federation, tasks: Tasks) -> list[Any]:
    built.grid.send(tasks)
    return list(built.grid.receive(10.0))


def _after(built: Federation) -> RunState:
    state, _ = one_round(built.grid, built.strategy, built.rules, built.state)
    return state


def test_the_step_is_numpys_median_of_the_clients_updates(built: Federation) -> None:
    expected = built.state.weights + np.median(_updates(built).sums["update"], axis=0)
    np.testing.assert_allclose(_after(built).weights, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("weighting", ["equal", "examples"])
def test_rows_do_not_change_a_median(weighting: Any, built: Federation, federation: Any) -> None:
    other = federation((20, 33, 7, 41, 12), aggregator=CoordinateMedian(weighting))
    np.testing.assert_allclose(_after(other).weights, _after(built).weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lie", [30.0, -30.0])
def test_one_liar_moves_no_coordinate_beyond_what_honest_clients_say(lie: float, built: Federation) -> None:
    def lying(tasks: Tasks, store: Store) -> Replies:
        replies = built.work.train(tasks, store)
        update = replies.sums["update"].copy()
        update[1] = lie
        return replace(replies, sums={**replies.sums, "update": update})

    honest = np.delete(_updates(built).sums["update"], 1, axis=0)
    moved = _after(built.with_handlers({TRAIN: lying})).weights - built.state.weights
    assert (moved >= honest.min(axis=0) - 1e-6).all()
    assert (moved <= honest.max(axis=0) + 1e-6).all()
    assert np.abs(moved).max() < 10


def test_where_sums_alone_may_be_seen_it_is_refused_before_the_first_round() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.aggregation must see every update in clear"):
        Strategy(Everyone(), CoordinateMedian(), Stack((Hidden(),)))
    assert Strategy(Everyone(), CoordinateMedian(), Stack()).aggregator == CoordinateMedian()


@pytest.mark.usefixtures("registered")
def test_registered_it_is_known_by_name_with_its_options(small: Small) -> None:
    config = small(strategy={"aggregation": {"name": "coordinate-median", "step": 0.5}})
    assert strategy_of(config).aggregator == CoordinateMedian(step=0.5)
    with pytest.raises(ConfigError, match=r"did you mean step\?"):
        small(strategy={"aggregation": {"name": "coordinate-median", "stepp": 0.5}})


def test_in_a_file_of_its_own_it_is_known_by_its_place(small: Small) -> None:
    place = f"{Path(__file__)}:CoordinateMedian"
    config = check_config(small(strategy={"aggregation": {"name": place, "step": 0.25}}).model_dump())
    rule: Aggregator = strategy_of(config).aggregator
    assert (type(rule).__name__, rule.sees, vars(rule)["step"]) == ("CoordinateMedian", "each", 0.25)
    with pytest.raises(ConfigError, match=r"strategy\.aggregation\.step must be > 0, got -1"):
        strategy_of(small(strategy={"aggregation": {"name": place, "step": -1}}))
