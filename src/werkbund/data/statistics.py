"""What a client counts about its features, so that scaling can be learnt without a row leaving it.

Two additive stages. First counts, sums and the levels of each category column; from their total the server
knows the common mean. Then squared deviations from that mean. Subtracting the mean before squaring keeps
the digits that "sum of squares minus square of sum" loses, and both stages are plain sums, as secure summation
needs.

References
----------
Chan, Golub, LeVeque, "Algorithms for computing the sample variance: analysis and recommendations", The
American Statistician 37(3), 1983: the two-pass algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array
from werkbund.core.errors import DataError
from werkbund.data.features import clean, number_matrix
from werkbund.data.markers import Marker
from werkbund.data.schema import Schema

Range = tuple[float | None, float | None]
"""Least and largest plausible value, None where an end is open."""


@dataclass(frozen=True)
class SurveyCounts:
    """Hold the first stage: everything about a table that can be added up over clients.

    Parameters
    ----------
    features
        Names of the number features, raw then derived.
    labels
        (2,), int64: rows with label 0, rows with label 1.
    count, missing
        (features,), int64: values present and values missing.
    sum
        (features,), float64: sum of the values present, in raw units.
    vocabulary
        The levels of each category column, sorted.
    """

    features: tuple[str, ...]
    labels: Int64Array
    count: Int64Array
    missing: Int64Array
    sum: Float64Array
    vocabulary: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        shapes = [array.shape for array in (self.labels, self.count, self.missing, self.sum)]
        if shapes != [(2,), *[(len(self.features),)] * 3]:
            raise DataError(f"a survey of {len(self.features)} features needs arrays to match, got {shapes}")

    def __add__(self, other: SurveyCounts) -> SurveyCounts:
        if self.features != other.features or set(self.vocabulary) != set(other.vocabulary):
            raise DataError(
                f"surveys must describe the same columns, got {self._columns()} and {other._columns()}; "
                "give both clients the same schema"
            )
        return SurveyCounts(
            self.features,
            self.labels + other.labels,
            self.count + other.count,
            self.missing + other.missing,
            self.sum + other.sum,
            {name: tuple(sorted({*levels, *other.vocabulary[name]})) for name, levels in self.vocabulary.items()},
        )

    def _columns(self) -> list[str]:
        return [*self.features, *self.vocabulary]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.labels.sum())

    @property
    def prevalence(self) -> float:
        """Share of rows with label 1; 0 where there is no row."""
        return float(self.labels[1] / max(self.rows, 1))

    @property
    def mean(self) -> Float64Array:
        """Mean of the values present, (features,), in raw units; 0 where there is none."""
        return np.asarray(self.sum / np.maximum(self.count, 1), dtype=np.float64)

    def to_arrays(self) -> dict[str, AnyArray]:
        """Return the named arrays whose sums over clients are the federation's."""
        return {"labels": self.labels, "count": self.count, "missing": self.missing, "sum": self.sum}

    @classmethod
    def from_arrays(
        cls,
        features: Sequence[str],
        arrays: Mapping[str, AnyArray],
        vocabulary: Mapping[str, Sequence[str]],
    ) -> SurveyCounts:
        """Return the counts that `to_arrays` and `vocabulary` describe.

        Whole numbers may come as floats, as they do out of a secure sum.

        Raises
        ------
        DataError
            If an array is missing or has another shape.
        """
        lost = {"labels", "count", "missing", "sum"} - set(arrays)
        if lost:
            raise DataError(f"a survey needs the arrays labels, count, missing, sum; missing {sorted(lost)}")
        whole = {name: np.rint(arrays[name]).astype(np.int64) for name in ("labels", "count", "missing")}
        total = np.asarray(arrays["sum"], dtype=np.float64)
        levels = {name: tuple(sorted(set(values))) for name, values in vocabulary.items()}
        return cls(tuple(features), whole["labels"], whole["count"], whole["missing"], total, levels)


def number_names(schema: Schema) -> tuple[str, ...]:
    """Return the names of the raw number columns, in the schema's order."""
    return tuple(column.name for column in schema.features if column.kind == "number")


def category_names(schema: Schema) -> tuple[str, ...]:
    """Return the names of the category columns, in the schema's order."""
    return tuple(column.name for column in schema.features if column.kind == "category")


def marks_of(schema: Schema) -> dict[str, tuple[Marker, ...]]:
    """Return the marks that stand for no reading, of each number column that has any."""
    return {column.name: column.missing for column in schema.features if column.missing}


def ranges_of(schema: Schema) -> dict[str, Range]:
    """Return the plausible range of each number column that declares any end of one."""
    ends = {column.name: (column.low, column.high) for column in schema.features}
    return {name: pair for name, pair in ends.items() if pair != (None, None)}


