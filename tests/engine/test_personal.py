"""Personal parts in process: what stays at a client, and the identities by which each method is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from tests.conftest import kept_by_clients
from werkbund.config import Config, check_config
from werkbund.core.arrays import Float32Array
from werkbund.core.edges import STANDARD_EDGES
from werkbund.core.errors import ClientError, ConfigError, ModelError
from werkbund.core.rng import derived_keys, keys
from werkbund.core.store import Store
from werkbund.core.types import Replies, Tasks
from werkbund.engine import Checkpoint, InProcessGrid, Worker, load_checkpoint, save_checkpoint
from werkbund.engine.kinds import TRAIN
from werkbund.engine.stage import WeightsStage
from werkbund.engine.worker import settled
from werkbund.federation.families.family import family_of
from werkbund.federation.families.networks import NetworkSimulation, simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table

ROUNDS, EVERYBODY = 3, np.arange(3)


def _config(personal: Mapping[str, Any], **sections: dict[str, Any]) -> Config:
    values: dict[str, Any] = {
        "federation": {"rounds": ROUNDS, "seed": 3},
        "data": {"source": "generator", "rows": 600, "plants": 3},
        "clients": {"count": 3},
        "model": {"kind": "mlp", "hidden": [4]},
        "training": {"batch_size": 64, "schedule": "constant"},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    strategy = values.get("strategy", {})
    return check_config({**values, "strategy": {**strategy, "personal": dict(personal)}})


def _setup(personal: Mapping[str, Any], **sections: dict[str, Any]) -> NetworkSimulation:
    config = _config(personal, **sections)
    return simulate_network(config, divide(read_table(config), config).population)


def _done(setup: NetworkSimulation, start: WeightsStage | None = None) -> list[WeightsStage]:
    first = start or setup.begin()
    assert isinstance(first, WeightsStage)
    return [stage for stage, _ in first.rounds()]


def _models(stage: WeightsStage) -> Float32Array:
    made = stage.personalise(EVERYBODY, STANDARD_EDGES)
    assert made is not None
    return np.stack([made.models[client] for client in EVERYBODY.tolist()])


def _alone(setup: NetworkSimulation, pull: float = 0.0, received: list[Float32Array] | None = None) -> Float32Array:
    """Return each client's weights after the same steps by itself, pulled to what came in each round."""
    trainer = setup.trainer.varied(replace(setup.trainer.plan, proximal=pull))
    weights: Any = setup.parting.first
    for round in range(1, ROUNDS + 1):
        key = keys(setup.rules.seed, "training", round, EVERYBODY)
        home = None if received is None else received[round - 1]
        weights = trainer.train(setup.splits.train, EVERYBODY, weights, key, home=home).weights
    return np.asarray(weights)


@pytest.mark.parametrize("personal", [{"name": "ditto"}, {"name": "fine-tuning"}])
def test_what_becomes_common_is_that_of_averaging_where_no_layer_stays(personal: dict[str, Any]) -> None:
    usual, own = _done(_setup({})), _done(_setup(personal))
    for mine, theirs in zip(own, usual, strict=True):
        np.testing.assert_array_equal(mine.state.weights, theirs.state.weights)


@pytest.mark.parametrize("name", ["fedper", "fedrep"])
def test_what_travels_is_the_common_layers_alone(name: str) -> None:
    setup = _setup({"name": name})
    whole, common = setup.parting.layout, setup.parting.common
    assert common.names == ("0.weight", "0.bias")
    assert whole.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    sent: list[Replies] = []

    def heard(tasks: Tasks, store: Store) -> Replies:
        sent.append(setup.work().train(tasks, store))
        return sent[-1]

    spied = replace(setup, grid=InProcessGrid(setup.splits.train.names, Worker({TRAIN: settled(heard)})))
    _done(spied)
    assert {replies.sums["update"].shape for replies in sent} == {(3, common.num_parameters)}
    assert all(replies.sums["update"].any(axis=1).all() for replies in sent)


def test_with_all_layers_at_home_each_client_trains_by_itself() -> None:
    setup = _setup({"name": "fedper", "layers": ["*"]})
    np.testing.assert_array_equal(_models(_done(setup)[-1]), _alone(setup))


