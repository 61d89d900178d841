from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SpokenGrid
from werkbund.aggregation import FedAvg
from werkbund.core import Failure, Replies, Tasks
from werkbund.core.arrays import Float32Array
from werkbund.engine.asking import Form, ask
from werkbund.engine.folding import Folded, OrderedFold, fold_answers
from werkbund.engine.kinds import EVALUATE, TRAIN

NUM_CLIENTS, NUM_PARAMETERS = 7, 5
COHORT = np.array([2, 3, 5, 11, 13, 17, 19])
RNG = np.random.default_rng(0)
# Of all magnitudes, so that another order of adding gives other bits.
UPDATES = (RNG.normal(size=(NUM_CLIENTS, NUM_PARAMETERS)) * 10.0 ** RNG.integers(-4, 5, (NUM_CLIENTS, 1))).astype(
    np.float32
)
WEIGHTS = RNG.random(NUM_CLIENTS) * 100

Trained = Callable[..., Replies]


def _in_order(places: Sequence[int]) -> Float32Array:
    total = np.zeros(NUM_PARAMETERS, np.float32)
    for place in sorted(places):
        total += UPDATES[place]
    return total


def _fold() -> OrderedFold:
    return OrderedFold(FedAvg(), COHORT, NUM_PARAMETERS)


def _add(fold: OrderedFold, places: list[int]) -> None:
    fold.add(COHORT[places], {"update": UPDATES[places]}, WEIGHTS[places])


def _cut(order: list[int], cuts: list[int]) -> list[list[int]]:
    ends = sorted({0, len(order), *(min(cut, len(order)) for cut in cuts)})
    return [order[first:last] for first, last in pairwise(ends)]


@given(
    st.permutations(range(NUM_CLIENTS)),
    st.lists(st.integers(0, NUM_CLIENTS), max_size=4),
    st.sets(st.integers(0, NUM_CLIENTS - 1)),
    st.sets(st.integers(0, NUM_CLIENTS - 1)),
)
def test_any_order_grouping_and_failures_in_between_give_the_same_bits(
    order: list[int], cuts: list[int], failed: set[int], silent: set[int]
) -> None:
    fold = _fold()
    for group in _cut(order, cuts):
        for place in group:
            if place in failed:
                fold.skip(int(COHORT[place]))
        usable = [place for place in group if place not in failed | silent]
        if usable:
            _add(fold, usable)
    sums = fold.close()
    answered = [place for place in range(NUM_CLIENTS) if place not in failed | silent]
    np.testing.assert_array_equal(sums.arrays["update"], _in_order(answered))
    assert sums.num_updates == len(answered)
    assert fold.weight == sums.weight == sum(WEIGHTS[place] for place in answered)


def test_another_order_of_adding_would_give_other_bits() -> None:
    backwards = np.zeros(NUM_PARAMETERS, np.float32)
    for update in UPDATES[::-1]:
        backwards += update
    assert not np.array_equal(backwards, _in_order(range(NUM_CLIENTS)))


def test_updates_in_turn_do_not_wait() -> None:
    folded: list[int] = []

    class Watched:
        weighting, sees, folds = FedAvg().weighting, FedAvg().sees, FedAvg().folds
        init, outgoing, begin, finish = FedAvg().init, FedAvg().outgoing, FedAvg().begin, FedAvg().finish

        def fold(self, accumulator: Any, updates: Any, weights: Any) -> Any:
            folded.append(len(updates["update"]))
            return FedAvg().fold(accumulator, updates, weights)

    fold = OrderedFold(Watched(), COHORT, NUM_PARAMETERS)
    _add(fold, [0, 1, 2])
    assert folded == [3]
    _add(fold, [4])
    assert folded == [3]
    _add(fold, [3])
    assert folded == [3, 1, 1]


