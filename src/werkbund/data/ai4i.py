"""AI4I 2020: what its columns mean, where its file is found, and generated rows where there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import platformdirs
import polars as pl

from werkbund.core.errors import DataError
from werkbund.data import rules
from werkbund.data.generator import generate
from werkbund.data.rules import rule_flags
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.sources import source_for
from werkbund.data.table import Origin, Table

__all__ = [
    "AI4I_SCHEMA",
    "AI4I_SHA256",
    "FILE_NAMES",
    "TWIN_SCHEMA",
    "TWIN_SHA256",
    "generated_table",
    "load_ai4i",
    "locate",
    "published",
    "recognise",
    "rule_flags",
    "user_cache",
]

FOLDER = "ai4i2020"
FILE_NAMES = ("ai4i2020.csv", "predictive_maintenance.csv")  # the original first, then Kaggle's twin
AI4I_SHA256 = "dc6630cd9b1f0f853922fad78a1b6436570d3f1ec863f1dd5c4340ac56bc8a8e"
TWIN_SHA256 = "8517208125ee4c2687f8cb916d17063a33a280f748bf4b2a4317be38c28050cd"
VARIABLE = "WERKBUND_DATA"

_FEATURES = (
    Column(rules.TYPE, "category"),
    Column(rules.AIR, "number", "K", 270.0, 330.0),
    Column(rules.PROCESS, "number", "K", 280.0, 340.0),
    Column(rules.SPEED, "number", "rpm", 500.0, 4000.0),
    Column(rules.TORQUE, "number", "Nm", 0.0, 150.0),
    Column(rules.WEAR, "number", "min", 0.0, 400.0),
)
_DERIVED = (
    Derived("temperature_difference", f'"{rules.PROCESS}" - "{rules.AIR}"', "K"),
    Derived("power", f'"{rules.TORQUE}" * "{rules.SPEED}" * 2 * 3.141592653589793 / 60', "W"),
    Derived("overstrain", f'"{rules.WEAR}" * "{rules.TORQUE}"', "min Nm"),
)

AI4I_SCHEMA = Schema(
    label=rules.LABEL,
    features=_FEATURES,
    derived=_DERIVED,
    machine_reset=rules.WEAR,
    never=(rules.ROW, rules.PRODUCT),
    modes=rules.MODES,
)
"""The original's columns; derived are the quantities that its failure rules compare with limits."""

TWIN_SCHEMA = Schema(
    label="Target",
    features=_FEATURES,
    derived=_DERIVED,
    machine_reset=rules.WEAR,
    never=(rules.ROW, rules.PRODUCT),
    mode="Failure Type",
    mode_none="No Failure",
)
"""The columns of the copy on Kaggle, which names one failure mode a row."""

_PUBLISHED = {
    AI4I_SHA256: (FOLDER, "AI4I 2020, the published file."),
    TWIN_SHA256: (f"{FOLDER}-twin", "AI4I 2020, the copy published on Kaggle."),
}


def recognise(frame: pl.DataFrame) -> Schema | None:
    """Return the schema of a table that has AI4I's header, the twin's, or the generator's; None for others.

    Other columns may stand beside these; one called `plant` becomes the client column.
    """
    for schema in (AI4I_SCHEMA, TWIN_SCHEMA):
        if set(schema.used) <= set(frame.columns):
            return replace(schema, client="plant") if "plant" in frame.columns else schema
    return None


def user_cache() -> Path:
    """Return the folder that a fetched file is kept in."""
    return Path(platformdirs.user_cache_dir("werkbund")) / FOLDER


def locate(explicit: Path | None, environ: Mapping[str, str], cwd: Path, cache: Path | None = None) -> Path | None:
    """Return the first AI4I file that is there; None if there is none.

    Parameters
    ----------
    explicit
        A file, or a folder that holds one; must exist.
    environ
        Environment, of which `WERKBUND_DATA` names a file or a folder.
    cwd
        Folder from which `../shared/data` is looked for.
    cache
        The user's cache; None for the usual one.

    Raises
    ------
    DataError
        If `explicit` is given and holds no such file.
    """
    if explicit is not None:
        found = explicit if explicit.is_file() else _inside(explicit)
        if found is None:
            raise DataError(
                f"path must name an AI4I file ({' or '.join(FILE_NAMES)}) or a folder with one, "
                f"got {explicit}; correct it, or leave it out to use generated rows"
            )
        return found
    named = environ.get(VARIABLE)
    places = [Path(named)] if named else []
    places += [cwd.parent / "shared" / "data", user_cache() if cache is None else cache]
    found_in = (place if place.is_file() else _inside(place) for place in places)
    return next((path for path in found_in if path is not None), None)


def _inside(folder: Path) -> Path | None:
    candidates = (place / name for name in FILE_NAMES for place in (folder / FOLDER, folder))
    return next((path for path in candidates if path.is_file()), None)


def load_ai4i(path: Path | None = None, *, rows: int = 10_000, plants: int = 10, seed: int = 0) -> Table:
    """Read AI4I 2020 from the first place that has it, else generate rows; the origin's note says which.

    Parameters
    ----------
    path
        A file or a folder; None to look in `WERKBUND_DATA`, `../shared/data` and the user's cache.
    rows, plants, seed
        Of the generated table, if there is no file.

    Raises
    ------
    DataError
        If the path holds no file, or the file has another header.
    """
    found = locate(path, os.environ, Path.cwd())
    return generated_table(rows, plants, seed) if found is None else _read(found)


def generated_table(rows: int, plants: int, seed: int) -> Table:
    """Return generated rows as a table whose clients are the plants."""
    frame = generate(rows, plants, seed)
    number = f"{plants} plants" if plants > 1 else "1 plant"
    note = f"Generated: {rows} rows of {number} by the rules of AI4I 2020, seed {seed}; not measured data."
    origin = Origin("generator", generated={"rows": rows, "plants": plants, "seed": seed}, note=note)
    return Table(frame, replace(AI4I_SCHEMA, client="plant"), origin)


def published(origin: Origin) -> Origin:
    """Return the origin of a table with AI4I's header, saying whether it is one of the published files."""
    other = (origin.source, "A table with the header of AI4I 2020, whose content is not the published one.")
    source, note = _PUBLISHED.get(origin.sha256 or "", other)
    return replace(origin, source=source, note=note)


def _read(path: Path) -> Table:
    frame, origin = source_for(path).read()
    schema = recognise(frame)
    if schema is None:
        missing = ", ".join(repr(name) for name in AI4I_SCHEMA.used if name not in frame.columns)
        raise DataError(
            f"{path} must have AI4I's header, {missing} missing; name the file of another table in data.path"
        )
    return Table(frame, schema, published(origin))
