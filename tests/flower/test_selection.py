"""Every selector at plants: real messages, real policies, and the same cohorts as in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import Deployment, deploy
from tests.flower.fake_network import Network, as_server_app
from werkbund.aggregation import FedAvg
from werkbund.core.arrays import Float32Array
from werkbund.core.types import Failure, Replies, RoundRecord, Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.engine import Grid, RunState, Strategy, rounds
from werkbund.engine.fleet import PRESETS, Fleet
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.federation.families.networks import (
    NetworkSimulation,
    network_server,
    simulate_prepared_network,
    with_strategy,
)
from werkbund.federation.folder import Folder
from werkbund.federation.population import divide
from werkbund.federation.preparing import CommonPreparation, learn_preparation
from werkbund.federation.tables import read_table
from werkbund.flower.server.grid import FlowerGrid
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.settings import SIGNAL_NAMES
from werkbund.selection import SELECTORS, build_selector

FIRST, PLANTS, ROUNDS = 11, 5, 6
SMALLER: dict[str, dict[str, Any]] = {
    "fedcor": {"warmup": 2, "every": 2, "first_steps": 5, "steps": 5, "dimension": 2},
    "clustered-size": {"count": 3},
    "clustered-similarity": {"count": 3},
}
CASES: list[tuple[str, dict[str, Any]]] = [(name, {"count": 2, **SMALLER.get(name, {})}) for name in SELECTORS]
CASES += [("k-fed", {"count": 2, "candidates": 4})]
OF_WORLDS = ("battery", "fedcs", "oort", "oort-energy", "rbcs-f", "tifl", "fmore", "e3cs")


@pytest.fixture(autouse=True)
def server_app(monkeypatch: pytest.MonkeyPatch) -> None:
    as_server_app(monkeypatch)


@dataclass(frozen=True)
class Both:
    """Hold the same federation twice: at plants, and in this process."""

    deployment: Deployment
    learnt: CommonPreparation
    simulation: NetworkSimulation

    def rules(self) -> Any:
        """Return the rules of both; the server's own rows are those that the first client holds out."""
        table, trainer = self.simulation.splits.validation.take(np.array([0])), self.simulation.trainer

        def score(weights: Float32Array) -> float:
            return -float(np.abs(trainer.score(weights, table.features) - table.labels).mean())

        return replace(self.simulation.rules, score=score)

    def plants(self, run: str, policy: Mapping[str, Mapping[str, Any]]) -> tuple[FlowerGrid, Network]:
        """Return a grid to freshly started plants that know what the run is about."""
        names = tuple(self.deployment.kits)
        for name in names:
            self.deployment.write(name, policy=dict(policy.get(name, OPEN)))
        desks = {FIRST + place: self.deployment.desk(name).answer for place, name in enumerate(names)}
        network = Network(desks, {FIRST + place: name for place, name in enumerate(names)})
        grid, public = FlowerGrid(network, names, 60.0), for_clients(self.deployment.config)
        without, failed = self.learnt.survey.labels.tolist()
        told = (AI4I_SCHEMA.modes, None, self.learnt.preparation, (without, failed))
        grid.brief(lambda number: Briefing(run, public, number, *told))
        return grid, network


OPEN: dict[str, Any] = {"signals": list(SIGNAL_NAMES), "minimum_rows": 1}
"""What is withheld over few rows is not there, so both ways tell the same."""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    rows = {"source": "generator", "rows": 1000, "plants": PLANTS}
    weighted = {"positive_weight": "balanced"}  # which losses that choose clients must follow on both sides
    deployment = deploy(tmp_path_factory.mktemp("both") / "it", data=rows, clients={"count": PLANTS}, training=weighted)
    grid, public = deployment.grid(), for_clients(deployment.config)
    grid.brief(lambda number: Briefing("run", public, number, AI4I_SCHEMA.modes))
    learnt = learn_preparation(grid, AI4I_SCHEMA, 5.0)
    population = divide(read_table(deployment.config), deployment.config).population
    simulation = simulate_prepared_network(deployment.config, population, learnt.preparation, learnt.survey.labels)
    assert network_server(deployment.config, learnt, AI4I_SCHEMA.modes, grid).rules.facts["rows"].tolist() == list(
        simulation.splits.train.sizes
    )
    return Both(deployment, learnt, simulation)


