from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from werkbund.core import Replies
from werkbund.core.store import Store
from werkbund.core.types import Tasks
from werkbund.engine import rounds
from werkbund.engine.kinds import TRAIN
from werkbund.engine.records import signals_in
from werkbund.selection import CohortSize, build_selector
from werkbund.selection.contract import NUMBERS, SIGNALS
from werkbund.selection.questions import LOSS


def _reply(clients: list[int], **clear: Any) -> Replies:
    return Replies(TRAIN, 1, np.array(clients), {}, {name: np.array(values) for name, values in clear.items()})


def test_every_signal_but_whole_vectors_and_the_servers_own_is_a_number() -> None:
    assert {*SIGNALS} - NUMBERS == {"update", "score"}


def test_what_some_do_not_tell_is_missing_for_them_alone() -> None:
    answers = [_reply([7], norm=[3.0]), _reply([]), _reply([2, 4], loss=[1, 2], norm=[5.0, 6.0])]
    columns = signals_in(answers, {"loss", "norm", "seconds"})
    assert list(columns) == ["clients", "loss", "norm"]
    assert columns["clients"].tolist() == [2, 4, 7]
    assert columns["norm"].tolist() == [5.0, 6.0, 3.0]
    np.testing.assert_array_equal(columns["loss"], [1.0, 2.0, np.nan])
    assert list(signals_in(answers, {"norm"})) == ["clients", "norm"]
    assert signals_in([], {"norm"})["clients"].shape == (0,)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("pow-d", {"loss": {"loss"}}), ("ocs", {"hold": {"norm"}}), ("rpow-d", {"train": {"train_loss"}})],
)
def test_a_record_holds_the_numbers_that_the_selector_was_given(name: str, kinds: Any, federation: Any) -> None:
    built = federation([20, 33, 7, 12], selector=build_selector(name, count=2))
    for _, record in rounds(built.grid, built.strategy, built.rules, built.state, 2):
        assert {kind: set(columns) - {"clients"} for kind, columns in record.told.items()} == kinds
        for columns in record.told.values():
            assert all(np.isfinite(values).all() for values in columns.values())
        asked = record.cohort if name == "rpow-d" else record.probed
        assert next(iter(record.told.values()))["clients"].tolist() == list(asked)


def test_nothing_is_recorded_where_nothing_is_asked(federation: Any) -> None:
    built = federation([20, 33, 7, 12])
    ((_, record),) = rounds(built.grid, built.strategy, built.rules, built.state, 1)
    assert record.told == {}


def test_who_does_not_answer_a_question_is_among_the_failures_once(federation: Any) -> None:
    built = federation([20, 33, 7, 12], selector=build_selector("pow-d", count=2, candidates=4))

    def loss(tasks: Tasks, store: Store) -> Replies:
        if 1 in tasks.clients.tolist():
            raise ValueError("no rows today")
        return built.work.loss(tasks, store)  # type: ignore[no-any-return]

    lame = built.with_handlers({LOSS: loss})
    ((_, record),) = rounds(lame.grid, lame.strategy, lame.rules, lame.state, 1)
    (failure,) = record.failures
    assert (failure.client, failure.reason) == (1, "loss, before the choice: ValueError: no rows today")
    assert CohortSize(count=2).of(4) == len(record.cohort) == 2
    assert 1 not in record.told["loss"]["clients"]
