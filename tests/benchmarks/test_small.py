from __future__ import annotations

import numpy as np
import pytest

from benchmarks.aggregation import Arrivals, collected, folded, peak_models
from benchmarks.federation import scaffold_row, werkbund_rows
from benchmarks.floor import floor_row
from benchmarks.models import SPECS, rows_of
from benchmarks.plain import central_row, sequential_row
from benchmarks.robust import MEAN, OF_DISTANCES, measure
from benchmarks.scale import scaled
from benchmarks.secure_sums import costs
from benchmarks.tuning import SETTINGS, config_of
from benchmarks.workload import Workload
from werkbund.aggregation import AGGREGATORS, build_aggregator
from werkbund.config import check_config

TOLERANCE = 1e-4
ROUNDS = 2
BASE = np.random.default_rng(0).standard_normal(100_000, dtype=np.float32)


def test_all_rows_of_the_same_work_end_at_the_same_loss() -> None:
    workload = Workload(num_clients=3)
    rows = [*werkbund_rows(workload), sequential_row(workload), floor_row(workload)]
    outcomes = [row.run(ROUNDS) for row in rows if row is not None]
    assert [len(outcome.seconds) for outcome in outcomes] == [ROUNDS] * len(outcomes)
    assert [outcome.loss for outcome in outcomes] == pytest.approx([outcomes[0].loss] * len(outcomes), abs=TOLERANCE)


def test_a_row_starts_from_the_first_weights_every_time() -> None:
    workload = Workload(num_clients=2)
    for row in (*werkbund_rows(workload), sequential_row(workload)):
        assert row.run(1).loss == row.run(1).loss


def test_scaffold_is_of_other_work_from_the_second_round_on() -> None:
    workload = Workload(num_clients=3)
    own, row = werkbund_rows(workload)[0], scaffold_row(workload)
    assert not row.same_work
    assert row.run(1).loss == pytest.approx(own.run(1).loss, abs=1e-6)
    assert row.run(2).loss != own.run(2).loss


def test_the_central_pass_is_of_other_work() -> None:
    row = central_row(Workload(num_clients=2))
    assert not row.same_work
    assert np.isfinite(row.run(1).loss)


@pytest.mark.parametrize(("key", "way"), [("convolution", "batched"), ("mlp", "compiled")])
def test_other_networks_end_at_the_plain_loops_loss(key: str, way: str) -> None:
    werkbund, plain = rows_of(Workload(num_clients=2, spec=SPECS[key][1]))
    assert werkbund.note == way
    assert werkbund.run(ROUNDS).loss == pytest.approx(plain.run(ROUNDS).loss, abs=TOLERANCE)


def test_both_ways_of_aggregating_give_the_mean_update() -> None:
    expected = BASE * np.float32((1 + 2 + 3) / 3)
    for way in (folded, collected):
        for reuse in (True, False):
            np.testing.assert_allclose(way(Arrivals(BASE, 3, reuse), np.zeros_like(BASE)), expected, rtol=1e-6)


def test_the_rules_that_see_each_update_are_compared_with_the_mean_and_need_no_second_copy_of_all() -> None:
    measured = measure(num_clients=11, num_parameters=20_000, repetitions=1)
    seeing = {name for name in AGGREGATORS if build_aggregator(name).sees == "each"}
    assert measured.keys() == {MEAN, *seeing}
    assert {*OF_DISTANCES} <= seeing
    assert measured[MEAN]["ratio"] == 1.0
    assert all(one["peak"] < 0.6 for one in measured.values())


@pytest.mark.parametrize("name", ["fold", "collect"])
def test_updates_one_at_a_time_need_two_models_and_one_more_in_arrays_of_their_own(name: str) -> None:
    assert peak_models(name, BASE, reuse=True) < 2.1
    assert peak_models(name, BASE, reuse=False) < 3.1


def test_a_population_is_timed_round_by_round() -> None:
    one = scaled(clients=20, cohort=5, rounds=3)
    assert one.rounds == 2
    assert one.least_s <= one.round_s <= one.most_s
    assert np.isfinite(one.loss)


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_differ_from_the_defaults_and_are_tried_without_outer_machines(kind: str) -> None:
    first, *others = (config_of(kind, values, 3) for values in SETTINGS[kind])
    assert first == check_config({"model": {"kind": kind}, "federation": {"seed": 3}, "clients": {"outer": "tune"}})
    assert all(config != first and config.clients.outer == "tune" for config in others)


def test_every_way_of_adding_securely_gives_the_mean() -> None:
    ours, wide, flowers, *encrypted = costs(4, 3_000)
    assert wide.error < 1e-15 < ours.error < 1e-9 < flowers.error < 1e-5
    assert all(cost.error < 1e-5 for cost in encrypted)
    assert ours.sent < wide.sent < 8 * 3_000 + 2_000
    assert all(cost.sent > 40 * 3_000 for cost in encrypted)
