from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import FedAvg
from werkbund.core import Choice, ClientTable, QuorumError, Replies, RoundRecord, Tasks
from werkbund.core.arrays import Float64Array
from werkbund.core.kinds import Kind
from werkbund.core.rng import keys
from werkbund.core.store import RowStore, Store
from werkbund.engine import RunState, evaluate, one_round, rounds
from werkbund.learner import TrainingPlan
from werkbund.selection import CohortSize, Uniform

FULL_BATCH = TrainingPlan(
    "sgd", 0.3, weight_decay=0.0, epochs=3, batch_size=1000
)  # the order of the rows is then of no account


def _done(federation: Any, last: int) -> tuple[RunState, list[RoundRecord]]:
    state, records = federation.state, []
    for after, record in rounds(federation.grid, federation.strategy, federation.rules, state, last):
        state = after
        records.append(record)
    return state, records


def _gradient_descent(table: ClientTable, weights: Float64Array, plan: TrainingPlan) -> Float64Array:
    """Train logistic regression by hand, in double precision."""
    x = np.c_[table.features, np.ones(len(table.labels))].astype(np.float64)
    for _ in range(plan.epochs):
        p = 1 / (1 + np.exp(-x @ weights))
        weights = weights - plan.learning_rate * (p - table.labels) @ x / len(x)
    return weights


def _fedavg(federation: Any, last: int, weighting: str, step: float, momentum: float) -> Float64Array:
    """Average by hand: McMahan et al., algorithm 1, with the server momentum of Hsu et al."""
    table: ClientTable = federation.splits.train
    weights: Float64Array = federation.state.weights.astype(np.float64)
    velocity = np.zeros_like(weights)
    shares = table.sizes / table.sizes.sum() if weighting == "examples" else np.full(3, 1 / 3)
    for _ in range(last):
        local = [_gradient_descent(table.only(i), weights, FULL_BATCH) for i in range(3)]
        mean = shares @ (np.stack(local) - weights)
        velocity = momentum * velocity + mean
        weights = weights + step * velocity
    return weights


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize(
    ("weighting", "step", "momentum"),
    [("examples", 1.0, 0.0), ("equal", 1.0, 0.0), ("examples", 0.5, 0.0), ("examples", 1.0, 0.9), ("equal", 0.7, 0.5)],
)
def test_a_run_is_fedavg_written_by_hand(
    weighting: Any, step: float, momentum: float, batched: bool, federation: Any
) -> None:
    built = federation(plan=FULL_BATCH, aggregator=FedAvg(weighting, step, momentum), batched=batched)
    state, _ = _done(built, 5)
    np.testing.assert_allclose(state.weights, _fedavg(built, 5, weighting, step, momentum), rtol=1e-4, atol=1e-5)


