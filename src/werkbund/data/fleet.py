"""A fleet of machines at several plants: readings, a log of stops, and the wear that nobody sees, all from one seed.

Plants differ in climate, shifts, load and in the mode of failure that they see most; machines in quality, wear and
sensors. What a plant draws depends on the seed and its number alone, so that a plant alone has the rows that it has
in the fleet. Machines of all plants go through time together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array, FloatingArray, Int64Array
from werkbund.core.rng import generator
from werkbund.data.wear import ELECTRICAL, MODES, FleetPlan, hazard_of, risk_of, stress_of, wear_rate

SIGNALS = ("speed", "current", "temp", "ambient", "vib", "pressure", "flow")
OFFSET_SD = np.array([0.0, 0.6, 2.0, 0.3, 0.25, 0.12, 1.5])
GAIN_SD = np.array([0.0, 0.04, 0.0, 0.0, 0.10, 0.02, 0.03])
NOISE_SD = np.array([8.0, 0.25, 0.35, 0.1, 0.12, 0.03, 0.5])

START_S = 1_704_067_200  # 2024-01-01, a Monday
PLANNED, FAILURE = "planned", "failure"

_LIGHT, _HEAVY = 0.55, 1.0
_PRODUCT_H, _HEATS_IN_H = 3.0, 0.7
_DOWN_H, _DOWN_SD = 6.0, 0.6
_PLANNED_H, _RENEWED = 2.0, np.array([1.0, 1.0, 0.3, 0.3])
_GAP_DAYS, _GAP_H = 20.0, (0.5, 10.0)
_MOST_STOPS = 256

FLEET_DATA: Mapping[str, Any] = {
    "machine": "machine",
    "time": "time",
    "client": "plant",
    "columns": {name: {} for name in SIGNALS},
    "windows": {
        "step": "2h",
        "spans": ["6h", "24h", "72h"],
        "statistics": ["mean", "std", "deviation", "trend", "age"],
        "regime": "speed",
        "edges": [1000.0, 1475.0],
        "horizon": "72h",
    },
    "events": {"start": "start", "back": "back", "kind": "kind", "planned": [PLANNED], "mode": "mode"},
}
"""What a section `data` says of the fleet: decision points every two hours, a failure within three days."""


@dataclass(frozen=True)
class WornFleet:
    """Hold what a fleet tells, and what it hides.

    Parameters
    ----------
    readings
        `plant`, `machine`, `time` and the signals; none while a machine is down or its logger is.
    log
        `plant`, `machine`, `start`, `back`, `kind` and `mode`, of all stops.
    hidden
        For each reading the wear of each mode, and of its machine mean load and warmth and the pace of wear.
    """

    readings: pl.DataFrame
    log: pl.DataFrame
    hidden: pl.DataFrame


@dataclass(frozen=True)
class _Draws:
    """Hold all that chance decides, of all machines: (machines, ...) or (steps, machines, ...)."""

    load: Float64Array
    running: BoolArray
    ambient: Float64Array
    pace: Float64Array
    first: Float64Array
    step: AnyArray
    fails: AnyArray
    which: AnyArray
    down_h: Float64Array
    renewed: Float64Array
    planned_d: Float64Array
    sensors: Float64Array
    logger: BoolArray


def draw_fleet(plan: FleetPlan, seed: int, numbers: tuple[int, ...] | None = None) -> WornFleet:
    """Draw a fleet.

    Parameters
    ----------
    plan
        Its size and make.
    seed
        Same seed, same fleet.
    numbers
        Of the plants to draw; None for all.

    Examples
    --------
    >>> fleet = draw_fleet(FleetPlan(plants=2, machines=2, days=3), seed=1)
    >>> fleet.readings["plant"].unique().sort().to_list()
    ['plant-1', 'plant-2']
    """
    chosen = tuple(range(plan.plants)) if numbers is None else numbers
    drawn = [_draws(plan, number, generator(seed, "fleet", 0, number)) for number in chosen]
    of_machines = {"pace", "first", "down_h", "renewed", "planned_d", "sensors"}
    parts = {
        name: np.concatenate([getattr(one, name) for one in drawn], axis=0 if name in of_machines else 1)
        for name in _Draws.__dataclass_fields__
    }
    draws = _Draws(**parts)
    return _told(plan, seed, chosen, draws, *_lived(plan, draws))


def _draws(plan: FleetPlan, number: int, rng: np.random.Generator) -> _Draws:
    steps, machines = plan.num_steps, plan.machines
    hours = np.arange(steps) * plan.step_h
    climate, share = rng.normal(0, plan.climate_sd), rng.uniform(0.25, 0.65)
    late = rng.random() < 0.4
    mix = np.where(np.arange(len(MODES)) == number % len(MODES), plan.often, plan.rare)
    mix = mix * rng.lognormal(0, 0.15, len(MODES))
    in_shift = late | ((hours % 24 >= 6) & (hours % 24 < 22))
    running = np.repeat((in_shift & (hours // 24 % 7 < 6))[:, None], machines, axis=1)
    load = _loads(rng, steps, machines, share, plan.step_h) * running
    return _Draws(
        load,
        running,
        np.repeat(_ambient(rng, hours, climate, plan.step_h)[:, None], machines, axis=1),
        mix * rng.lognormal(0, 0.25, (machines, len(MODES))),
        rng.uniform(0, 0.5, (machines, len(MODES))),
        rng.gamma(4, 0.25, (steps, machines, len(MODES))).astype(np.float32),
        rng.random((steps, machines)).astype(np.float32),
        rng.random((steps, machines)).astype(np.float32),
        rng.lognormal(np.log(_DOWN_H), _DOWN_SD, (machines, _MOST_STOPS)),
        rng.uniform(0, 0.08, (machines, _MOST_STOPS)),
        np.concatenate([rng.uniform(20, 60, (machines, 1)), rng.uniform(50, 70, (machines, _MOST_STOPS - 1))], axis=1),
        np.stack([rng.normal(0, OFFSET_SD, (machines, 7)), rng.normal(1, GAIN_SD, (machines, 7))], axis=1),
        _loggers(rng, steps, machines, plan.step_h),
    )


def _loads(rng: np.random.Generator, steps: int, machines: int, heavy: float, step_h: float) -> Float64Array:
    """Return the load of the product that each machine makes, (steps, machines); one lasts three hours on average."""
    change = rng.random((steps, machines)) < step_h / _PRODUCT_H
    change[0] = True
    product = np.where(rng.random((steps, machines)) < heavy, _HEAVY, _LIGHT)
    since = np.maximum.accumulate(np.where(change, np.arange(steps)[:, None], 0), axis=0)
    return np.take_along_axis(product, since, axis=0)


def _ambient(rng: np.random.Generator, hours: FloatingArray, climate: float, step_h: float) -> Float64Array:
    """Return the temperature of a plant in degrees C: (steps,)."""
    walk = np.clip(np.cumsum(rng.normal(0, 0.045 * np.sqrt(step_h), len(hours))), -4, 4)
    year = 7 * np.sin(2 * np.pi * (hours / 24 - 80) / 365)
    ambient: Float64Array = 18 + climate + year + 4 * np.sin(2 * np.pi * (hours % 24 - 9) / 24) + walk
    return ambient


def _loggers(rng: np.random.Generator, steps: int, machines: int, step_h: float) -> BoolArray:
    """Return whether each machine's logger works: (steps, machines)."""
    begins = rng.random((steps, machines)) < step_h / 24 / _GAP_DAYS
    lengths = (rng.uniform(*_GAP_H, (steps, machines)) / step_h).astype(np.int64)
    until = np.maximum.accumulate(np.where(begins, np.arange(steps)[:, None] + lengths, -1), axis=0)
    return np.arange(steps)[:, None] > until


