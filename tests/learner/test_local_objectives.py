"""The one training loop, varied by terms, gradient rules and layers, gives the same result in every way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from werkbund.core import ConfigError, ModelError
from werkbund.core.arrays import Arrays, Float32Array
from werkbund.core.rng import keys
from werkbund.learner import (
    CohortTrainer,
    LocalObjective,
    LocalStep,
    MeanGradient,
    ModelSpec,
    NoisedUnits,
    Proximal,
    TrainedCohort,
    TrainingPlan,
    build_network,
    layout_of,
    weights_of,
)
from werkbund.learner import train as module
from werkbund.learner.fused import fused_available
from werkbund.learner.objective import Sent, clipped

SIZES = [0, 1, 7, 33, 64, 90]
MLP = ModelSpec("mlp", {"hidden": [6]})
PLAN = TrainingPlan("sgd", 0.1, momentum=0.5, epochs=2)
NUM_PARAMETERS = layout_of(build_network(MLP, 4, 0)).num_parameters
RNG = np.random.default_rng(5)
CONTROL = RNG.normal(0, 0.1, NUM_PARAMETERS).astype(np.float32)
OWN = RNG.normal(0, 0.1, (len(SIZES), NUM_PARAMETERS)).astype(np.float32)
SENT = {"control": CONTROL, "own_control": OWN}


def _drift(weights: Tensor, start: Tensor, sent: Sent) -> Tensor:
    return 0.1 * weights + sent["control"]


def _rule(bound: float, noise: float) -> NoisedUnits:
    return NoisedUnits(bound, lambda rows: noise, seeded=True)


OBJECTIVES = {
    "term": LocalObjective(terms=(_drift,)),
    "clipped examples": LocalObjective(rule=_rule(0.3, 0.0)),
    "noised examples": LocalObjective(rule=_rule(0.3, 0.5)),
    "one layer": LocalObjective(trains=("2",)),
    "all at once": LocalObjective((_drift, Proximal(0.2)), _rule(0.3, 0.2), ("*.bias", "0")),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def _train(
    make_table: Any,
    objective: LocalObjective,
    clients: list[int] | None = None,
    *,
    plan: TrainingPlan = PLAN,
    way: str = "compiled",
    start: Float32Array | None = None,
    sent: Arrays | None = SENT,
    weight: Any = None,
    **steering: Any,
) -> tuple[TrainedCohort, CohortTrainer]:
    network = build_network(MLP, 4, 0)
    trainer = CohortTrainer(network, plan, 4, way != "plain", way == "compiled", objective)
    cohort = np.arange(len(SIZES)) if clients is None else np.array(clients)
    own = {name: a if a.ndim == 1 else a[cohort] for name, a in (sent or {}).items()}
    begin = weights_of(network) if start is None else start
    key = keys(0, "training", 1, cohort)
    return trainer.train(make_table(SIZES), cohort, begin, key, weight=weight, sent=own, **steering), trainer


@every_objective
def test_every_way_gives_the_same_and_the_compiled_one_steps_aside(objective: LocalObjective, make_table: Any) -> None:
    plain, _ = _train(make_table, objective, way="plain")
    for way in ("compiled", "batched"):
        together, trainer = _train(make_table, objective, way=way)
        assert trainer.way == "batched"
        np.testing.assert_allclose(together.weights, plain.weights, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(together.loss, plain.loss, rtol=1e-4)


@every_objective
def test_the_group_in_which_a_client_trains_changes_nothing(
    objective: LocalObjective, make_table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = _train(make_table, objective)
    some, _ = _train(make_table, objective, [2, 5])
    np.testing.assert_allclose(whole.weights[[2, 5]], some.weights, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(module, "_ENTRIES_A_GROUP", 300)
    parts, _ = _train(make_table, objective)
    np.testing.assert_allclose(whole.weights, parts.weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["compiled", "batched", "plain"])
def test_the_usual_objective_is_the_plan_bit_for_bit(way: str, make_table: Any) -> None:
    plan = TrainingPlan("sgd", 0.1, proximal=0.5, clip_norm=0.2)
    bare = TrainingPlan("sgd", 0.1)
    usual, trainer = _train(make_table, LocalObjective(), plan=plan, way=way)
    assert trainer.way == (way if way != "compiled" or fused_available() else "batched")
    spelt = LocalObjective((Proximal(0.5),), MeanGradient(0.2))
    same, _ = _train(make_table, spelt, plan=bare, way="plain" if way == "plain" else "batched")
    if way == "compiled":
        np.testing.assert_allclose(usual.weights, same.weights, rtol=1e-4, atol=2e-5)
    else:
        np.testing.assert_array_equal(usual.weights, same.weights)


@pytest.mark.parametrize("way", ["compiled", "batched", "plain"])
def test_each_client_may_start_elsewhere(way: str, make_table: Any) -> None:
    starts = np.stack([weights_of(build_network(MLP, 4, seed)) for seed in range(len(SIZES))])
    weight = np.arange(1.0, len(SIZES) + 1)
    for factors in (None, weight):
        together, _ = _train(make_table, LocalObjective(), way=way, start=starts, weight=factors)
        for client in range(len(SIZES)):
            own = None if factors is None else factors[[client]]
            alone, _ = _train(make_table, LocalObjective(), [client], way=way, start=starts[client], weight=own)
            np.testing.assert_allclose(together.weights[client], alone.weights[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["batched", "plain"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_layers_that_rest_keep_their_values_to_the_bit(optimizer: Any, way: str, make_table: Any) -> None:
    objective = LocalObjective(trains=("2",))
    plan = TrainingPlan(optimizer, 0.05, weight_decay=0.1)
    start = weights_of(build_network(MLP, 4, 0))
    trained, trainer = _train(make_table, objective, plan=plan, way=way)
    mask = objective.trained(trainer.layout)
    assert mask.sum() == 6 + 1
    np.testing.assert_array_equal(trained.weights[:, ~mask], np.broadcast_to(start[~mask], (len(SIZES), (~mask).sum())))
    assert (trained.weights[1:, mask] != start[mask]).any(axis=1).all()


def test_a_layer_that_rests_is_not_counted_in_the_norm(make_table: Any) -> None:
    plan = TrainingPlan("sgd", 1.0, steps=1, weight_decay=0.0, clip_norm=1e-3, positive_weight=100.0)
    start = weights_of(build_network(MLP, 4, 0))
    trained, _ = _train(make_table, LocalObjective(trains=("2.bias",)), plan=plan)
    lengths = np.linalg.norm((trained.weights - start)[2:].astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 1e-3, rtol=1e-3)


CORRECTION = CONTROL - OWN
PULL = np.linspace(0.0, 3.0, len(SIZES))


def test_a_correction_of_zero_changes_no_bit_and_another_adds_itself_to_each_step(make_table: Any) -> None:
    plan = TrainingPlan("sgd", 0.1, steps=1, weight_decay=0.0)
    for way in ("compiled", "batched", "plain"):
        usual, _ = _train(make_table, LocalObjective(), plan=plan, way=way)
        still, _ = _train(make_table, LocalObjective(), plan=plan, way=way, correction=np.zeros_like(CORRECTION))
        np.testing.assert_array_equal(still.weights, usual.weights)
        moved, _ = _train(make_table, LocalObjective(), plan=plan, way=way, correction=CORRECTION)
        np.testing.assert_allclose(moved.weights[1:], usual.weights[1:] - 0.1 * CORRECTION[1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("plan", [PLAN, TrainingPlan("sgd", 0.1, epochs=2, clip_norm=0.3, proximal=0.5)])
def test_corrections_and_pulls_give_the_same_in_every_way(plan: TrainingPlan, make_table: Any) -> None:
    for correction in (CORRECTION, CONTROL, None):
        for pull in (PULL, None):
            steering: dict[str, Any] = {"correction": correction, "pull": pull}
            plain, _ = _train(make_table, LocalObjective(), plan=plan, way="plain", **steering)
            for way in ("compiled", "batched"):
                other, _ = _train(make_table, LocalObjective(), plan=plan, way=way, **steering)
                np.testing.assert_allclose(other.weights, plain.weights, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("way", ["compiled", "batched", "plain"])
def test_a_pull_alike_for_all_is_the_proximal_term(way: str, make_table: Any) -> None:
    bare, proximal = TrainingPlan("sgd", 0.1, epochs=2), TrainingPlan("sgd", 0.1, epochs=2, proximal=0.5)
    expected, _ = _train(make_table, LocalObjective(), plan=proximal, way=way)
    pulled, _ = _train(make_table, LocalObjective(), plan=bare, way=way, pull=np.full(len(SIZES), 0.5))
    np.testing.assert_allclose(pulled.weights, expected.weights, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("home", [CONTROL, OWN], ids=["alike", "each its own"])
def test_pulls_go_home_where_that_is_not_the_start(home: Float32Array, make_table: Any) -> None:
    plan = TrainingPlan("sgd", 0.1, steps=1, weight_decay=0.0, clip_norm=0.2, proximal=0.5)
    bare, start = replace(plan, proximal=0.0), weights_of(build_network(MLP, 4, 0))
    own = np.broadcast_to(home, OWN.shape)
    for way in ("compiled", "batched", "plain"):
        usual, _ = _train(make_table, LocalObjective(), plan=bare, way=way)
        pulled, _ = _train(make_table, LocalObjective(), plan=plan, way=way, home=home)
        expected = usual.weights[1:] - 0.1 * 0.5 * (start - own[1:])
        np.testing.assert_allclose(pulled.weights[1:], expected, rtol=1e-4, atol=1e-6)
        longer: dict[str, Any] = {"plan": replace(plan, steps=5), "home": home}
        slow, _ = _train(make_table, LocalObjective(), way="plain", **longer)
        other, _ = _train(make_table, LocalObjective(), way=way, **longer)
        np.testing.assert_allclose(other.weights, slow.weights, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("way", ["compiled", "batched", "plain"])
def test_a_gradient_is_corrected_before_it_is_clipped(way: str, make_table: Any) -> None:
    plan = TrainingPlan("sgd", 1.0, steps=1, weight_decay=0.0, clip_norm=0.01)
    start = weights_of(build_network(MLP, 4, 0))
    trained, _ = _train(make_table, LocalObjective(), plan=plan, way=way, correction=100 * CORRECTION)
    lengths = np.linalg.norm((trained.weights - start)[1:].astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, 0.01, rtol=1e-3)


def test_a_layer_that_rests_is_not_corrected(make_table: Any) -> None:
    objective, start = LocalObjective(trains=("2",)), weights_of(build_network(MLP, 4, 0))
    trained, trainer = _train(make_table, objective, correction=CORRECTION, pull=PULL)
    mask = objective.trained(trainer.layout)
    np.testing.assert_array_equal(trained.weights[:, ~mask], np.tile(start[~mask], (len(SIZES), 1)))


def test_a_correction_is_refused_where_the_gradient_of_each_row_is_read(make_table: Any) -> None:
    with pytest.raises(ConfigError, match="a correction is added to the mean gradient"):
        _train(make_table, LocalObjective(rule=_rule(1.0, 0.0)), correction=CORRECTION)


def test_examples_that_no_bound_reaches_and_no_noise_are_the_mean(make_table: Any) -> None:
    free, _ = _train(make_table, LocalObjective(rule=_rule(1e6, 0.0)))
    usual, _ = _train(make_table, LocalObjective(), way="batched")
    np.testing.assert_allclose(free.weights, usual.weights, rtol=1e-4, atol=1e-6)


def test_one_row_moves_a_clipped_step_by_its_bound_at_most(make_table: Any) -> None:
    plan = TrainingPlan("sgd", 1.0, steps=1, weight_decay=0.0, batch_size=100)
    start = weights_of(build_network(MLP, 4, 0))
    trained, _ = _train(make_table, LocalObjective(rule=_rule(1e-3, 0.0)), plan=plan)
    lengths = np.linalg.norm((trained.weights - start).astype(np.float64), axis=1)
    assert (lengths <= 1e-3 * 1.01).all()


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    step = LocalStep(3, torch.ones(500, 4), {}, keys(0, "training", 1, np.arange(500)), np.full(500, 4))
    rule = _rule(2.0, 1.5)
    drawn = rule.slope(torch.zeros(500, 4, 40), step).numpy()
    assert drawn.std() == pytest.approx(2.0 * 1.5 / 4, rel=0.02)
    assert abs(drawn.mean()) < 0.02
    assert not np.array_equal(drawn[0], drawn[1])
    again = rule.slope(torch.zeros(500, 4, 40), replace(step, number=4)).numpy()
    assert abs(np.corrcoef(drawn.ravel(), again.ravel())[0, 1]) < 0.05


def test_a_dropout_network_takes_gradients_of_single_rows_one_by_one(make_table: Any) -> None:
    network = build_network(ModelSpec("mlp", {"hidden": [6], "dropout": 0.3}), 4, 0)
    trainer = CohortTrainer(network, PLAN, 4, objective=LocalObjective(rule=_rule(0.3, 0.1)))
    assert trainer.way == "plain"
    table, cohort = make_table([9, 20]), np.arange(2)
    whole = trainer.train(table, cohort, weights_of(network), keys(0, "training", 1, cohort))
    alone = trainer.train(table, cohort[1:], weights_of(network), keys(0, "training", 1, cohort[1:]))
    np.testing.assert_array_equal(whole.weights[1], alone.weights[0])


@pytest.mark.parametrize("way", ["compiled", "batched", "plain"])
def test_steps_and_learning_rate_of_the_round_are_told(way: str, make_table: Any) -> None:
    network = build_network(MLP, 4, 0)
    plan = TrainingPlan("sgd", 0.2, epochs=2, batch_size=16)
    trainer = CohortTrainer(network, plan, 4, way != "plain", way == "compiled")
    cohort = np.arange(len(SIZES))
    trained = trainer.train(make_table(SIZES), cohort, weights_of(network), keys(0, "t", 1, cohort), rate=0.5)
    assert trained.steps.tolist() == [0, 2, 2, 6, 8, 12]
    assert trained.learning_rate == pytest.approx(0.1)


def test_what_is_sent_is_checked_by_name_and_shape(make_table: Any) -> None:
    with pytest.raises(ModelError, match=r"got control of \(3,\)"):
        _train(make_table, OBJECTIVES["term"], sent={"control": np.zeros(3, np.float32)})
    with pytest.raises(ModelError, match=r"got correction of \(3,\)"):
        _train(make_table, LocalObjective(), correction=np.zeros(3, np.float32))


def test_a_layer_that_is_not_there_and_a_second_bound_are_refused() -> None:
    network = build_network(MLP, 4, 0)
    with pytest.raises(ModelError, match=r"layers must be among 0\.weight, .*got 'head'"):
        CohortTrainer(network, PLAN, 4, objective=LocalObjective(trains=("head",)))
    with pytest.raises(ConfigError, match=r"training\.clip_norm bounds the mean gradient"):
        CohortTrainer(network, TrainingPlan(clip_norm=1.0), 4, objective=LocalObjective(rule=_rule(1, 0)))
    with pytest.raises(ConfigError, match=r"privacy\.clip must be > 0"):
        _rule(0.0, 1.0)


def test_clipping_shortens_to_the_bound_and_twice_changes_nothing() -> None:
    slopes = torch.from_numpy(RNG.normal(size=(3, 4, 5)).astype(np.float32))
    once = clipped(slopes, 0.7)
    assert (once.norm(dim=-1) <= 0.7 * (1 + 1e-6)).all()
    torch.testing.assert_close(clipped(once, 0.7), once)
    assert clipped(slopes, None) is slopes


@dataclass(frozen=True)
class Halved:
    """A rule of one's own: half the mean gradient."""

    per_example: bool = False

    def slope(self, gradients: Tensor, step: LocalStep) -> Tensor:
        return 0.5 * gradients


def test_a_rule_of_ones_own_is_any_value_of_that_form(make_table: Callable[..., Any]) -> None:
    plan, half = TrainingPlan("sgd", 0.2, weight_decay=0.0), TrainingPlan("sgd", 0.1, weight_decay=0.0)
    own, _ = _train(make_table, LocalObjective(rule=Halved()), plan=plan)
    usual, _ = _train(make_table, LocalObjective(), plan=half, way="batched")
    np.testing.assert_allclose(own.weights, usual.weights, rtol=1e-5, atol=1e-6)