def test_the_two_weightings_differ_where_sizes_do(federation: Any) -> None:
    rules = [FedAvg(weighting, momentum=0.0) for weighting in ("examples", "equal")]
    by_rows, alike = (_done(federation(aggregator=rule), 3)[0].weights for rule in rules)
    assert not np.allclose(by_rows, alike)
    by_rows, alike = (_done(federation([9, 9, 9], aggregator=rule), 3)[0].weights for rule in rules)
    np.testing.assert_allclose(by_rows, alike, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_one_client_is_local_training(kind: str, federation: Any) -> None:
    built = federation([50], kind=kind)
    weights = built.state.weights
    for round in (1, 2, 3):
        key = keys(0, "training", round, [0])
        weights = built.work.trainer.train(built.splits.train, np.array([0]), weights, key).weights[0]
    state, _ = _done(built, 3)
    np.testing.assert_allclose(state.weights, weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_no_proximal_pull_is_fedavg_and_a_strong_one_stays_near(kind: str, federation: Any) -> None:
    moved = {}
    for mu in (0.0, 20.0):
        built = federation(kind=kind, plan=TrainingPlan("sgd", 0.04, epochs=10, proximal=mu))
        moved[mu] = _done(built, 2)[0].weights - built.state.weights
    without = federation(kind=kind, plan=TrainingPlan("sgd", 0.04, epochs=10))
    np.testing.assert_array_equal(moved[0.0], _done(without, 2)[0].weights - without.state.weights)
    assert np.linalg.norm(moved[20.0]) < 0.3 * np.linalg.norm(moved[0.0])


def test_the_batched_grid_and_the_plain_loop_give_equal_weights(federation: Any) -> None:
    batched, plain = (_done(federation(kind="mlp", batched=way), 4)[0].weights for way in (True, False))
    np.testing.assert_allclose(batched, plain, rtol=1e-4, atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(federation: Any) -> None:
    first, again, other = (_done(federation(kind="mlp", seed=seed), 3)[0].weights for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_run_goes_on_from_any_state_as_if_nothing_had_been(federation: Any) -> None:
    built = federation([20, 33, 7, 12], kind="mlp", selector=Uniform(CohortSize(0.5)), aggregator=FedAvg(momentum=0.9))
    whole, records = _done(built, 6)
    state, _ = _done(built, 2)
    resumed, later = _done(replace(built, state=state), 6)
    np.testing.assert_array_equal(resumed.weights, whole.weights)
    assert [record.cohort for record in later] == [record.cohort for record in records[2:]]


def test_a_record_tells_what_happened(federation: Any) -> None:
    built = federation([20, 33, 7, 12], selector=Uniform(CohortSize(count=2)))
    state, (record,) = _done(built, 1)
    assert (record.round, record.scored, len(record.cohort), record.failures) == (1, 0, 2, ())
    assert record.reasons == ("drawn at random",) * 2
    assert record.evaluated["test"].tolist() == [0, 1, 2, 3]
    assert record.counts["test"]["histogram"].sum() == built.splits.test.sizes.sum()
    moved = (state.weights - built.state.weights).astype(np.float64)
    assert record.update_norm == pytest.approx(np.linalg.norm(moved), rel=1e-6)
    assert record.weights_norm == pytest.approx(np.linalg.norm(state.weights.astype(np.float64)), rel=1e-6)
    assert record.bytes_down > 4 * built.state.weights.nbytes
    assert record.bytes_up > 2 * built.state.weights.nbytes
    assert record.loss is not None
    assert 0 < record.loss < 5


def test_the_loss_is_the_mean_over_all_rows_of_the_cohort(federation: Any) -> None:
    built = federation(plan=TrainingPlan("sgd", 0.1, batch_size=1000))
    _, (record,) = _done(built, 1)
    table = built.splits.train
    z = np.c_[table.features, np.ones(len(table.labels))] @ built.state.weights.astype(np.float64)
    assert record.loss == pytest.approx(np.mean(np.logaddexp(0, z) - table.labels * z), rel=1e-5)


def test_above_the_bound_a_seeded_sample_evaluates_and_in_the_end_all_do(federation: Any) -> None:
    built = federation([9] * 8, selector=Uniform(CohortSize(count=1)), evaluate_clients=3)
    _, records = _done(built, 4)
    asked = [tuple(record.evaluated["test"].tolist()) for record in records]
    assert all(
        3 <= len(clients) <= 4 and set(record.cohort) <= set(clients)
        for clients, record in zip(asked, records, strict=True)
    )
    assert len(set(asked)) > 1
    assert asked == [tuple(record.evaluated["test"].tolist()) for record in _done(built, 4)[1]]
    assert evaluate(built.grid, built.rules, built.state).evaluated["test"].tolist() == list(range(8))


def test_a_final_evaluation_counts_each_client_that_is_named(federation: Any) -> None:
    built = federation([20, 33, 7, 12])
    record = evaluate(built.grid, built.rules, built.state, np.array([1, 3]))
    assert record.evaluated["test"].tolist() == [1, 3]
    sizes = record.counts["test"]["histogram"].sum(axis=(1, 2))
    np.testing.assert_array_equal(sizes, built.splits.test.sizes[[1, 3]])


def test_evaluation_alone_moves_nothing_and_scores_what_the_next_round_would(federation: Any) -> None:
    built = federation()
    alone = evaluate(built.grid, built.rules, built.state)
    _, (record,) = _done(built, 1)
    assert (alone.round, alone.scored, alone.cohort, alone.loss, alone.update_norm) == (1, 0, (), None, 0.0)
    np.testing.assert_array_equal(alone.counts["test"]["histogram"], record.counts["test"]["histogram"])


@pytest.mark.parametrize(("quorum", "needed"), [(0.01, 1), (1 / 3, 1), (0.34, 2), (2 / 3, 2), (0.67, 3), (1.0, 3)])
def test_the_quorum_is_rounded_up(quorum: float, needed: int, federation: Any, make_grid: Any) -> None:
    built = federation(quorum=quorum)
    with pytest.raises(QuorumError) as caught:
        one_round(make_grid(("a", "b", "c"), lambda sent: []), built.strategy, built.rules, built.state)
    assert (caught.value.needed, caught.value.answered) == (needed, 0)
    assert set(caught.value.reasons) == {"a", "b", "c"}


def test_the_order_in_which_clients_answer_does_not_change_a_bit(federation: Any, make_grid: Any) -> None:
    built = federation([20, 33, 7, 12], kind="mlp", batched=False, aggregator=FedAvg(momentum=0.5))

    def grid(order: list[int]) -> Any:
        def answer(sent: list[Tasks]) -> list[Replies]:
            replies = []
            for tasks in sent:
                for i in (place for place in order if place < len(tasks)):
                    replies.append(built.handlers()[tasks.kind](tasks.take(slice(i, i + 1)), RowStore()))
            return replies

        return make_grid(built.grid.clients(), answer)

    orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]]
    first, *others = [_done(replace(built, grid=grid(order)), 3) for order in orders]
    for state, records in others:
        np.testing.assert_array_equal(state.weights, first[0].weights)
        for one, other in zip(records, first[1], strict=True):
            assert one.loss == other.loss
            np.testing.assert_array_equal(one.counts["test"]["brier"], other.counts["test"]["brier"])


PROBE = Kind("probe", "anything at all")


class _Asks(Uniform):
    """Not a selector of the package: asks the first client, then the second, and then takes who answered."""

    def probe(self, view: Any, answers: Any, rng: Any) -> Tasks | None:
        asked = len(answers)
        return Tasks(PROBE, view.round, np.array([asked])) if asked < 2 else None

    def choose(self, view: Any, answers: Any, rng: Any) -> Choice:
        cohort = np.sort(np.concatenate([reply.clients for reply in answers]))
        ones = np.ones(len(cohort))
        return Choice(cohort, ones, ones, ("answered",) * len(cohort))


def test_a_selector_asks_until_it_asks_nothing(federation: Any) -> None:
    built = federation(selector=_Asks())
    probed: list[int] = []

    def handler(tasks: Tasks, store: Store) -> Replies:
        probed.extend(tasks.clients.tolist())
        return Replies(PROBE, tasks.round, tasks.clients, {}, {"norm": np.ones(len(tasks))})

    _, (record,) = _done(built.with_handlers({PROBE: handler}), 1)
    assert probed == [0, 1]
    assert record.cohort == (0, 1)
