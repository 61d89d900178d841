from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.deployed import small_config
from werkbund.audit.updates import Differencing, FailureShare, RowsOfUpdate, Server, _found, servers
from werkbund.config import Config, changed
from werkbund.federation.families.networks import simulate_network
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.learner import weights_of
from werkbund.partition.population import Population


def _scene(**sections: dict[str, object]) -> tuple[Config, Population]:
    config = small_config(**sections)
    return config, divide(read_table(config), config).population


@pytest.fixture(scope="module")
def scene() -> tuple[Config, Population]:
    return _scene(model={"hidden": [32]})


@pytest.mark.parametrize(
    ("model", "weight"), [({"hidden": [8, 4]}, "balanced"), ({"kind": "logistic", "hidden": None}, 3.0)]
)
def test_one_step_from_zero_tells_the_share_of_failures_exactly(model: dict[str, object], weight: str | float) -> None:
    config, population = _scene(model=model, training={"positive_weight": weight})
    singly, in_sum = FailureShare().play(config, population)
    assert singly.error is not None
    assert in_sum.error is not None
    assert singly.error < 1e-5
    assert in_sum.error > 100 * singly.error


def test_a_batch_of_one_row_is_told_by_the_first_layer(scene: tuple[Config, Population]) -> None:
    singly, _ = RowsOfUpdate(False, rows=1).play(*scene)
    assert singly.error == 0


def test_of_logistic_regression_one_row_is_told_and_two_are_not() -> None:
    scene = _scene(model={"kind": "logistic", "hidden": None})
    assert [next(RowsOfUpdate(False, rows=rows).play(*scene)).error for rows in (1, 2)] == [0.0, 1.0]


def test_traps_tell_more_rows_than_a_network_as_it_begins_and_sums_tell_fewer(
    scene: tuple[Config, Population],
) -> None:
    honest, honest_sum = (one.error or 0.0 for one in RowsOfUpdate(False).play(*scene))
    trapped, trapped_sum = (one.error or 0.0 for one in RowsOfUpdate(True).play(*scene))
    assert trapped < 0.7 < honest
    assert trapped_sum > trapped
    assert honest_sum >= honest


def test_what_is_told_of_rows_is_compared_with_the_true_ones(scene: tuple[Config, Population]) -> None:
    """An update over other rows tells none of these."""
    _, server = next(servers(*scene, rows=1))
    simulation = server.simulation
    moved = replace(simulation.splits.train, features=simulation.splits.train.features + 1)
    other = replace(simulation, splits=replace(simulation.splits, train=moved))
    told = RowsOfUpdate(False)._told(simulation, server.updates(weights_of(simulation.network))[0])
    assert _found(told, simulation.splits.train.features).any()
    assert not _found(told, other.splits.train.features).any()


def test_what_comes_out_under_masks_tells_what_the_sum_does(scene: tuple[Config, Population]) -> None:
    config, population = scene
    masked = changed(config, privacy={"secure_sums": True})
    alone, hidden = FailureShare().play(masked, population)
    added = list(FailureShare().play(config, population))[1]
    assert hidden.protection == "secure sums"
    assert hidden.error == pytest.approx(added.error, abs=1e-4)
    assert alone.error is not None
    assert alone.error < 1e-5


def test_a_second_sum_without_one_plant_tells_that_plant_unless_plants_know_the_question_again() -> None:
    """What differs in something that the answer does not follow from is not known again, and told."""
    config, population = _scene(model={"hidden": [8]}, clients={"count": 5}, data={"plants": 5, "rows": 600})
    masked = changed(config, privacy={"secure_sums": True})
    same, varied = (list(Differencing(varied).play(masked, population)) for varied in (False, True))
    assert [one.protection for one in same] == ["none", "secure sums"]
    assert [one.error for one in (same[0], varied[0], varied[1])] == pytest.approx([0, 0, 0], abs=1e-4)
    assert same[1].error == 1
    assert "answered in a secure sum of other plants" in same[1].says


def test_the_sum_is_that_of_the_updates_by_rows(scene: tuple[Config, Population]) -> None:
    config, population = scene
    simulation = simulate_network(config, population)
    start = weights_of(simulation.network)
    each, together = Server(simulation).updates(start), Server(simulation, in_sum=True).updates(start)
    assert together[0] == pytest.approx(np.average(each, axis=0, weights=simulation.splits.train.sizes), abs=1e-6)
