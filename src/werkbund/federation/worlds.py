"""Worlds to choose clients in: named presets, or a plant operator's own table of machines."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from werkbund.config.simulated import WorldSection
from werkbund.core.clients import ClientTable
from werkbund.core.errors import ConfigError
from werkbund.core.rng import generator
from werkbund.data import source_for
from werkbund.engine import Grid
from werkbund.engine.fleet import HOUR_S, PRESETS, Fleet, uniform
from werkbund.engine.world import Circumstances, WorldGrid
from werkbund.learner import TrainingPlan
from werkbund.learner.batches import num_steps
from werkbund.selection.contract import OF_A_WORLD


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
    grid: Grid,
    section: WorldSection,
    table: ClientTable,
    plan: TrainingPlan,
    *,
    num_parameters: int,
    seed: int,
    one_by_one: bool = False,
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
    one_by_one
        Whether answers come as the clock reaches them, so that a round may close before all are there.
    """
    if not told_by(section):
        return grid
    examples = num_steps(table.sizes, plan).astype(np.float64) * plan.batch_size
    size = 4.0 * num_parameters
    deadline = np.inf if section.deadline_s is None else float(section.deadline_s)
    rows, start, pause = table.sizes.astype(np.float64), HOUR_S * section.start_h, float(section.pause_s)
    circumstances = Circumstances(examples, rows, size, deadline, seed, start, pause)
    return WorldGrid(grid, fleet_of(section, table.names, seed), circumstances, one_by_one)


def _from_table(path: Path, names: tuple[str, ...]) -> Fleet:
    frame, _ = source_for(path).read()
    if "client" not in frame.columns:
        raise ConfigError(f"world.path: {path} must have a column client, it has {', '.join(frame.columns)}")
    known = [field.name for field in fields(Fleet)]
    unknown = [name for name in frame.columns if name not in (*known, "client")]
    if unknown:
        raise ConfigError(f"world.path: {path} has columns {', '.join(unknown)}; known are {', '.join(known)}")
    places = {str(name): row for row, name in enumerate(frame["client"].to_list())}
    lacking = [name for name in names if name not in places]
    if lacking:
        raise ConfigError(f"world.path: {path} must have a row for each client, none for {', '.join(lacking[:5])}")
    order = [places[name] for name in names]
    given = {name: frame[name].cast(float).to_numpy()[order] for name in known if name in frame.columns}
    defaults = uniform(len(names), generator(0, "world"))
    return Fleet(**{**defaults, **given})
