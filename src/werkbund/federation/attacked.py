"""A simulated federation some of whose plants attack or are broken, and what a run says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from werkbund.attack.answering import Scenario, UnderAttack
from werkbund.attack.backdoor import Backdoor
from werkbund.attack.population import APART, SpoiltRows
from werkbund.attack.updates import LittleIsEnough
from werkbund.config.sections import Config
from werkbund.core.arrays import BoolArray
from werkbund.core.errors import ConfigError
from werkbund.core.store import RowStore
from werkbund.engine import InProcessGrid, Worker
from werkbund.federation.families.contract import Simulation
from werkbund.federation.families.networks import NetworkSimulation
from werkbund.federation.later import raw_figures
from werkbund.federation.training import Trained
from werkbund.federation.wiring import scenario_of
from werkbund.partition.population import Population


def refuse_attack(config: Config) -> None:
    """Refuse a configuration with attackers where plants are real.

    Raises
    ------
    ConfigError
        If it has some.
    """
    if config.attack.kind != "none":
        raise ConfigError(
            f"attack.kind must be none in a federation over a network, got {config.attack.kind!r}: attacks test rules "
            "of aggregation in one process, by werkbund run; drop [attack]"
        )


def under_attack(simulation: NetworkSimulation, population: Population) -> NetworkSimulation:
    """Return a simulation whose attackers attack; itself where there are none.

    Parameters
    ----------
    simulation
        With everybody honest.
    population
        Its rows, in raw units.

    Raises
    ------
    ConfigError
        If updates leave through layers that an attacker's answer would have to pass.
    """
    scenario = scenario_of(simulation.config, population.names)
    if scenario is None:
        return simulation
    if simulation.strategy.stack.layers:
        raise ConfigError("attack must see updates as they are, got layers of privacy around them; drop one of the two")
    spoilt = SpoiltRows(population, simulation.preparation, scenario).train(simulation.splits.train)
    store, attacked = RowStore(), replace(simulation, splits=replace(simulation.splits, train=spoilt))
    honest, hostile = (Worker(each.work().handlers(), store) for each in (simulation, attacked))
    return replace(simulation, grid=InProcessGrid(population.names, UnderAttack(honest, hostile, scenario)))


def about_attack(config: Config, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what run.json says of the attackers, under `attack`; nothing where there are none."""
    scenario = scenario_of(config, names)
    if scenario is None:
        return {}
    attack, number = scenario.attack, len(scenario.clients)
    options = asdict(attack)  # type: ignore[call-overload]
    if isinstance(attack, LittleIsEnough):
        options["z"] = attack.strength(len(names), number)  # as many standard deviations as its formula gives
    told = {
        "kind": config.attack.kind,
        "what": attack.what,
        "options": options,
        "attackers": [names[client] for client in scenario.clients.tolist()],
        "from_round": scenario.from_round,
    }
    return {"attack": told}


def with_attack(
    result: Mapping[str, Any], setup: Simulation, population: Population, trained: Trained
) -> dict[str, Any]:
    """Add to the content of result.json, in front, who attacked and what that did; nothing where nobody did.

    Beside what `about_attack` says: `apart`, how the model that each attacker uses does on its own test rows, which
    stay as they were and are in no other figure; and of a back door `success`, the share of the honest clients'
    failures in test rows that raise no alarm once the pattern is stamped on them.
    """
    scenario = scenario_of(setup.config, population.names)
    if scenario is None:
        return dict(result)
    models = {client: trained.of_client(client) for client in scenario.clients.tolist()}
    apart = raw_figures(setup, population, models, APART)
    told = about_attack(setup.config, population.names)["attack"]
    told["apart"] = [{"name": population.names[client], **figures} for client, figures in apart.items()]
    if isinstance(scenario.attack, Backdoor):
        told["success"] = backdoor_success(setup, population, trained, scenario, scenario.attack)
    return {"attack": told, **result}


def backdoor_success(
    setup: Simulation, population: Population, trained: Trained, scenario: Scenario, attack: Backdoor
) -> float:
    """Return the share of honest clients' failures with a back door's pattern that raise no alarm; NaN without any.

    Parameters
    ----------
    setup, population, trained
        The federation, its rows and its model.
    scenario
        Who attacks, of whom nobody is judged.
    attack
        Whose pattern is stamped.
    """
    rows, silent = SpoiltRows(population, setup.preparation, scenario), list[BoolArray]()
    for client in range(len(population.names)):
        failures, (learnt, threshold) = rows.failures_with(attack, client), trained.of_client(client)
        if failures.height:
            model = setup.model(learnt, threshold.probability, population.schema.label)
            silent.append(model.logits(failures) < threshold.logit)
    return float(np.mean(np.concatenate(silent))) if silent else float("nan")
