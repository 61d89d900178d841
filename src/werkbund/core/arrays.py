"""Types of arrays, each with its precision in its name; shapes stand in docstrings. And arrays as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]
"""Whatever comes: arrays of a message before their kind is looked up, columns of a table."""

BoolArray = npt.NDArray[np.bool_]
"""Flags: which rows, clients or cells."""

Float32Array = npt.NDArray[np.float32]
"""Weights, updates and features, as networks compute with them."""

Float64Array = npt.NDArray[np.float64]
"""What is added up or compared: counts with a weight, losses, probabilities, seconds, joules."""

FloatingArray = npt.NDArray[np.floating[Any]]
"""Numbers of either precision, where a function keeps the one that came."""

Int8Array = npt.NDArray[np.int8]
"""Which split a row belongs to."""

Int32Array = npt.NDArray[np.int32]
"""Numbers of nodes and features in trees."""

Int64Array = npt.NDArray[np.int64]
"""Numbers of clients and rows, offsets, counts that must be exact."""

UInt8Array = npt.NDArray[np.uint8]
"""Bins of values, and bytes."""

UInt64Array = npt.NDArray[np.uint64]
"""Keys of random streams, and figures in fixed point that wrap around."""

Arrays = Mapping[str, AnyArray]
"""Arrays by name."""


def under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands under names that begin with a prefix, by the rest of the name.

    Examples
    --------
    >>> under("carry.", {"carry.momentum": 1, "weights": 2})
    {'momentum': 1}
    """
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: arrays as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
