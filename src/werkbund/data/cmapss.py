"""C-MAPSS: turbofan engines that run until they fail, known by the form of their files, as rows of windows.

A training file holds whole lives. Beside it may lie a test file, whose engines stop before they fail, and one with
the cycles that these had left: of each, the last cycle is a row that judges and that nobody learns from.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array
from werkbund.core.errors import DataError
from werkbund.core.rng import generator
from werkbund.core.target import NumberTarget
from werkbund.data.schema import Column, Schema
from werkbund.data.table import Origin, Table
from werkbund.data.time.clock import Clock
from werkbund.data.time.windows import Telemetry, WindowPlan

UNIT, CYCLE, LEFT, PART, AIRLINE, CONDITION = "engine", "cycle", "cycles left", "part", "airline", "condition"
HORIZON, CAP = 30.0, 125.0
"""Cycles: of a failure that is near, and beyond which no wear shows."""

_SETTINGS = ("altitude", "Mach number", "throttle")
_SENSORS = (
    "T2", "T24", "T30", "T50", "P2", "P15", "P30", "Nf", "Nc", "epr", "Ps30", "phi", "NRf", "NRc", "BPR", "farB",
    "htBleed", "Nf_dmd", "PCNfR_dmd", "W31", "W32",
)  # fmt: skip
_COLUMNS = (UNIT, CYCLE, *_SETTINGS, *_SENSORS)
_NAME = re.compile(r"train_(FD\d+)\.txt(\.gz)?")
_CONSTANT = 1e-9
_WINDOW, _REFERENCE = "30", "20"


def is_cmapss(path: Path) -> bool:
    """Say whether a file has the form of a C-MAPSS training file: 26 numbers a line, no header, engine 1 at cycle 1."""
    if not path.is_file() or path.suffix not in (".txt", ".gz"):
        return False
    try:
        first = _text(path)[:2000].splitlines()[0].split()
        return len(first) == len(_COLUMNS) and [float(word) for word in first][:2] == [1.0, 1.0]
    except (ValueError, IndexError, OSError, UnicodeDecodeError):
        return False


def cmapss_table(path: Path, airlines: int, seed: int) -> Table:
    """Read a training file, with the test files beside it, and deal its engines to airlines at random.

    Features are the mean and slope of each sensor over 30 cycles, its deviation from the engine's own first 20 cycles
    in the same condition of flight, and the engine's age. Sensors that never change are left out.

    Parameters
    ----------
    path
        `train_FD001.txt`, or gzipped; of another name it has no test files.
    airlines
        Number of clients.
    seed
        By which engines are dealt.

    Raises
    ------
    DataError
        If a line has not 26 numbers, or the cycles left are not one a test engine.

    References
    ----------
    Saxena and Goebel, "Turbofan Engine Degradation Simulation Data Set", NASA Prognostics Data Repository, 2008.
    """
    train = _engines(path, "train")
    end = train.group_by(UNIT).agg(pl.col(CYCLE).max().alias("end"))
    readings, beside = train, _beside(path)
    if beside is not None:
        test = _engines(beside[0], "test")
        readings, end = pl.concat([train, test]), pl.concat([end, _ends(test, beside[1])])
    sensors = tuple(name for name in _SENSORS if np.std(train[name].to_numpy()) > _CONSTANT)
    plan = WindowPlan(sensors, "1", (_WINDOW,), reference=_REFERENCE, regime=CONDITION, new=True)
    points = Telemetry(UNIT, CYCLE, plan).points(readings.with_columns(_condition()), Clock(), 2**62)
    rows = points.join(end, on=UNIT, maintain_order="left").with_columns((pl.col("end") - pl.col(CYCLE)).alias(LEFT))
    last = pl.col(CYCLE) == pl.col(CYCLE).max().over(UNIT)
    rows = rows.with_columns(pl.col(UNIT).str.split(" ").list.first().alias(PART)).filter(
        (pl.col(PART) == "train") | last
    )
    dealt = _dealt(rows[UNIT].unique().sort().to_list(), airlines, seed)
    frame = rows.drop("end").with_columns(pl.col(UNIT).replace_strict(dealt).alias(AIRLINE))
    return Table(frame, _schema(plan), _origin(path, train, beside is not None))


def _schema(plan: WindowPlan) -> Schema:
    features = tuple(Column(name, "number", "cycles" if name == "age" else "") for name in plan.feature_names)
    return Schema(
        LEFT, features, machine=UNIT, client=AIRLINE, never=(CYCLE,), part=PART,
        target=NumberTarget(HORIZON, CAP, "cycles"),
    )  # fmt: skip


def _origin(path: Path, train: pl.DataFrame, tested: bool) -> Origin:
    match = _NAME.fullmatch(path.name)
    name, engines = match[1] if match else path.name, train[UNIT].n_unique()
    judged = "the official test engines, each at its last cycle, judge" if tested else "without test engines"
    note = f"C-MAPSS {name}: {engines} engines until they fail; {judged}."
    return Origin("cmapss", str(path), hashlib.sha256(path.read_bytes()).hexdigest(), note=note)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("ascii")


def _engines(path: Path, part: str) -> pl.DataFrame:
    """Return the readings of a file, its engines named by part and number."""
    numbers = [line.split() for line in _text(path).splitlines() if line.strip()]
    if not numbers or any(len(line) != len(_COLUMNS) for line in numbers):
        raise DataError(f"{path} must have {len(_COLUMNS)} numbers in each line; fetch it anew")
    values: Float64Array = np.array(numbers, np.float64)
    frame = pl.DataFrame({name: values[:, place] for place, name in enumerate(_COLUMNS)})
    name = pl.format("{} {}", pl.lit(part), pl.col(UNIT).cast(pl.Int64).cast(pl.String).str.zfill(4))
    return frame.with_columns(name.alias(UNIT), pl.col(CYCLE).cast(pl.Int64))


def _beside(path: Path) -> tuple[Path, Path] | None:
    """Return the test file and the cycles left that belong to a training file; None where one is missing."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    found = [
        next((place for end in ("", ".gz") if (place := path.with_name(f"{kind}_{match[1]}.txt{end}")).is_file()), None)
        for kind in ("test", "RUL")
    ]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _ends(test: pl.DataFrame, left: Path) -> pl.DataFrame:
    """Return the cycle at which each test engine fails."""
    last = test.group_by(UNIT).agg(pl.col(CYCLE).max().alias("end")).sort(UNIT)
    cycles = [float(line) for line in _text(left).split()]
    if len(cycles) != last.height:
        raise DataError(f"{left} must say the cycles left of {last.height} engines, got {len(cycles)}; fetch it anew")
    return last.with_columns(pl.col("end") + pl.Series(cycles).cast(pl.Int64))


def _condition() -> pl.Expr:
    """Return the condition of flight: the settings, rounded to where they lie apart."""
    altitude, mach, throttle = _SETTINGS
    rounded = (pl.col(altitude).round(0), (10 * pl.col(mach)).round(0), pl.col(throttle).round(0))
    return pl.concat_str(*(column.cast(pl.Int64) for column in rounded), separator="/").alias(CONDITION)


def _dealt(engines: list[str], airlines: int, seed: int) -> dict[str, str]:
    """Deal the engines of each part in turn, in an order drawn by the seed."""
    dealt: dict[str, str] = {}
    for part in ("train", "test"):
        own = [engine for engine in engines if engine.startswith(part)]
        order = generator(seed, f"engines of {part}").permutation(len(own))
        dealt |= {own[place]: f"airline-{turn % airlines + 1:02d}" for turn, place in enumerate(order.tolist())}
    return dealt
