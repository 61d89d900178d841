"""SCAFFOLD and FedDyn through real training: written by hand, to a known optimum, with lost answers, and at plants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.conftest import Federation, kept_by_clients
from tests.deployed import Learnt, deploy, learnt
from werkbund.aggregation import FedAvg, FedDyn, Scaffold
from werkbund.core.arrays import Float64Array
from werkbund.core.errors import ClientError, ConfigError, FederationError
from werkbund.core.rng import generator
from werkbund.core.store import Store
from werkbund.core.types import Failure, Replies, Reused, RoundRecord, Tasks
from werkbund.engine import Checkpoint, InProcessGrid, RunState, Worker, load_checkpoint, rounds, save_checkpoint
from werkbund.engine.folding import Folded, with_reused
from werkbund.engine.kinds import TRAIN
from werkbund.engine.world import rows_apart
from werkbund.learner import TrainingPlan
from werkbund.plant.offers import OFFERS
from werkbund.selection import CohortSize, Uniform

CONTROL, OWN = "control", "own control"
PLAN = TrainingPlan("sgd", 0.3, weight_decay=0.0, epochs=3, batch_size=1000)  # full batches: rows' order is no matter
SIZES = (20, 33, 7, 41)
PARTIAL = Uniform(CohortSize(count=2))


def _federation(federation: Any, rule: Any, sizes: Any = SIZES, plan: TrainingPlan = PLAN, **how: Any) -> Federation:
    facts = {"rows": np.array(sizes, np.float64)}
    built: Federation = federation(sizes, plan=plan, aggregator=rule, facts=facts, **how)
    return built


def _done(built: Federation, last: int, state: RunState | None = None) -> tuple[list[RunState], list[RoundRecord]]:
    done = list(rounds(built.grid, built.strategy, built.rules, state or built.state, last))
    return [state for state, _ in done], [record for _, record in done]


def _own(state: RunState) -> Any:
    """Return the control variate of each client: zero where there is none."""
    return kept_by_clients(state).rows(OWN, np.arange(len(SIZES)), np.zeros_like(state.weights))


def _gradient(built: Federation, client: int, weights: Float64Array) -> Float64Array:
    table = built.splits.train.only(client)
    x = np.c_[table.features, np.ones(len(table.labels))].astype(np.float64)
    return np.asarray((1 / (1 + np.exp(-x @ weights)) - table.labels) @ x / len(x))


def _by_hand(
    built: Federation, cohorts: list[tuple[int, ...]], shares: Float64Array, renewal: str
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Write out algorithm 1: return x, c and the c_i after these cohorts, in double precision."""
    x: Float64Array = built.state.weights.astype(np.float64)
    c, own = np.zeros_like(x), np.zeros((len(SIZES), len(x)))
    for cohort in cohorts:
        before, moves = own.copy(), np.zeros((len(SIZES), len(x)))
        for i in cohort:
            y = x
            for _ in range(PLAN.epochs):
                y = y - PLAN.learning_rate * (_gradient(built, i, y) - before[i] + c)
            way = (x - y) / (PLAN.epochs * PLAN.learning_rate)
            own[i] = before[i] - c + way if renewal == "steps" else _gradient(built, i, x)
            moves[i] = y - x
        asked = np.array(cohort)
        x = x + shares[asked] @ moves[asked] / shares[asked].sum()
        c = c + shares @ (own - before)
    return x, c, own


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("selector", [None, PARTIAL], ids=["everyone", "partial"])
@pytest.mark.parametrize(("weighting", "renewal"), [("equal", "steps"), ("examples", "steps"), ("equal", "gradient")])
def test_it_is_algorithm_1_written_by_hand(
    weighting: Any, renewal: Any, selector: Any, batched: bool, federation: Any
) -> None:
    rule = Scaffold(weighting, renewal=renewal)
    built = _federation(federation, rule, selector=selector, batched=batched)
    states, records = _done(built, 6)
    cohorts = [record.cohort for record in records]
    assert selector is None or len({*cohorts}) > 1
    shares = np.array(SIZES) / sum(SIZES) if weighting == "examples" else np.full(len(SIZES), 1 / len(SIZES))
    x, c, own = _by_hand(built, cohorts, shares, renewal)
    np.testing.assert_allclose(states[-1].weights, x, atol=2e-5)
    np.testing.assert_allclose(states[-1].carry[CONTROL], c, atol=2e-5)
    np.testing.assert_allclose(_own(states[-1]), own, atol=2e-5)


@pytest.mark.parametrize(("sizes", "last"), [((30,), 5), (SIZES, 1)], ids=["one client", "round 1"])
def test_where_controls_cancel_it_is_federated_averaging(sizes: Any, last: int, federation: Any) -> None:
    expected, _ = _done(_federation(federation, FedAvg("equal", momentum=0.0), sizes), last)
    states, _ = _done(_federation(federation, Scaffold("equal"), sizes), last)
    np.testing.assert_allclose(states[-1].weights, expected[-1].weights, atol=1e-6)


