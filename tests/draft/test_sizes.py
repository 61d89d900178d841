"""Choices that follow from a table's size."""

from __future__ import annotations

import numpy as np
import pytest

from tests.draft.tables import ROWS, Drafted, machines
from werkbund.draft.sizes import TableSizes


@pytest.mark.parametrize("rows", [1, 10, 1000, 30_000, 1_000_000])
def test_batches_and_rounds_stay_within_their_bounds(rows: int) -> None:
    sizes = TableSizes("iid", 2, rows)
    assert 16 <= sizes.batch_size <= 1024
    assert sizes.batch_size.bit_count() == 1
    assert 50 <= sizes.rounds <= 100


def test_few_clients_must_all_answer() -> None:
    assert [TableSizes("iid", count, 100).quorum for count in (1, 2, 3, 4, 50)] == [1.0, 1.0, 1.0, 0.5, 0.5]


def test_rare_failures_are_weighted(drafted: Drafted) -> None:
    assert drafted(machines())[1].training.positive_weight == "none"
    text, config = drafted(machines(failed=(np.arange(ROWS) % 40 == 3).astype(int)))
    assert config.training.positive_weight == "sqrt"
    assert "There are 39 rows without failure for each one with." in text
