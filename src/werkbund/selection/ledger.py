"""Numbers that a selector keeps of single clients: arrays of its state, indexed by client number, that grow with it."""

from __future__ import annotations

import numpy as np

from werkbund.core.arrays import Float64Array, Int64Array
from werkbund.selection.contract import State


def kept(state: State, name: str) -> Float64Array:
    """Return an array of a state, (clients, ...); an empty one before anything was noted."""
    return np.asarray(state.get(name, ()), dtype=np.float64)


def looked_up(array: Float64Array, clients: Int64Array, missing: float) -> Float64Array:
    """Return the entries of these clients, (clients,); `missing` where nothing was noted or it is NaN.

    Examples
    --------
    >>> looked_up(np.array([1.0, np.nan]), np.array([0, 1, 5]), -1.0).tolist()
    [1.0, -1.0, -1.0]
    """
    found = np.full(len(clients), missing)
    inside = clients < len(array)
    found[inside] = array[clients[inside]]
    return np.where(np.isnan(found), missing, found)


def grown(array: Float64Array, clients: Int64Array, missing: float) -> Float64Array:
    """Return a copy that has a place for each of these clients; new places hold `missing`.

    Examples
    --------
    >>> grown(np.array([1.0]), np.array([2]), 0.0).tolist()
    [1.0, 0.0, 0.0]
    """
    length = max(len(array), int(clients.max(initial=-1)) + 1)
    longer = np.full((length, *array.shape[1:]), missing)
    longer[: len(array)] = array
    return longer
