"""A kind of task of one's own: quantiles of one column, which a plant may keep to itself, with a cost and a minimum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.deployed import Deployment, DirectGrid, deploy
from werkbund.core.errors import ConfigError, FederationError
from werkbund.core.kinds import FORWARD, NUMBER_BYTES, Effort, Field, Kind, Signal, Sizes
from werkbund.core.types import Replies, Tasks
from werkbund.data.ai4i import AI4I_SCHEMA
from werkbund.engine import Gathered, Grid, InProcessGrid, Worker, gather
from werkbund.engine.fleet import Fleet, joules_of, seconds_of
from werkbund.engine.worker import forgetful
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.federation.population import divide
from werkbund.federation.tables import read_table
from werkbund.flower.plant.answering import Desk
from werkbund.flower.wire.codec import decode_answer
from werkbund.partition.population import Population, RawTable
from werkbund.plant import Plant, PlantFolder, load_settings
from werkbund.plant.briefing import Briefing, for_clients
from werkbund.plant.checking import check_plant
from werkbund.plant.leaving import USUAL, signals_of
from werkbund.plant.offers import OFFERS, Offer, kinds_of
from werkbund.plant.parts import Parts
from werkbund.plant.policy import Policy

SPREAD_SIGNAL = Signal("spread", "quantiles of a column", usual=False)


def _cost(sizes: Sizes, shared: Any) -> Effort:
    return Effort(sizes.rows * FORWARD, 0.0, NUMBER_BYTES * len(shared["levels"]))


SPREAD = Kind(
    "spread",
    "quantiles of one column of the training rows",
    "when the server looks at a column",
    (
        Field("shared", "column", "its name", (), "U"),
        Field("shared", "levels", "of the quantiles, 0..1", ("levels",), "f"),
        Field("shared", "least", "rows that must lie beyond a quantile", (), "iu", minimum="minimum_rows", added=True),
    ),
    (
        Field("clear", "quantiles", "quantiles of the column", ("levels",), "f", signal=SPREAD_SIGNAL, needed=True),
        Field("sums", "missing", "number of missing values", (), "iu", unit="rows"),
    ),
    cost=_cost,
    signal=SPREAD_SIGNAL,
)


@dataclass(frozen=True)
class SpreadWork:
    """Look at the raw training rows of the clients that live here."""

    table: RawTable

    def __call__(self, tasks: Tasks) -> Replies:
        """Answer with NaN for a quantile beyond which fewer than `least` rows lie: it would tell of single ones."""
        column, levels = str(tasks.shared["column"]), np.asarray(tasks.shared["levels"])
        quantiles, missing = [], []
        for client in tasks.clients.tolist():
            values = self._values(column, client)
            present = values[np.isfinite(values)]
            beyond = np.floor(np.minimum(levels, 1 - levels) * len(present))
            enough = beyond >= int(tasks.shared.get("least", 0))
            quantiles.append(np.where(enough, np.quantile(present, levels), np.nan))
            missing.append(len(values) - len(present))
        sums, clear = {"missing": np.array(missing)}, {"quantiles": np.stack(quantiles), "rows": np.array(missing)}
        return Replies(SPREAD, tasks.round, tasks.clients, sums, clear)

    def _values(self, column: str, client: int) -> Any:
        (frame, _), *_ = self.table.pieces(np.array([client]))
        return frame[column].cast(float).fill_null(np.nan).to_numpy()


def few_missing(tasks: Tasks, replies: Replies, policy: Policy, parts: Parts) -> Replies:
    """Return an answer that tells of no missing values where they are fewer than the policy's minimum."""
    del tasks
    missing = replies.sums["missing"]
    return replace(replies, sums={"missing": np.where(missing >= policy.minimum_rows, missing, 0)})


OFFER = Offer(SPREAD, lambda plot: forgetful(SpreadWork(plot.parts.population.splits["train"])), few_missing)
MINE = (*OFFERS, OFFER)
ASKED = Tasks(SPREAD, 0, np.zeros(1, np.int64))
LEVELS = np.array([0.0, 0.1, 0.5, 0.999])
COLUMN = next(column.name for column in AI4I_SCHEMA.features if column.kind == "number")
ALLOWED = {"signals": [*USUAL, "spread"], "minimum_rows": 10}


def _grid(deployment: Deployment, offers: Sequence[Offer] = MINE) -> DirectGrid:
    """Return a grid to plants that offer more than the usual, behind their desks and the codec."""
    desks: dict[str, Callable[..., Any]] = {}
    for name, kit in deployment.kits.items():
        settings = load_settings(kit, [signal.name for signal in signals_of(kinds_of(offers))])
        desks[name] = Desk(Plant(settings, PlantFolder(settings.state), offers=offers)).answer
    grid = DirectGrid(desks)
    grid.brief(lambda number: Briefing("run", for_clients(deployment.config), number, AI4I_SCHEMA.modes))
    return grid


def _population(deployment: Deployment) -> Population:
    return divide(read_table(deployment.config), deployment.config).population


def _here(deployment: Deployment) -> InProcessGrid:
    population = _population(deployment)
    return InProcessGrid(population.names, Worker({SPREAD: forgetful(SpreadWork(population.splits["train"]))}))


def _spread(grid: Grid, quorum: float = 1.0, least: int = 0) -> Gathered:
    shared = {"column": np.array(COLUMN), "levels": LEVELS, "least": np.array(least)}
    return gather(grid, SPREAD, shared, 10.0, quorum)


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return deploy(tmp_path / "it", dict.fromkeys(("plant-1", "plant-2", "plant-3"), ALLOWED), data={"rows": 2400})