def test_a_client_goes_on_from_its_own_layers_and_the_common_ones() -> None:
    setup = _setup({"name": "fedper"})
    first, second, _ = _done(setup)
    store, parting = kept_by_clients(first.state), setup.parting
    own = store.rows(f"personal.{parting.common.fingerprint}", EVERYBODY, np.empty(0))
    assert own.shape == (3, 5)
    assert len(np.unique(own, axis=0)) == 3
    start = parting.whole(first.state.weights, own)
    key = keys(setup.rules.seed, "training", 2, EVERYBODY)
    trained = setup.trainer.train(setup.splits.train, EVERYBODY, start, key).weights
    after = kept_by_clients(second.state).rows(f"personal.{parting.common.fingerprint}", EVERYBODY, np.empty(0))
    np.testing.assert_array_equal(after, parting.staying(trained))


def test_fedrep_trains_the_head_over_a_frozen_base_and_then_the_base_under_a_frozen_head() -> None:
    setup = _setup({"name": "fedrep", "head_epochs": 2})
    parting, first = setup.parting, setup.parting.first
    work = setup.work()
    assert work.personal is not None
    assert work.personal.first is not None
    who = keys(setup.rules.seed, "training", 1, EVERYBODY)
    stage = _done(setup)[0]
    own = kept_by_clients(stage.state).rows(f"personal.{parting.common.fingerprint}", EVERYBODY, np.empty(0))
    assert (own != parting.staying(first)).any(axis=1).all()
    begun = parting.whole(np.broadcast_to(parting.travelling(first), (3, parting.common.num_parameters)), own)
    rest = setup.trainer.varied(setup.trainer.plan, ("0",)).train(setup.splits.train, EVERYBODY, begun, who).weights
    np.testing.assert_array_equal(parting.staying(rest), own)
    sizes = setup.splits.train.sizes.astype(np.float64)
    mean = (parting.travelling(rest - begun) * sizes[:, None]).sum(axis=0) / sizes.sum()
    np.testing.assert_allclose(stage.state.weights - parting.travelling(first), mean, rtol=1e-4, atol=1e-6)
    alone = setup.trainer.varied(replace(setup.trainer.plan, epochs=2), ("2",))
    head = alone.train(setup.splits.train, EVERYBODY, first, derived_keys(who, "layers that stay", 0)).weights
    np.testing.assert_array_equal(parting.staying(head), own)
    np.testing.assert_array_equal(parting.travelling(head), np.tile(parting.travelling(first), (3, 1)))


def test_fedbn_is_fedper_with_the_layers_that_normalise() -> None:
    residual = {"kind": "residual-mlp", "hidden": None, "width": 3, "depth": 1}
    by_kind, by_name = (
        _setup(personal, model=residual)
        for personal in ({"name": "fedbn"}, {"name": "fedper", "layers": ["1.norm", "2"]})
    )
    assert by_kind.parting.common.fingerprint == by_name.parting.common.fingerprint
    np.testing.assert_array_equal(_models(_done(by_kind)[-1]), _models(_done(by_name)[-1]))


def test_ditto_without_a_pull_is_each_client_by_itself() -> None:
    setup = _setup({"name": "ditto", "pull": 0.0})
    np.testing.assert_array_equal(_models(_done(setup)[-1]), _alone(setup))


@pytest.mark.parametrize("training", [{}, {"clip_norm": 0.5}, {"batched": False}])
def test_ditto_takes_the_steps_of_its_own_model_pulled_to_what_came(training: dict[str, Any]) -> None:
    setup = _setup({"name": "ditto", "pull": 0.7}, training=training)
    stages = _done(setup)
    came = [setup.initial_weights(), *(stage.state.weights for stage in stages)]
    np.testing.assert_array_equal(_models(stages[-1]), _alone(setup, 0.7, came))


def test_the_stronger_the_pull_the_nearer_is_an_own_model_to_what_came() -> None:
    far = []
    for pull in (0.0, 0.3, 1.0, 3.0):
        stages = _done(_setup({"name": "ditto", "pull": pull}))
        far.append(np.linalg.norm(_models(stages[-1]) - stages[-2].state.weights, axis=1))
    assert (np.diff(far, axis=0) < 0).all()
    assert (far[-1] < 0.5 * far[0]).all()


def test_fine_tuning_of_no_pass_is_the_common_model() -> None:
    stage = _done(_setup({"name": "fine-tuning", "epochs": 0}))[-1]
    np.testing.assert_array_equal(_models(stage), np.tile(stage.state.weights, (3, 1)))