def _collect(arrivals: Sequence[Replies | Failure], **expected: list[int]) -> Folded:
    asked = {"train": [0, 1, 2], "evaluate": [3], **expected}
    cohort, others = (np.array(asked[name], np.int64) for name in ("train", "evaluate"))
    grid = SpokenGrid(("a",) * 20, lambda sent: arrivals)
    usable = ask(grid, [Tasks(TRAIN, 1, cohort), Tasks(EVALUATE, 1, others)], 1.0, Form(2, "same"))
    return fold_answers(usable, FedAvg(), cohort, 2)


def _reasons(got: Folded) -> dict[int, str]:
    assert len({failure.client for failure in got.failures}) == len(got.failures), "a client fails once"
    return {failure.client: failure.reason for failure in got.failures}


def test_all_good_answers_are_folded(trained: Trained) -> None:
    got = _collect([trained([2], [[1, 1]]), Replies(EVALUATE, 1, np.array([3])), trained([0, 1], [[1, 2], [3, 4]])])
    assert got.failures == []
    assert sorted(got.trained) == [0, 1, 2]
    assert got.accumulator.arrays["update"].tolist() == [5, 7]
    assert all("update" not in replies.sums for replies in got.replies)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_a_failure(value: float, trained: Trained) -> None:
    got = _collect([trained([0, 1, 2], [[1, 1], [1, value], [2, 2]])], evaluate=[])
    assert "NaN, infinite" in _reasons(got)[1]
    assert sorted(got.trained) == [0, 2]
    assert got.accumulator.arrays["update"].tolist() == [3, 3]


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
def test_a_weight_that_is_not_finite_or_negative_is_a_failure(weight: float, trained: Trained) -> None:
    got = _collect([trained([0, 1], [[1, 1], [1, 1]], weight=np.array([1.0, weight])), trained([2], [[1, 1]])])
    assert sorted(got.trained) == [0, 2]
    assert set(_reasons(got)) == {1, 3}
    assert got.weight == got.accumulator.weight == 2


def test_infinities_of_both_signs_do_not_cancel(trained: Trained) -> None:
    assert 0 in _reasons(_collect([trained([0], [[np.inf, -np.inf]])]))


def test_another_layout_is_refused_by_name_and_the_rest_goes_on(trained: Trained) -> None:
    got = _collect([trained([0], [[9, 9]], fingerprint="0123"), trained([1, 2], [[1, 1], [1, 1]])], evaluate=[])
    assert _reasons(got) == {0: "its weights have the layout 0123, not same"}
    assert got.accumulator.arrays["update"].tolist() == [2, 2]


def test_a_wrong_length_is_refused_and_the_rest_goes_on(trained: Trained) -> None:
    got = _collect([trained([0], [[9, 9, 9]]), trained([1, 2], [[1, 1], [1, 1]])], evaluate=[])
    assert _reasons(got) == {0: "its update has the shape (3,), not (2,)"}


def test_an_answer_without_its_arrays_is_refused(trained: Trained) -> None:
    got = _collect([Replies(TRAIN, 1, np.array([0]), {}, {}, "same"), trained([1, 2], [[1, 1], [1, 1]])], evaluate=[])
    assert _reasons(got) == {0: "its answer lacks update, weight"}


@pytest.mark.parametrize("client", [99, -1, 3])
def test_a_client_that_was_not_asked_to_train_is_dropped(client: int, trained: Trained) -> None:
    got = _collect([trained([client], [[9, 9]]), trained([0, 1, 2], np.ones((3, 2)))])
    assert sorted(got.trained) == [0, 1, 2]
    assert got.accumulator.arrays["update"].tolist() == [3, 3]
    assert _reasons(got) == {3: "no answer in time (federation.round_timeout_s)"}


def test_the_first_answer_of_a_client_counts(trained: Trained) -> None:
    got = _collect([trained([0], [[1, 1]]), trained([0, 1], [[9, 9], [1, 1]]), trained([2, 2], [[1, 1], [9, 9]])])
    assert sorted(got.trained) == [0, 1, 2]
    assert got.accumulator.arrays["update"].tolist() == [3, 3]


