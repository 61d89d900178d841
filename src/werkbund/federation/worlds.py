"""Worlds to choose clients in: named presets, or a plant operator's own table of machines.

The presets' figures are assumptions, chosen for plain orders of magnitude and not measured; a study that rests on them
should bring its own table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from werkbund.config.sections import WorldSection
from werkbund.core.arrays import Float64Array
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import source_for
from werkbund.engine import Grid
from werkbund.engine.fleet import DAY_H, HOUR_S, Fleet
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.learner import TrainingPlan
from werkbund.learner.batches import num_steps
from werkbund.selection.contract import OF_A_WORLD

NAMES = tuple(field.name for field in fields(Fleet))


def uniform(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return clients that are all alike, always there, on mains."""
    del rng
    alike = {
        "examples_per_s": 2000.0,
        "up_bytes_per_s": 1e6,
        "down_bytes_per_s": 2e6,
        "joules_per_example": 0.01,
        "joules_per_byte": 1e-6,
        "battery_joules": np.inf,
        "charge_watts": 0.0,
        "price_per_kwh": 0.25,
        "shift_start_h": 0.0,
        "shift_hours": DAY_H,
        "maintenance_every_h": 0.0,
        "maintenance_hours": 0.0,
        "maintenance_first_h": 0.0,
        "dropout": 0.0,
        "drift": 0.0,
    }
    return {name: np.full(number, value) for name, value in alike.items()}


def factory_fleet(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return gateways in plants: on mains, wired; old and new ones; two or three shifts; maintenance once a week."""
    fleet = uniform(number, rng)
    two_shifts = rng.random(number) < 0.5
    fleet |= {
        "examples_per_s": 2000.0 * rng.lognormal(0.0, 0.7, number),
        "up_bytes_per_s": 5e5 * rng.lognormal(0.0, 0.8, number),
        "down_bytes_per_s": 1e6 * rng.lognormal(0.0, 0.8, number),
        "joules_per_example": 0.01 * rng.lognormal(0.0, 0.4, number),
        "price_per_kwh": rng.uniform(0.15, 0.35, number),
        "shift_start_h": np.where(two_shifts, 6.0, 0.0),
        "shift_hours": np.where(two_shifts, 16.0, DAY_H),
        "maintenance_every_h": np.full(number, 168.0),
        "maintenance_hours": np.full(number, 4.0),
        "maintenance_first_h": rng.uniform(0.0, 168.0, number),
        "dropout": np.full(number, 0.02),
        "drift": np.full(number, 0.02),
    }
    return fleet


def mobile_machines(number: int, rng: np.random.Generator) -> dict[str, Float64Array]:
    """Return computers on vehicles: a battery, a radio link of mixed quality, one shift, much giving up.

    Of the battery it is what may be spent on learning, a few dozen rounds of it; it takes a day or more to fill up.
    """
    fleet = uniform(number, rng)
    fleet |= {
        "examples_per_s": 600.0 * rng.lognormal(0.0, 0.9, number),
        "up_bytes_per_s": 5e4 * rng.lognormal(0.0, 1.0, number),
        "down_bytes_per_s": 2e5 * rng.lognormal(0.0, 1.0, number),
        "joules_per_example": 0.02 * rng.lognormal(0.0, 0.6, number),
        "joules_per_byte": np.full(number, 5e-6),
        "battery_joules": rng.uniform(150.0, 900.0, number),
        "charge_watts": rng.uniform(0.0, 5e-3, number),
        "shift_start_h": rng.choice([6.0, 8.0, 12.0], number),
        "shift_hours": np.full(number, 10.0),
        "dropout": rng.beta(1.0, 9.0, number),
        "drift": np.full(number, 0.05),
    }
    return fleet


PRESETS: dict[str, Callable[[int, np.random.Generator], dict[str, Float64Array]]] = {
    "uniform": uniform,
    "factory-fleet": factory_fleet,
    "mobile-machines": mobile_machines,
}


def fleet_of(section: WorldSection, names: tuple[str, ...], seed: int) -> Fleet:
    """Return the simulated clients that a configuration names.

    Raises
    ------
    ConfigError, DataError
        If the table cannot be read, or lacks a client.
    """
    if section.path is None:
        return Fleet(**PRESETS[section.preset](len(names), generator(seed, "world")))
    return _from_table(Path(section.path), names)


def told_by(section: WorldSection) -> frozenset[str]:
    """Return what the world that a configuration names tells of its clients; nothing where it names none."""
    return OF_A_WORLD if section.preset != "none" or section.path is not None else frozenset()


def world_around(
    grid: Grid, section: WorldSection, table: ClientTable, plan: TrainingPlan, *, num_parameters: int, seed: int
) -> Grid:
    """Return a grid whose clients live in the world that a configuration names; the same grid where it names none.

    Parameters
    ----------
    grid
        Reaches the clients.
    section
        Names the world.
    table
        The clients' training rows.
    plan
        How they train, which decides how many examples a round takes.
    num_parameters
        Of the model, which decides how many bytes travel.
    seed
        Of the run.
    """
    if not told_by(section):
        return grid
    examples = num_steps(table.sizes, plan).astype(np.float64) * plan.batch_size
    size = 4.0 * num_parameters
    deadline = np.inf if section.deadline_s is None else float(section.deadline_s)
    rows, start, pause = table.sizes.astype(np.float64), HOUR_S * section.start_h, float(section.pause_s)
    circumstances = Circumstances(examples, rows, size, deadline, seed, start, pause)
    return WorldGrid(grid, fleet_of(section, table.names, seed), circumstances)


def _from_table(path: Path, names: tuple[str, ...]) -> Fleet:
    frame, _ = source_for(path).read()
    if "client" not in frame.columns:
        raise ConfigError(f"world.path: {path} must have a column client, it has {', '.join(frame.columns)}")
    unknown = [name for name in frame.columns if name not in (*NAMES, "client")]
    if unknown:
        raise ConfigError(f"world.path: {path} has columns {', '.join(unknown)}; known are {', '.join(NAMES)}")
    places = {str(name): row for row, name in enumerate(frame["client"].to_list())}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise ConfigError(f"world.path: {path} must have a row for each client, none for {', '.join(lacking[:5])}")
    order = [places[name] for name in names]
    given = {name: frame[name].cast(float).to_numpy()[order] for name in NAMES if name in frame.columns}
    defaults = uniform(len(names), generator(0, "world"))
    return Fleet(**{**defaults, **given})