def clean_rows(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Return the raw feature columns of a schema as `clean` does."""
    return clean(frame, number_names(schema), category_names(schema), marks_of(schema))


def feature_names(schema: Schema) -> tuple[str, ...]:
    """Return the names of the number features: the raw columns, then the derived ones."""
    return (*number_names(schema), *(feature.name for feature in schema.derived))


def survey(frame: pl.DataFrame, schema: Schema) -> SurveyCounts:
    """Count one client's rows: the first stage.

    Parameters
    ----------
    frame
        The client's rows (its training rows, if the model is to be judged on others), in raw units.
    schema
        The same at every client.
    """
    arrays, vocabularies = survey_each(frame, schema, np.array([0, frame.height]))
    counts = {name: array[0] for name, array in arrays.items()}
    return SurveyCounts.from_arrays(feature_names(schema), counts, vocabularies[0])


def survey_each(
    frame: pl.DataFrame, schema: Schema, offsets: Int64Array
) -> tuple[dict[str, AnyArray], list[dict[str, tuple[str, ...]]]]:
    """Count the rows of many clients at once, each to the same bits as if it had counted alone.

    Parameters
    ----------
    frame, schema
        As in `survey`; the rows of all clients.
    offsets
        (clients + 1,), client i owns rows `offsets[i]:offsets[i + 1]`.

    Returns
    -------
    arrays
        What `SurveyCounts.to_arrays` names, each with one row a client.
    vocabularies
        One a client: the levels of each category column, sorted.
    """
    positive = schema.labels(frame).astype(np.int64)
    cleaned = clean_rows(frame, schema)
    values = number_matrix(cleaned, number_names(schema), schema.derived)
    present = np.isfinite(values)
    count = _sums(present.astype(np.int64), offsets)
    sizes = np.diff(offsets)
    positives = _sums(positive[:, None], offsets)[:, 0]
    with np.errstate(over="ignore"):  # a sum beyond float64 is refused by name when the preparation is fitted
        total = _sums(np.where(present, values, 0.0), offsets)
    labels = np.stack([sizes - positives, positives], axis=1)
    arrays = {"labels": labels, "count": count, "missing": sizes[:, None] - count, "sum": total}
    return arrays, _vocabularies(cleaned, category_names(schema), offsets)


def squares(frame: pl.DataFrame, schema: Schema, mean: Float64Array) -> Float64Array:
    """Sum one client's squared deviations from the federation's mean: the second stage.

    Parameters
    ----------
    frame, schema
        As in `survey`.
    mean
        (features,), `SurveyCounts.mean` of the total over clients.

    Returns
    -------
    squares
        (features,), float64, in squared raw units; missing values count nothing. Add these over clients.
    """
    alone: Float64Array = squares_each(frame, schema, mean, np.array([0, frame.height]))[0]
    return alone


def squares_each(frame: pl.DataFrame, schema: Schema, mean: Float64Array, offsets: Int64Array) -> Float64Array:
    """Sum the squared deviations of many clients at once, (clients, features); see `squares` and `survey_each`."""
    cleaned = clean_rows(frame, schema)
    deviations = number_matrix(cleaned, number_names(schema), schema.derived) - mean
    with np.errstate(over="ignore"):
        squared: Float64Array = np.square(np.nan_to_num(deviations, nan=0.0, posinf=np.inf, neginf=-np.inf))
        summed: Float64Array = _sums(squared, offsets)
    return summed


def _sums(values: AnyArray, offsets: Int64Array) -> AnyArray:
    """Sum the rows (rows, columns) of each client: (clients, columns), 0 for a client without rows."""
    sums = np.zeros((len(offsets) - 1, values.shape[1]), values.dtype)
    present = np.flatnonzero(np.diff(offsets))
    if len(present):
        sums[present] = np.add.reduceat(values, offsets[:-1][present], axis=0)
    return sums


def _vocabularies(cleaned: pl.DataFrame, names: Sequence[str], offsets: Int64Array) -> list[dict[str, tuple[str, ...]]]:
    """Return the levels of each category column, sorted, one mapping a client."""
    vocabularies: list[dict[str, tuple[str, ...]]] = [dict.fromkeys(names, ()) for _ in range(len(offsets) - 1)]
    client = pl.Series("client", np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))
    for name in names:
        levels = pl.DataFrame([client, cleaned.get_column(name).alias("level")]).drop_nulls().unique()
        sorted_levels = levels.sort("client", "level").group_by("client", maintain_order=True).agg("level")
        for number, vocabulary in sorted_levels.rows():
            vocabularies[number][name] = tuple(vocabulary)
    return vocabularies
