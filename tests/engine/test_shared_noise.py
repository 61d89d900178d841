"""Rounds in which clients share noise inside secure sums: what comes out of a sum, and what clients refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conftest import Federation
from tests.engine.secured import Dropping, secured
from tests.privacy.test_shares import is_too_small
from werkbund.aggregation import FedAvg
from werkbund.core.arrays import AnyArray, Float32Array, Int64Array
from werkbund.core.errors import ClientError
from werkbund.core.kinds import Kind
from werkbund.core.types import Choice, RoundRecord
from werkbund.engine import InProcessGrid, RateSchedule, RunState, SumTerms, Worker, one_round
from werkbund.engine.asking import answers
from werkbund.engine.choosing import view_of
from werkbund.engine.kinds import TRAIN
from werkbund.engine.promise import Promise, Protected
from werkbund.engine.round import tasks_of
from werkbund.learner import LocalObjective, TrainingPlan
from werkbund.learner.counts import count_shapes
from werkbund.privacy import Stack
from werkbund.privacy.shares import UNITS, NoiseShare
from werkbund.privacy.sums import OPEN, Thresholds
from werkbund.selection.questions import HOLD

SIZES, RATE = (30, 45, 12, 60, 24), 0.7
PLAN = TrainingPlan("sgd", RATE, weight_decay=0.0, batch_size=1000)
CONSTANT = RateSchedule()
Build = Callable[..., Federation]
units = pytest.mark.parametrize("unit", ["row", "machine", "plant"])


def _promise(unit: Protected, noise: float = 0.0, clip: float = 1e3) -> Promise:
    return Promise(unit, clip, 1e-5, noise, None, PLAN, 10, shared=True)


def _built(federation: Build, promise: Promise, **how: Any) -> Federation:
    rule = FedAvg(momentum=0.0, weighting="equal" if promise.unit == "plant" else "examples")
    made = federation(SIZES, counts=count_shapes(1), plan=PLAN, aggregator=rule, **how)
    machines = np.arange(len(made.splits.train.labels)) // 6
    splits = replace(made.splits, train=replace(made.splits.train, machines=machines))
    stack = promise.stack(0, CONSTANT)
    trainer = made.work.trainer.following(promise.objective)
    return replace(
        made,
        work=replace(made.work, trainer=trainer, stack=stack, splits=splits),
        strategy=replace(made.strategy, stack=stack, secure_sums=SumTerms("a run", share=promise.share)),
        rules=replace(made.rules, secure_sums=True, facts={"rows": np.array(SIZES)}),
    )


def _after(
    made: Federation, promise: Promise, silent: Mapping[Kind, set[int]] | None = None, **how: Any
) -> tuple[RunState, RoundRecord, Dropping]:
    grid, within = secured(made.grid.clients(), made.handlers(), most_rows=64, share=promise.share, **how)
    within.silent = silent or {}
    return *one_round(grid, made.strategy, made.rules, made.state), within


def _in_clear(made: Federation) -> Float32Array:
    """Return the weights after a plain round of all clients, without bounds and noise."""
    work = replace(made.work, trainer=made.work.trainer.following(LocalObjective()), stack=Stack())
    strategy = replace(made.strategy, stack=Stack(), secure_sums=None)
    grid = InProcessGrid(made.grid.clients(), Worker(work.handlers()))
    return one_round(grid, strategy, replace(made.rules, secure_sums=False), made.state)[0].weights


@units
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "plain"])
def test_no_noise_and_a_bound_that_nothing_reaches_give_the_plain_mean_to_the_rounding(
    unit: Protected, batched: bool, federation: Build
) -> None:
    promise = _promise(unit, clip=60.0)
    made = _built(federation, promise, batched=batched)
    state, record, _ = _after(made, promise)
    units_in_all = {"row": sum(SIZES), "machine": 29, "plant": 5}[unit]
    coarse = 60.0 / UNITS * units_in_all / (sum(SIZES) if unit != "plant" else 5)
    assert not record.failures
    np.testing.assert_allclose(state.weights, _in_clear(made), atol=coarse)


@pytest.mark.parametrize("unit", ["row", "machine"])
def test_each_unit_is_clipped_by_itself(unit: Protected, federation: Build) -> None:
    promise = _promise(unit, clip=0.05)
    made = _built(federation, promise)
    state, _, _ = _after(made, promise)
    table, summed = made.work.splits.train, np.zeros(len(made.state.weights))
    everything = np.arange(len(table.labels))
    slopes = np.concatenate(list(made.work.trainer.row_gradients(table, everything, made.state.weights)))
    whose = np.arange(len(slopes)) if unit == "row" else table.machines + 100 * np.repeat(np.arange(5), SIZES)
    for one in np.unique(whose):
        gradient = slopes[whose == one].sum(axis=0)
        summed += gradient * min(1.0, 0.05 / np.linalg.norm(gradient))
    expected = made.state.weights - RATE * summed / sum(SIZES)
    np.testing.assert_allclose(state.weights, expected, atol=0.05 / UNITS * 2)


def test_gradients_of_rows_follow_what_training_follows(federation: Build) -> None:
    """Where a number is the target that is a risk from 0 to 1, and not whether it is due."""
    made = _built(federation, _promise("row"))
    table, trainer = made.work.splits.train, made.work.trainer
    rows = np.arange(len(table.labels))
    risks = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    taught = replace(table, risks=risks)
    followed = np.concatenate(list(trainer.row_gradients(taught, rows, made.state.weights)))
    scores = 1 / (1 + np.exp(-trainer.score(made.state.weights, table.features)))
    np.testing.assert_allclose(followed[:, -1], scores - risks, atol=1e-6)  # the bias of a logistic regression


def _noise(made: Federation, promise: Promise, **how: Any) -> AnyArray:
    """Return what moved the weights beside the bounded updates, which are next to nothing: a sum over all, in bounds.

    Where clients drop out their rows are missing from the number that sums are divided by.
    """
    state, record, _ = _after(made, promise, **how)
    missing = {failure.client for failure in record.failures}
    rows = sum(size for client, size in enumerate(SIZES) if client not in missing)
    per_sum = len(SIZES) if promise.unit == "plant" else rows / RATE
    return np.asarray((state.weights - made.state.weights) * per_sum / promise.clip)


@units
@pytest.mark.parametrize(("colluding", "strict"), [(1, False), (1, True), (0, True)])
def test_the_opened_sum_has_the_noise_that_was_promised_whichever_plants_collude(
    unit: Protected, colluding: int, strict: bool, federation: Build
) -> None:
    """Without the shares of those that collude and of those that may drop out it is as large as it was said."""
    promise = _promise(unit, noise=3.0, clip=1e-3)
    drawn = _noise(_built(federation, promise, kind="mlp"), promise, colluding=colluding, strict=strict)
    honest = Thresholds.of(5, colluding).honest(agreed=strict)
    assert drawn.size > 1000
    assert drawn.std() == pytest.approx(3.0 * np.sqrt(5 / honest), rel=0.12)
    assert not is_too_small(drawn * np.sqrt(honest / 5), 3.0)


def test_a_share_that_is_too_small_by_three_is_found(federation: Build) -> None:
    promise = _promise("row", noise=3.0, clip=1e-3)
    made = _built(federation, promise, kind="mlp")
    drawn = _noise(made, replace(promise, noise=1.0), colluding=0, strict=True)
    honest = Thresholds.of(5, 0).honest(agreed=True)
    assert is_too_small(drawn * np.sqrt(honest / 5), 3.0)


@units
@pytest.mark.parametrize("silent", [{TRAIN: {1}}, {OPEN: {3}}, {TRAIN: {4}, OPEN: {2}}])
def test_who_drops_out_before_or_after_masking_takes_no_promised_noise_away(
    unit: Protected, silent: dict[Kind, set[int]], federation: Build
) -> None:
    promise = _promise(unit, noise=3.0, clip=1e-3)
    made = _built(federation, promise, kind="mlp")
    assert not is_too_small(_noise(made, promise, silent=silent, colluding=0), 3.0)


def test_the_number_of_honest_plants_follows_from_the_masks_cohort_and_not_from_what_a_task_says(
    federation: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that tells of a hundred others gets as much noise of each as the plants that mask together want."""
    promise, counted, drawn = _promise("plant", noise=1.0), list[int](), NoiseShare.drawn

    def noted(share: NoiseShare, shape: tuple[int, ...], honest: int) -> Int64Array:
        counted.append(honest)
        return drawn(share, shape, honest)

    monkeypatch.setattr(NoiseShare, "drawn", noted)
    made = _built(federation, promise)
    grid, _ = secured(made.grid.clients(), made.handlers(), most_rows=64, share=promise.share, colluding=1)
    sent, _ = tasks_of(_chosen(made), made.strategy, made.rules, made.state, len(SIZES))
    form = replace(made.rules.form(len(made.state.weights)), changed=made.strategy.stack.changes)
    lied = replace(sent, shared={**sent.shared, "cohort": np.arange(100)})
    replies, failures = answers(grid, [lied], 60.0, form)
    assert (len(replies), failures) == (1, [])
    assert counted == [Thresholds.of(5, 1).honest(agreed=False)] * 5


@units
def test_units_count_alike_nothing_is_held_and_no_loss_is_told(unit: Protected, federation: Build) -> None:
    promise = _promise(unit)
    made = _built(federation, promise)
    assert _after(made, promise)[1].loss is None
    sent, _ = tasks_of(_chosen(made), made.strategy, made.rules, made.state, len(SIZES))
    worker = Worker(made.handlers())
    with pytest.raises(ClientError, match="tells no hold of training rows"):
        worker(replace(sent, kind=HOLD))
    if unit != "plant":
        with pytest.raises(ClientError, match="units of all clients count alike"):
            worker(replace(sent, own={**sent.own, "factor": np.full(5, 2.0)}))


def _chosen(made: Federation) -> Choice:
    return made.strategy.selector.choose(view_of(made.grid, made.rules, made.state), (), np.random.default_rng(0))
