"""The counts of some rows, whoever held them: all that metrics are computed from.

Scores are counted in 1024 bins of the logit, the outer ones open, between the edges of the question that was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from werkbund.core.arrays import AnyArray, BoolArray, Float32Array, Float64Array, Int64Array
from werkbund.core.edges import NUM_BINS, STANDARD_EDGES, of_one_score
from werkbund.core.errors import DataError
from werkbund.core.target import ERROR_NAMES

NUM_DECILES = 10

_COUNTED = ("histogram", "modes", "brier", "log_loss", "calibration", "spread")


def lower_probabilities(edges: Float32Array = STANDARD_EDGES) -> Float64Array:
    """Return the probability at which each bin begins: (NUM_BINS,), rising from 0, the lowest bin being open.

    Examples
    --------
    >>> lower_probabilities()[[0, 512]].tolist()
    [0.0, 0.5]
    """
    with np.errstate(over="ignore"):
        return np.concatenate(([0.0], 1.0 / (1.0 + np.exp(-edges.astype(np.float64)))))


@dataclass(frozen=True)
class Confusion:
    """Hold how often a decision was right and wrong, by what was true and what was decided."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, eq=False)
class Counts:
    """Hold score counts; those of two sets of rows, added, are those of all these rows.

    Parameters
    ----------
    histogram
        (2, NUM_BINS), rows by label and bin of the score.
    modes
        (modes, NUM_BINS), positive rows that have the failure mode, by bin.
    brier
        Sum of squared errors of the probability.
    log_loss
        Sum of -log(probability of the label).
    calibration
        (10, 3): rows, sum of probabilities and sum of labels, by tenth of the probability.
    outer
        Two histograms, each row in the lowest and in the highest bin that it may truly be in, where clients have put
        rows of several bins together; None where each is in its own.
    edges
        (NUM_BINS - 1,), the logits between bins.
    errors
        (6,), sums over rows of the errors of a number that is foretold, as `core.target.ERROR_NAMES` lists them; zeros
        where none is.

    Raises
    ------
    DataError
        If an array has another shape, or a count is negative.
    """

    histogram: Int64Array
    modes: Int64Array
    brier: float
    log_loss: float
    calibration: Float64Array
    outer: tuple[Int64Array, Int64Array] | None = None
    edges: Float32Array = field(default_factory=lambda: STANDARD_EDGES)
    errors: Float64Array = field(default_factory=lambda: np.zeros(len(ERROR_NAMES)))

    def __post_init__(self) -> None:
        shapes = (self.histogram.shape, self.modes.shape[1:], self.calibration.shape)
        expected = ((2, NUM_BINS), (NUM_BINS,), (NUM_DECILES, 3))
        if shapes != expected:
            raise DataError(
                f"histogram, modes and calibration must be {expected}, got {shapes}; count with this release"
            )
        if min(self.histogram.min(), self.modes.min(initial=0)) < 0:
            raise DataError("counts must not be negative; a client has sent something that is no count")

    @classmethod
    def empty(cls, num_modes: int = 0, edges: Float32Array = STANDARD_EDGES) -> Counts:
        """Return the counts of no row."""
        histogram = np.zeros((2, NUM_BINS), np.int64)
        modes = np.zeros((num_modes, NUM_BINS), np.int64)
        return cls(histogram, modes, 0.0, 0.0, np.zeros((NUM_DECILES, 3)), edges=edges)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, AnyArray], index: int | None = None, edges: Float32Array = STANDARD_EDGES
    ) -> Counts:
        """Return the counts of all clients together, or of the one at `index`.

        Parameters
        ----------
        arrays
            What clients count, by the names of the fields, each array with one row a client.
        edges
            Of the question that they answered.

        Raises
        ------
        DataError
            If an array is missing.
        """
        missing = [name for name in _COUNTED if name not in arrays]
        if missing:
            raise DataError(f"counts must hold {list(_COUNTED)}, got none for {missing}; count with this release")
        own = slice(None) if index is None else [index]
        taken = {name: arrays[name][own].sum(axis=0) for name in _COUNTED[:-1]}
        brier, log_loss = float(taken["brier"]), float(taken["log_loss"])
        outer = _outer(arrays["histogram"][own], arrays["spread"][own])
        errors = {"errors": np.asarray(arrays["errors"][own].sum(axis=0))} if "errors" in arrays else {}
        return cls(taken["histogram"], taken["modes"], brier, log_loss, taken["calibration"], outer, edges, **errors)

    def __add__(self, other: Counts) -> Counts:
        if len(self.modes) != len(other.modes):
            raise DataError(
                f"counts must have the same failure modes to be added, got {len(self.modes)} and {len(other.modes)}; "
                "count all rows with one list of modes"
            )
        if not np.array_equal(self.edges, other.edges):
            raise DataError("counts must be on the same edges to be added; ask all clients with the same ones")
        return Counts(
            self.histogram + other.histogram,
            self.modes + other.modes,
            self.brier + other.brier,
            self.log_loss + other.log_loss,
            self.calibration + other.calibration,
            self._added_outer(other),
            self.edges,
            self.errors + other.errors,
        )

    def _added_outer(self, other: Counts) -> tuple[Int64Array, Int64Array] | None:
        if self.outer is None and other.outer is None:
            return None
        return self.lowest + other.lowest, self.highest + other.highest

    @cached_property
    def tied(self) -> BoolArray:
        """Whether all rows of a bin have the same score, in single precision: (NUM_BINS,)."""
        return of_one_score(self.edges) & (self.outer is None)

    def without_outer(self) -> Counts:
        """Return the counts as if each row were in its own bin."""
        return self if self.outer is None else replace(self, outer=None)

    @property
    def lowest(self) -> Int64Array:
        """(2, NUM_BINS), each row in the lowest bin that it may truly be in."""
        return self.histogram if self.outer is None else self.outer[0]

    @property
    def highest(self) -> Int64Array:
        """(2, NUM_BINS), each row in the highest bin that it may truly be in."""
        return self.histogram if self.outer is None else self.outer[1]

    @cached_property
    def negatives(self) -> int:
        """Number of rows with label 0."""
        return int(self.histogram[0].sum())

    @cached_property
    def positives(self) -> int:
        """Number of rows with label 1."""
        return int(self.histogram[1].sum())

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.negatives + self.positives

    def bin_from(self, logit: float) -> int:
        """Return the bin that begins at a logit, minus infinity for the lowest.

        Raises
        ------
        DataError
            If none does: rows of one bin would lie on both sides.
        """
        if logit == -np.inf:
            return 0
        place = int(np.searchsorted(self.edges, np.float32(logit)))
        if place >= len(self.edges) or self.edges[place] != logit:
            raise DataError(f"a threshold must be an edge of the bins, got a logit of {logit}; count with it as one")
        return place + 1

    def confusion(self, bin: int) -> Confusion:  # noqa: A002 - the field's own word
        """Return how often "a failure, if the score is in `bin` or above" was right and wrong."""
        false_positives, true_positives = (int(count) for count in self.histogram[:, bin:].sum(axis=1))
        return Confusion(
            true_positives, false_positives, self.positives - true_positives, self.negatives - false_positives
        )


def _outer(histogram: Int64Array, spread: Int64Array) -> tuple[Int64Array, Int64Array] | None:
    """Return all clients' rows in the lowest and in the highest bin that each may truly be in; None for their own.

    A client whose rows are spread has put the rows of neighbouring bins into the bin of the middle one: each lies
    between the next bins that hold rows by its counts, and no more than half of a bin's rows on either side of it.

    Parameters
    ----------
    histogram
        (clients, 2, NUM_BINS)
    spread
        (clients,), rows that may be in bins around theirs: none or all of a client.
    """
    if not spread.any():
        return None
    alone = np.asarray(histogram[spread == 0].sum(axis=0))
    lowest, highest = alone.copy(), alone.copy()
    for own in histogram[spread > 0]:
        rows = own.sum(axis=0)
        filled = np.flatnonzero(rows)
        next_below, next_above = np.append(-1, filled)[:-1], np.append(filled, len(rows))[1:]
        for into, most, far in ((lowest, rows // 2, next_below + 1), (highest, (rows - 1) // 2, next_above - 1)):
            gone = np.minimum(own[:, filled], most[filled])
            np.add.at(into.T, far, gone.T)
            np.add.at(into.T, filled, (own[:, filled] - gone).T)
    return lowest, highest
