"""A simulated world: who is there, who is in time, what it costs, and that it goes on as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from werkbund.core.errors import ConfigError
from werkbund.core.kinds import Effort, Kind
from werkbund.core.store import Store
from werkbund.core.types import Failure, Replies, Tasks
from werkbund.engine import InProcessGrid, Worker
from werkbund.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from werkbund.engine.fleet import Fleet, joules_of, seconds_of
from werkbund.engine.kinds import EVALUATE, TRAIN, UPLOAD
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.selection.questions import HOLD, LOSS

CLIENTS = 4


def _fleet(**changes: Any) -> Fleet:
    values: dict[str, Any] = {
        "examples_per_s": [10.0, 20.0, 40.0, 80.0],
        "up_bytes_per_s": 100.0,
        "down_bytes_per_s": 200.0,
        "joules_per_example": 0.5,
        "joules_per_byte": 0.01,
        "battery_joules": np.inf,
        "charge_watts": 0.0,
        "price_per_kwh": 0.3,
        "shift_start_h": 0.0,
        "shift_hours": 24.0,
        "maintenance_every_h": 0.0,
        "maintenance_hours": 0.0,
        "maintenance_first_h": 0.0,
        "dropout": 0.0,
        "drift": 0.0,
    }
    return Fleet(
        **{name: np.broadcast_to(value, CLIENTS).astype(float) for name, value in {**values, **changes}.items()}
    )


def _answers(kind: Kind) -> Any:
    def answer(tasks: Tasks, store: Store) -> Replies:
        return Replies(kind, tasks.round, tasks.clients, {"rows": np.ones(len(tasks))})

    return answer


def _grid(fleet: Fleet | None = None, one_by_one: bool = False, **around: Any) -> WorldGrid:
    names = tuple(f"plant-{number}" for number in range(CLIENTS))
    worker = Worker({kind: _answers(kind) for kind in (TRAIN, EVALUATE, LOSS, HOLD, UPLOAD)})
    circumstances: dict[str, Any] = {
        "examples": np.full(CLIENTS, 40.0),
        "rows": np.full(CLIENTS, 60.0),
        "model_bytes": 400.0,
        "deadline_s": np.inf,
        "seed": 0,
    }
    around_it = Circumstances(**{**circumstances, **around})
    return WorldGrid(InProcessGrid(names, worker), fleet or _fleet(), around_it, one_by_one)


def _asked(grid: WorldGrid, kind: Kind = TRAIN, round: int = 1, keep: int | None = None) -> list[Any]:
    grid.send(Tasks(kind, round, np.arange(CLIENTS), keep=keep))
    return list(grid.receive(10.0))


def _failures(arrivals: list[Any]) -> dict[int, str]:
    return {one.client: one.reason for one in arrivals if isinstance(one, Failure)}


def test_a_task_takes_what_receiving_computing_and_sending_take() -> None:
    grid = _grid()
    available, facts = grid.situation(1)
    (reply,) = _asked(grid)
    expected = 400 / 200 + 40 / np.array([10.0, 20, 40, 80]) + 400 / 100
    assert available.tolist() == [0, 1, 2, 3]
    assert reply.clear["seconds"] == pytest.approx(expected)
    assert reply.clear["joules"] == pytest.approx(np.full(4, 40 * 0.5 + 800 * 0.01))
    assert facts["seconds_compute"] + facts["seconds_up"] + facts["seconds_down"] == pytest.approx(expected)
    assert grid.state()["clock"] == pytest.approx(expected.max())


def test_a_question_about_the_loss_is_a_forward_pass_and_few_bytes() -> None:
    work = Effort(np.full(CLIENTS, 20.0), 400.0, 8.0)
    grid = _grid()
    grid.situation(1)
    (reply,) = _asked(grid, LOSS)
    assert reply.clear["seconds"] == pytest.approx(seconds_of(_fleet(), np.arange(4), work, np.ones(4)))
    assert reply.clear["joules"] == pytest.approx(joules_of(_fleet(), np.arange(4), work))


def test_examples_are_added_up_in_units_of_training_and_go_back_with_the_world() -> None:
    grid = _grid()
    _asked(grid)
    assert grid.examples == CLIENTS * 40.0
    past = grid.state()
    _asked(grid, LOSS)
    assert grid.examples == pytest.approx(CLIENTS * (40.0 + 60.0 / 3.0))
    _asked(grid, EVALUATE)
    assert grid.examples == pytest.approx(CLIENTS * (40.0 + 60.0 / 3.0))
    grid.go_back(past)
    assert grid.examples == CLIENTS * 40.0
    grid.go_back({})
    assert grid.examples == 0.0


def test_who_gives_up_has_computed_a_part_of_its_examples() -> None:
    grid = _grid(_fleet(dropout=1.0))
    _asked(grid)
    assert 0.0 < grid.examples < CLIENTS * 40.0


def test_evaluation_is_measuring_and_costs_nothing() -> None:
    grid = _grid()
    grid.situation(1)
    (reply,) = _asked(grid, EVALUATE)
    assert "seconds" not in reply.clear
    assert grid.state()["clock"] == 0.0


def test_who_is_late_is_told_and_has_spent_its_energy() -> None:
    grid = _grid(deadline_s=7.5)
    grid.situation(1)
    arrivals = _asked(grid)
    assert _failures(arrivals) == {0: "it came too late", 1: "it came too late"}
    assert all(one.joules == pytest.approx(28.0) for one in arrivals if isinstance(one, Failure))
    assert grid.state()["clock"] == pytest.approx(7.5)


def test_where_only_some_answers_are_wanted_the_round_ends_with_the_last_of_them() -> None:
    grid = _grid()
    grid.situation(1)
    arrivals = _asked(grid, keep=2)
    assert set(_failures(arrivals)) == {0, 1}
    assert grid.state()["clock"] == pytest.approx(7.0)


def test_a_battery_runs_flat_charges_and_keeps_nobody_alive_beyond_it() -> None:
    fleet = _fleet(battery_joules=[50.0, 28.0, 20.0, np.inf], charge_watts=[0.0, 1.0, 0.0, 0.0])
    grid = _grid(fleet, pause_s=10.0)
    grid.situation(1)
    arrivals = _asked(grid)
    assert _failures(arrivals) == {2: "its battery is empty"}
    state = grid.state()
    took = 2 + 40 / 10 + 4
    assert state["battery"].tolist() == pytest.approx([22.0, took, 0.0, np.inf])
    grid.go_back(state)
    available, facts = grid.situation(2)
    assert available.tolist() == [0, 1, 3]
    assert facts["battery"].tolist() == pytest.approx([22 / 50, (took + 10) / 28, 0.0, 1.0])


def test_shifts_and_maintenance_say_who_can_be_asked() -> None:
    fleet = _fleet(
        shift_start_h=[0.0, 6.0, 22.0, 0.0],
        shift_hours=[24.0, 8.0, 8.0, 24.0],
        maintenance_every_h=[0.0, 0.0, 0.0, 100.0],
        maintenance_hours=[0.0, 0.0, 0.0, 4.0],
        maintenance_first_h=[0.0, 0.0, 0.0, 10.0],
    )
    there = {hour: fleet.is_there(hour * 3600.0).tolist() for hour in (3, 8, 12, 23, 112)}
    assert there == {
        3: [True, False, True, True],
        8: [True, True, False, True],
        12: [True, True, False, False],
        23: [True, False, True, True],
        112: [True, False, False, False],
    }


def test_where_nobody_is_there_time_passes_until_somebody_is() -> None:
    grid = _grid(_fleet(shift_start_h=6.0, shift_hours=8.0), start_s=15 * 3600.0)
    available, _ = grid.situation(1)
    assert available.tolist() == [0, 1, 2, 3]
    assert grid.state()["clock"] == pytest.approx(30 * 3600.0)


def test_who_gives_up_has_spent_a_part() -> None:
    grid = _grid(_fleet(dropout=1.0))
    grid.situation(1)
    arrivals = _asked(grid)
    failed = [one for one in arrivals if isinstance(one, Failure)]
    assert {one.reason for one in failed} == {"it gave up in the middle"}
    assert all(0 < one.joules < 28 for one in failed)


def test_a_world_that_is_gone_on_with_goes_the_same_way() -> None:
    fleet = _fleet(dropout=0.3, drift=0.2, battery_joules=200.0)
    whole, states = _grid(fleet), []
    state: Any = {}
    for round in range(1, 7):
        whole.go_back(state)
        whole.situation(round)
        _asked(whole, round=round)
        state = whole.state()
        states.append(state)
    again = _grid(fleet)
    state = states[2]
    for round in range(4, 7):
        again.go_back(state)
        again.situation(round)
        _asked(again, round=round)
        state = again.state()
    for name in state:
        assert np.array_equal(state[name], states[-1][name])


def test_what_is_pending_is_in_the_state_and_comes_in_the_world_that_goes_on(tmp_path: Path) -> None:
    fleet = _fleet(dropout=0.3)
    whole, again = _grid(fleet, one_by_one=True), _grid(fleet, one_by_one=True)
    whole.situation(1)
    whole.send(Tasks(TRAIN, 1, np.arange(CLIENTS)))
    next(iter(whole.receive(10.0)))  # who reads one answer leaves the others pending
    kept = tmp_path / "world"
    values = {name: value for name, value in whole.state().items() if not isinstance(value, np.ndarray)}
    arrays = {name: value for name, value in whole.state().items() if isinstance(value, np.ndarray)}
    save_checkpoint(kept, Checkpoint("world", 1, values, arrays))
    loaded = load_checkpoint(kept)
    again.go_back({**loaded.values, **loaded.arrays})
    rest = [_shown(grid, arrival) for grid in (whole, again) for arrival in grid.receive(10.0)]
    assert len(rest) == 2 * (CLIENTS - 1)
    assert rest[: CLIENTS - 1] == rest[CLIENTS - 1 :]
    assert whole.state()["clock"] == again.state()["clock"]


def _shown(grid: WorldGrid, arrival: Replies | Failure) -> tuple[object, ...]:
    if isinstance(arrival, Failure):
        return (grid.state()["clock"], arrival)
    halves = [{name: array.tolist() for name, array in half.items()} for half in (arrival.sums, arrival.clear)]
    return (grid.state()["clock"], arrival.kind, arrival.round, arrival.clients.tolist(), halves)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dropout": 1.5}, "dropout must be a chance"),
        ({"examples_per_s": 0.0}, "examples_per_s must be above 0"),
        ({"drift": -1.0}, "drift must be 4 numbers of at least 0"),
        ({"charge_watts": np.nan}, "charge_watts must be"),
    ],
)
def test_a_fleet_that_cannot_be_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        _fleet(**changes)
