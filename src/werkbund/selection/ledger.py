"""What a selector's state holds of single clients: numbers, turns, and the newest vector of each.

Numbers and turns are arrays indexed by client number, which grow as clients come. Vectors, such as updates, are kept of
some clients only: `clients`, `rounds` and `vectors` have one row a remembered client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from werkbund.selection.contract import Reports, State

_Scalar = TypeVar("_Scalar", bound=np.generic)


def column(state: State, name: str) -> Float64Array:
    """Return an array of a state by client number, (clients, ...); an empty one before anything was entered."""
    return np.asarray(state.get(name, ()), dtype=np.float64)


def entries(array: Float64Array, clients: Int64Array, missing: float) -> Float64Array:
    """Return the entries of these clients, (clients,); `missing` where there is none or it is NaN.

    Examples
    --------
    >>> entries(np.array([1.0, np.nan]), np.array([0, 1, 5]), -1.0).tolist()
    [1.0, -1.0, -1.0]
    """
    values = np.full(len(clients), missing)
    inside = clients < len(array)
    values[inside] = array[clients[inside]]
    return np.where(np.isnan(values), missing, values)


def grown(array: npt.NDArray[_Scalar], clients: Int64Array, missing: float) -> npt.NDArray[_Scalar]:
    """Return a copy that has a place for each of these clients; new places hold `missing`.

    Examples
    --------
    >>> grown(np.array([1.0]), np.array([2]), 0.0).tolist()
    [1.0, 0.0, 0.0]
    """
    length = max(len(array), int(clients.max(initial=-1)) + 1)
    longer = np.full((length, *array.shape[1:]), missing, dtype=array.dtype)
    longer[: len(array)] = array
    return longer


def entered(array: Float64Array, clients: Int64Array, values: Float64Array) -> Float64Array:
    """Return a copy with these clients' values in place of older ones; one that is not finite changes nothing.

    Examples
    --------
    >>> entered(np.array([1.0, 2.0]), np.array([0, 1, 2]), np.array([np.nan, 5.0, 6.0])).tolist()
    [1.0, 5.0, 6.0]
    """
    finite = np.isfinite(values)
    newer = grown(array, clients[finite], np.nan)
    newer[clients[finite]] = values[finite]
    return newer


def failed_in(reports: Reports) -> Int64Array:
    """Return the numbers of the clients that failed in the round, (failed,)."""
    return np.array([failure.client for failure in reports.failures], np.int64)


def asked_in(reports: Reports) -> Int64Array:
    """Return the numbers of all clients that were asked in the round, answered or failed, ascending."""
    return np.unique(np.concatenate([reports.clients, failed_in(reports)]))


def counted_turns(state: State, reports: Reports) -> Int64Array:
    """Return how often each client has been asked to train, (clients,) by number, after the round that is reported."""
    asked = asked_in(reports)
    turns = grown(_turns(state), asked, 0)
    turns[asked] += 1
    return turns


def turns_of(state: State, clients: Int64Array) -> Int64Array:
    """Return how often each of these clients has been asked to train, (clients,)."""
    return grown(_turns(state), clients, 0)[clients]


def _turns(state: State) -> Int64Array:
    return np.asarray(state.get("turns", ()), dtype=np.int64)


@dataclass(frozen=True)
class Remembered:
    """Hold the newest vector of each remembered client.

    Parameters
    ----------
    clients
        (remembered,), ascending.
    rounds
        (remembered,), when each was seen.
    vectors
        (remembered, entries), float32.
    """

    clients: Int64Array
    rounds: Int64Array
    vectors: Float32Array


def positions(clients: Int64Array, among: Int64Array) -> Int64Array:
    """Return where each client stands in an ascending list of clients, (clients,); -1 for one that is not in it."""
    if not len(among):
        return np.full(len(clients), -1)
    places = np.searchsorted(among, clients).clip(max=len(among) - 1)
    return np.where(among[places] == clients, places, -1)


def recall(state: State) -> Remembered:
    """Return the vectors that a state remembers; none before anybody was seen."""
    nobody = np.empty(0, np.int64)
    return Remembered(
        state.get("clients", nobody), state.get("rounds", nobody), state.get("vectors", np.empty((0, 0), np.float32))
    )


def remember(state: State, reports: Reports, vectors: AnyArray | None, most: int | None = None) -> State:
    """Return the state with the vectors of those that answered in place of older ones.

    Parameters
    ----------
    state, reports
        As `observe` gets them.
    vectors
        (answered, entries); a row that is not finite is passed over, None changes nothing.
    most
        How many clients are remembered, those seen last; None for all.
    """
    if vectors is None or vectors.ndim != 2:
        return state
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        return state
    fresh, old = reports.clients[finite], recall(state)
    left = ~np.isin(old.clients, fresh) & (old.vectors.shape[1] == vectors.shape[1])
    clients = np.concatenate([old.clients[left], fresh])
    rounds = np.concatenate([old.rounds[left], np.full(len(fresh), reports.round)])
    rows = vectors[finite].astype(np.float32)
    rows = np.concatenate([old.vectors[left], rows]) if left.any() else rows
    newest = np.lexsort((clients, -rounds))[:most]
    order = newest[np.argsort(clients[newest])]
    return {**state, "clients": clients[order], "rounds": rounds[order], "vectors": rows[order]}