Stops = list[tuple[int, int, int, str]]
"""Machine, step of start, step of return, mode: one of the modes, electrical, or empty for planned."""


def _lived(plan: FleetPlan, draws: _Draws) -> tuple[FloatingArray, FloatingArray, BoolArray, Stops]:
    """Return wear (steps, machines, modes), heat, whether each machine is up, and all stops."""
    steps, machines = draws.load.shape
    wear, heat = draws.first.copy(), np.zeros(machines)
    up_from, due, count = np.zeros(machines, np.int64), draws.planned_d[:, 0] * 24, np.zeros(machines, np.int64)
    worn = np.empty((steps, machines, len(MODES)), np.float32)
    warm, up = np.empty((steps, machines), np.float32), np.empty((steps, machines), np.bool_)
    stops: Stops = []
    share = -np.expm1(-plan.step_h / _HEATS_IN_H)
    stress = stress_of(draws.load, draws.ambient)
    for step in range(steps):
        is_up = up_from <= step
        load = draws.load[step] * is_up
        target = (
            38 * load + 0.55 * (draws.ambient[step] - 20) + 14 * wear[:, 1] ** 2 * (0.3 + load) + 4 * wear[:, 0] ** 2
        )
        heat += share * (target - heat)
        worn[step], warm[step], up[step] = wear, heat, is_up
        hazard = hazard_of(wear, load) * (is_up[:, None] * plan.step_h)
        wear += wear_rate(wear, stress[step], draws.pace, plan.life) * draws.step[step] * (is_up[:, None] * plan.step_h)
        for machine in np.flatnonzero(draws.fails[step] < -np.expm1(-hazard.sum(axis=1))):
            mode = int(np.searchsorted(np.cumsum(hazard[machine]), draws.which[step, machine] * hazard[machine].sum()))
            place = count[machine] % _MOST_STOPS
            if mode < len(MODES):
                wear[machine, mode] = draws.renewed[machine, place]
            up_from[machine] = step + 1 + max(round(draws.down_h[machine, place] / plan.step_h), 1)
            stops.append((int(machine), step + 1, int(up_from[machine]), (*MODES, ELECTRICAL)[mode]))
            count[machine] += 1
        idle = (draws.load[step] == 0) & (up_from <= step) & (step * plan.step_h >= due)
        for machine in np.flatnonzero(idle):
            wear[machine] *= _RENEWED
            up_from[machine] = step + 1 + round(_PLANNED_H / plan.step_h)
            stops.append((int(machine), step + 1, int(up_from[machine]), ""))
            count[machine] += 1
            due[machine] = step * plan.step_h + 24 * draws.planned_d[machine, count[machine] % (_MOST_STOPS - 1) + 1]
    return worn, warm, up, stops


