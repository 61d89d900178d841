"""Attackers answer otherwise from their round on, honest clients as ever, and nothing is judged on attackers' rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tests.conftest import Federation
from werkbund.aggregation import Aggregator, FedAvg, build_aggregator
from werkbund.attack import build_attack
from werkbund.attack.answering import Scenario, UnderAttack
from werkbund.attack.population import APART, SpoiltRows, drawn_scenario
from werkbund.config import Config, check_config
from werkbund.core import Replies, Tasks
from werkbund.core.errors import ConfigError
from werkbund.core.store import RowStore
from werkbund.engine import InProcessGrid, RunState, Strategy, Worker, rounds
from werkbund.engine.kinds import EVALUATE, TRAIN
from werkbund.federation.families.networks import simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.learner import TrainingPlan
from werkbund.selection import Everyone

NAMES = tuple(f"plant {number}" for number in range(10))
WEIGHTS = np.arange(1.0, 6.0)
UPDATES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


def _train(tasks: Tasks) -> Replies:
    weight = WEIGHTS[tasks.clients]
    update = UPDATES[tasks.clients] * weight[:, None].astype(np.float32)
    return Replies(TRAIN, tasks.round, tasks.clients, {"update": update, "weight": weight, "loss": weight})


def _worker(scenario: Scenario) -> UnderAttack:
    worker = Worker({TRAIN: lambda tasks, store: _train(tasks), EVALUATE: lambda tasks, store: _train(tasks)})
    return UnderAttack(worker, worker, scenario)


def _tasks(round: int, clients: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Tasks:
    return Tasks(TRAIN, round, np.array(clients), {"weights": np.full(4, float(round), np.float32)})


def test_honest_updates_stay_bit_for_bit_and_attackers_see_those_of_their_batch() -> None:
    worker = _worker(Scenario(build_attack("ipm", {"epsilon": 2.0}), np.array([1, 4]), from_round=3))
    before, after = worker(_tasks(2)), worker(_tasks(3))
    plain = _train(_tasks(3))
    np.testing.assert_array_equal(before.sums["update"], plain.sums["update"])
    honest = [0, 2, 3]
    np.testing.assert_array_equal(after.sums["update"][honest], plain.sums["update"][honest])
    expected = -2.0 * UPDATES[honest].mean(axis=0, dtype=np.float64) * WEIGHTS[[1, 4]][:, None]
    np.testing.assert_allclose(after.sums["update"][[1, 4]], expected, rtol=1e-6)
    for name in ("weight", "loss"):
        np.testing.assert_array_equal(after.sums[name], plain.sums[name])


def test_attackers_among_themselves_know_their_own_updates_alone() -> None:
    worker = _worker(Scenario(build_attack("ipm", {"epsilon": 1.0}), np.array([1, 4])))
    sent = worker(_tasks(1, (1,))).sums["update"]
    np.testing.assert_allclose(sent, -UPDATES[[1]] * 2.0, rtol=1e-6)


def test_nobody_attacks_where_no_attacker_is_asked_or_nothing_is_trained() -> None:
    worker = _worker(Scenario(build_attack("sign-flip", {}), np.array([1])))
    np.testing.assert_array_equal(worker(_tasks(1, (0, 2))).sums["update"], _train(_tasks(1, (0, 2))).sums["update"])
    asked = Tasks(EVALUATE, 1, np.array([1]))
    np.testing.assert_array_equal(worker(asked).sums["update"], _train(asked).sums["update"])


def test_noise_is_that_of_its_round_and_client_whoever_is_asked_along() -> None:
    worker = _worker(Scenario(build_attack("gaussian", {}), np.array([1, 4]), seed=7))
    both, alone = worker(_tasks(5)).sums["update"], worker(_tasks(5, (0, 4))).sums["update"]
    np.testing.assert_array_equal(both[4], alone[1])
    assert (worker(_tasks(6)).sums["update"][4] != both[4]).all()


def test_a_disguised_free_rider_watches_the_weights_in_the_clients_store() -> None:
    scenario = Scenario(build_attack("free-rider", {"disguised": True}), np.array([1]))
    worker = _worker(scenario)
    assert not worker(_tasks(1)).sums["update"][1].any()
    assert not worker(_tasks(2)).sums["update"][1].any()  # the weights moved alike: their change has no spread
    moved = Tasks(TRAIN, 3, np.arange(5), {"weights": np.array([0, 4, 0, 4], np.float32)})
    kept = worker.store.arrays()
    first = worker(moved).sums["update"][1]
    assert first.any()
    store = RowStore()
    store.go_back(kept)
    resumed = _worker(scenario)
    resumed.store.go_back(kept)
    np.testing.assert_array_equal(resumed(moved).sums["update"][1], first)


def test_attackers_are_drawn_by_the_seed_or_named() -> None:
    attack = build_attack("sign-flip", {})
    drawn = [drawn_scenario(attack, NAMES, 0.25, 1, seed).clients.tolist() for seed in range(20)]
    assert all(len(clients) == 2 and clients == sorted(clients) for clients in drawn)
    assert drawn[0] == drawn_scenario(build_attack("ipm", {}), NAMES, 0.25, 1, 0).clients.tolist()
    assert len({tuple(clients) for clients in drawn}) > 10
    assert drawn_scenario(attack, NAMES, 0.01, 1, 0).clients.shape == (1,)
    assert drawn_scenario(attack, NAMES, ["plant 7", "plant 2"], 1, 0).clients.tolist() == [2, 7]
    with pytest.raises(ConfigError, match=r"must name clients, got 'plant x'; did you mean plant"):
        drawn_scenario(attack, NAMES, ["plant x"], 1, 0)
    with pytest.raises(ConfigError, match=r"must leave an honest client, got 10 attackers of 10"):
        drawn_scenario(attack, NAMES, 1.0, 1, 0)


def _config(kind: str = "none", **attack: object) -> Config:
    return check_config(
        {
            "federation": {"rounds": 3},
            "data": {"source": "generator", "rows": 1200, "plants": 5},
            "clients": {"count": 5},
            "model": {"hidden": [4]},
            "attack": {"kind": kind, **attack},
        }
    )


@pytest.mark.parametrize("kind", ["label-flip", "backdoor", "broken-sensor", "duplicated-rows"])
def test_honest_training_rows_stay_and_attackers_rows_are_spoilt(kind: str) -> None:
    config = _config()
    population = divide(read_table(config), config).population
    clean, attack = simulate_network(config, population), build_attack(kind, {})
    train = clean.splits.train
    spoilt = SpoiltRows(population, clean.preparation, Scenario(attack, np.array([1]))).train(train)
    for client in range(5):
        same = np.array_equal(spoilt.features[spoilt.rows(client)], train.features[train.rows(client)])
        same &= np.array_equal(spoilt.labels[spoilt.rows(client)], train.labels[train.rows(client)])
        assert same == (client != 1)


def test_figures_are_over_rows_of_honest_clients_and_attackers_rows_stand_apart() -> None:
    table = read_table(_config())
    plain, judged = (divide(table, _config(kind, share=0.4)).population for kind in ("none", "reference"))
    attackers = drawn_scenario(build_attack("reference", {}), plain.names, 0.4, 1, 0).clients
    assert len(attackers) == 2
    for split in ("validation", "test", "later"):
        before, after = (np.diff(each.splits[split].offsets) for each in (plain, judged))
        np.testing.assert_array_equal(after, np.where(np.isin(np.arange(5), attackers), 0, before))
    np.testing.assert_array_equal(judged.splits["train"].rows, plain.splits["train"].rows)
    apart, test = judged.splits[APART], plain.splits["test"]
    np.testing.assert_array_equal(apart.of(attackers).rows, test.of(attackers).rows)
    assert len(apart.rows) + len(judged.splits["test"].rows) == len(test.rows)


def _average_precision(built: Federation, scenario: Scenario | None, rule: Aggregator) -> float:
    """Train a federation, attacked or not, and return its score on the test rows of everybody."""
    grid, strategy = built.grid, Strategy(Everyone(), rule)
    if scenario is not None:
        worker = Worker(built.handlers())
        grid = InProcessGrid(grid.clients(), UnderAttack(worker, worker, scenario))
    start, test = RunState.begin(built.state.weights, strategy), built.splits.test
    *_, (state, _) = rounds(grid, strategy, built.rules, start, 20)
    return float(average_precision_score(test.labels, built.work.trainer.score(state.weights, test.features)))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("sign-flip", {"kappa": 10.0}), ("gaussian", {"scale": 50.0}), ("ipm", {"epsilon": 10.0})],
)
def test_attacks_ruin_the_mean_and_rules_that_bear_them_keep_their_score(
    federation: Callable[..., Federation], kind: str, options: dict[str, float]
) -> None:
    built = federation((80,) * 10, plan=TrainingPlan(learning_rate=0.1))
    scenario = Scenario(build_attack(kind, options), np.array([2, 5]))
    plain = _average_precision(built, None, FedAvg(momentum=0.0))
    assert plain > 0.9
    assert _average_precision(built, scenario, FedAvg(momentum=0.0)) < 0.75
    for rule in ("median", "multi-krum", "geometric-median"):
        kept = _average_precision(built, scenario, build_aggregator(rule, momentum=0.0))
        assert kept > 0.95 * plain, (rule, kept, plain)


OWN = '''
from dataclasses import dataclass
from typing import ClassVar

from werkbund.core.methods import option


@dataclass(frozen=True)
class Louder:
    """Send one's own update several times as long."""

    times: float = option(3.0, "How many times as long.", above=1)

    name: ClassVar[str] = "louder"
    what: ClassVar[str] = "shouts"
    watches: ClassVar[bool] = False

    def sent(self, scene):
        return self.times * scene.own
'''


def test_an_attack_of_ones_own_is_named_by_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "louder.py").write_text(OWN)
    place = f"{tmp_path / 'louder.py'}:Louder"
    worker = _worker(Scenario(build_attack(place, {"times": 2}), np.array([1])))
    np.testing.assert_allclose(worker(_tasks(1)).sums["update"][1], 2.0 * 2.0 * UPDATES[1], rtol=1e-6)
    with pytest.raises(ConfigError, match=r"attack.times must be > 1, got 0.5"):
        build_attack(place, {"times": 0.5})
