"""AI4I 2020: what its columns mean, where its file is found or fetched from, and generated rows where there is none.

The UCI repository serves the same content under other headers. What arrives is written in the published file's own
form first, and kept only if its checksum is the published one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path

import platformdirs
import polars as pl
from polars.exceptions import PolarsError

from werkbund.core import defaults
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.files import write_atomically
from werkbund.data import rules
from werkbund.data.generator import generate
from werkbund.data.schema import Column, Derived, Schema
from werkbund.data.sources import source_for
from werkbund.data.table import Origin, Table

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

UCI_ID = 601
_BOM = b"\xef\xbb\xbf"
_DECIMALS = (rules.AIR, rules.PROCESS, rules.TORQUE)
_TEXTS = (rules.PRODUCT, rules.TYPE)
_REMEDY = (
    "check the network, or put ai4i2020.csv into the folder that WERKBUND_DATA names; "
    "without the file generated rows are used"
)

Download = Callable[[], pl.DataFrame]


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
        file = explicit if explicit.is_file() else _inside(explicit)
        if file is None:
            raise DataError(
                f"path must name an AI4I file ({' or '.join(FILE_NAMES)}) or a folder with one, "
                f"got {explicit}; correct it, or leave it out to use generated rows"
            )
        return file
    variable = environ.get(VARIABLE)
    places = [Path(variable)] if variable else []
    places += [cwd.parent / "shared" / "data", user_cache() if cache is None else cache]
    files = (place if place.is_file() else _inside(place) for place in places)
    return next((path for path in files if path is not None), None)


def _inside(folder: Path) -> Path | None:
    candidates = (place / name for name in FILE_NAMES for place in (folder / FOLDER, folder))
    return next((path for path in candidates if path.is_file()), None)


def load_ai4i(
    path: Path | None = None,
    *,
    rows: int = defaults.GENERATED_ROWS,
    plants: int = defaults.NUM_CLIENTS,
    seed: int = 0,
) -> Table:
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
    file = locate(path, os.environ, Path.cwd())
    return generated_table(rows=rows, plants=plants, seed=seed) if file is None else _read(file)


def generated_table(rows: int, plants: int, seed: int) -> Table:
    """Return generated rows as a table whose clients are the plants."""
    frame = generate(rows=rows, plants=plants, seed=seed)
    number = f"{plants} plants" if plants > 1 else "1 plant"
    note = f"Generated: {rows} rows of {number} by the rules of AI4I 2020, seed {seed}; not measured data."
    origin = Origin("generator", generated={"rows": rows, "plants": plants, "seed": seed}, note=note)
    return Table(frame, replace(AI4I_SCHEMA, client="plant"), origin)


def published(origin: Origin) -> Origin:
    """Return the origin of a table with AI4I's header, saying whether it is one of the published files."""
    unpublished = (origin.source, "A table with the header of AI4I 2020, whose content is not the published one.")
    source, note = _PUBLISHED.get(origin.sha256 or "", unpublished)
    return replace(origin, source=source, note=note)


def _read(path: Path) -> Table:
    """Return a file as a table; it must have the header of the original or of the twin."""
    frame, origin = source_for(path).read()
    schema = recognise(frame)
    if schema is None:
        missing = ", ".join(repr(name) for name in AI4I_SCHEMA.used if name not in frame.columns)
        raise DataError(
            f"{path} must have AI4I's header, {missing} missing; name the file of another table in data.path"
        )
    return Table(frame, schema, published(origin))


def fetch_ai4i(cache_dir: Path, download: Download | None = None) -> Path:
    """Download AI4I 2020 unless the cache has it, verify it, and return its path.

    Parameters
    ----------
    cache_dir
        Folder for the file; made if need be.
    download
        What returns the table; None for the UCI repository.

    Raises
    ------
    ConfigError
        If the package `ucimlrepo` is not installed.
    DataError
        If the repository cannot be reached or what it sends is not the published content.
    """
    target = cache_dir / FILE_NAMES[0]
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == AI4I_SHA256:
        return target
    content = canonical_bytes((download or _from_uci())())
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != AI4I_SHA256:
        raise DataError(
            f"the fetched table must be AI4I 2020 with SHA-256 {AI4I_SHA256}, got {checksum}; "
            "it was altered on its way or at its source, and is not kept"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, content)
    return target


def canonical_bytes(frame: pl.DataFrame) -> bytes:
    """Return a table with AI4I's columns in the published file's form: its header, BOM, CRLF, one decimal.

    Headers may lack their unit in brackets, and the row number may be called UID.

    Raises
    ------
    DataError
        If columns are missing or hold something else than numbers where numbers belong.
    """
    plain = {_plain(name): name for name in frame.columns}
    missing = [name for name in rules.COLUMNS if _plain(name) not in plain]
    if missing:
        raise DataError(f"the fetched table must have all of AI4I's columns, {', '.join(missing)} missing; {_REMEDY}")
    try:
        texts = frame.select(_as_text(plain[_plain(name)], name) for name in rules.COLUMNS)
    except PolarsError as error:
        raise DataError(f"the fetched table must hold numbers where AI4I does: {error}; {_REMEDY}") from error
    return _BOM + texts.write_csv(line_terminator="\r\n", quote_style="never").encode()


def _plain(name: str) -> str:
    bare = re.sub(r"\s*\[.*\]$", "", name.removeprefix("\ufeff")).strip().lower()
    return "udi" if bare == "uid" else bare


def _as_text(column: str, name: str) -> pl.Expr:
    """Return a column as the published file writes it: a text, a whole number, or a number with one decimal."""
    if name in _TEXTS:
        return pl.col(column).cast(pl.String).alias(name)
    if name not in _DECIMALS:
        return pl.col(column).cast(pl.Int64).cast(pl.String).alias(name)
    # The published file writes 309 for a process temperature, but 298.0 for an air temperature.
    whole = "" if name == rules.PROCESS else ".0"
    tenths = (pl.col(column).cast(pl.Float64) * 10).round().cast(pl.Int64)
    digit = (tenths % 10).cast(pl.String)
    decimals = pl.when(digit == "0").then(pl.lit(whole)).otherwise(pl.concat_str(pl.lit("."), digit))
    return pl.concat_str((tenths // 10).cast(pl.String), decimals).alias(name)


def _from_uci() -> Download:
    """Return the download from the UCI repository; the package that it needs is looked for at once."""
    try:
        from ucimlrepo import fetch_ucirepo
        from ucimlrepo.fetch import DatasetNotFoundError
    except ImportError as error:
        raise ConfigError(
            "fetching needs the package ucimlrepo, which is not installed; run: pip install 'werkbund[fetch]'"
        ) from error

    def download() -> pl.DataFrame:
        try:
            original = fetch_ucirepo(id=UCI_ID).data.original
        except (OSError, ValueError, HTTPException, DatasetNotFoundError) as error:
            raise DataError(f"the UCI repository must be in reach to fetch AI4I 2020: {error}; {_REMEDY}") from error
        return pl.DataFrame({str(name): column.tolist() for name, column in original.items()})

    return download
