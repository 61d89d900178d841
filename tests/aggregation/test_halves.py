"""What a rule does at clients: the same whether updates are sent or held first, and after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.aggregation import Agnostic, FedAdam, FedNova, QFedAvg
from werkbund.core import Tasks
from werkbund.core.rng import keys
from werkbund.core.store import RowStore
from werkbund.engine import Checkpoint, RunState, load_checkpoint, rounds, save_checkpoint
from werkbund.engine.kinds import TRAIN, UPLOAD
from werkbund.selection import CohortSize, Uniform
from werkbund.selection.questions import HOLD

RULES = [FedNova(), FedNova("equal", momentum=0.0), QFedAvg(2.0)]
SIZES = (20, 133, 7, 41)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.name} {rule.weighting}")
def test_an_update_that_was_held_leaves_with_what_one_that_is_sent_at_once_has(rule: Any, federation: Any) -> None:
    built, clients, store = federation(SIZES, aggregator=rule), np.array([0, 1, 3]), RowStore()
    key = keys(0, "training", 1, clients)
    shared = {"weights": built.state.weights, "rate": np.ones(())}
    own = {"factor": np.array([1.0, 0.5, 3.0]), "key": key}
    sent = built.work.train(Tasks(TRAIN, 1, clients, shared, own), RowStore())
    built.work.hold(Tasks(HOLD, 1, clients, shared, {"key": key}), store)
    held = built.work.upload(Tasks(UPLOAD, 1, clients, shared, own), store)
    for name in ("weight", "update", *rule.folds):
        np.testing.assert_allclose(held.sums[name], sent.sums[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("rule", [*RULES, Agnostic(), FedAdam(correction=True)], ids=lambda rule: rule.name)
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(rule: Any, federation: Any, tmp_path: Path) -> None:
    built = federation(SIZES, aggregator=rule, selector=Uniform(CohortSize(count=3)))
    whole = [state for state, _ in rounds(built.grid, built.strategy, built.rules, built.state, 5)]
    save_checkpoint(tmp_path / "it", Checkpoint.of(whole[1]))
    again = federation(SIZES, aggregator=rule, selector=Uniform(CohortSize(count=3)))
    state = RunState.of_checkpoint(load_checkpoint(tmp_path / "it"))
    *_, (resumed, _) = rounds(again.grid, again.strategy, again.rules, state, 5)
    np.testing.assert_array_equal(resumed.weights, whole[-1].weights)
    assert {name: array.tolist() for name, array in resumed.carry.items()} == {
        name: array.tolist() for name, array in whole[-1].carry.items()
    }


def test_a_client_with_a_thousand_times_the_others_rows_is_no_liar(federation: Any) -> None:
    """What counts by rows is measured for each unit of its weight, as updates are."""
    rule = FedNova(momentum=0.0)
    built = federation((4, 4, 4, 6000), aggregator=rule)
    *_, (_, record) = rounds(built.grid, built.strategy, built.rules, built.state, 1)
    assert record.failures == ()
