"""What selectors hear and remember of clients: answers, turns by client number, and the newest vector of each.

State is plain arrays: `turns` by client number, and `clients`, `rounds`, `vectors` with one row a remembered client.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from werkbund.core.arrays import AnyArray, Float32Array, Float64Array, Int64Array
from werkbund.core.types import Choice, Replies
from werkbund.selection.contract import Reports, State, View
from werkbund.selection.methods.proportional import rows_of

_COLUMNS = 1 << 15  # how many columns of vectors are multiplied at once in double precision


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


def recall(state: State) -> Remembered:
    """Return what a state remembers; nothing before anybody was seen."""
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
        (answered, entries); a row that is not finite is passed over, None teaches nothing.
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


def places(clients: Int64Array, among: Int64Array) -> Int64Array:
    """Return where each client stands in an ascending list, (clients,); -1 for one that does not."""
    if not len(among):
        return np.full(len(clients), -1)
    found = np.searchsorted(among, clients).clip(max=len(among) - 1)
    return np.where(among[found] == clients, found, -1)


def counted_turns(state: State, reports: Reports) -> Int64Array:
    """Return how often each client has been asked to train, by number, failures included."""
    return lengthened(state.get("turns"), everybody_asked(reports), 0, 1)


def lengthened(old: Int64Array | None, clients: Int64Array, missing: int, added: int) -> Int64Array:
    """Return a copy of an array by client number that reaches these clients, with something added to theirs."""
    known = np.empty(0, np.int64) if old is None else old
    grown = np.full(max(len(known), int(clients.max(initial=-1)) + 1), missing)
    grown[: len(known)] = known
    grown[clients] += added
    return grown


def turns_of(state: State, clients: Int64Array) -> Int64Array:
    """Return how often each of these clients has been asked to train, (clients,)."""
    return lengthened(state.get("turns"), clients, 0, 0)[clients]


def everybody_asked(reports: Reports) -> Int64Array:
    """Return the numbers of those that answered and of those that failed, ascending."""
    failed = np.array([failure.client for failure in reports.failures], np.int64)
    return np.unique(np.concatenate([reports.clients, failed]))


def answers_in(reports: Reports) -> tuple[Replies, ...]:
    """Return the answers to the questions of the round that is reported."""
    return reports.answers


def heard(answers: tuple[Replies, ...], kind: str, signal: str) -> tuple[Int64Array, Float64Array]:
    """Return who answered a kind of question, ascending, and its signal, (answered,); NaN where it is missing."""
    fitting = [reply for reply in answers if reply.kind == kind]
    clients = np.concatenate([np.empty(0, np.int64), *(reply.clients for reply in fitting)])
    values = [_numbers(reply, signal) for reply in fitting]
    unique, first = np.unique(clients, return_index=True)
    return unique, np.concatenate([np.empty(0), *values])[first]


def _numbers(reply: Replies, signal: str) -> Float64Array:
    """Return a signal, (replies,); NaN for what is no number for each client."""
    told = reply.clear.get(signal)
    plain = told is not None and told.shape == (len(reply),) and told.dtype.kind in "fiu"
    return np.asarray(told, np.float64) if plain else np.full(len(reply), np.nan)


def importance(view: View) -> tuple[Float64Array, bool]:
    """Return what each available client counts, (available,), and whether these are rows; ones where none are known.

    A client that declared none counts as the mean of the others.
    """
    rows = rows_of(view)
    known = bool((view.fact("rows") > 0).any())
    return (rows, True) if known else (np.ones(len(rows)), False)


def alike(cohort: Int64Array, probability: float, reasons: tuple[str, ...], equal: bool | None = None) -> Choice:
    """Return a choice whose clients all count once; the cohort may come in any order, with its reasons."""
    order = np.argsort(cohort, kind="stable")
    ones = np.ones(len(cohort))
    told = tuple(reasons[i] for i in order)
    return Choice(cohort[order].astype(np.int64), probability * ones, ones, told, equal=equal)


def everyone(view: View, equal: bool | None = None) -> Choice:
    """Return the choice of all available clients."""
    number = len(view.available)
    return alike(view.available, 1.0, ("as many are wanted as there are",) * number, equal)


def inner_products(vectors: Float32Array) -> Float64Array:
    """Return the inner product of each pair of rows, (rows, rows), summed in double precision."""
    products = np.zeros((len(vectors), len(vectors)))
    for start in range(0, vectors.shape[1], _COLUMNS):
        part = vectors[:, start : start + _COLUMNS].astype(np.float64)
        products += part @ part.T
    return products


def distances(vectors: Float32Array) -> Float64Array:
    """Return the Euclidean distance of each pair of rows, (rows, rows)."""
    products = inner_products(vectors)
    squares = np.diag(products)
    apart: Float64Array = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0))
    np.fill_diagonal(apart, 0.0)
    return apart


def angles(vectors: Float32Array) -> Float64Array:
    """Return the angle of each pair of rows, (rows, rows), 0 to pi; a right one to a row of zeros."""
    products = inner_products(vectors)
    lengths = np.sqrt(np.diag(products))
    scale = np.outer(lengths, lengths)
    cosine = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
    apart: Float64Array = np.arccos(cosine.clip(-1.0, 1.0))
    np.fill_diagonal(apart, 0.0)
    return apart