@dataclass
class Replayed:
    """Be a grid in which clients fail, and take as long, as the lines of another run say."""

    inner: Grid
    lines: Sequence[Mapping[str, Any]]
    asked: list[Tasks] = field(default_factory=list)

    def clients(self) -> tuple[str, ...]:
        return self.inner.clients()

    def send(self, tasks: Tasks) -> None:
        self.asked.append(tasks)

    def receive(self, timeout_s: float) -> Iterator[Replies | Failure]:
        asked, self.asked = self.asked, []
        for tasks in asked:
            line = self.lines[tasks.round - 1]
            failed = {one["client"]: one for one in line["failures"]} if tasks.kind.updates else {}
            for client in sorted(set(failed) & set(tasks.clients.tolist())):
                one = failed[client]
                yield Failure(client, tasks.round, one["reason"], one.get("seconds", 0.0), one.get("joules", 0.0))
            here = ~np.isin(tasks.clients, list(failed))
            self.inner.send(tasks.take(here))
            for arrival in self.inner.receive(timeout_s):
                assert isinstance(arrival, Replies)
                yield replace(arrival, clear={**arrival.clear, **_times(line, arrival)})


def _times(line: Mapping[str, Any], replies: Replies) -> dict[str, Any]:
    """Return what a line says of the time and energy of these clients."""
    told = line.get("told", {}).get(replies.kind.name, {})
    place = {client: at for at, client in enumerate(told.get("clients", ()))}
    order = [place[client] for client in replies.clients.tolist()] if place else []
    return {name: np.array(told[name], float)[order] for name in ("seconds", "joules") if name in told}


def _run(
    grid: Grid, name: str, options: dict[str, Any], rules: Any, weights: Float32Array, last: int
) -> list[RoundRecord]:
    strategy = Strategy(build_selector(name, **options), FedAvg(momentum=0.0))
    state = RunState.begin(weights, strategy)
    return [record for _, record in rounds(grid, strategy, rules, state, last)]


def _here(both: Both) -> Grid:
    return with_strategy(both.simulation, both.simulation.config).grid


def _lines(records: Sequence[RoundRecord], folder: Path) -> list[dict[str, Any]]:
    for record in records:
        Folder(folder).append_round(record, {})
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{len(options)}" for name, options in CASES])
def test_the_same_records_choose_the_same_cohorts_at_plants_and_in_process(
    name: str, options: dict[str, Any], both: Both, tmp_path: Path
) -> None:
    rules, weights = both.rules(), both.simulation.initial_weights()
    grid, _ = both.plants(f"{name} {len(options)}", {})
    there = _lines(_run(grid, name, options, rules, weights, ROUNDS), tmp_path)
    here = _run(Replayed(_here(both), there), name, options, rules, weights, ROUNDS)
    assert [line["cohort"] for line in there] == [list(record.cohort) for record in here]
    assert [line["update_norm"] for line in there] == [record.update_norm for record in here]
    needs = build_selector(name, **options).declaration.needs
    if "seconds" in needs:
        assert all(min(line["told"]["train"]["seconds"]) > 0 for line in there)
    assert all("simulated_seconds" not in line for line in there)
    assert not any("joules" in columns for line in there for columns in line.get("told", {}).values())


def _world(inner: Grid, both: Both) -> WorldGrid:
    splits, config = both.simulation.splits, both.simulation.config
    fleet = Fleet(**PRESETS["mobile-machines"](PLANTS, np.random.default_rng(3)) | {"dropout": np.zeros(PLANTS)})
    rows = splits.train.sizes.astype(np.float64)
    around = Circumstances(
        rows, rows, 4.0 * both.simulation.trainer.layout.num_parameters, 60.0, config.federation.seed
    )
    return WorldGrid(inner, fleet, around)


@pytest.mark.parametrize("name", OF_WORLDS)
def test_a_world_of_time_and_energy_chooses_the_same_over_both_grids(name: str, both: Both) -> None:
    rules, weights = replace(both.rules(), quorum=0.01), both.simulation.initial_weights()
    grid, _ = both.plants(f"world {name}", {})
    there = _run(_world(grid, both), name, {"count": 2}, rules, weights, 4)
    here = _run(_world(_here(both), both), name, {"count": 2}, rules, weights, 4)
    assert [record.cohort for record in there] == [record.cohort for record in here]
    assert [(record.simulated_seconds, record.joules) for record in there] == [
        (record.simulated_seconds, record.joules) for record in here
    ]
    assert all(record.joules > 0 for record in there)


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{name}-{len(options)}" for name, options in CASES])
def test_a_plant_that_tells_nothing_is_borne(name: str, options: dict[str, Any], both: Both) -> None:
    rules, weights = both.rules(), both.simulation.initial_weights()
    grid, network = both.plants(f"shy {name} {len(options)}", {"plant-2": {"signals": [], "minimum_rows": 1}})
    records = _run(grid, name, options, rules, weights, 4)
    assert len(records) == 4
    assert all(failure.reason.startswith("came after enough") for one in records for failure in one.failures)
    told = [columns for record in records for columns in record.told.values()]
    silent = [
        values[columns["clients"] == 1]
        for columns in told
        for signal, values in columns.items()
        if signal not in ("clients", "seconds")
    ]
    assert all(np.isnan(values).all() for values in silent)
    assert network.pushed
