"""Wrong labels are where they should be, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from werkbund.config import check_config
from werkbund.core.errors import ConfigError
from werkbund.federation.population import Division, divide
from werkbund.federation.tables import read_table
from werkbund.partition.population import noisy_clients
from werkbund.partition.split import SPLITS


def _divided(**clients: Any) -> Division:
    config = check_config(
        {"data": {"source": "generator", "rows": 3000}, "clients": {"count": 6, **clients}, "federation": {"seed": 3}}
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
