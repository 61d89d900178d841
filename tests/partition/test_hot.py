"""One client alone sees a failure mode."""

from __future__ import annotations

import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.data.ai4i import generated_table
from werkbund.partition import partition_table

TABLE = generated_table(3000, 6, 0)
FLAGS, MODES = TABLE.schema.mode_flags(TABLE.frame)


@pytest.mark.parametrize("base", ["tool-blocks", "iid"])
@pytest.mark.parametrize("mode", [None, *MODES[:2]])
def test_every_failure_of_the_mode_is_at_one_client(base: str, mode: str | None) -> None:
    made = partition_table("hot-mode", TABLE, 6, np.random.default_rng(1), {"mode": mode, "base": base})
    column = int(np.argmax(FLAGS.sum(axis=0))) if mode is None else MODES.index(mode)
    assert len(np.unique(made.assignment[FLAGS[:, column]])) == 1
    others = partition_table(base, TABLE, 6, np.random.default_rng(1), {})
    assert (made.assignment == others.assignment)[~FLAGS[:, column]].all()


def test_the_client_is_drawn() -> None:
    rows = FLAGS[:, int(np.argmax(FLAGS.sum(axis=0)))]
    drawn = [partition_table("hot-mode", TABLE, 6, np.random.default_rng(seed), {}) for seed in range(12)]
    assert len({int(made.assignment[rows][0]) for made in drawn}) > 1


def test_a_mode_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mode must be one of .*got 'XYZ'"):
        partition_table("hot-mode", TABLE, 6, np.random.default_rng(0), {"mode": "XYZ"})
