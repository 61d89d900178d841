import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data.ai4i import generated_table
from werkbund.partition.iid import iid


def test_rows_are_dealt_evenly() -> None:
    made = iid(generated_table(1003, 1, 0), 10, np.random.default_rng(0))
    assert sorted(made.sizes.tolist()) == [100] * 7 + [101] * 3


def test_neighbouring_rows_meet_by_chance_alone() -> None:
    made = iid(generated_table(20_000, 1, 0), 4, np.random.default_rng(1))
    together = np.mean(made.assignment[1:] == made.assignment[:-1])
    assert abs(together - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 20_000)


def test_machines_are_dealt_whole_and_evenly() -> None:
    table = generated_table(5000, 1, 0)
    made = iid(table, 4, np.random.default_rng(2), unit="machines")
    machines = table.schema.machines(table.frame)
    pairs = np.unique(np.stack([machines, made.assignment]), axis=1)
    assert pairs.shape[1] == machines.max() + 1
    per_client = np.bincount(pairs[1])
    assert per_client.max() - per_client.min() <= 1
    assert (np.diff(made.assignment) < 0).any()


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ConfigError, match="unit must be one of rows, machines, got 'tools'"):
        iid(generated_table(10, 1, 0), 2, np.random.default_rng(0), unit="tools")  # type: ignore[arg-type]
