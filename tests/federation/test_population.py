"""Rows, wrong labels and outer machines are where they should be, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from werkbund.config import check_config
from werkbund.core.errors import ConfigError
from werkbund.data import Column, Origin, Schema, Table
from werkbund.federation.population import Division, divide
from werkbund.federation.tables import read_table
from werkbund.partition.population import noisy_clients, outer_rows
from werkbund.partition.split import SPLITS, is_outer


def _divided(seed: int = 3, **clients: Any) -> Division:
    config = check_config(
        {
            "data": {"source": "generator", "rows": 3000},
            "clients": {"count": 6, **clients},
            "federation": {"seed": seed},
        }
    )
    return divide(read_table(config), config)


def _labels(division: Division, split: str, client: int) -> np.ndarray[Any, Any]:
    raw = division.population.splits[split]
    rows = raw.rows[raw.offsets[client] : raw.offsets[client + 1]]
    return division.population.schema.labels(raw.frame)[rows]


def test_noisy_plants_turn_over_a_share_of_their_labels_and_test_labels_stay_true() -> None:
    true, noisy = _divided(), _divided(noisy=2, noise=0.3)
    chosen = set(noisy_clients(6, 2, 3).tolist())
    assert len(chosen) == 2
    for client in range(6):
        assert (_labels(true, "test", client) == _labels(noisy, "test", client)).all()
        for split in ("train", "validation"):
            turned = (_labels(true, split, client) != _labels(noisy, split, client)).mean()
            assert (0.15 < turned < 0.45) if client in chosen else turned == 0.0


def test_rows_and_clients_stay_the_same() -> None:
    true, noisy = _divided(), _divided(noisy=1)
    for split in SPLITS:
        assert (true.population.splits[split].rows == noisy.population.splits[split].rows).all()


def test_more_noisy_plants_than_plants_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"clients\.noisy must be at most the number of clients, 6, got 7"):
        _divided(noisy=7)


def _machines_of(division: Division) -> set[int]:
    return set(division.table.schema.machines(division.table.frame).tolist())


def _machines_in(division: Division, split: str) -> set[int]:
    raw, schema = division.population.splits[split], division.population.schema
    return set(schema.machines(division.table.frame)[raw.rows].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_outer_machines_are_in_no_part_while_tuning_and_are_the_test_rows_of_a_report(seed: int) -> None:
    tuning, report = _divided(seed, outer="tune"), _divided(seed, outer="report")
    outer = {number for number in _machines_of(report) if is_outer(str(number))}
    assert outer
    for split in SPLITS:
        assert _machines_in(tuning, split).isdisjoint(outer)
    assert _machines_in(report, "test") == outer
    assert (_machines_in(report, "train") | _machines_in(report, "validation")) == _machines_of(report) - outer


def test_plants_are_the_same_whether_outer_machines_are_kept_or_not() -> None:
    every = _divided()
    for how in ("tune", "report"):
        np.testing.assert_array_equal(_divided(outer=how).partition.assignment, every.partition.assignment)


def test_outer_machines_are_known_by_their_ids_alone_whatever_order_plants_and_seed() -> None:
    names = [f"press {number}" for number in range(40)]
    wanted = {name for name in names if is_outer(name)}
    assert 4 < len(wanted) < 20
    schema = Schema("failed", (Column("heat", "number"),), machine="tool")
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(400)
        frame = pl.DataFrame({"tool": names * 10, "heat": 1.0, "failed": 0})[order]
        rows = outer_rows(Table(frame, schema, Origin("file")))
        assert set(frame["tool"].filter(pl.Series(rows)).to_list()) == wanted
        assert rows.sum() == 10 * len(wanted)


def test_outer_machines_of_a_table_without_machines_are_refused() -> None:
    frame = pl.DataFrame({"heat": [1.0], "failed": [0]})
    with pytest.raises(ConfigError, match=r"clients\.outer must be none where the table tells no machines apart"):
        outer_rows(Table(frame, Schema("failed", (Column("heat", "number"),)), Origin("file")))


def test_every_block_of_the_built_in_federation_has_outer_tools_and_others() -> None:
    outer = np.array([is_outer(str(number)) for number in range(120)]).reshape(10, 12)
    assert outer.any(axis=1).all()
    assert not outer.all(axis=1).any()
    assert 0.2 < outer.mean() < 0.4