def test_with_few_validation_failures_the_last_pass_is_kept() -> None:
    setup = _setup({"name": "fine-tuning", "epochs": 2})
    stage = _done(setup)[-1]
    work = setup.work().personal
    assert work is not None
    assert work.afterwards is not None
    assert setup.splits.validation.labels.sum() < 20
    expected: Any = stage.state.weights
    for number, rate in enumerate([1.0, 0.5]):
        own = keys(setup.rules.seed, "personal models", ROUNDS + 1, EVERYBODY)
        key = derived_keys(own, "passes after the last round", number)
        expected = work.afterwards.train(setup.splits.train, EVERYBODY, expected, key, rate).weights
    np.testing.assert_array_equal(_models(stage), expected)


def test_with_enough_validation_failures_the_pass_of_the_lowest_loss_is_kept_and_none_counts() -> None:
    steep = {"learning_rate": 3.0, "batch_size": 16}
    personal = {"name": "fine-tuning", "epochs": 3}
    setup = _setup(personal, training=steep, data={"rows": 10_000}, clients={"validation": 0.4})
    stage, held, work = setup.begin(), setup.splits.validation, setup.work().personal
    assert isinstance(stage, WeightsStage)
    assert work is not None
    assert work.afterwards is not None
    weights: Any = np.tile(stage.state.weights, (3, 1))
    passes, own = [weights], keys(setup.rules.seed, "personal models", 1, EVERYBODY)
    for number, rate in enumerate([1.0, 0.75, 0.25]):
        key = derived_keys(own, "passes after the last round", number)
        weights = work.afterwards.train(setup.splits.train, EVERYBODY, weights, key, rate).weights
        passes.append(weights)
    models = _models(stage)
    for client in range(3):
        features, labels = held.features[held.rows(client)], held.labels[held.rows(client)]
        assert labels.sum() >= 20
        risks = [expit(setup.trainer.score(each[client], features).astype(float)) for each in passes]
        best = int(np.argmin([log_loss(labels, risk) for risk in risks]))
        np.testing.assert_array_equal(models[client], passes[best][client])


def test_fine_tuning_of_the_last_layer_leaves_the_others_as_they_came() -> None:
    setup = _setup({"name": "fine-tuning", "layers": ["2"]})
    stage = _done(setup)[-1]
    models, base = _models(stage), setup.parting.layout.mask(["0"])
    np.testing.assert_array_equal(models[:, base], np.tile(stage.state.weights[base], (3, 1)))
    assert (models[:, ~base] != stage.state.weights[~base]).any(axis=1).all()


@pytest.mark.parametrize("name", ["fedper", "fedrep", "ditto", "fine-tuning"])
def test_a_resumed_run_gives_the_same_models_bit_for_bit(name: str, tmp_path: Path) -> None:
    setup = _setup({"name": name})
    stages = _done(setup)
    save_checkpoint(tmp_path / "it", Checkpoint.of(stages[0].state))
    again = _setup({"name": name})
    stage = again.restore(load_checkpoint(tmp_path / "it"))
    assert isinstance(stage, WeightsStage)
    resumed = _done(again, stage)
    np.testing.assert_array_equal(resumed[-1].state.weights, stages[-1].state.weights)
    np.testing.assert_array_equal(_models(resumed[-1]), _models(stages[-1]))


@pytest.mark.parametrize(("name", "stays"), [("fedper", True), ("ditto", False)])
def test_a_client_that_never_trained_has_the_first_values_and_is_named(name: str, stays: bool) -> None:
    setup = _setup({"name": name}, strategy={"selection": {"name": "uniform", "count": 1}}, federation={"rounds": 1})
    stage = _done(setup)[-1]
    made = stage.personalise(EVERYBODY, STANDARD_EDGES)
    assert made is not None
    assert len(made.untrained) == 2
    expected = setup.parting.whole(stage.state.weights)
    for client in made.untrained:
        np.testing.assert_array_equal(made.models[client], expected)
    (trained,) = set(EVERYBODY.tolist()) - set(made.untrained)
    assert (made.models[trained] != expected).any()
    assert setup.parting.is_whole != stays


