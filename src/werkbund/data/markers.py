"""Marks that stand for no reading: a number that a controller writes where a sensor is silent, or all beyond a bound.

A mark is a number, or a text with a bound such as "> 1e6" or "< -40". Marked values count as missing wherever rows are
read for learning or scoring, so that they travel with the preparation inside a model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from werkbund.core.arrays import BoolArray, Float64Array
from werkbund.core.errors import ConfigError

Marker = float | str
"""A number that stands for no reading; or "> x" or "< x", by which all numbers beyond x do."""

_ROUNDING = 1e-7  # a number that was stored in single precision is off by less
_LARGEST = float(np.finfo(np.float64).max)
_BOUND = re.compile(r"\s*([<>])\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)\s*")


def interval_of(marker: Marker) -> tuple[float, float]:
    """Return the lowest and the highest finite number that a mark stands for.

    Raises
    ------
    ConfigError
        If it is no mark.

    Examples
    --------
    >>> interval_of("< -40")[1] < -40.0 < interval_of("> -40")[0]
    True
    """
    if isinstance(marker, str):
        match = _BOUND.fullmatch(marker)
        bound = float(match[2]) if match else np.inf
        if match is None or not np.isfinite(bound):
            raise ConfigError(f'a mark must be a number, or a text such as "> 1e6" or "< -40", got {marker!r}')
        beyond = math.nextafter(bound, math.inf if match[1] == ">" else -math.inf)
        return (beyond, _LARGEST) if match[1] == ">" else (-_LARGEST, beyond)
    if not np.isfinite(marker):
        raise ConfigError(f"a mark must be finite, got {marker}; what is not finite counts as missing by itself")
    slack = _ROUNDING * abs(marker)
    return max(marker - slack, -_LARGEST), min(marker + slack, _LARGEST)


def marked(values: Float64Array, markers: Iterable[Marker]) -> BoolArray:
    """Say which values stand for no reading.

    Examples
    --------
    >>> marked(np.array([21.5, -999.0, 3e7, np.nan]), (-999, "> 1e6")).tolist()
    [False, True, True, False]
    """
    found = np.zeros(values.shape, np.bool_)
    for low, high in map(interval_of, markers):
        found |= (values >= low) & (values <= high)
    return found


def without_marked(values: Float64Array, markers: Iterable[Marker]) -> Float64Array:
    """Return the values with NaN where they are marked."""
    return np.where(marked(values, markers), np.nan, values) if markers else values