def _told(
    plan: FleetPlan,
    seed: int,
    numbers: tuple[int, ...],
    draws: _Draws,
    worn: FloatingArray,
    warm: FloatingArray,
    up: BoolArray,
    stops: Stops,
) -> WornFleet:
    """Return what sensors and log say, and what they do not."""
    names = [(f"plant-{number + 1}", f"machine-{one + 1}") for number in numbers for one in range(plan.machines)]
    ids = pl.DataFrame(names, schema=["plant", "machine"], orient="row")
    machine, step = np.nonzero((up & draws.logger).T)  # one machine after the other
    values = _signals(draws, worn, warm)
    for place, number in enumerate(numbers):
        own = slice(place * plan.machines, (place + 1) * plan.machines)
        rng = generator(seed, "fleet/noise", 0, number)
        values[:, own] += rng.normal(size=values[:, own].shape) * NOISE_SD
    when = _when(step, plan)
    readings = ids[machine].with_columns(when, *_columns(SIGNALS, values[step, machine]))
    hidden = ids[machine].with_columns(when, *_columns(MODES, worn[step, machine]))
    about = ids.with_columns(
        pl.Series("load", draws.load.mean(axis=0)),
        pl.Series("warmth", draws.ambient.mean(axis=0)),
        *_columns([f"{mode} pace" for mode in MODES], draws.pace),
    )
    return WornFleet(
        readings, _log(plan, ids, stops), hidden.join(about, on=["plant", "machine"], maintain_order="left")
    )


def _signals(draws: _Draws, worn: FloatingArray, warm: FloatingArray) -> Float64Array:
    """Return what each sensor would say without noise: (steps, machines, signals)."""
    load, bearing, cooling, tool, seal = draws.load, *np.moveaxis(worn.astype(np.float64), 2, 0)
    speed = np.where(load == 0, 600.0, np.where(load < _HEAVY, 1450.0, 1500.0))
    true = np.stack(
        [
            speed,
            4 + 16 * load + 3 * tool**2 * (0.2 + load),
            22 + warm,
            draws.ambient,
            0.6 + 1.1 * load + 1.8 * bearing**3 * (speed / 1500) ** 2 + 0.5 * tool**2 * load,
            6 + 0.4 * load - 0.45 * seal**2,
            40 + 12 * load - 6 * cooling**2 + 2 * seal**2,
        ],
        axis=-1,
    )
    said: Float64Array = draws.sensors[:, 0] + draws.sensors[:, 1] * true
    return said


def _log(plan: FleetPlan, ids: pl.DataFrame, stops: Stops) -> pl.DataFrame:
    """Return the stops by machine and start; one that lasts beyond the record has no end."""
    machine, start, back, mode = (list(column) for column in zip(*stops, strict=True)) if stops else ([],) * 4
    over = np.array(back, np.int64) >= plan.num_steps
    frame = ids[np.array(machine, np.int64)].with_columns(
        _when(np.array(start, np.int64), plan).alias("start"),
        _when(np.array(back, np.int64), plan).alias("back").set(pl.Series(over), None),
        pl.Series("kind", [FAILURE if name else PLANNED for name in mode], pl.String),
        pl.Series("mode", [name or None for name in mode], pl.String),
    )
    return frame.sort("plant", "machine", "start")


def _when(step: Int64Array, plan: FleetPlan) -> pl.Series:
    return pl.from_epoch(pl.Series("time", START_S + step * 60 * plan.step_min), "s").cast(pl.Datetime("us", "UTC"))


def _columns(names: Sequence[str], values: FloatingArray) -> list[pl.Series]:
    return [pl.Series(name, np.ascontiguousarray(values[:, place])) for place, name in enumerate(names)]


def oracle_risk(fleet: WornFleet, points: pl.DataFrame, hours: int = 72, life: float = 1.0) -> Float64Array:
    """Return the chance of a failure within some hours by the hidden wear, which no model may pass: (rows,).

    Parameters
    ----------
    fleet
        Whose.
    points
        `plant`, `machine` and `time` of decision points.
    hours
        The horizon.
    life
        As in the plan.
    """
    wanted = points.select("plant", "machine", "time").with_row_index("row").sort("time")
    found = wanted.join_asof(
        fleet.hidden.sort("time"), on="time", by=["plant", "machine"], strategy="backward", check_sortedness=False
    ).sort("row")
    wear, pace = (found.select(names).to_numpy().astype(np.float64) for names in (MODES, [f"{m} pace" for m in MODES]))
    return risk_of(wear, found["load"].to_numpy(), found["warmth"].to_numpy(), pace, hours, life)
