"""From a table in raw units to what a network reads, learnt over all clients and carried inside the model.

A number becomes (value - mean) / scale with the federation's mean and standard deviation, in float64 up to
this point, then float32. A missing number becomes 0, the mean; where some client misses values of a column,
a feature of its own says that this one was missing. A category becomes one feature a level; an unknown or
missing level is all zeros.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import Float32Array, Float64Array
from werkbund.core.errors import DataError, ModelError
from werkbund.data.features import clean, number_matrix
from werkbund.data.frames import polars_of
from werkbund.data.markers import Marker
from werkbund.data.schema import Derived, Schema
from werkbund.data.statistics import (
    Range,
    SurveyCounts,
    category_names,
    feature_names,
    marks_of,
    number_names,
    ranges_of,
)
from werkbund.data.time.windows import Telemetry

LARGEST = float(np.finfo(np.float32).max)
"""A scaled value beyond this has no float32; it counts as missing, as one that is not finite does."""

_CONSTANT = 1e-10  # spread by size of mean below which a sum over millions of rows has no digit left to tell it by


_UNTOLD = 1e30  # scale of a column of which nobody told a value; as a single-precision number it is finite

_ROWS_A_PIECE = 500_000  # rows that are in float64 at a time


@dataclass(frozen=True)
class Preparation:
    """Turn raw tables into features, alike at every client, in the report and in the exported model.

    Parameters
    ----------
    numeric
        Raw number columns.
    derived
        Features computed from raw columns; they follow the raw numbers.
    mean, scale
        One for each raw number and derived feature, in raw units; every scale is above 0.
    categories
        Pairs of category column and its levels, sorted.
    missing
        Names of the numbers (raw or derived) that have a missing-indicator.
    units
        Unit of each raw number column, for people; empty where it has none.
    marks
        Pairs of raw number column and the marks in it that stand for no reading.
    telemetry
        How rows are made of readings; None where a table holds the rows.
    ranges
        Pairs of raw number column and its plausible range, both ends inclusive, None where one is open; it says which
        rows a model in use does not score, and changes no value.
    """

    numeric: tuple[str, ...]
    derived: tuple[Derived, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()
    missing: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    marks: tuple[tuple[str, tuple[Marker, ...]], ...] = ()
    telemetry: Telemetry | None = None
    ranges: tuple[tuple[str, Range], ...] = ()

    def __post_init__(self) -> None:
        width = len(self.numbers)
        if not len(self.mean) == len(self.scale) == width:
            raise DataError(f"mean and scale must have {width} values, got {len(self.mean)} and {len(self.scale)}")
        finite = np.isfinite((*self.mean, *self.scale)).reshape(2, -1)
        usable = finite.all(axis=0) & (np.asarray(self.scale) > 0)
        if not usable.all():
            unfit = [name for name, fits in zip(self.numbers, usable, strict=True) if not fits]
            raise DataError(f"mean and scale must be finite, scale above 0; not so for {unfit}: give smaller units")
        unknown = [name for name in self.missing if name not in self.numbers]
        if unknown:
            raise DataError(f"missing-indicators must belong to number features, got {unknown}")
        if len(self.units) not in (0, len(self.numeric)):
            raise DataError(f"units must name {len(self.numeric)} units, got {len(self.units)}")
        if not {name for name, _ in self.marks} <= set(self.numeric):
            raise DataError(f"marks must belong to number columns, got {self.marks}")
        if not {name for name, _ in self.ranges} <= set(self.numeric):
            raise DataError(f"ranges must belong to number columns, got {self.ranges}")
        if not self.feature_names:
            raise DataError("a model needs at least one feature, got none; name columns in the schema")

    @classmethod
    def fit(cls, schema: Schema, survey: SurveyCounts, squares: Float64Array) -> Preparation:
        """Return the preparation that the federation's counts give.

        Parameters
        ----------
        schema
            The schema of every client.
        survey
            First stage, added over clients.
        squares
            (features,), second stage, added over clients.

        Notes
        -----
        The scale is the standard deviation of the values present, divided by their number, not by one less.
        A column without spread gets scale 1. One of which nobody told a value gets a scale so large that all its values
        count as 0: clients may have a few that they keep to themselves, and nobody knows their size.
        """
        names = feature_names(schema)
        if survey.features != names or squares.shape != (len(names),):
            raise DataError(
                f"a survey of {names} and as many squares are needed, "
                f"got {survey.features} and {squares.shape}; survey every client with this schema"
            )
        deviation = np.sqrt(squares / np.maximum(survey.count, 1))
        spread = deviation > _CONSTANT * np.abs(survey.mean)
        pairs = zip(survey.features, survey.missing, strict=True)
        return cls(
            number_names(schema),
            schema.derived,
            tuple(survey.mean.tolist()),
            tuple(np.where(survey.count == 0, _UNTOLD, np.where(spread, deviation, 1.0)).tolist()),
            tuple((name, survey.vocabulary[name]) for name in category_names(schema)),
            tuple(name for name, missing in pairs if missing),
            tuple(column.unit for column in schema.features if column.kind == "number"),
            tuple(marks_of(schema).items()),
            schema.telemetry,
            tuple(ranges_of(schema).items()),
        )

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of the number features, raw then derived."""
        return (*self.numeric, *(feature.name for feature in self.derived))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Raw columns that a table to be scored must have."""
        return (*self.numeric, *(name for name, _ in self.categories))

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the network's inputs: numbers, levels, missing-indicators."""
        levels = (f"{name}={level}" for name, known in self.categories for level in known)
        return (*self.numbers, *levels, *(f"{name} missing" for name in self.missing))

    @cached_property
    def raw_names(self) -> tuple[str, ...]:
        """Names of the columns of `raw`: numbers, then categories."""
        return (*self.numbers, *(name for name, _ in self.categories))

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Number of levels of each column of `raw`: 0 for a number, at least 1 for a category."""
        return (*(0 for _ in self.numbers), *(max(len(known), 1) for _, known in self.categories))

    @cached_property
    def feature_groups(self) -> dict[str, list[int]]:
        """Which of the network's inputs belong to each number and category."""
        groups = {name: [place] for place, name in enumerate(self.numbers)}
        end = len(self.numbers)
        for name, known in self.categories:
            groups[name] = list(range(end, end + len(known)))
            end += len(known)
        for place, name in enumerate(self.missing):
            groups[name].append(end + place)
        return groups

    @property
    def num_features(self) -> int:
        """Number of the network's inputs."""
        return len(self.feature_names)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that differ as soon as anything about the preparation does."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def transform(self, frame: pl.DataFrame) -> Float32Array:
        """Return the network's inputs for a table in raw units.

        Parameters
        ----------
        frame
            Rows in any order, of polars or pandas; columns that the preparation does not name are ignored, the label
            among them.

        Returns
        -------
        features
            (rows, features), float32, finite.

        Raises
        ------
        DataError
            If a column is missing or holds text instead of numbers.
        """
        frame = polars_of(frame)
        features = np.empty((frame.height, self.num_features), dtype=np.float32)
        for first in range(0, max(frame.height, 1), _ROWS_A_PIECE):
            piece = frame.slice(first, _ROWS_A_PIECE)
            self._fill(features[first : first + _ROWS_A_PIECE], piece)
        return features

    def _fill(self, features: Float32Array, frame: pl.DataFrame) -> None:
        """Write the inputs of some rows into `features`: (rows, features)."""
        cleaned = self._clean(frame)
        with np.errstate(over="ignore"):
            scaled = (number_matrix(cleaned, self.numeric, self.derived) - self.mean) / self.scale
        present = np.abs(scaled) <= LARGEST  # false for NaN
        end = len(self.numbers)
        features[:, :end] = np.where(present, scaled, 0.0)
        for name, levels in self.categories:
            features[:, end : end + len(levels)] = _one_hot(cleaned[name], levels)
            end += len(levels)
        features[:, end:] = ~present[:, [self.numbers.index(name) for name in self.missing]]

    def raw(self, frame: pl.DataFrame) -> Float64Array:
        """Return what trees read of a table in raw units, neither scaled nor filled.

        Returns
        -------
        values
            (rows, raw_names), float64: a number as it is, a category as the place of its level; NaN where a value is
            missing, is not finite, or is a level that nobody had.
        """
        cleaned = self._clean(frame := polars_of(frame))
        values = np.empty((frame.height, len(self.raw_names)))
        numbers = number_matrix(cleaned, self.numeric, self.derived)
        values[:, : len(self.numbers)] = np.where(np.isfinite(numbers), numbers, np.nan)
        for place, (name, known) in enumerate(self.categories, len(self.numbers)):
            codes = cleaned[name].cast(pl.Enum(known), strict=False).to_physical()
            values[:, place] = codes.cast(pl.Float64).fill_null(np.nan).to_numpy()
        return values

    def _clean(self, frame: pl.DataFrame) -> pl.DataFrame:
        return clean(frame, self.numeric, [name for name, _ in self.categories], dict(self.marks))

    def to_json(self) -> dict[str, Any]:
        """Return plain values; floats keep every bit through JSON."""
        marks = {"marks": [[name, list(marks)] for name, marks in self.marks]} if self.marks else {}
        telemetry = {} if self.telemetry is None else {"telemetry": self.telemetry.to_json()}
        ranges = {"ranges": [[name, list(ends)] for name, ends in self.ranges]} if self.ranges else {}
        return {
            "numeric": list(self.numeric),
            "derived": [[feature.name, feature.expression, feature.unit] for feature in self.derived],
            "mean": list(self.mean),
            "scale": list(self.scale),
            "categories": [[name, list(levels)] for name, levels in self.categories],
            "missing": list(self.missing),
            "units": list(self.units),
            **marks,  # a preparation without any keeps the fingerprint that it had before there were marks
            **telemetry,
            **ranges,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preparation:
        """Return the preparation that `to_json` described.

        Raises
        ------
        ModelError
            If an entry is missing or has another form.
        """
        try:
            return cls(
                tuple(values["numeric"]),
                tuple(Derived(*feature) for feature in values["derived"]),
                tuple(map(float, values["mean"])),
                tuple(map(float, values["scale"])),
                tuple((name, tuple(levels)) for name, levels in values["categories"]),
                tuple(values["missing"]),
                tuple(values["units"]),
                tuple((name, tuple(marks)) for name, marks in values.get("marks", ())),
                Telemetry.from_json(values["telemetry"]) if "telemetry" in values else None,
                tuple((name, (_end(low), _end(high))) for name, (low, high) in values.get("ranges", ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"a preparation's description is incomplete: {error!r}; export the model again") from error


def _end(value: object) -> float | None:
    return None if value is None else float(str(value))


def _one_hot(column: pl.Series, levels: tuple[str, ...]) -> Float32Array:
    """Return (rows, levels); a row of an unknown or missing level is all zeros."""
    codes = column.cast(pl.Enum(levels), strict=False).to_physical()
    known = codes.is_not_null().to_numpy()
    marked = np.zeros((len(column), len(levels)), dtype=np.float32)
    marked[known, codes.drop_nulls().to_numpy()] = 1.0
    return marked
