"""Whoever begins later begins from the same first weights: training leaves no trace in the network."""

from __future__ import annotations

import pytest

from werkbund.config import check_config
from werkbund.federation.families.networks import simulate_network, with_strategy, without_federation
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train


@pytest.mark.parametrize("training", [{"batched": False}, {"compiled": False}, {}])
@pytest.mark.parametrize("model", [{}, {"kind": "residual-mlp"}])
def test_a_second_training_begins_where_the_first_did(training: dict[str, bool], model: dict[str, str]) -> None:
    config = check_config(
        {
            "federation": {"rounds": 2},
            "data": {"source": "generator", "rows": 400},
            "clients": {"count": 4},
            "training": training,
            "model": model,
        }
    )
    setup = simulate_network(config, divide(read_table(config), config).population)
    before = setup.initial_weights().copy()
    once = train(setup)
    assert (setup.initial_weights() == before).all()
    train(without_federation(setup, setup.splits.pooled()))
    assert (setup.initial_weights() == before).all()
    again = train(with_strategy(setup, config))
    assert (once.learnt["weights"] == again.learnt["weights"]).all()