def test_a_refused_client_has_no_second_try(trained: Trained) -> None:
    got = _collect([trained([0], [[np.nan, 1]]), trained([0], [[1, 1]]), trained([1, 2], np.ones((2, 2)))], evaluate=[])
    assert sorted(got.trained) == [1, 2]
    assert set(_reasons(got)) == {0}


@pytest.mark.parametrize("round", [0, 2])
def test_answers_and_failures_of_another_round_are_dropped(round: int, trained: Trained) -> None:
    late: list[Replies | Failure] = [trained([0], [[9, 9]], round=round), Failure(1, round, "late news")]
    got = _collect([*late, trained([0, 1, 2], np.ones((3, 2)))], evaluate=[])
    assert sorted(got.trained) == [0, 1, 2]
    assert got.failures == []


def test_an_answer_of_another_kind_does_not_use_up_the_clients_turn(trained: Trained) -> None:
    got = _collect([Replies(EVALUATE, 1, np.array([0])), trained([0, 1, 2], np.ones((3, 2)))], evaluate=[])
    assert sorted(got.trained) == [0, 1, 2]
    silent = _collect([Replies(EVALUATE, 1, np.array([0])), trained([1, 2], np.ones((2, 2)))], evaluate=[])
    assert set(_reasons(silent)) == {0}


def test_a_client_that_has_answered_cannot_fail(trained: Trained) -> None:
    got = _collect([trained([0, 1, 2], np.ones((3, 2))), Failure(0, 1, "too late to fail")], evaluate=[])
    assert got.failures == []


def test_failures_of_unknown_clients_and_second_ones_are_dropped(trained: Trained) -> None:
    failures = [Failure(99, 1, "who?"), Failure(0, 1, "disk full"), Failure(0, 1, "again")]
    got = _collect([*failures, trained([1], [[1, 1]])], evaluate=[])
    assert _reasons(got) == {0: "disk full", 2: "no answer in time (federation.round_timeout_s)"}


def test_failures_stand_in_client_order(trained: Trained) -> None:
    got = _collect([Failure(3, 1, "b"), Failure(1, 1, "a")])
    assert [failure.client for failure in got.failures] == [0, 1, 2, 3]


def test_nobody_at_all_is_no_error() -> None:
    got = _collect([], train=[], evaluate=[])
    assert not got.trained
    assert not got.failures
    assert got.accumulator.num_updates == 0


@given(st.permutations(range(NUM_CLIENTS)), st.sets(st.integers(0, NUM_CLIENTS - 1), max_size=NUM_CLIENTS - 1))
def test_a_sum_is_folded_as_one_answer_wherever_the_others_come(order: list[int], absent: set[int]) -> None:
    there = [place for place in range(NUM_CLIENTS) if place not in absent]
    fold = _fold()
    for place in order:
        if place in absent:
            fold.skip(int(COHORT[place]))
        if place == order[0]:
            sums = {"update": UPDATES[there].sum(axis=0, dtype=np.float64).astype(np.float32)}
            fold.add_total(COHORT[there], {**sums, "weight": np.array(WEIGHTS[there].sum())})
    accumulator = fold.close()
    assert fold.weight == pytest.approx(WEIGHTS[there].sum(), rel=1e-15)
    np.testing.assert_array_equal(accumulator.arrays["update"], sums["update"])


def test_an_answer_for_several_clients_counts_for_each_of_them() -> None:
    clients = COHORT[:3]
    pooled = {"update": np.ones(NUM_PARAMETERS, np.float32), "weight": np.array(6.0), "loss": np.array(3.0)}
    total = Replies(TRAIN, 1, clients, {}, {}, "", {**pooled, "rows": np.array(6.0)})
    folded = fold_answers([total, Failure(5, 1, "down")], FedAvg(), COHORT, NUM_PARAMETERS, most=1)
    assert folded.trained == clients.tolist()
    assert folded.weight == 6.0
    assert [sorted(reply.pooled) for reply in folded.replies] == [["loss", "rows", "weight"]]
    assert [failure.client for failure in folded.failures] == [5]
