from __future__ import annotations

import pytest

from tests.deployed import small_config
from werkbund.audit.cells import RowsOfCells
from werkbund.config import Config
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.partition.population import Population


@pytest.fixture(scope="module")
def scene() -> tuple[Config, Population]:
    config = small_config(data={"rows": 300}, model={"kind": "trees", "hidden": None}, trees={"max_depth": 6})
    return config, divide(read_table(config), config).population


def test_all_that_a_node_of_one_row_tells_is_a_row_of_that_plant(scene: tuple[Config, Population]) -> None:
    seen = RowsOfCells(3).seen(*scene)
    told = set(seen._alone(in_sum=False))
    assert len(told) >= 2
    assert told == seen.told()
    assert set(seen._alone(in_sum=True)) == seen.told(in_sum=True)


def test_cells_of_enough_rows_and_sums_tell_fewer(scene: tuple[Config, Population]) -> None:
    singly, in_sum, least = (one.error for one in RowsOfCells(3).play(*scene))
    assert singly is not None
    assert in_sum is not None
    assert singly < in_sum <= 1
    assert least == 1
