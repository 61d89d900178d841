"""On the AI4I rows, however they are divided among plants, the trees are those of the pooled rows, bit for bit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trees.protocol.treefed import TreeFederation, divided
from werkbund.data import Table
from werkbund.data.ai4i import AI4I_SCHEMA, generated_table, locate
from werkbund.data.sources import source_for
from werkbund.engine import Rules
from werkbund.partition import partition_table
from werkbund.trees.arithmetic import TreePlan
from werkbund.trees.protocol.state import TreeState
from werkbund.trees.rows.local import train_trees
from werkbund.trees.rows.table import TreeTable

LEVELS = (3, *[0] * 8)


@dataclass(frozen=True)
class Readings:
    """Hold a table, its type as a level with five readings and three of physics, and whether the machine failed."""

    table: Table
    x: Any
    y: Any


@pytest.fixture(scope="module", params=["real", "generated"])
def readings(request: pytest.FixtureRequest) -> Readings:
    table = generated_table(rows=3000, plants=3, seed=7)
    if request.param == "real":
        path = locate(None, os.environ, Path(__file__).parents[3])
        if path is None:
            pytest.skip("no AI4I 2020 file in WERKBUND_DATA, ../shared/data or the user's cache")
        table = Table(source_for(path).read()[0], AI4I_SCHEMA, table.origin)
    frame = table.frame
    names = [column.name for column in AI4I_SCHEMA.features]
    kinds = np.searchsorted(np.unique(frame[names[0]].to_numpy()), frame[names[0]].to_numpy())
    air, process, speed, torque, wear = (frame[name].to_numpy().astype(float) for name in names[1:])
    physics = [process - air, torque * speed * 2 * np.pi / 60, wear * torque]
    x = np.column_stack([kinds, air, process, speed, torque, wear, *physics])
    return Readings(table, x, AI4I_SCHEMA.labels(frame).astype(float))


def _divisions(readings: Readings, seed: int) -> dict[str, TreeTable]:
    x, y, rng = readings.x, readings.y, np.random.default_rng(seed)
    n = len(y)
    blocks = partition_table("tool-blocks", readings.table, 8, rng, {})
    found = {"by type": divided(x, y, x[:, 0].astype(int), 3), "tool blocks": divided(x, y, blocks.assignment, 8)}
    for clients in (5, 10):
        found[f"{clients} alike"] = divided(x, y, rng.integers(0, clients, n), clients)
    for alpha in (0.3, 0.1):
        shares = rng.dirichlet([alpha] * 6, 2)
        owner = np.array([rng.choice(6, p=shares[int(label)]) for label in y])
        found[f"Dirichlet {alpha}"] = divided(x, y, owner, 6)
    found["one without a positive"] = divided(x, y, np.where(y > 0, 1, rng.integers(0, 3, n)), 3)
    found["one with one row"] = divided(x, y, np.concatenate(([0], rng.integers(1, 4, n - 1))), 4)
    return found


def test_a_block_of_tools_cuts_no_tool(readings: Readings) -> None:
    blocks = partition_table("tool-blocks", readings.table, 8, np.random.default_rng(0), {}).assignment
    tools = readings.table.schema.machines(readings.table.frame)
    owners = [set(blocks[tools == tool].tolist()) for tool in np.unique(tools)]
    assert {len(own) for own in owners} == {1}
    assert np.unique(blocks).tolist() == [*range(8)]
    assert len(owners) >= 16


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("method", ["boosting", "sampled boosting", "forest"])
def test_federated_trees_are_the_pooled_ones(method: str, seed: int, readings: Readings) -> None:
    x, y = readings.x, readings.y
    plan, kind = {
        "boosting": (TreePlan.boosting(5, max_depth=5), "logistic"),
        "sampled boosting": (TreePlan.boosting(5, max_depth=5, row_share=0.7, tree_features=0.7), "logistic"),
        "forest": (TreePlan.random_forest(4, 4, max_depth=8), "share"),
    }[method]
    rules = Rules(seed, 1.0, 60.0, "")
    pooled = TreeTable.build(x, y)
    terms = TreeFederation.of(pooled).agree(plan, kind, levels=LEVELS).terms  # type: ignore[arg-type]
    *_, right = train_trees(pooled, terms, plan, seed)
    assert right.trees.num_leaves > 20
    for name, table in _divisions(readings, seed).items():
        federation = TreeFederation.of(table)
        agreed = federation.agree(plan, kind, levels=LEVELS)  # type: ignore[arg-type]
        found = federation.grow(plan, TreeState.begin(agreed.terms), rules=rules, evaluate=False)
        for tree in range(len(right.trees)):
            assert found[-1][0].ensemble.trees.take([tree]).digest == right.trees.take([tree]).digest, (name, tree)
        assert found[-1][0].ensemble.digest == right.digest, name