def test_the_first_round_is_federated_averaging_bit_for_bit(federation: Any) -> None:
    """Both ways of the update from the client: weighted at once, and weighted behind what the half reads of it."""
    for batched in (True, False):
        expected, _ = _done(_federation(federation, FedAvg(momentum=0.0), batched=batched), 1)
        states, _ = _done(_federation(federation, Scaffold(), batched=batched), 1)
        np.testing.assert_array_equal(states[-1].weights, expected[-1].weights)


def test_a_proximal_term_of_zero_is_averaging_bit_for_bit(federation: Any) -> None:
    rule = FedAvg(momentum=0.0)
    expected, _ = _done(_federation(federation, rule), 3)
    none, _ = _done(_federation(federation, rule, plan=replace(PLAN, proximal=0.0)), 3)
    some, _ = _done(_federation(federation, rule, plan=replace(PLAN, proximal=0.1)), 3)
    np.testing.assert_array_equal(none[-1].weights, expected[-1].weights)
    assert (some[-1].weights != expected[-1].weights).all()


def test_an_answer_without_what_is_folded_is_a_failure(federation: Any) -> None:
    built = _federation(federation, Scaffold())
    trainless = built.with_handlers({TRAIN: federation(SIZES, plan=PLAN).handlers()[TRAIN]})
    with pytest.raises(FederationError, match="its answer lacks control_change"):
        _done(trainless, 1)


def test_a_client_that_fails_after_its_training_keeps_its_old_control_and_the_others_train_once(
    federation: Any,
) -> None:
    built = _federation(federation, Scaffold())

    def failing(tasks: Tasks, store: Store, first: bool) -> Replies:
        if first and 2 in tasks.clients:
            raise ClientError("its line is down")
        replies = built.handlers()[TRAIN](tasks, store)
        if 2 in tasks.clients:
            raise ClientError("its line is down")
        return replies

    early, late = (built.with_handlers({TRAIN: partial(failing, first=first)}) for first in (True, False))
    expected, states = _done(early, 3)[0][-1], _done(late, 3)[0][-1]
    _same(states, expected)
    assert _own(states).any(axis=1).tolist() == [True, True, False, True]
    np.testing.assert_array_equal(_own(states), _own(expected))


RULES = {"scaffold": Scaffold(), "feddyn": FedDyn(alpha=0.3)}


@pytest.mark.parametrize("stopped", [1, 3])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(
    rule: Any, stopped: int, federation: Any, tmp_path: Path
) -> None:
    whole, _ = _done(_federation(federation, rule, selector=PARTIAL), 5)
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[stopped - 1]))
    stored = load_checkpoint(tmp_path / "it")
    assert any(name.startswith("world.kept.pending.") for name in stored.arrays)
    resumed, _ = _done(_federation(federation, rule, selector=PARTIAL), 5, RunState.of_checkpoint(stored))
    _same(resumed[-1], whole[-1])


def _same(one: RunState, other: RunState) -> None:
    np.testing.assert_array_equal(one.weights, other.weights)
    assert one.carry.keys() == other.carry.keys()
    for name in one.carry:
        np.testing.assert_array_equal(one.carry[name], other.carry[name])


MANY_STEPS = TrainingPlan("sgd", 0.3, weight_decay=0.1, epochs=20, batch_size=1000)


def _optimum(built: Federation, by_rows: bool) -> Float64Array:
    """Return where the common objective is least, by SciPy: the clients' mean losses, and half the squared weights."""
    train = built.splits.train
    x = np.c_[train.features, np.ones(len(train.labels))].astype(np.float64)
    shares = train.sizes / train.sizes.sum() if by_rows else np.full(train.num_clients, 1 / train.num_clients)
    each = np.repeat(shares / train.sizes, train.sizes)

    def loss(weights: Float64Array) -> float:
        logits = x @ weights
        return float(each @ (np.logaddexp(0, logits) - train.labels * logits) + 0.05 * weights @ weights)

    return np.asarray(minimize(loss, np.zeros(x.shape[1]), method="BFGS", options={"gtol": 1e-9}).x)


@pytest.mark.parametrize(
    ("rule", "last"),
    [(Scaffold("equal"), 60), (Scaffold(), 60), (FedDyn(alpha=0.3), 60), (FedDyn("examples", 0.05), 80)],
    ids=["scaffold", "scaffold by rows", "feddyn", "feddyn by rows"],
)
def test_many_steps_a_round_lead_to_the_optimum_where_averaging_stops_short(
    rule: Any, last: int, federation: Any
) -> None:
    by_rows = "examples" in (rule.weighting, getattr(rule, "counts", ""))
    built = _federation(federation, rule, plan=MANY_STEPS)
    best = _optimum(built, by_rows)
    usual = _federation(federation, FedAvg("examples" if by_rows else "equal", momentum=0.0), plan=MANY_STEPS)
    off, near = (np.abs(_done(one, last)[0][-1].weights - best).max() for one in (usual, built))
    assert near < 1e-3
    assert off > 20 * near


