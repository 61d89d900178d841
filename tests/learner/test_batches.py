import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from werkbund.core.rng import keys
from werkbund.learner import TrainingPlan
from werkbund.learner.batches import CohortBatches, draw_batches, num_steps

SIZES = st.lists(st.integers(0, 25), min_size=1, max_size=6)
WIDTHS = st.integers(1, 9)


def _schedule(sizes: list[int], plan: TrainingPlan) -> CohortBatches:
    return draw_batches(np.array(sizes), keys(0, "training", 1, range(len(sizes))), plan)


@given(SIZES, WIDTHS, st.integers(1, 3))
def test_every_row_comes_once_an_epoch(sizes: list[int], width: int, epochs: int) -> None:
    drawn = _schedule(sizes, TrainingPlan(batch_size=width, epochs=epochs))
    for client, size in enumerate(sizes):
        a_pass = math.ceil(size / width)
        for epoch in range(epochs):
            part = slice(epoch * a_pass, (epoch + 1) * a_pass)
            rows = drawn.rows[client, part][drawn.present[client, part]]
            assert sorted(rows.tolist()) == list(range(size))


@given(SIZES, WIDTHS, st.integers(1, 3))
def test_only_the_last_batch_of_a_pass_is_smaller(sizes: list[int], width: int, epochs: int) -> None:
    drawn = _schedule(sizes, TrainingPlan(batch_size=width, epochs=epochs))
    for client, size in enumerate(sizes):
        full, rest = divmod(size, width)
        expected = ([width] * full + ([rest] if rest else [])) * epochs
        got = drawn.present[client].sum(axis=1).tolist()
        assert got == expected + [0] * (len(got) - len(expected))


@given(SIZES, WIDTHS, st.integers(1, 12))
def test_a_number_of_steps_is_the_same_for_every_client_with_rows(sizes: list[int], width: int, steps: int) -> None:
    plan = TrainingPlan(batch_size=width, steps=steps)
    drawn = _schedule(sizes, plan)
    taken = drawn.present.any(axis=2).sum(axis=1)
    assert taken.tolist() == [steps if size else 0 for size in sizes] == num_steps(np.array(sizes), plan).tolist()


@given(SIZES, WIDTHS, st.one_of(st.none(), st.integers(1, 12)))
def test_a_client_draws_the_same_batches_alone(sizes: list[int], width: int, steps: int | None) -> None:
    plan = TrainingPlan(batch_size=width, epochs=2, steps=steps)
    together = _schedule(sizes, plan)
    cohort = keys(0, "training", 1, range(len(sizes)))
    for client, size in enumerate(sizes):
        alone = draw_batches(np.array([size]), cohort[client : client + 1], plan)
        taken = alone.rows.shape[1]
        np.testing.assert_array_equal(together.rows[client, :taken], alone.rows[0])
        np.testing.assert_array_equal(together.present[client, :taken], alone.present[0])
        assert not together.present[client, taken:].any()


@given(SIZES, WIDTHS)
def test_an_absent_entry_names_row_zero(sizes: list[int], width: int) -> None:
    drawn = _schedule(sizes, TrainingPlan(batch_size=width))
    assert not drawn.rows[~drawn.present].any()


def test_epochs_and_rounds_have_their_own_order() -> None:
    plan = TrainingPlan(batch_size=64, epochs=2)
    first, second = draw_batches(np.array([64]), keys(0, "training", 1, [0]), plan).rows[0]
    other = draw_batches(np.array([64]), keys(0, "training", 2, [0]), plan).rows[0, 0]
    assert first.tolist() != second.tolist()
    assert first.tolist() != other.tolist()


@pytest.mark.parametrize("sizes", [[], [0], [0, 0]])
def test_nobody_with_rows_takes_no_step(sizes: list[int]) -> None:
    assert _schedule(sizes, TrainingPlan()).rows.shape == (len(sizes), 0, TrainingPlan().batch_size)
