"""Where models that not all clients use begin to raise alarms: by the rows of those that use them."""

from __future__ import annotations

from typing import Any

import numpy as np

from werkbund.core import RoundRecord
from werkbund.evaluation import Costs, Counts, Threshold, choose_threshold, own_thresholds
from werkbund.learner.counts import count_scores

COSTS, COMMON = Costs(4.0, 1.0), Threshold.nearest(0.75)
SIZES = (300, 200, 400, 30)


def _record(clients: tuple[int, ...] = (0, 1, 2, 3), added: bool = False) -> tuple[RoundRecord, list[Any]]:
    """Return the record of counts of clients whose scores lie higher from one to the next, and these counts."""
    rng = np.random.default_rng(5)
    offsets = np.concatenate([[0], np.cumsum(SIZES)])
    level = np.repeat(np.arange(4.0), SIZES)
    logits = rng.normal(level, 1.0)
    labels = (rng.random(len(logits)) < 1 / (1 + np.exp(2 + level - 2 * (logits - level)))).astype(float)
    counts = count_scores(logits, labels, np.zeros((len(labels), 0), bool), offsets[[0, -1]] if added else offsets)
    counts = counts if added else {name: rows[list(clients)] for name, rows in counts.items()}
    told = {"validation": counts}, {"validation": np.array(clients)}
    record = RoundRecord(1, 1, (), (), *told, None, 0.0, 0.0, 0, 0, 0.0, ())
    return record, [Counts.from_arrays(counts, place) for place in range(1 if added else len(clients))]


def test_each_model_has_the_threshold_of_its_own_rows_and_few_failures_the_common_one() -> None:
    record, counts = _record()
    chosen = own_thresholds(record, COMMON, COSTS)
    assert [chosen[client] for client in range(3)] == [choose_threshold(own, COSTS) for own in counts[:3]]
    assert len({chosen[client] for client in range(3)}) == 3
    assert counts[3].positives < 20
    assert chosen[3] == COMMON


def test_those_who_share_a_model_have_the_threshold_of_their_rows_together() -> None:
    record, counts = _record()
    sharing = [np.array([0, 3]), np.array([1, 2])]
    chosen = own_thresholds(record, COMMON, COSTS, sharing)
    assert chosen[0] == chosen[3] == choose_threshold(counts[0] + counts[3], COSTS)
    assert chosen[1] == chosen[2] == choose_threshold(counts[1] + counts[2], COSTS)


def test_who_was_not_counted_has_the_threshold_of_its_model_too() -> None:
    record, counts = _record((0, 2))
    chosen = own_thresholds(record, COMMON, COSTS, [np.array([0, 1]), np.array([2]), np.array([3])])
    assert chosen == {
        0: choose_threshold(counts[0], COSTS),
        1: choose_threshold(counts[0], COSTS),
        2: choose_threshold(counts[1], COSTS),
        3: COMMON,
    }


def test_with_one_model_for_all_there_is_the_common_threshold_alone() -> None:
    assert own_thresholds(_record()[0], COMMON, COSTS, [np.arange(4)]) == {}


def test_of_counts_that_came_added_no_threshold_of_a_group_is_chosen() -> None:
    record, _ = _record(added=True)
    assert set(own_thresholds(record, COMMON, COSTS, [np.arange(2), np.arange(2, 4)]).values()) == {COMMON}