@dataclass
class LossyGrid(InProcessGrid):
    """Lose answers with updates on their way, by chance, up to a round."""

    inner: InProcessGrid
    until: int
    seed: int = 5  # of the first ones, one that loses no round as a whole

    def clients(self) -> tuple[str, ...]:
        return self.inner.clients()

    def state(self) -> Any:
        return self.inner.state()

    def go_back(self, past: Any) -> None:
        self.inner.go_back(past)

    def send(self, tasks: Tasks) -> None:
        each = {"each": np.ones((), np.bool_)}  # else counts come added over clients
        self.inner.send(replace(tasks, shared={**tasks.shared, **each}))

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        for arrival in self.inner.receive(timeout_s):
            for one in [arrival] if isinstance(arrival, Failure) else rows_apart(arrival):
                yield one if isinstance(one, Failure) or not self._is_lost(one) else self._failure(one)

    def _is_lost(self, one: Replies) -> bool:
        lucky = generator(self.seed, "lost answers", one.round, int(one.clients[0])).random() < 1 / 3
        return one.kind.updates and one.round <= self.until and lucky

    def _failure(self, one: Replies) -> Failure:
        return Failure(int(one.clients[0]), one.round, "its answer was lost")


def _with_losses(federation: Any, rule: Any, waits: bool) -> tuple[list[RunState], Federation]:
    """Lose answers in 30 rounds and none in 60 more, with clients that wait until an answer was taken, or do not."""
    built = _federation(federation, rule, plan=MANY_STEPS, quorum=0.01)
    handlers = built.handlers() if waits else {**built.handlers(), TRAIN: built.work.train}
    inner = InProcessGrid(built.grid.clients(), Worker(handlers))
    lossy = replace(built, grid=LossyGrid(inner, 30))
    states, records = _done(lossy, 90)
    assert sum(len(record.failures) for record in records) > 20
    return states, built


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_answers_that_are_lost_do_not_move_the_fixed_point(rule: Any, federation: Any) -> None:
    states, built = _with_losses(federation, rule, waits=True)
    best = _optimum(built, by_rows=rule == Scaffold())
    np.testing.assert_allclose(states[-1].weights, best, atol=2e-3)
    if rule == Scaffold():
        shares = np.array(SIZES) / sum(SIZES)
        for state in states:
            np.testing.assert_allclose(state.carry[CONTROL], shares @ _own(state), atol=1e-5)


def test_a_client_that_did_not_wait_would_move_it_for_good(federation: Any) -> None:
    states, built = _with_losses(federation, Scaffold(), waits=False)
    assert np.abs(states[-1].weights - _optimum(built, by_rows=True)).max() > 0.05


def test_what_would_count_updates_otherwise_than_feddyn_clients_do_is_refused(federation: Any) -> None:
    built, one = _federation(federation, FedDyn()), np.ones((1, 5), np.float32)
    with pytest.raises(ConfigError, match=r"strategy\.aggregation\.clip_norm must be left out where clients keep"):
        replace(built.strategy, clip_norm=1.0)
    with pytest.raises(ConfigError, match="as often as they are there, where the selector reuses earlier updates"):
        with_reused(Folded(), FedDyn(), Reused(np.array([0]), one, np.ones(1)))


def test_a_pull_that_undoes_too_much_of_a_step_is_refused_by_the_client(federation: Any) -> None:
    _, (record,) = _done(_federation(federation, FedDyn("examples", 0.2)), 1)
    (failure,) = record.failures
    assert SIZES[failure.client] == min(SIZES)
    assert "a step of training may undo at most 0.1 of the way so far, got 0.2" in failure.reason


@pytest.fixture(params=[{"name": "scaffold"}, {"name": "feddyn", "alpha": 0.1}], ids=["scaffold", "feddyn"])
def plants(request: Any, tmp_path: Path) -> Learnt:
    training = {"batch_size": 64, "batched": False, "learning_rate": 0.2}
    return learnt(deploy(tmp_path / "it", training=training, strategy={"aggregation": request.param}))


def _after(grid: Any, plants: Learnt, state: RunState, last: int) -> list[RunState]:
    return [after for after, _ in rounds(grid, plants.here.strategy, plants.here.rules, state, last)]


def test_plants_that_start_anew_before_each_round_give_the_bits_of_one_process(plants: Learnt) -> None:
    state = RunState.begin(plants.here.initial_weights(), plants.here.strategy)
    for expected in _after(plants.here.grid, plants, state, 3):
        (state,) = _after(plants.grid(OFFERS), plants, state, expected.round)
        _same(state, expected)
    assert all(np.abs(array).max() > 0 for array in state.carry.values())


@pytest.mark.parametrize("back", [0, 2])
def test_a_server_that_goes_back_finds_the_plants_where_they_were(back: int, plants: Learnt) -> None:
    begin = RunState.begin(plants.here.initial_weights(), plants.here.strategy)
    whole = [begin, *_after(plants.grid(OFFERS), plants, begin, 4)]
    _same(_after(plants.grid(OFFERS), plants, whole[back], 4)[-1], whole[-1])