def test_a_client_whose_answer_is_lost_keeps_the_part_from_before() -> None:
    setup = _setup({"name": "fedper"})
    honest = setup.work().handlers()[TRAIN]

    def forgetful(tasks: Tasks, store: Store) -> Replies:
        replies = honest(tasks, store)
        if tasks.round == 2 and len(tasks) > 1:
            raise ClientError("one by one")
        return replace(replies, fingerprint="lost") if tasks.round == 2 and tasks.clients[0] == 1 else replies

    handlers = {**setup.work().handlers(), TRAIN: forgetful}
    losing = replace(setup, grid=InProcessGrid(setup.splits.train.names, Worker(handlers)))
    first, second, _ = _done(losing)
    name = f"personal.{setup.parting.common.fingerprint}"
    before, after = (kept_by_clients(stage.state).rows(name, EVERYBODY, np.empty(0)) for stage in (first, second))
    assert (after != before).any(axis=1).tolist() == [True, False, True]


def test_own_models_are_counted_on_their_clients_rows_and_own_rows_alone() -> None:
    setup = _setup({"name": "ditto"})
    made = _done(setup)[-1].personalise(EVERYBODY, STANDARD_EDGES)
    assert made is not None
    test = setup.splits.test
    counts = made.record.counts["test"]
    assert counts["histogram"].sum(axis=(1, 2)).tolist() == test.sizes.tolist()
    for client in range(3):
        logits = setup.trainer.score(made.models[client], test.features[test.rows(client)])
        above = int((logits >= STANDARD_EDGES[500]).sum())
        assert counts["histogram"][client, :, 501:].sum() == above


def test_no_run_without_personal_parts_makes_own_models() -> None:
    stage = _setup({}).begin()
    assert isinstance(stage, WeightsStage)
    assert stage.personalise(EVERYBODY, STANDARD_EDGES) is None


def test_what_stayed_by_other_layers_is_not_read() -> None:
    done, other = _setup({"name": "fedper"}), _setup({"name": "fedper", "layers": ["2.bias", "0.bias"]})
    assert (~done.parting.leaves).sum() == (~other.parting.leaves).sum() == 5
    stage, personal = _done(done)[-1], other.work().personal
    assert personal is not None
    common = np.zeros(other.parting.common.num_parameters, np.float32)
    whole = personal.completed(common, EVERYBODY, kept_by_clients(stage.state))
    np.testing.assert_array_equal(
        other.parting.staying(whole), np.tile(other.parting.staying(other.parting.first), (3, 1))
    )


@pytest.mark.parametrize(
    ("personal", "sections", "match"),
    [
        ({"name": "fedbn"}, {}, "needs a network with layers that normalise, got one of 0.weight"),
        ({"name": "fedper", "layers": ["tail"]}, {}, "layers must be among 0.weight, .* got 'tail'"),
        ({"name": "fedper", "pull": 1.0}, {}, "of 'fedper' takes no option pull; it takes layers"),
        ({"name": "none", "layers": ["0"]}, {}, "of 'none' takes no option layers; it takes none"),
        ({"name": "ditto", "pull": 9.0}, {}, r"pull x training.learning_rate must be at most 1, got 2\.7"),
        ({"name": "fedper"}, {"model": {"initial": "client"}}, "model.initial must be random where layers stay"),
        ({"name": "ditto"}, {"federation": {"deliver_every": 2}}, "federation.deliver_every must be 0"),
        ({"name": "fedper"}, {"evaluation": {"contributions": True}}, "contributions must be false where layers stay"),
        ({"name": "ditto"}, {"strategy": {"pace": {"close": "first", "updates": 2}}}, "pace.close must be all where"),
        (
            {"name": "fedper"},
            {"strategy": {"selection": {"name": "greedyfed", "count": 2}}, "clients": {"server": 0.3}},
            "must not judge models on the server's rows where layers stay",
        ),
        ({"name": "ditto"}, {"model": {"kind": "trees", "hidden": None}}, "strategy.personal is for networks"),
    ],
)
def test_what_does_not_fit_personal_parts_is_refused_by_name(
    personal: dict[str, Any], sections: dict[str, Any], match: str
) -> None:
    with pytest.raises((ConfigError, ModelError), match=match):
        _checked_setup(personal, sections)


def _checked_setup(personal: dict[str, Any], sections: dict[str, Any]) -> None:
    config = _config(personal, **sections)
    family_of(config).check(config)
    simulate_network(config, divide(read_table(config), config).population)