def test_both_grids_give_numpys_quantiles_of_each_clients_rows(deployment: Deployment) -> None:
    here, there = _spread(_here(deployment), least=10), _spread(_grid(deployment))
    table = _population(deployment).splits["train"]
    for client in range(3):
        values = table.frame[COLUMN].to_numpy()[table.rows[table.offsets[client] : table.offsets[client + 1]]]
        expected = np.quantile(values[np.isfinite(values)], [0.1, 0.5])
        np.testing.assert_array_equal(here.clear["quantiles"].values[client][1:3], expected)
    np.testing.assert_array_equal(here.clear["quantiles"].values, there.clear["quantiles"].values)


def test_what_the_kind_does_not_declare_does_not_leave(deployment: Deployment) -> None:
    assert set(_spread(_here(deployment)).clear) == {"quantiles", "rows"}
    grid = _grid(deployment)
    assert set(_spread(grid).clear) == {"quantiles"}
    for ask, parcel in grid.answered:
        replies = decode_answer(parcel, ask.tasks.kind).replies
        assert replies is not None
        assert (set(replies.sums), set(replies.clear)) == ({"missing"}, {"quantiles"})


def test_a_plant_raises_the_minimum_that_the_task_names_to_its_own(deployment: Deployment) -> None:
    free, bound = _spread(_here(deployment)), _spread(_grid(deployment))
    assert np.isfinite(free.clear["quantiles"].values).all()
    assert np.isnan(bound.clear["quantiles"].values).all(axis=0).tolist() == [True, False, False, True]


def test_the_offer_withholds_figures_over_few_rows(deployment: Deployment) -> None:
    few, many = Replies(SPREAD, 0, np.zeros(1, np.int64), {"missing": np.array([9])}), np.array([10])
    policy: Any = Policy(minimum_rows=10)
    assert few_missing(ASKED, few, policy, None).sums["missing"].tolist() == [0]  # type: ignore[arg-type]
    assert few_missing(ASKED, replace(few, sums={"missing": many}), policy, None).sums["missing"].tolist() == [10]  # type: ignore[arg-type]


def test_a_check_lists_it_with_when_what_and_size(deployment: Deployment) -> None:
    kit = deployment.kits["plant-1"]
    rows = [row for row in check_plant(kit, MINE).to_json()["leaving"] if row["kind"] == "spread"]
    shown = {row["field"]: (row["half"], row["signal"], row["size"], row["what"]) for row in rows}
    assert shown == {
        "quantiles": ("clear", "spread", "levels", "quantiles of the column"),
        "missing": ("sums", "", "1", "number of missing values"),
    }
    assert {row["when"] for row in rows} == {
        "only if a run asks for it; one of the federation's file, which chooses clients by all, does not"
    }


def test_a_plant_that_does_not_allow_its_signal_shows_so_and_refuses_it_by_name(deployment: Deployment) -> None:
    deployment.write("plant-2", policy={"minimum_rows": 10})
    check = check_plant(deployment.kits["plant-2"], MINE).to_json()
    assert "quantiles of a column (policy.signals)" in check["withheld"]
    assert "spread" not in {row["kind"] for row in check["leaving"]}
    gathered = _spread(_grid(deployment), quorum=0.5)
    assert gathered.clients.tolist() == [0, 2]
    assert 'policy.signals does not hold "spread"' in gathered.missing["plant-2"]


def test_a_plant_with_too_few_rows_refuses_it(deployment: Deployment) -> None:
    deployment.write("plant-3", policy={**ALLOWED, "minimum_rows": 5000})
    assert "policy.minimum_rows is 5000" in _spread(_grid(deployment), quorum=0.5).missing["plant-3"]


def test_a_plant_that_does_not_offer_it_knows_neither_kind_nor_signal(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"policy\.signals"):
        _grid(deployment, OFFERS)
    for name in deployment.kits:
        deployment.write(name, policy={})
    with pytest.raises(FederationError, match=r"task kind must be one of hello, .*got 'spread'"):
        _spread(_grid(deployment, OFFERS))
    with pytest.raises(ValueError, match="names of their own"):
        _grid(deployment, (*OFFERS, OFFER, OFFER))


def _world(deployment: Deployment) -> WorldGrid:
    same: dict[str, float] = dict.fromkeys(Fleet.__dataclass_fields__, 0.0)
    same |= {"examples_per_s": 20.0, "up_bytes_per_s": 4.0, "down_bytes_per_s": 1.0, "joules_per_example": 0.5}
    same |= {"joules_per_byte": 0.25, "battery_joules": np.inf, "shift_hours": 24.0}
    fleet = Fleet(**{name: np.full(3, value) for name, value in same.items()})
    rows = np.array([60.0, 120.0, 180.0])
    return WorldGrid(_here(deployment), fleet, Circumstances(rows, rows, 1e9, np.inf, seed=0))


def test_a_world_charges_what_it_declares(deployment: Deployment) -> None:
    grid = _world(deployment)
    clear = _spread(grid).clear
    work = Effort(np.array([20.0, 40.0, 60.0]), 0.0, 8.0 * len(LEVELS))
    expected = seconds_of(grid.fleet, np.arange(3), work, np.ones(3))
    assert clear["seconds"].values == pytest.approx(expected)
    assert clear["seconds"].values == pytest.approx(np.array([1.0, 2.0, 3.0]) + 8.0)
    assert clear["joules"].values == pytest.approx(joules_of(grid.fleet, np.arange(3), work))
    assert grid.state()["clock"] == pytest.approx(11.0)


def test_a_world_refuses_it_without_a_declared_cost(deployment: Deployment) -> None:
    grid = _world(deployment)
    grid.send(Tasks(replace(SPREAD, cost=None), 1, np.arange(3), {"levels": LEVELS}))
    with pytest.raises(FederationError, match=r"what a spread task costs; declare its Kind\.cost"):
        list(grid.receive(1.0))
