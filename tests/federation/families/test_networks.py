"""Whoever begins later begins from the same first weights: training leaves no trace in the network."""

from __future__ import annotations

import pytest

from werkbund.config import changed, check_config
from werkbund.core.errors import ConfigError
from werkbund.engine import Rules
from werkbund.federation.families.judging import check_signals
from werkbund.federation.families.networks import simulate_network, with_strategy, without_federation
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.federation.training import train
from werkbund.federation.wiring import strategy_of


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


@pytest.mark.parametrize("name", ["tifl", "fedcs", "rbcs-f", "oort-energy", "battery", "fmore"])
def test_a_simulation_without_a_world_refuses_a_method_that_goes_by_what_a_world_tells(name: str) -> None:
    config = check_config(
        {
            "federation": {"rounds": 2},
            "data": {"source": "generator", "rows": 400},
            "clients": {"count": 4},
            "strategy": {"selection": {"name": name, "count": 2}},
        }
    )
    population = divide(read_table(config), config).population
    with pytest.raises(ConfigError, match=rf"got '{name}', which rests on .* set world\.preset"):
        simulate_network(config, population)
    simulate_network(changed(config, world={"preset": "uniform"}), population)


@pytest.mark.parametrize(("name", "refused"), [("tifl", False), ("fedcs", False), ("battery", True), ("fmore", True)])
def test_a_real_federation_measures_times_and_nothing_else_of_a_world(name: str, refused: bool) -> None:
    strategy = strategy_of(check_config({"strategy": {"selection": {"name": name}}}))
    rules = Rules(0, 1.0, 1.0, "")
    if not refused:
        check_signals(strategy, rules, ("seconds",))
        return
    with pytest.raises(ConfigError, match="in a real federation nobody measures it"):
        check_signals(strategy, rules, ("seconds",))
