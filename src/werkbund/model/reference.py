"""What rows looked like when a model was made: histograms by column and of the score, and how long readings linger.

The bins of a number are fixed in the federation's mean and standard deviation, so that histograms of several plants can
be added. Rows of machines are no independent draws: temperatures wander, wear climbs. The *memory* of a column is how
many rows in a row say as much as one: the variance of means over stretches of rows, times the length of a stretch, by
the variance of single rows, at the length where it is largest. It is 1 for independent rows.

A reference lies beside the model where the rows are: at a plant it is made of the plant's own rows, in process of those
of all clients. It does not leave a plant.

References
----------
Conway, "Some problems in digital systems simulation", Management Science 10(1), 1963: variance by batch means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.core.errors import ModelError
from werkbund.core.files import write_atomically
from werkbund.model.contract import Model

REFERENCE = "reference.json"
_GRID = np.array([-8, -6, -5, -4, -3.5, *np.arange(-3.0, 3.25, 0.25), 3.5, 4, 5, 6, 8])
"""Edges between the bins of a number, in standard deviations from the mean."""
_LOGITS = np.arange(-12.0, 12.5, 0.5)
_FEWEST_STRETCHES = 4
_MOST_ROWS = 500_000
LARGEST_LOGIT = 40.0


@dataclass(frozen=True)
class BinnedColumn:
    """Hold the histogram of a column.

    Parameters
    ----------
    edges
        (bins - 1,), between bins.
    counts
        (bins,), rows with a reading.
    memory, memory_of_spread
        Rows in a row that say as much about the mean, and about the spread, as one.
    mean, spread
        Of the readings.
    """

    edges: Float64Array
    counts: Int64Array
    memory: float
    memory_of_spread: float
    mean: float
    spread: float

    @classmethod
    def of(cls, values: Float64Array, edges: Float64Array) -> BinnedColumn:
        """Count readings in the order in which they were taken: (rows,), NaN for none."""
        known = values[np.isfinite(values)]
        counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
        mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        column = cls(edges, counts, 1.0, 1.0, mean, spread)
        scores = column.scores(known)
        return cls(edges, counts, memory(scores), memory(np.square(scores)), mean, spread)

    @property
    def rows(self) -> int:
        """Number of readings."""
        return int(self.counts.sum())

    def scores(self, values: Float64Array) -> Float64Array:
        """Return each reading's bin as a number, with mean 0 and spread 1 over the reference: (readings,)."""
        return np.asarray(self._standard[np.searchsorted(self.edges, values, side="right")])

    @cached_property
    def spread_of_squares(self) -> float:
        """Standard deviation over the reference of the squares of its scores."""
        return float(np.sqrt(self.counts @ np.square(np.square(self._standard) - 1.0) / max(self.rows, 1)))

    @cached_property
    def _standard(self) -> Float64Array:
        middles = np.concatenate((self.edges[:1], (self.edges[1:] + self.edges[:-1]) / 2, self.edges[-1:]))
        mean = float(self.counts @ middles) / max(self.rows, 1)
        spread = float(np.sqrt(self.counts @ np.square(middles - mean) / max(self.rows, 1)))
        return (middles - mean) / (spread or 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "edges": self.edges.tolist(),
            "counts": self.counts.tolist(),
            "memory": self.memory,
            "memory_of_spread": self.memory_of_spread,
            "mean": self.mean,
            "spread": self.spread,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> BinnedColumn:
        """Return what `to_json` described."""
        edges, counts = np.array(told["edges"], np.float64), np.array(told["counts"], np.int64)
        lasting, of_spread, mean, spread = (
            float(told[name]) for name in ("memory", "memory_of_spread", "mean", "spread")
        )
        are_bins = edges.ndim == 1 and counts.shape == (len(edges) + 1,) and len(edges) > 0
        if not (are_bins and (np.diff(edges) > 0).all() and (counts >= 0).all()):
            raise ValueError("edges must rise, and counts be one more than edges")
        if not (min(lasting, of_spread) >= 1 and spread >= 0 and np.isfinite([lasting, of_spread, mean, spread]).all()):
            raise ValueError("memory must be at least 1, and mean and spread be numbers")
        return cls(edges, counts, lasting, of_spread, mean, spread)


@dataclass(frozen=True)
class ModelReference:
    """Hold what rows looked like when a model was made.

    Parameters
    ----------
    columns
        Raw numbers, derived features and categories, by name.
    score
        Logits of the model on rows that it was not trained on; None where there were none.
    fingerprint
        Of the model.
    """

    columns: Mapping[str, BinnedColumn]
    score: BinnedColumn | None
    fingerprint: str

    @classmethod
    def of(cls, model: Model, learnt: pl.DataFrame, held_out: pl.DataFrame) -> ModelReference:
        """Look at rows in raw units, each table in the order in which its rows were taken.

        Parameters
        ----------
        model
            Names the columns, and scores rows.
        learnt
            Rows that it was trained on; of more than 500,000 the first ones.
        held_out
            Others.
        """
        preparation, values = model.preparation, model.preparation.raw(learnt.head(_MOST_ROWS))
        edges = [
            *(mean + spread * _GRID for mean, spread in zip(preparation.mean, preparation.scale, strict=True)),
            *(np.arange(0.5, max(len(known), 2)) for _, known in preparation.categories),
        ]
        names = preparation.raw_names
        columns = {name: BinnedColumn.of(values[:, place], edges[place]) for place, name in enumerate(names)}
        return cls(columns, _of_scores(model, held_out.head(_MOST_ROWS)), model.fingerprint)

    def write(self, folder: Path) -> None:
        """Write it into a folder."""
        told = {
            "fingerprint": self.fingerprint,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "score": None if self.score is None else self.score.to_json(),
        }
        write_atomically(folder / REFERENCE, (json.dumps(told) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> ModelReference:
        """Read what `write` wrote.

        Raises
        ------
        ModelError
            If there is none, or it cannot be read.
        """
        path = folder / REFERENCE
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            columns = {name: BinnedColumn.from_json(column) for name, column in told["columns"].items()}
            score = None if told["score"] is None else BinnedColumn.from_json(told["score"])
            return cls(columns, score, str(told["fingerprint"]))
        except FileNotFoundError as error:
            raise ModelError(
                f"to watch, {path} must be there, and is not; a plant has one beside its model, as has a run in one "
                "process; a server of real plants has none, since no plant tells it its histograms"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ModelError(f"{path} cannot be read ({error!r}); restore it from a copy, or train anew") from error


def memory(scores: Float64Array) -> float:
    """Return how many rows in a row say as much about the mean as one independent row, at least 1.

    Examples
    --------
    >>> round(memory(np.repeat(np.tile([1.0, -1.0, -1.0, 1.0], 8), 8)))
    8
    """
    variance, length, most = float(np.var(scores)) if len(scores) else 0.0, 2, 1.0
    while variance > 0 and len(scores) // length >= _FEWEST_STRETCHES:
        stretches = len(scores) // length
        means = scores[: stretches * length].reshape(stretches, length).mean(axis=1)
        most = max(most, float(np.var(means, ddof=1)) * length / variance)
        length *= 2
    return most


def _of_scores(model: Model, rows: pl.DataFrame) -> BinnedColumn | None:
    if not rows.height:
        return None
    logits = np.clip(np.asarray(model.logits(rows), np.float64), -LARGEST_LOGIT, LARGEST_LOGIT)
    return BinnedColumn.of(logits, _LOGITS)
