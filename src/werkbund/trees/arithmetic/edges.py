"""Bin edges: the one thing that all clients agree on before the first tree.

A number x falls into the first bin b whose edge is not below it, so that `x <= edges[b]` exactly if its bin is at
most b: a split of bins is a split of numbers. A missing value has a cell of its own behind the bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, Float64Array, Int64Array, UInt8Array
from werkbund.core.defaults import MOST_BINS
from werkbund.core.errors import ConfigError, DataError
from werkbund.core.threads import even_slices, num_threads, spread
from werkbund.trees.arithmetic.kernels import inlined, kernel

_BLOCK = 128  # rows coded at a time, so that the edges of one feature stay in the cache


@dataclass(frozen=True)
class BinEdges:
    """Hold the edges of all features.

    Parameters
    ----------
    edges
        (all edges,), those of feature f at `offsets[f]:offsets[f + 1]`, strictly rising; none for a category.
    offsets
        (features + 1,), rising from 0.
    levels
        (features,), number of levels of a categorical feature, whose values are 0, 1, ..., levels - 1; 0 for a number.
        Any other value of such a feature counts as missing.
    """

    edges: Float64Array
    offsets: Int64Array
    levels: Int64Array

    def __post_init__(self) -> None:
        counts = np.diff(self.offsets)
        if len(self.offsets) != len(self.levels) + 1 or self.offsets[0] != 0 or self.offsets[-1] != len(self.edges):
            raise ConfigError(f"offsets must rise from 0 to {len(self.edges)} in {len(self.levels) + 1} steps")
        if (counts < 0).any() or (counts >= MOST_BINS).any() or (self.levels > MOST_BINS).any():
            raise ConfigError(
                f"a feature must have at most {MOST_BINS} bins or levels, "
                f"got {int(max(counts.max() + 1, self.levels.max()))}; ask for fewer bins, or merge rare levels"
            )
        if (self.levels < 0).any() or (counts[self.levels > 0] > 0).any():
            raise ConfigError("levels must be at least 0, and a categorical feature has no edges")
        for feature in range(len(self.levels)):
            edges = self.of(feature)
            if np.isnan(edges).any() or (edges[1:] <= edges[:-1]).any():
                raise ConfigError(f"edges of feature {feature} must be numbers that rise strictly, got {edges[:5]}...")

    @classmethod
    def build(cls, edges: Sequence[npt.ArrayLike], levels: Sequence[int] | None = None) -> BinEdges:
        """Return the edges of features given one by one; a categorical feature has an empty entry and its levels.

        Examples
        --------
        >>> BinEdges.build([[0.5, 1.5], []], [0, 3]).sizes.tolist()
        [4, 4]
        """
        parts = [np.asarray(own, np.float64).reshape(-1) for own in edges]
        flat = np.concatenate([np.empty(0), *parts])
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(flat, offsets, np.zeros(len(parts), np.int64) if levels is None else np.array(levels, np.int64))

    @property
    def num_features(self) -> int:
        """Number of features."""
        return len(self.levels)

    @cached_property
    def sizes(self) -> Int64Array:
        """Cells of each feature, the last of them for missing values: (features,)."""
        bins = np.where(self.levels > 0, self.levels, np.diff(self.offsets) + 1)
        return np.asarray(bins + 1, np.int64)

    @cached_property
    def starts(self) -> Int64Array:
        """Where each feature's cells begin in a histogram of all: (features + 1,)."""
        return np.concatenate(([0], np.cumsum(self.sizes)))

    def of(self, feature: int) -> Float64Array:
        """Return the edges of one feature."""
        return self.edges[self.offsets[feature] : self.offsets[feature + 1]]

    def threshold(self, feature: int, bin: int) -> float:  # noqa: A002 - the field's own word
        """Return the number that a value of this bin or a lower one does not exceed; infinite for the last bin."""
        edges = self.of(feature)
        return float(edges[bin]) if bin < len(edges) else float("inf")

    def encode(self, features: Float64Array) -> UInt8Array:
        """Return the cell of each value.

        Parameters
        ----------
        features
            (rows, features), NaN where missing.

        Returns
        -------
        codes
            (rows, features), uint8.

        Raises
        ------
        DataError
            If there are more or fewer features than edges were agreed for.

        Examples
        --------
        >>> BinEdges.build([[0.5, 1.5]]).encode(np.array([[0.5], [0.6], [9.0], [np.nan]])).ravel().tolist()
        [0, 1, 2, 3]
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise DataError(f"rows must have {self.num_features} features, got the shape {features.shape}")
        codes = np.empty(features.shape, np.uint8)
        x = np.ascontiguousarray(features, np.float64)

        def encode(rows: slice) -> None:
            _encode(x[rows], self.edges, self.offsets, self.levels, codes[rows])

        steps = 10.0 * x.size
        spread(encode, even_slices(len(x), num_threads(steps)), steps)
        return codes

    def to_arrays(self) -> dict[str, AnyArray]:
        """Return named arrays."""
        return {"edges": self.edges, "offsets": self.offsets, "levels": self.levels}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, AnyArray]) -> BinEdges:
        """Return what `to_arrays` described.

        Raises
        ------
        KeyError
            If an array is missing.
        ConfigError
            If the arrays hold no edges.
        """
        return cls(
            np.asarray(arrays["edges"], np.float64),
            np.asarray(arrays["offsets"], np.int64),
            np.asarray(arrays["levels"], np.int64),
        )


def even_edges(lowest: float, highest: float, num_bins: int) -> Float64Array:
    """Return edges that cut a declared range into bins of one width; nobody need be asked for them.

    Examples
    --------
    >>> even_edges(0.0, 1.0, 4).tolist()
    [0.25, 0.5, 0.75]
    """
    if not (np.isfinite(lowest) and np.isfinite(highest) and lowest < highest):
        raise ConfigError(f"a range must be finite and rise, got {lowest} to {highest}")
    if not 1 <= num_bins <= MOST_BINS:
        raise ConfigError(f"num_bins must be in 1..{MOST_BINS}, got {num_bins}")
    return np.unique(lowest + (highest - lowest) * np.arange(1, num_bins) / num_bins)


@inlined
def _bin_of(x: float, edges: Float64Array) -> int:
    """Return how many of 256 edges are below x, the last of which is not, in as many steps for any x."""
    below = 128 if edges[127] < x else 0
    below += 64 if edges[below + 63] < x else 0
    below += 32 if edges[below + 31] < x else 0
    below += 16 if edges[below + 15] < x else 0
    below += 8 if edges[below + 7] < x else 0
    below += 4 if edges[below + 3] < x else 0
    below += 2 if edges[below + 1] < x else 0
    return below + (1 if edges[below] < x else 0)


@inlined
def _level_of(x: float, levels: int) -> int:
    """Return the level, or the cell of missing values for what is none."""
    if x >= 0 and x < levels:
        level = int(x)
        return level if level == x else levels
    return levels


@kernel
def _encode(x: Float64Array, edges: Float64Array, offsets: Int64Array, levels: Int64Array, codes: UInt8Array) -> None:
    rows, features = x.shape
    filled = np.full((features, 256), np.inf)  # nothing lies above the edges that are added
    for f in range(features):
        for b in range(offsets[f + 1] - offsets[f]):
            filled[f, b] = edges[offsets[f] + b]
    for begin in range(0, rows, _BLOCK):
        end = min(begin + _BLOCK, rows)
        for f in range(features):
            missing = offsets[f + 1] - offsets[f] + 1
            if levels[f] > 0:
                for i in range(begin, end):
                    codes[i, f] = _level_of(x[i, f], levels[f])
            else:
                own = filled[f]
                for i in range(begin, end):
                    value = x[i, f]
                    found = _bin_of(value, own)
                    codes[i, f] = found if value == value else missing
