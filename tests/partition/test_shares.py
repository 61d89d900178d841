"""Even shares of machines and rows, and a failure mode that one client alone sees."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data import rules
from werkbund.data.ai4i import AI4I_SCHEMA, generated_table
from werkbund.data.generator import generate
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.partition import partition_table
from werkbund.partition.shares import iid, tool_blocks

RNG = np.random.default_rng(0)
TABLE = generated_table(rows=3000, plants=6, seed=0)
FLAGS, MODES = TABLE.schema.mode_flags(TABLE.frame)


def _file_like() -> Table:
    return Table(generate(rows=3000, plants=1, seed=0).drop("plant"), AI4I_SCHEMA, Origin("test"))


def test_no_tool_is_cut_and_clients_have_equally_many() -> None:
    table = _file_like()
    partition = tool_blocks(table, 7, RNG)
    tools = table.schema.machines(table.frame)
    owners = [np.unique(partition.assignment[tools == tool]) for tool in range(tools.max() + 1)]
    assert all(len(owner) == 1 for owner in owners)
    per_client = np.bincount(np.concatenate(owners))
    assert per_client.max() - per_client.min() <= 1


def test_blocks_follow_one_another_in_time() -> None:
    partition = tool_blocks(_file_like(), 7, RNG)
    assert (np.diff(partition.assignment) >= 0).all()


def test_every_block_begins_with_a_new_tool() -> None:
    table = _file_like()
    partition = tool_blocks(table, 7, RNG)
    wear = table.frame[rules.WEAR].to_numpy()
    assert all(wear[partition.rows(client)[0]] == 0 for client in range(7))


def test_as_many_blocks_as_tools_gives_each_client_one() -> None:
    table = generated_table(rows=1000, plants=1, seed=0)
    tools = table.schema.machines(table.frame)
    np.testing.assert_array_equal(tool_blocks(table, int(tools.max()) + 1, RNG).assignment, tools)


def test_interleaved_machines_stay_whole() -> None:
    frame = pl.DataFrame({"x": np.arange(12.0), "y": [0] * 12, "id": ["c", "a", "b", "d"] * 3})
    table = Table(frame, Schema("y", (Column("x", "number"),), machine="id"), Origin("test"))
    assert tool_blocks(table, 2, RNG).assignment.tolist() == [0, 0, 1, 1] * 3


def test_a_table_without_machines_is_refused_with_a_remedy() -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0, 1, 0]})
    table = Table(frame, Schema("y", (Column("x", "number"),)), Origin("test"))
    with pytest.raises(ConfigError, match=r"1\.\.1 \(number of machines\), got 2.*data.machine_reset"):
        tool_blocks(table, 2, RNG)


def test_rows_are_dealt_evenly() -> None:
    partition = iid(generated_table(rows=1003, plants=1, seed=0), 10, np.random.default_rng(0))
    assert sorted(partition.sizes.tolist()) == [100] * 7 + [101] * 3


def test_neighbouring_rows_meet_by_chance_alone() -> None:
    partition = iid(generated_table(rows=20_000, plants=1, seed=0), 4, np.random.default_rng(1))
    together = np.mean(partition.assignment[1:] == partition.assignment[:-1])
    assert abs(together - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 20_000)


def test_machines_are_dealt_whole_and_evenly() -> None:
    table = generated_table(rows=5000, plants=1, seed=0)
    partition = iid(table, 4, np.random.default_rng(2), unit="machines")
    machines = table.schema.machines(table.frame)
    pairs = np.unique(np.stack([machines, partition.assignment]), axis=1)
    assert pairs.shape[1] == machines.max() + 1
    per_client = np.bincount(pairs[1])
    assert per_client.max() - per_client.min() <= 1
    assert (np.diff(partition.assignment) < 0).any()


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match="unit must be one of rows, machines, got 'tools'"):
        iid(generated_table(rows=10, plants=1, seed=0), 2, np.random.default_rng(0), unit="tools")  # type: ignore[arg-type]


@pytest.mark.parametrize("base", ["tool-blocks", "iid"])
@pytest.mark.parametrize("mode", [None, *MODES[:2]])
def test_every_failure_of_the_mode_is_at_one_client(base: str, mode: str | None) -> None:
    partition = partition_table("hot-mode", TABLE, 6, np.random.default_rng(1), {"mode": mode, "base": base})
    column = int(np.argmax(FLAGS.sum(axis=0))) if mode is None else MODES.index(mode)
    assert len(np.unique(partition.assignment[FLAGS[:, column]])) == 1
    others = partition_table(base, TABLE, 6, np.random.default_rng(1), {})
    assert (partition.assignment == others.assignment)[~FLAGS[:, column]].all()


def test_the_client_is_drawn() -> None:
    rows = FLAGS[:, int(np.argmax(FLAGS.sum(axis=0)))]
    drawn = [partition_table("hot-mode", TABLE, 6, np.random.default_rng(seed), {}) for seed in range(12)]
    assert len({int(partition.assignment[rows][0]) for partition in drawn}) > 1


def test_a_mode_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mode must be one of .*got 'XYZ'"):
        partition_table("hot-mode", TABLE, 6, np.random.default_rng(0), {"mode": "XYZ"})
